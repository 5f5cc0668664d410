//! What a route does: the actions with their own keys.

use url::Url;

use super::{
    Outbound,
    auth::{Auth, read_headers},
    finding::Problem,
    queue::QueuePublish,
    section::Section,
    source::Around,
    tree::Item,
    units::{self, FromItem},
};
use crate::secrets::Secret;

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
    /// The event published to a broker.
    QueuePublish(QueuePublish),
    /// A log line.
    Log,
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
    /// What becomes of it there.
    pub mode: PublishMode,
}

/// What becomes of a result on the site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PublishMode {
    /// What the plugin's settings of the job type say.
    #[default]
    BySettings,
    /// `mode = "meta"`: it is kept beside an existing post, whose title and content stay as they are.
    Meta {
        /// Template over the event for the post's id; none: the post of the plugin's settings.
        target_post_id: Option<String>,
    },
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

impl ActionConfig {
    /// The action's name: column `type` of its jobs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::SummarizeAndPublish { .. } => "summarize_and_publish",
            Self::WordpressPublish { .. } => "wordpress_publish",
            Self::HttpCall(_) => "http_call",
            Self::HttpForward(_) => "http_forward",
            Self::QueuePublish(_) => "queue_publish",
            Self::Log => "log",
        }
    }

    /// Reads the keys of an action of this kind. `id_only` is the vendor and those of its types that
    /// carry only an id, where the route can meet them and fetches nothing.
    pub(super) fn read(
        kind: Kind,
        section: &mut Section<'_>,
        around: &Around<'_>,
        id_only: Option<(&str, &str)>,
    ) -> Option<Self> {
        match kind {
            Kind::SummarizeAndPublish => {
                if !around.has_llm {
                    section.error(
                        "action",
                        "needs an LLM and none is configured",
                        "add `[llm]` to sluice.toml or to this tenant's file",
                    );
                }
                if let Some((vendor, types)) = id_only {
                    section.error(
                        "fetch",
                        format!("is missing: `{types}` of {vendor} carries only an id, there is nothing to summarise"),
                        "add `fetch = { url = … }` that loads the resource, or narrow `event_types`",
                    );
                }
                Some(ActionConfig::SummarizeAndPublish {
                    prompt: Prompt::read(section),
                    publish: Publish::read(section),
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
                let publish = Publish::read(section);
                Some(ActionConfig::WordpressPublish { title: title?, summary: summary?, publish })
            }
            Kind::HttpCall => HttpCall::read(section, around.node.outbound).map(ActionConfig::HttpCall),
            Kind::HttpForward => HttpForward::read(section, around.node.outbound).map(ActionConfig::HttpForward),
            Kind::QueuePublish => QueuePublish::read(section, around.node.outbound).map(ActionConfig::QueuePublish),
            Kind::Log => Some(ActionConfig::Log),
        }
    }
}

/// The words of `action`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    SummarizeAndPublish,
    WordpressPublish,
    HttpCall,
    HttpForward,
    QueuePublish,
    Log,
}

impl Kind {
    pub(super) const NAMES: [(&'static str, Self); 6] = [
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
        let job_type = section.opt("job_type");
        let meta = section.parsed("mode", |item| units::word(item, &[("meta", ())])).is_some();
        let target_post_id = section.opt("target_post_id");
        if target_post_id.is_some() && !meta {
            section.error("target_post_id", "is for `mode = \"meta\"` only", "add `mode = \"meta\"`, or remove it");
        }
        let mode = if meta { PublishMode::Meta { target_post_id } } else { PublishMode::BySettings };
        Self { job_type, mode }
    }
}

impl Fetch {
    pub(super) fn read(mut section: Section<'_>, outbound: &Outbound) -> Option<Self> {
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
