//! `[[sources.*.routes]]`: which events cause which action.

use std::sync::Arc;

use sluice_actors::domain::RouteName;
use url::Url;

use super::{
    Outbound,
    finding::{Problem, suggest},
    section::Section,
    source::Around,
    tree::Item,
    units::{self, FromItem},
};
use crate::{secrets::Secret, vendors::Vendor};

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name, unique within the source.
    pub name: RouteName,
    /// Event types it wants; empty = all.
    pub event_types: Vec<TypePattern>,
    /// Conditions on the event; all must hold.
    pub filter: Vec<Filter>,
    /// What it does.
    pub action: ActionConfig,
    /// Which resource is loaded first.
    pub fetch: Option<Fetch>,
}

/// An exact event type, or a prefix that ended in `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypePattern {
    /// Exactly this.
    Exact(String),
    /// All that begin with this.
    Prefix(String),
}

impl TypePattern {
    /// Parses `invoice.paid` or `invoice.*`; a `*` anywhere but at the end is refused.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.strip_suffix('*') {
            _ if text.is_empty() => Err("an event type pattern cannot be empty"),
            Some(prefix) if prefix.contains('*') => Err("`*` may stand only at the end"),
            Some(prefix) => Ok(Self::Prefix(prefix.to_owned())),
            None if text.contains('*') => Err("`*` may stand only at the end"),
            None => Ok(Self::Exact(text.to_owned())),
        }
    }

    /// Whether some event type fits both.
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(exact), pattern) | (pattern, Self::Exact(exact)) => pattern.matches(exact),
            (Self::Prefix(a), Self::Prefix(b)) => a.starts_with(b.as_str()) || b.starts_with(a.as_str()),
        }
    }

    /// Whether `event_type` is wanted.
    pub fn matches(&self, event_type: &str) -> bool {
        match self {
            Self::Exact(exact) => event_type == exact,
            Self::Prefix(prefix) => event_type.starts_with(prefix.as_str()),
        }
    }
}

/// A condition on the event: a JSON pointer into `{event_type, subject_id, data}` and the values
/// that satisfy it.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// The pointer.
    pub pointer: String,
    /// Any of these values.
    pub any_of: Vec<serde_json::Value>,
}

/// The action of a route with its own keys.
#[derive(Debug)]
pub enum ActionConfig {
    /// LLM summary, then a WordPress post (or only the summary, without `[wordpress]`).
    SummarizeAndPublish {
        /// The prompt.
        prompt: Prompt,
        /// The post.
        publish: Publish,
    },
    /// A WordPress post from templates.
    WordpressPublish {
        /// Title template over the event.
        title: String,
        /// Body template over the event.
        summary: String,
        /// The post.
        publish: Publish,
    },
    /// A call to any API.
    HttpCall(HttpCall),
    /// The event forwarded, signed with Standard Webhooks.
    HttpForward(HttpForward),
    /// A log line.
    Log,
}

impl ActionConfig {
    /// The action's name: column `type` of its jobs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SummarizeAndPublish { .. } => "summarize_and_publish",
            Self::WordpressPublish { .. } => "wordpress_publish",
            Self::HttpCall(_) => "http_call",
            Self::HttpForward(_) => "http_forward",
            Self::Log => "log",
        }
    }
}

/// What the LLM is asked.
#[derive(Debug, Clone, Default)]
pub struct Prompt {
    /// The operator's instructions (system prompt part); never taken from the event.
    pub instructions: Option<String>,
    /// A model other than the tenant's.
    pub model: Option<String>,
    /// The language of the summary.
    pub language: Option<String>,
    /// JSON pointers into `data` that go into the prompt; empty = the whole redacted `data`.
    pub fields: Vec<String>,
    /// Hosts that links in the summary may point to; default none: links are removed.
    pub allow_links: Vec<String>,
}

/// What the WordPress side is told; all of it is fixed before the payload is read.
#[derive(Debug, Clone, Default)]
pub struct Publish {
    /// The callback's `type`, chosen in the plugin's settings per job type; default the action's name.
    pub job_type: Option<String>,
}

/// A resource to load before the action (OpenAI and Notion events carry only an id).
#[derive(Debug, Clone)]
pub struct Fetch {
    /// URL template over the event.
    pub url: String,
    /// How it authenticates.
    pub auth: Auth,
    /// More headers.
    pub headers: Vec<(String, String)>,
}

/// How a call authenticates.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// `Authorization: Bearer`.
    Bearer(Secret),
    /// `Authorization: Basic`.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A header of its own (`X-Api-Key`).
    Header {
        /// The header.
        name: http::HeaderName,
        /// Its value.
        value: Secret,
    },
    /// OAuth2 client credentials.
    OAuth2(Arc<OAuth2>),
}

/// OAuth2 client credentials (RFC 6749 §4.4).
#[derive(Debug)]
pub struct OAuth2 {
    /// The token endpoint.
    pub token_url: Url,
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// The scope asked for.
    pub scope: Option<String>,
}

/// `http_call`: method, URL, headers, body as templates over the normalised event.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// The method.
    pub method: http::Method,
    /// URL template; the host must be literal, so that an event cannot choose it.
    pub url: String,
    /// Header templates.
    pub headers: Vec<(String, String)>,
    /// Body template; none sends the normalised event as JSON.
    pub body: Option<String>,
    /// How it authenticates.
    pub auth: Auth,
}

/// `http_forward`.
#[derive(Debug, Clone)]
pub struct HttpForward {
    /// Where to.
    pub url: Url,
    /// The Standard Webhooks signing secret (`whsec_…`).
    pub secret: Secret,
}

impl Route {
    pub(super) fn read(mut section: Section<'_>, around: &Around<'_>, vendor: Option<&dyn Vendor>) -> Option<Self> {
        let name = section.required("name", "give the route a name: jobs and tables show it");
        let event_types: Option<Vec<TypePattern>> = section.list("event_types");
        if event_types.as_ref().is_some_and(Vec::is_empty) {
            section.error("event_types", "is an empty list, which matches nothing", "leave it out for all types");
        }
        let event_types = event_types.unwrap_or_default();
        let filter = section.tables("filter").into_iter().filter_map(Filter::read).collect();
        let outbound = around.node.outbound;
        let fetch = section.table("fetch").and_then(|table| Fetch::read(table, outbound));
        let has_fetch = section.has("fetch");
        let kind =
            section.required("action", &format!("write one of {}", Kind::NAMES.map(|(name, _)| name).join(", ")));
        let action = kind.and_then(|kind| match kind {
            Kind::SummarizeAndPublish => {
                if !around.has_llm {
                    section.error(
                        "action",
                        "needs an LLM and none is configured",
                        "add `[llm]` to sluice.toml or to this tenant's file",
                    );
                }
                if let Some(vendor) = vendor
                    && !has_fetch
                    && let Some(id_only) = overlap(&event_types, vendor.profile().id_only)
                {
                    section.error(
                        "fetch",
                        format!(
                            "is missing: `{id_only}` of {} carries only an id, there is nothing to summarise",
                            vendor.name()
                        ),
                        "add `fetch = { url = … }` that loads the resource, or narrow `event_types`",
                    );
                }
                Some(ActionConfig::SummarizeAndPublish {
                    prompt: Prompt::read(&mut section),
                    publish: Publish::read(&mut section),
                })
            }
            Kind::WordpressPublish => {
                if !around.has_wordpress {
                    section.error(
                        "action",
                        "needs a WordPress site and this tenant has none",
                        "add `[wordpress]` with site, site_uuid and signing_key to this file",
                    );
                }
                let title = section.required("title", "write a template such as \"{{ event_type }}\"");
                let summary = section.required("summary", "write a template such as \"{{ data.description }}\"");
                let publish = Publish::read(&mut section);
                Some(ActionConfig::WordpressPublish { title: title?, summary: summary?, publish })
            }
            Kind::HttpCall => HttpCall::read(&mut section, outbound).map(ActionConfig::HttpCall),
            Kind::HttpForward => HttpForward::read(&mut section, outbound).map(ActionConfig::HttpForward),
            Kind::Log => Some(ActionConfig::Log),
            Kind::QueuePublish => {
                section.error("action", "`queue_publish` is not in this build yet", "use `http_forward` until it is");
                None
            }
        });
        let known = kind.is_some();
        let route = action.zip(name).map(|(action, name)| Self { name, event_types, filter, action, fetch });
        for problem in route.iter().flat_map(crate::actions::check::route) {
            let cure = "mend it; values of the event stand in double braces, such as `{{ data.id }}`";
            section.error(problem.key, problem.reason, cure);
        }
        // Which keys a route knows depends on its action; without one they cannot be judged.
        if known {
            section.finish();
        }
        route
    }
}

/// The words of `action`.
#[derive(Debug, Clone, Copy)]
enum Kind {
    SummarizeAndPublish,
    WordpressPublish,
    HttpCall,
    HttpForward,
    QueuePublish,
    Log,
}

impl Kind {
    const NAMES: [(&'static str, Self); 6] = [
        ("summarize_and_publish", Self::SummarizeAndPublish),
        ("wordpress_publish", Self::WordpressPublish),
        ("http_call", Self::HttpCall),
        ("http_forward", Self::HttpForward),
        ("queue_publish", Self::QueuePublish),
        ("log", Self::Log),
    ];
}

impl FromItem for Kind {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        units::word(item, &Self::NAMES)
    }
}

impl FromItem for RouteName {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        text.parse().map_err(|error: sluice_actors::domain::InvalidId| Problem::new(error.to_string(), "rename it"))
    }
}

impl FromItem for TypePattern {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        Self::parse(&text).map_err(|rule| {
            Problem::new(
                format!("`{text}` is not an event type: {rule}"),
                "write an exact type, or a prefix such as \"invoice.*\"",
            )
        })
    }
}

/// The first of the vendor's patterns that a route with `wanted` can meet.
fn overlap<'v>(wanted: &[TypePattern], of_vendor: &[&'v str]) -> Option<&'v str> {
    of_vendor.iter().copied().find(|pattern| {
        let Ok(pattern) = TypePattern::parse(pattern) else { return false };
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.overlaps(&pattern))
    })
}

impl Filter {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let pointer: Option<String> = section.required("pointer", "write a JSON pointer such as \"/data/amount\"");
        if pointer.as_ref().is_some_and(|pointer| !pointer.starts_with('/')) {
            section.error("pointer", "is not a JSON pointer", "begin it with `/`, such as \"/data/amount\"");
        }
        let any_of = section.items("any_of");
        if any_of.as_ref().is_none_or(Vec::is_empty) {
            section.error("any_of", "names no value", "write a list of values such as [\"paid\", \"open\"]");
        }
        section.finish();
        let any_of = any_of?.into_iter().filter_map(|(_, item)| serde_json::to_value(item.value.to_toml()).ok());
        Some(Self { pointer: pointer?, any_of: any_of.collect() })
    }
}

impl Prompt {
    fn read(section: &mut Section<'_>) -> Self {
        let prompt = Self {
            instructions: section.opt("prompt"),
            model: section.opt("model"),
            language: section.opt("language"),
            fields: section.list("fields").unwrap_or_default(),
            allow_links: section.list("allow_links").unwrap_or_default(),
        };
        if prompt.fields.iter().any(|field| !field.starts_with('/')) {
            section.error(
                "fields",
                "holds something that is not a JSON pointer",
                "begin each with `/`, such as \"/customer/name\"",
            );
        }
        prompt
    }
}

impl Publish {
    fn read(section: &mut Section<'_>) -> Self {
        Self { job_type: section.opt("job_type") }
    }
}

impl Fetch {
    fn read(mut section: Section<'_>, outbound: &Outbound) -> Option<Self> {
        let url = url_template(&mut section, outbound);
        let auth = Auth::read(&mut section, outbound);
        let headers = read_headers(&mut section);
        section.finish();
        Some(Self { url: url?, auth: auth?, headers })
    }
}

impl HttpCall {
    fn read(section: &mut Section<'_>, outbound: &Outbound) -> Option<Self> {
        let url = url_template(section, outbound);
        let method = section.parsed("method", |item| {
            units::word(
                item,
                &[
                    ("POST", http::Method::POST),
                    ("PUT", http::Method::PUT),
                    ("PATCH", http::Method::PATCH),
                    ("DELETE", http::Method::DELETE),
                    ("GET", http::Method::GET),
                ],
            )
        });
        let auth = Auth::read(section, outbound);
        let headers = read_headers(section);
        let body = section.opt("body");
        Some(Self { method: method.unwrap_or(http::Method::POST), url: url?, headers, body, auth: auth? })
    }
}

impl HttpForward {
    fn read(section: &mut Section<'_>, outbound: &Outbound) -> Option<Self> {
        let url: Option<Url> = section.parsed("url", |item| {
            let url = units::parse_url(&String::from_item(item)?)?;
            outbound.check(&url)?;
            Ok(url)
        });
        if !section.has("url") {
            section.error("url", "is missing", "write the URL that the events go to");
        }
        let secret = section.required_secret("secret");
        Some(Self { url: url?, secret: secret? })
    }
}

/// The URL template under `url`. Its scheme and host must be literal, so that an event cannot choose
/// who is called with our credentials.
fn url_template(section: &mut Section<'_>, outbound: &Outbound) -> Option<String> {
    if !section.has("url") {
        section.error("url", "is missing", "write the URL to call; its path and query may hold templates");
    }
    section.parsed("url", |item| {
        let text = String::from_item(item)?;
        let after_scheme = text.find("://").map_or(0, |at| at + 3);
        let end = text[after_scheme..].find(['/', '?', '#']).map_or(text.len(), |at| after_scheme + at);
        let origin = &text[..end];
        if origin.contains(['{', '}']) {
            return Err(Problem::new(
                "has a template in its host",
                "write the host literally: an event must not choose who is called",
            ));
        }
        outbound.check(&units::parse_url(origin)?)?;
        Ok(text)
    })
}

impl Auth {
    /// The auth under `auth`: [`Auth::None`] if the key is missing, none if it is wrong.
    fn read(section: &mut Section<'_>, outbound: &Outbound) -> Option<Self> {
        let given = section.has("auth");
        let Some(mut table) = section.table("auth") else { return (!given).then_some(Self::None) };
        let mut found = Vec::new();
        if table.has("bearer") {
            found.push(table.secret("bearer").map(Self::Bearer));
        }
        if let Some(mut basic) = table.table("basic") {
            let user = basic.required("user", "write the user's name");
            let password = basic.required_secret("password");
            basic.finish();
            found.push(user.zip(password).map(|(user, password)| Self::Basic { user, password }));
        }
        if let Some(mut header) = table.table("header") {
            let name = header.required("name", "write the header's name such as \"X-Api-Key\"");
            let value = header.required_secret("value");
            header.finish();
            found.push(name.zip(value).map(|(HeaderKey(name), value)| Self::Header { name, value }));
        }
        if let Some(oauth2) = table.table("oauth2") {
            found.push(OAuth2::read(oauth2, outbound).map(|oauth2| Self::OAuth2(Arc::new(oauth2))));
        }
        let spot = table.here();
        let ctx = table.ctx;
        table.finish();
        if found.len() == 1 {
            return found.remove(0);
        }
        let problem = Problem::new(
            format!("names {} ways to authenticate", found.len()),
            "write one of { bearer = … }, { basic = … }, { header = … }, { oauth2 = … }",
        );
        ctx.error(&spot.place, &spot.key, problem);
        None
    }
}

impl OAuth2 {
    fn read(mut section: Section<'_>, outbound: &Outbound) -> Option<Self> {
        let token_url: Option<Url> = section.required("token_url", "write the token endpoint's URL");
        if let Some(url) = &token_url
            && let Err(problem) = outbound.check(url)
        {
            section.problem("token_url", problem);
        }
        let client_id = section.required("client_id", "write the client's id");
        let client_secret = section.required_secret("client_secret");
        let scope = section.opt("scope");
        section.finish();
        Some(Self { token_url: token_url?, client_id: client_id?, client_secret: client_secret?, scope })
    }
}

/// The name of a header.
struct HeaderKey(http::HeaderName);

impl FromItem for HeaderKey {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        text.parse().map(Self).map_err(|_| {
            Problem::new(format!("`{text}` is not the name of a header"), "write one such as \"X-Api-Key\"")
        })
    }
}

/// Headers that carry credentials: their value is a reference, under `auth`.
const CREDENTIAL_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"];

fn read_headers(section: &mut Section<'_>) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    for (name, spot, item) in section.named("headers") {
        let problem = if name.parse::<http::HeaderName>().is_err() {
            Problem::new("is not the name of a header", suggest(&name, ["accept", "content-type"]))
        } else if CREDENTIAL_HEADERS.contains(&name.to_lowercase().as_str()) {
            Problem::new(
                "carries a credential",
                "write it under `auth`: { bearer = \"env:NAME\" } or { header = { name = …, value = \"env:NAME\" } }",
            )
        } else {
            match String::from_item(&item) {
                Ok(value) => {
                    headers.push((name, value));
                    continue;
                }
                Err(problem) => problem,
            }
        };
        section.ctx.error(&spot.place, &spot.key, problem);
    }
    headers
}
