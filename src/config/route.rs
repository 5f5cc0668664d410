//! `[[sources.*.routes]]`: which events cause which action.

use std::sync::Arc;

use sluice_actors::domain::RouteName;
use url::Url;

use crate::secrets::Secret;

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
