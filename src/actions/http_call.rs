//! `http_call`: one call to a CRM or any API, made of templates over the event.

use http::{HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use sluice_actors::domain::{CalleeId, JobResult, Timestamp};

use super::{
    auth::{self, Authorization},
    callees,
    classify::{self, Fate, Health, Judged},
    fetch, reply,
    run::{Progress, Run, Step, invalid},
    template::{self, Target},
};
use crate::{
    artifacts::Artifact,
    config::HttpCall,
    http_client::{Answer, Call, CallError},
    json,
};

/// The callee: its host is literal in the template.
pub(crate) fn callee(call: &HttpCall) -> Result<CalleeId, &'static str> {
    template::literal_origin(&call.url).map(|origin| callees::host(&origin))
}

pub(crate) async fn run(run: &Run<'_>, settings: &HttpCall) -> Step<JobResult> {
    let attachments = run.attachments().await?;
    let mut progress = run.progress();
    fetch::ensure(run, &mut progress).await?;
    let context = context(run, &progress, &attachments).await?;
    let mut call = build(settings, &context).map_err(invalid)?;
    // One key over all attempts, for APIs that know the header.
    call.headers
        .entry("idempotency-key")
        .or_insert_with(|| HeaderValue::from_str(&run.job().id.to_string()).expect("a job id is a header value"));
    let authorization = auth::authorize(run, &settings.auth).await?;
    authorization.apply(&mut call);
    let callee = callees::host(&call.url);
    let answer = run.call(&callee, call, |answer, now| judge(run, answer, now, &callee, &authorization)).await?;
    Ok(result(run, &answer, &authorization).await)
}

/// What a template of a job sees: the event, what was fetched, what is attached.
pub(super) async fn context(run: &Run<'_>, progress: &Progress, attachments: &[Artifact]) -> Step<Value> {
    let mut context = template::context(run.event(), run.job(), progress.fetched.as_ref());
    if let Some(shown) = run.shown(attachments).await? {
        context["attachments"] = shown;
    }
    Ok(context)
}

/// What a call that is done leaves: its answer, redacted and without the credential that the call carried, as a
/// whole or by its key.
pub(super) async fn result(run: &Run<'_>, answer: &Answer, authorization: &Authorization) -> JobResult {
    let body = answer.partial();
    let reply = reply::read(body, reply::MAX_REPLY);
    let (reply, artifacts) = match answer.whole() {
        Ok(_) if body.len() > reply::MAX_REPLY => run.large_reply(body, reply, authorization).await,
        _ => (run.redacted(authorization.hidden_in(reply)), Vec::new()),
    };
    JobResult { reply: Some(reply), artifacts, ..JobResult::default() }
}

fn build(settings: &HttpCall, context: &Value) -> Result<Call, String> {
    let url = template::render_url(&settings.url, context).map_err(|e| format!("url: {e}"))?;
    let mut call = Call::new(settings.method.clone(), url);
    for (name, template) in &settings.headers {
        let (name, value) = fetch::header(name, template, context).map_err(|e| format!("headers: {e}"))?;
        call.headers.insert(name, value);
    }
    if matches!(settings.method, Method::GET | Method::HEAD) && settings.body.is_none() {
        return Ok(call);
    }
    let content_type = call.headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    let target = target(content_type.to_str().unwrap_or_default());
    let body = match &settings.body {
        Some(template) => template::render(target, template, context).map_err(|e| format!("body: {e}"))?,
        None => context.to_string(),
    };
    if target == Target::Json && json::parse_strict(body.as_bytes()).is_err() {
        return Err("body: the rendered text is not JSON (write values without quotes: {{ data.name }})".to_owned());
    }
    call.body = Some(body.into());
    Ok(call)
}

/// How values are written into a body of this media type.
pub(crate) fn target(content_type: &str) -> Target {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/x-www-form-urlencoded" => Target::Form,
        "" | "application/json" => Target::Json,
        other if other.ends_with("+json") => Target::Json,
        _ => Target::Text,
    }
}

/// The table of statuses; a cached token that is refused is forgotten and asked for anew.
pub(crate) fn judge(
    run: &Run<'_>,
    answer: Result<Answer, CallError>,
    now: Timestamp,
    callee: &CalleeId,
    authorization: &Authorization,
) -> Judged<Answer> {
    match (&answer, &authorization.cached) {
        (Ok(refused), Some(key)) if refused.status == StatusCode::UNAUTHORIZED => {
            run.world.tokens.forget(key);
            Judged::ends(Fate::Retry, Health::Unknown, callee, "answered 401 to a token from the cache", None)
        }
        _ => classify::by_status(answer, now, callee, classify::of_status),
    }
}
