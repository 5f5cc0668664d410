//! `wordpress_publish`: a post from templates over the event, without a model.

use serde_json::json;
use sluice_actors::domain::JobResult;
use url::Url;

use super::{
    artifacts::Owed,
    fetch, hostile,
    http_call::context,
    run::{Run, Step, invalid, not_configured},
    summarize::{MAX_SUMMARY, MAX_TITLE},
    template::{self, Target},
    wordpress::{self, Place, Post},
};
use crate::{artifacts::Kind, config::Publish};

pub(crate) async fn run(run: &Run<'_>, title: &str, summary: &str, publish: &Publish) -> Step<JobResult> {
    let Some(site) = &run.tenant.wordpress else {
        return Err(not_configured(format!("[wordpress] of tenant {}", run.tenant.name)));
    };
    let place = Place::of(run, &publish.mode)?;
    let attachments = run.attachments().await?;
    let mut progress = run.progress();
    fetch::ensure(run, &mut progress).await?;
    let context = context(run, &progress, &attachments).await?;
    let render = |key: &str, text: &str| {
        template::render(Target::Text, text, &context).map_err(|e| invalid(format!("{key}: {e}")))
    };
    let rendered_title = hostile::clean_line(&render("title", title)?, &literal_hosts(title), MAX_TITLE);
    let whole = hostile::clean(&render("summary", summary)?, &literal_hosts(summary), usize::MAX);
    let rendered_summary = hostile::clean(&whole, &literal_hosts(summary), MAX_SUMMARY);
    if rendered_title.is_empty() {
        return Err(invalid("title: nothing is left of it after rendering and cleaning"));
    }
    if whole.chars().count() > MAX_SUMMARY && progress.artifacts.is_empty() {
        // The callback carries its beginning; the whole is a link.
        progress.owed = Some(Owed::new(Kind::Result, whole));
        run.settle(&mut progress).await?;
    }
    let artifacts = run.links(&progress.artifacts, &attachments).await?;
    let job_type = publish.job_type.as_deref().unwrap_or("wordpress_publish");
    let post = Post { job_type, title: &rendered_title, summary: &rendered_summary, place, artifacts };
    let delivered = wordpress::publish(run, site, &post).await?;
    Ok(JobResult {
        title: Some(rendered_title),
        summary: Some(rendered_summary),
        reply: Some(json!({ "outcome": delivered.outcome })),
        post_id: delivered.post_id,
        artifacts: progress.artifacts,
    })
}

/// The hosts of links that the operator wrote into the template: they may stay, the event's may not.
fn literal_hosts(template: &str) -> Vec<String> {
    template
        .match_indices("https://")
        .filter_map(|(at, scheme)| {
            let rest = &template[at + scheme.len()..];
            let authority =
                &rest[..rest.find(|c: char| c == '/' || c == '?' || c.is_whitespace()).unwrap_or(rest.len())];
            let url: Url = format!("https://{authority}").parse().ok()?;
            let literal = !authority.contains(['{', '}', '@', '\\']);
            literal.then(|| url.host_str().map(str::to_owned)).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_the_operator_wrote_are_taken_from_a_template() {
        let template = "See https://dash.example/x/{{ data.id }} or {{ data.url }} or https://{{ data.host }}/x";
        assert_eq!(literal_hosts(template), ["dash.example"]);
    }
}
