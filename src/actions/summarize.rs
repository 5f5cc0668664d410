//! `summarize_and_publish`: an LLM's summary of the event, then the WordPress callback.
//!
//! The model is assumed to obey whoever wrote the event (RELIABILITY §E8). What the job does, where
//! it publishes and which links may stay is fixed by the configuration before the event is read; the
//! model only fills three slots, and what it puts there is hostile text.

use serde::{Deserialize, Serialize};
use serde_json::json;
use sluice_actors::domain::JobResult;

use super::{
    artifacts::Owed,
    callees, fetch, hostile, llm,
    prompt::{self, Messages},
    run::{Progress, Run, Step, invalid, not_configured},
    wordpress::{self, Place, Post},
};
use crate::{
    artifacts::Kind,
    config::{Prompt, Publish},
    http_client::CallEvent,
    ids,
};

/// Characters of a title at most.
pub(crate) const MAX_TITLE: usize = 120;
/// Characters of a summary at most.
pub(crate) const MAX_SUMMARY: usize = 2000;
/// What a model may call an event.
pub(crate) const CATEGORIES: [&str; 6] = ["billing", "customer", "content", "development", "incident", "other"];

/// A summary, validated and cleaned: plain text, not yet escaped for HTML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) category: String,
}

pub(crate) async fn run(run: &Run<'_>, prompt: &Prompt, publish: &Publish) -> Step<JobResult> {
    // Before the model is paid.
    let place = Place::of(run, &publish.mode)?;
    let attachments = run.attachments().await?;
    let mut progress = run.progress();
    let summary = if let Some(summary) = progress.summary.clone() {
        summary
    } else {
        fetch::ensure(run, &mut progress).await?;
        let (summary, owed) = ask(run, prompt, &progress).await?;
        // Before the callback, so that no retry pays twice or publishes another text.
        progress = Progress { summary: Some(summary.clone()), owed, ..Progress::default() };
        run.checkpoint(&progress).await?;
        summary
    };
    run.settle(&mut progress).await?;
    let mut result = JobResult {
        title: Some(summary.title.clone()),
        summary: Some(summary.text.clone()),
        reply: Some(json!({ "category": summary.category })),
        artifacts: progress.artifacts,
        ..JobResult::default()
    };
    if let Some(site) = &run.tenant.wordpress {
        let job_type = publish.job_type.as_deref().unwrap_or("summarize_and_publish");
        let artifacts = run.links(&result.artifacts, &attachments).await?;
        let post = Post { job_type, title: &summary.title, summary: &summary.text, place, artifacts };
        let delivered = wordpress::publish(run, site, &post).await?;
        result.post_id = delivered.post_id;
        result.reply = Some(json!({ "category": summary.category, "outcome": delivered.outcome }));
    }
    Ok(result)
}

/// The summary, and the transcript where one is to be kept.
async fn ask(run: &Run<'_>, prompt: &Prompt, progress: &Progress) -> Step<(Summary, Option<Owed>)> {
    let nonce = ids::nonce();
    let messages = prompt::messages(prompt, run.event(), progress.fetched.as_ref(), nonce);
    let (summary, said) = answer(run, prompt, &messages, nonce).await?;
    let owed = run.config.artifacts.transcripts.then(|| {
        let Messages { system, user } = &messages;
        let model = run.tenant.llm.as_ref().map(|llm| prompt.model.as_ref().unwrap_or(&llm.model));
        let transcript = json!({ "at": run.now(), "model": model, "system": system, "user": user, "answer": said });
        Owed::new(Kind::Transcript, transcript.to_string())
    });
    Ok((summary, owed))
}

/// What the model makes of the messages, validated and cleaned, and its words as they were. `nonce`: theirs.
pub(crate) async fn answer(
    run: &Run<'_>,
    prompt: &Prompt,
    messages: &Messages,
    nonce: [u8; 16],
) -> Step<(Summary, String)> {
    let Some(settings) = &run.tenant.llm else {
        return Err(not_configured(format!("[llm] of tenant {}", run.tenant.name)));
    };
    let call = llm::call(settings, prompt.model.as_deref(), messages)
        .map_err(|reason| not_configured(format!("[llm] of tenant {} ({reason})", run.tenant.name)))?;
    let callee = callees::llm(settings);
    let said = run.call(&callee, call, |answer, now| llm::judge(answer, now, &callee)).await?;
    let model = prompt.model.as_deref().unwrap_or(&settings.model);
    run.tell(&CallEvent::Tokens { callee: &callee, model, tokens: said.tokens });
    let content = said.content.map_err(|reason| llm::disobedient(&callee, &reason))?;
    if prompt::leaks(&content, nonce) {
        return Err(invalid("prompt leak: the model repeated the system prompt's canary"));
    }
    let raw = llm::parse(&content).map_err(|reason| llm::disobedient(&callee, &reason))?;
    let summary = Summary {
        title: hostile::clean_line(&raw.title, &prompt.allow_links, MAX_TITLE),
        text: hostile::clean(&raw.summary, &prompt.allow_links, MAX_SUMMARY),
        category: raw.category,
    };
    if summary.title.is_empty() || summary.text.is_empty() {
        return Err(llm::disobedient(&callee, "nothing is left of the model's answer after cleaning"));
    }
    Ok((summary, content))
}
