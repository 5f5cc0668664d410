//! A route's `fetch`: loads the resource that an event only names, once per job.

use http::{HeaderName, HeaderValue, Method};
use sluice_actors::domain::CalleeId;
use url::Url;

use super::{
    auth, callees,
    classify::Judged,
    reply,
    run::{Progress, Run, Step, invalid},
    template,
};
use crate::{config::Fetch, http_client::Call};

/// Bytes of a resource that are kept; a larger one is replaced by its size.
const MAX_FETCHED: usize = 256 * 1024;

/// The callee of a fetch: its host is literal in the template.
pub(crate) fn callee(fetch: &Fetch) -> Result<CalleeId, &'static str> {
    template::literal_origin(&fetch.url).map(|origin| callees::host(&origin))
}

/// Loads what the route wants, unless an earlier attempt did, and keeps it.
pub(crate) async fn ensure(run: &Run<'_>, progress: &mut Progress) -> Step<()> {
    let Some(fetch) = &run.route.fetch else { return Ok(()) };
    if progress.fetched.is_some() {
        return Ok(());
    }
    let context = template::context(run.event(), run.job(), None);
    let url: Url = template::render_url(&fetch.url, &context).map_err(|e| invalid(format!("fetch.url: {e}")))?;
    let mut call = Call::new(Method::GET, url);
    for (name, template) in &fetch.headers {
        let (name, value) = header(name, template, &context).map_err(|e| invalid(format!("fetch.headers: {e}")))?;
        call.headers.insert(name, value);
    }
    let authorization = auth::authorize(run, &fetch.auth).await?;
    authorization.apply(&mut call);
    let callee = callees::host(&call.url);
    let answer = run
        .call(&callee, call, |answer, now| {
            let judged = super::http_call::judge(run, answer, now, &callee, &authorization);
            match judged {
                Judged { step: Ok(answer), .. } => match answer.whole() {
                    Ok(_) => Judged::done(answer),
                    Err(error) => Judged::error(&error, &callee),
                },
                ended => ended,
            }
        })
        .await?;
    let fetched = authorization.hidden_in(reply::read(answer.partial(), MAX_FETCHED));
    progress.fetched = Some(run.redacted(fetched));
    run.checkpoint(progress).await
}

/// A literal header name and its rendered value.
pub(crate) fn header(
    name: &str,
    template: &str,
    context: &serde_json::Value,
) -> Result<(HeaderName, HeaderValue), String> {
    let parsed: HeaderName = name.parse().map_err(|_| format!("`{name}` is not a header name"))?;
    let text = template::render(template::Target::Text, template, context)?;
    let value = HeaderValue::from_str(&text).map_err(|_| format!("the value of `{name}` has forbidden characters"))?;
    Ok((parsed, value))
}
