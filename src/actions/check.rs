//! What `sluice check` and every (re)load of the configuration ask of the actions: what would fail
//! at three in the morning fails now, with the key that must change.

use http::HeaderName;
use url::Url;

use super::{
    http_call, http_forward,
    template::{self, Target},
    token::SigningKey,
};
use crate::{
    config::{ActionConfig, Auth, Fetch, HttpCall, Route, Source, Tenant, TypePattern},
    http_client::is_loopback_url,
};

/// A key of a tenant file that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct Problem {
    /// The key, dotted, within the tenant file (`sources.payments.routes.invoices.url`).
    pub key: String,
    /// What is wrong and what to do.
    pub reason: String,
}

/// Everything about a tenant's actions that cannot work.
pub fn tenant(tenant: &Tenant) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    if let Some(wordpress) = &tenant.wordpress {
        problems.add("wordpress.site", https(&wordpress.site));
        problems.add("wordpress.callback", super::wordpress::endpoint(wordpress).map(|_| ()));
        problems.add("wordpress.signing_key", SigningKey::parse(&wordpress.signing_key).map(|_| ()));
    }
    if let Some(llm) = &tenant.llm {
        problems.add("llm.base_url", https(&llm.base_url));
    }
    for source in tenant.sources.values() {
        for route in &source.routes {
            check_route(tenant, source, route, &mut problems);
        }
    }
    problems.0
}

struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &str, result: Result<(), impl ToString>) {
        if let Err(reason) = result {
            self.0.push(Problem { key: key.to_owned(), reason: reason.to_string() });
        }
    }
}

fn check_route(tenant: &Tenant, source: &Source, route: &Route, problems: &mut Problems) {
    let key = |key: &str| format!("sources.{}.routes.{}.{key}", source.lane.source, route.name);
    if let Some(fetch) = &route.fetch {
        check_fetch(fetch, &key("fetch"), problems);
    }
    match &route.action {
        ActionConfig::SummarizeAndPublish { prompt, .. } => {
            let llm = tenant.llm.as_ref().map(|_| ()).ok_or("`summarize_and_publish` needs an [llm] section");
            problems.add(&key("action"), llm);
            problems.add(&key("fetch"), id_only(source, route));
            for pointer in &prompt.fields {
                let good = pointer.is_empty() || pointer.starts_with('/');
                problems.add(&key("fields"), good.then_some(()).ok_or("a JSON pointer begins with `/`"));
            }
        }
        ActionConfig::WordpressPublish { title, summary, .. } => {
            let site = tenant.wordpress.as_ref().map(|_| ()).ok_or("`wordpress_publish` needs a [wordpress] section");
            problems.add(&key("action"), site);
            problems.add(&key("title"), template::check(Target::Text, title));
            problems.add(&key("summary"), template::check(Target::Text, summary));
        }
        ActionConfig::HttpCall(call) => check_call(call, &key(""), problems),
        ActionConfig::HttpForward(forward) => {
            problems.add(&key("url"), https(&forward.url));
            let secret = http_forward::key(&forward.secret).map(|_| ());
            problems.add(&key("secret"), secret.ok_or("not a Standard Webhooks secret (`whsec_` and base64)"));
        }
        ActionConfig::Log => {}
    }
}

fn check_fetch(fetch: &Fetch, key: &str, problems: &mut Problems) {
    check_url(&fetch.url, &format!("{key}.url"), problems);
    check_headers(&fetch.headers, &format!("{key}.headers"), problems);
    check_auth(&fetch.auth, &format!("{key}.auth"), problems);
}

/// `prefix` ends in a dot.
fn check_call(call: &HttpCall, prefix: &str, problems: &mut Problems) {
    check_url(&call.url, &format!("{prefix}url"), problems);
    check_headers(&call.headers, &format!("{prefix}headers"), problems);
    check_auth(&call.auth, &format!("{prefix}auth"), problems);
    if let Some(body) = &call.body {
        let content_type = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let target = http_call::target(content_type.map_or("", |(_, value)| value));
        problems.add(&format!("{prefix}body"), template::check(target, body));
    }
}

fn check_url(template: &str, key: &str, problems: &mut Problems) {
    problems.add(key, template::literal_origin(template).map(|_| ()));
    problems.add(key, template::check(Target::Url, template));
}

fn check_headers(headers: &[(String, String)], key: &str, problems: &mut Problems) {
    /// Set by the client itself.
    const OURS: [&str; 5] = ["host", "content-length", "transfer-encoding", "connection", "authorization"];
    for (name, template) in headers {
        let name_ok = match name.parse::<HeaderName>() {
            Err(_) => Err(format!("`{name}` is not a header name")),
            Ok(parsed) if OURS.contains(&parsed.as_str()) => {
                Err(format!("`{name}` is set by the gateway (see `auth`)"))
            }
            Ok(_) => Ok(()),
        };
        problems.add(key, name_ok);
        problems.add(key, template::check(Target::Text, template));
    }
}

fn check_auth(auth: &Auth, key: &str, problems: &mut Problems) {
    match auth {
        Auth::OAuth2(oauth2) => problems.add(&format!("{key}.oauth2.token_url"), https(&oauth2.token_url)),
        Auth::None | Auth::Bearer(_) | Auth::Basic { .. } => {}
    }
}

fn https(url: &Url) -> Result<(), &'static str> {
    if url.scheme() == "https" || is_loopback_url(url) {
        Ok(())
    } else {
        Err("must begin with https:// (http:// only on loopback)")
    }
}

/// A summary of an event that carries only an id would be one of nothing.
fn id_only(source: &Source, route: &Route) -> Result<(), String> {
    if route.fetch.is_some() {
        return Ok(());
    }
    let vendor = &source.vendor;
    let patterns = vendor.profile().id_only.iter().filter_map(|pattern| TypePattern::parse(pattern).ok());
    let meets = |id_only: &TypePattern| {
        route.event_types.is_empty() || route.event_types.iter().any(|wanted| overlap(wanted, id_only))
    };
    match patterns.into_iter().find(meets) {
        None => Ok(()),
        Some(TypePattern::Exact(name) | TypePattern::Prefix(name)) => Err(format!(
            "events `{name}…` of {} carry only an id: name a `fetch` that loads what is to be summarised, or leave them \
             out of `event_types`",
            vendor.name()
        )),
    }
}

fn overlap(a: &TypePattern, b: &TypePattern) -> bool {
    match (a, b) {
        (TypePattern::Exact(a), b) => b.matches(a),
        (a, TypePattern::Exact(b)) => a.matches(b),
        (TypePattern::Prefix(a), TypePattern::Prefix(b)) => a.starts_with(b.as_str()) || b.starts_with(a.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_overlap_where_some_type_fits_both() {
        let pattern = |text| TypePattern::parse(text).unwrap();
        for (a, b, expected) in [
            ("page.created", "page.*", true),
            ("page.*", "page.created", true),
            ("page.*", "*", true),
            ("page.con*", "page.*", true),
            ("page.*", "database.*", false),
            ("page.created", "page.deleted", false),
        ] {
            assert_eq!(overlap(&pattern(a), &pattern(b)), expected, "{a} {b}");
        }
    }
}
