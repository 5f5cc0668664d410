//! `[alerts]` of `sluice.toml`: who is told what happens, and from when on.

use std::{collections::BTreeSet, fmt, time::Duration};

use lettre::message::Mailbox;
use serde::{Deserialize, Serialize};
use sluice_actors::domain::TenantName;
use url::Url;

use super::{
    Outbound,
    finding::Problem,
    section::Section,
    tree::Item,
    units::{self, FromItem},
};
use crate::{
    secrets::Secret,
    vendors::{self, Key},
};

/// Open dead letters of a lane from which on somebody is told, where nobody says otherwise.
const DEAD_LETTERS: u64 = 10;
/// How long before its end a secret is told of, where nobody says otherwise.
const SECRET_EXPIRY: Duration = Duration::from_secs(14 * 86_400);
/// Whom one configuration tells.
const MAX_RECEIVERS: usize = 32;

/// `[alerts]`.
#[derive(Debug)]
pub struct Alerts {
    /// Open dead letters of one lane from which on a new one is told of.
    pub dead_letters: u64,
    /// How long before its end a secret is told of.
    pub secret_expiry: Duration,
    /// Who is told.
    pub receivers: Vec<Receiver>,
}

/// Somebody who is told.
#[derive(Debug)]
pub struct Receiver {
    /// The operator's name for it, also a metric label.
    pub name: String,
    /// How it is told.
    pub channel: Channel,
    /// Only what is of these tenants; none: everything.
    pub tenants: Option<BTreeSet<TenantName>>,
    /// Only these causes.
    pub causes: BTreeSet<Cause>,
    /// Whether it is shown the beginning of the (redacted) payload.
    pub sample: bool,
}

/// How somebody is told.
#[derive(Debug)]
pub enum Channel {
    /// JSON, signed after Standard Webhooks.
    Webhook {
        /// Where it goes.
        url: Target,
        /// `whsec_…`.
        secret: Secret,
    },
    /// `{"text": …}` to an incoming webhook of Slack or what understands the same.
    Slack {
        /// Where it goes; whoever has it may post.
        url: Target,
    },
    /// A mail.
    Email(Box<Mail>),
}

impl Channel {
    /// Its key in the file.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Email(_) => "email",
        }
    }
}

/// A URL that may hold a credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(pub Url);

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({}://{}/…)", self.0.scheme(), self.0.host_str().unwrap_or_default())
    }
}

/// A mail server and who writes to whom.
#[derive(Debug)]
pub struct Mail {
    /// Its host: also the name in its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How what is said is hidden.
    pub security: MailSecurity,
    /// User and password.
    pub credentials: Option<(String, Secret)>,
    /// Who writes.
    pub from: Mailbox,
    /// To whom.
    pub to: Vec<Mailbox>,
}

/// How a mail travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailSecurity {
    /// TLS from the first byte.
    Tls,
    /// TLS after a greeting, or nothing is sent.
    StartTls,
    /// In the clear: on loopback only.
    None,
}

/// What somebody is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A breaker opened: calls are held.
    BreakerOpened,
    /// A breaker closed: calls flow again.
    BreakerClosed,
    /// A lane panicked too often.
    LaneParked,
    /// A lane has many dead letters, and one more.
    DeadLetters,
    /// A callee refuses our credentials.
    CredentialsRefused,
    /// A secret that is in use, or the last of its source, ends soon.
    SecretExpiring,
    /// The other nodes took this one for dead.
    NodeTakenForDead,
    /// Somebody tries whether alerts arrive.
    Test,
}

impl Cause {
    /// All that happen by themselves.
    pub const ALL: [Self; 7] = [
        Self::BreakerOpened,
        Self::BreakerClosed,
        Self::LaneParked,
        Self::DeadLetters,
        Self::CredentialsRefused,
        Self::SecretExpiring,
        Self::NodeTakenForDead,
    ];

    /// The word in files, rows, messages and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerClosed => "breaker_closed",
            Self::LaneParked => "lane_parked",
            Self::DeadLetters => "dead_letters",
            Self::CredentialsRefused => "credentials_refused",
            Self::SecretExpiring => "secret_expiring",
            Self::NodeTakenForDead => "node_taken_for_dead",
            Self::Test => "test",
        }
    }
}

impl FromItem for Cause {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        units::word(item, &Self::ALL.map(|cause| (cause.as_str(), cause)))
    }
}

impl Alerts {
    /// `tenants`: the names of the tenants' files.
    pub(super) fn read(mut section: Section<'_>, outbound: &Outbound, tenants: &BTreeSet<String>) -> Self {
        let dead_letters = section.number("dead_letters", DEAD_LETTERS, 1..=1_000_000);
        let day = Duration::from_secs(86_400);
        let secret_expiry = section.duration("secret_expiry", Duration::ZERO..=day * 365).unwrap_or(SECRET_EXPIRY);
        let tables = section.tables("receivers");
        if tables.len() > MAX_RECEIVERS {
            section.error(
                "receivers",
                format!("names {} receivers", tables.len()),
                format!("keep at most {MAX_RECEIVERS}; a list of people belongs into a mail's `to`"),
            );
        }
        let mut receivers: Vec<Receiver> = Vec::new();
        for table in tables {
            let spot = table.here();
            let Some(receiver) = Receiver::read(table, outbound, tenants) else { continue };
            if receivers.iter().any(|earlier| earlier.name == receiver.name) {
                let problem = Problem::new(
                    format!("a second receiver is named `{}`", receiver.name),
                    "give each receiver its own name: the log and the metrics tell them apart by it",
                );
                section.ctx.error(&spot.place, &format!("{}.name", spot.key), problem);
            }
            receivers.push(receiver);
        }
        section.finish();
        Self { dead_letters, secret_expiry, receivers }
    }
}

impl Receiver {
    fn read(mut section: Section<'_>, outbound: &Outbound, known: &BTreeSet<String>) -> Option<Self> {
        let name: Option<String> = section.required("name", "write a short name such as \"on-call\"");
        if let Some(name) = &name
            && (name.is_empty()
                || name.len() > 40
                || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c)))
        {
            section.error("name", format!("`{name}` does not fit"), "write 1 to 40 of a-z, 0-9, `-` and `_`");
        }
        let channel = read_channel(&mut section, outbound);
        let tenants: Option<BTreeSet<TenantName>> = section.list::<String>("tenants").map(|names| {
            let read = names.into_iter().filter_map(|name| {
                if !known.contains(&name) {
                    section.warn("tenants", format!("names `{name}`, which has no file"), "correct the name");
                }
                match name.parse() {
                    Ok(tenant) => Some(tenant),
                    Err(error) => {
                        let error: sluice_actors::domain::InvalidId = error;
                        section.error("tenants", error.to_string(), "write the name of a tenant's file");
                        None
                    }
                }
            });
            read.collect()
        });
        let causes = section.list("causes").map_or_else(|| Cause::ALL.into(), |causes| causes.into_iter().collect());
        let sample = section.get("sample", true);
        section.finish();
        Some(Self { name: name?, channel: channel?, tenants, causes, sample })
    }

    /// Whether it is to hear of `cause` at what is of `tenants`. What is of no tenant is for those who hear
    /// everything.
    pub fn wants(&self, cause: Cause, tenants: &[TenantName]) -> bool {
        let of_mine = |mine: &BTreeSet<TenantName>| tenants.iter().any(|tenant| mine.contains(tenant));
        self.causes.contains(&cause) && self.tenants.as_ref().is_none_or(of_mine)
    }
}

fn read_channel(section: &mut Section<'_>, outbound: &Outbound) -> Option<Channel> {
    let named: Vec<&str> = ["webhook", "slack", "email"].into_iter().filter(|key| section.has(key)).collect();
    if named.len() != 1 {
        section.error(
            named.first().unwrap_or(&"webhook"),
            if named.is_empty() { "is missing" } else { "is not the only channel of this receiver" },
            "write one of `webhook`, `slack` and `email` for each receiver",
        );
        // Read all the same, so that they are not called unknown.
        let _ = section.rest(&["webhook", "slack", "email", "secret"]);
        return None;
    }
    match named[0] {
        "webhook" => {
            let url = section.text_or_secret("webhook").map(|(url, _)| url);
            let url = url.and_then(|url| target(section, "webhook", &url, outbound));
            let secret = section.required_secret("secret");
            if let Some(secret) = &secret
                && let Some(Ok(standard)) = vendors::build("standard", &toml::Table::new())
                && !matches!(standard.key(secret), Ok(Key::Symmetric(_)))
            {
                let cure = "make one with `echo whsec_$(openssl rand -base64 32)`";
                section.error("secret", "is not the base64 of a signing secret", cure);
            }
            Some(Channel::Webhook { url: url?, secret: secret? })
        }
        "slack" => {
            let url = section.required_secret("slack")?;
            Some(Channel::Slack { url: target(section, "slack", &url, outbound)? })
        }
        _ => read_mail(section.table("email")?, outbound).map(|mail| Channel::Email(Box::new(mail))),
    }
}

fn target(section: &Section<'_>, key: &'static str, url: &Secret, outbound: &Outbound) -> Option<Target> {
    // The value may be a credential: it is not repeated.
    let parsed = url.expose_str().and_then(|text| Url::parse(text.trim()).ok());
    let Some(url) = parsed.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host()) else {
        section.error(key, "is not a URL", "write the https URL that takes alerts");
        return None;
    };
    if let Err(problem) = outbound.check(&url) {
        section.problem(key, problem);
        return None;
    }
    Some(Target(url))
}

fn read_mail(mut section: Section<'_>, outbound: &Outbound) -> Option<Mail> {
    let form = "write \"smtps://HOST\" (TLS at once, port 465) or \"smtp://HOST\" (STARTTLS, port 587)";
    let server: Option<String> = section.required("server", form);
    let starttls = section.get("starttls", true);
    let server = server.and_then(|text| {
        let Ok(url) = Url::parse(&text) else {
            section.error("server", "is not the URL of a mail server", form);
            return None;
        };
        let port = match url.scheme() {
            "smtps" => 465,
            "smtp" => 587,
            _ => {
                section.error("server", "is not the URL of a mail server", form);
                return None;
            }
        };
        // As the URL that says the same of HTTP: its host is understood, and the rules for addresses are one.
        let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("//");
        let Ok(plain) = Url::parse(&format!("http://{host}/")) else {
            section.error("server", "names no host", form);
            return None;
        };
        if !url.username().is_empty() || url.password().is_some() {
            section.error("server", "carries a user", "write `user`, and `password` as a reference, beside it");
        }
        let is_loopback = units::is_loopback(&plain);
        let asked = if is_loopback { Ok(plain.clone()) } else { Url::parse(&format!("https://{host}/")) };
        if let Some(problem) = asked.ok().and_then(|url| outbound.check(&url).err()) {
            section.problem("server", problem);
        }
        let security = match (url.scheme(), starttls) {
            ("smtps", _) => MailSecurity::Tls,
            (_, true) => MailSecurity::StartTls,
            (_, false) => MailSecurity::None,
        };
        if security == MailSecurity::None && !is_loopback {
            section.error("starttls", "is off outside loopback: alerts would travel in the clear", "leave it out");
        }
        // The brackets of an IPv6 address are part of the URL only.
        let bare = plain.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        Some((bare, url.port().unwrap_or(port), security))
    });
    let user: Option<String> = section.opt("user");
    let password = section.secret("password");
    if user.is_some() != section.has("password") {
        section.error("user", "stands without `password`, or the other way round", "write both or none");
    }
    if password.as_ref().is_some_and(|password| password.expose_str().is_none()) {
        section.error("password", "is not text", "refer to the password of the mail server's user");
    }
    let from = section.required("from", "write an address such as \"Sluice <sluice@example.com>\"");
    let to: Vec<Mailbox> = section.list("to").unwrap_or_default();
    if to.is_empty() {
        section.error("to", "names nobody", "write a list of addresses such as [\"ops@example.com\"]");
    }
    section.finish();
    let (host, port, security) = server?;
    Some(Mail { host, port, security, credentials: user.zip(password), from: from?, to })
}

impl FromItem for Mailbox {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        let text = String::from_item(item)?;
        text.parse().map_err(|_| {
            Problem::new(format!("`{text}` is not an address"), "write one such as \"Ops <ops@example.com>\"")
        })
    }
}
