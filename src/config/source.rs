//! `[sources.*]` of a tenant file.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sluice_actors::domain::{LaneKey, SourceName, TenantName};

use super::{
    Access, Keys, Route, TypePattern,
    finding::{Problem, suggest},
    keys,
    limits::SourceLimits,
    section::Section,
    server::DEFAULT_MAX_BODY,
    tenant::Node,
    tree::{Item, Value},
    units::{self, FromItem},
};
use crate::{
    secrets::{Secret, Staleness},
    vendors::{self, OnConflict, Vendor},
};

/// One source, resolved: the scheme, its live keys, its limits, its routes.
#[derive(Debug)]
pub struct Source {
    /// Tenant and source.
    pub lane: LaneKey,
    /// Whether its file lets it accept deliveries and run jobs; see [`Source::is_on`].
    pub enabled: bool,
    /// Whether operators switched it off meanwhile.
    pub off: Off,
    /// Its scheme.
    pub vendor: Arc<dyn Vendor>,
    /// Newest first: at most 3 that the file names, each with its previous version behind it where a
    /// provider (`overlap`) or `sluice secret rotate` keeps one.
    pub keys: Keys,
    /// Of what it and its tenant take from remote providers, whether it is too old to be used.
    pub staleness: Vec<Staleness>,
    /// How far a signed time may lie from now.
    pub tolerance: Duration,
    /// How duplicates are told apart.
    pub on_conflict: OnConflict,
    /// Whether replay keys are kept and compared.
    pub replay_guard: bool,
    /// Whether it waits for a token that the vendor hands over (Notion).
    pub await_handshake: bool,
    /// Whether the vendor's trace is continued instead of linked.
    pub continue_trace: bool,
    /// Whether its sender may upload artifacts.
    pub uploads: bool,
    /// Redaction by rule.
    pub redact: Vec<RedactRule>,
    /// Built-in redaction patterns that are on.
    pub redact_patterns: Vec<PiiPattern>,
    /// Keys the digests of `hash` rules (`redact_key`, a reference to a secret of at least 16 bytes);
    /// without it they mask.
    pub redact_key: Option<Secret>,
    /// JSON Schemas an operator adds: event type pattern and compiled schema, checked after the
    /// built-in schema; a misfit is quarantined.
    pub schemas: Vec<(TypePattern, Arc<jsonschema::Validator>)>,
    /// Who may deliver.
    pub access: Access,
    /// Its limits.
    pub limits: SourceLimits,
    /// Its routes, in the order of the file.
    pub routes: Vec<Arc<Route>>,
}

impl Source {
    /// Whether it accepts deliveries and runs jobs: its file says so, nobody switched it or its tenant
    /// off, and its secrets are not too old.
    pub fn is_on(&self) -> bool {
        self.enabled && !self.off.0.load(Ordering::Relaxed) && !self.is_stale()
    }

    /// Whether it is closed because a provider could not be read for longer than `secrets.max_age`.
    pub fn is_stale(&self) -> bool {
        self.staleness.iter().any(Staleness::is_stale)
    }
}

/// Switched off by an operator. No part of what a file means, so that nodes which have not heard of
/// it yet are not configured differently.
#[derive(Default)]
pub struct Off(pub(super) AtomicBool);

impl fmt::Debug for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Off")
    }
}

/// One redaction rule: a JSON pointer with `*` for any key or element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactRule {
    /// The pointer, split and unescaped; `*` matches any key or index.
    pub pointer: Vec<String>,
    /// What happens there.
    pub method: RedactMethod,
}

/// What a redaction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RedactMethod {
    /// The field is removed.
    Drop,
    /// The value becomes `[redacted]`.
    Mask,
    /// The value becomes a keyed digest, equal for equal values of the same tenant.
    Hash,
}

/// A built-in pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PiiPattern {
    /// Keys and tokens in well-known forms, and values under telling key names.
    Secret,
    /// Card numbers that pass Luhn.
    Card,
    /// E-mail addresses.
    Email,
    /// Phone numbers in international form.
    Phone,
    /// IBANs that pass mod 97.
    Iban,
}

impl PiiPattern {
    /// All patterns, by the words of `redact_patterns`.
    pub const ALL: [(&'static str, Self); 5] = [
        ("secret", Self::Secret),
        ("card", Self::Card),
        ("email", Self::Email),
        ("phone", Self::Phone),
        ("iban", Self::Iban),
    ];
}

/// What a source needs to know of what is around it.
#[derive(Debug)]
pub(super) struct Around<'a> {
    pub(super) tenant: &'a TenantName,
    pub(super) node: Node<'a>,
    pub(super) has_llm: bool,
    pub(super) has_wordpress: bool,
    /// Of what the tenant's WordPress and LLM take from remote providers.
    pub(super) staleness: Vec<Staleness>,
}

/// Keys of a source's table that its vendor reads.
const VENDOR_OPTIONS: [&str; 2] = ["scheme", "webhook_id"];

/// Beyond this a captured delivery stays good for longer than the mission allows.
const USUAL_TOLERANCE: Duration = Duration::from_mins(5);

impl Source {
    pub(super) fn read(name: SourceName, mut section: Section<'_>, around: &Around<'_>) -> Option<Self> {
        let mark = section.ctx.mark();
        let vendor = read_vendor(&mut section);
        let profile = vendor.as_ref().map(|vendor| vendor.profile());
        let enabled = section.get("enabled", true);
        let await_handshake = section.get("await_handshake", false);
        let keys = keys::read_keys(&mut section, vendor.as_deref(), around.tenant, await_handshake);
        let tolerance = section.duration("tolerance", Duration::from_secs(1)..=Duration::from_hours(1));
        if tolerance.is_some_and(|tolerance| tolerance > USUAL_TOLERANCE) {
            section.warn(
                "tolerance",
                "is more than 5 minutes: a captured delivery can be sent again for as long",
                "leave it out unless the sender's clock is known to be wrong",
            );
        }
        let on_conflict = section.parsed("on_conflict", |item| {
            units::word(item, &[("ignore", OnConflict::Ignore), ("revision", OnConflict::Revision)])
        });
        let replay_guard = section.parsed("replay_guard", |item| units::word(item, &[("on", true), ("off", false)]));
        let continue_trace = section.get("continue_trace", false);
        let uploads = section.get("uploads", false);
        let access = Access::read(&mut section, around.node.edge);
        let redact: Vec<RedactRule> = section.tables("redact").into_iter().filter_map(RedactRule::read).collect();
        let redact_key = read_redact_key(&mut section, &redact);
        let redact_patterns =
            section.list("redact_patterns").unwrap_or_else(|| PiiPattern::ALL.map(|(_, p)| p).to_vec());
        let schemas = section.tables("schemas").into_iter().filter_map(read_schema).collect();
        let vendor_max = profile.map(|profile| profile.max_body).filter(|max| *max != DEFAULT_MAX_BODY);
        let limits = SourceLimits::read(section.table("limits"), vendor_max.unwrap_or(around.node.edge.max_body));
        let routes = read_routes(&mut section, around, vendor.as_deref());
        if let Some(profile) = profile {
            if profile.signs_url && around.node.edge.public_url.is_none() {
                section.error(
                    "vendor",
                    "signs the URL that it calls, and the gateway is not told its own",
                    "set `edge.public_url` in sluice.toml to the https URL that vendors call",
                );
            }
            if profile.weak {
                section.warn(
                    "vendor",
                    "is authenticated by a static token only: whoever sees one delivery can forge any",
                    "use a signing scheme if the sender has one",
                );
            }
        }
        let mut staleness = around.staleness.clone();
        staleness.extend(section.ctx.staleness_since(mark));
        section.finish();
        let vendor = vendor?;
        let profile = vendor.profile().clone();
        Some(Self {
            lane: LaneKey::new(around.tenant.clone(), name),
            enabled,
            off: Off::default(),
            vendor,
            keys,
            staleness,
            tolerance: tolerance.unwrap_or(profile.tolerance),
            on_conflict: on_conflict.unwrap_or(profile.on_conflict),
            replay_guard: replay_guard.unwrap_or(true),
            await_handshake,
            continue_trace,
            uploads,
            redact,
            redact_patterns,
            redact_key,
            schemas,
            access,
            limits,
            routes,
        })
    }
}

fn read_vendor(section: &mut Section<'_>) -> Option<Arc<dyn Vendor>> {
    let name: Option<String> = section.required("vendor", &format!("write one of {}", vendors::NAMES.join(", ")));
    let mut options = section.rest(&VENDOR_OPTIONS);
    if let Some(certificates) = read_certificates(section) {
        options.insert("certificates".to_owned(), certificates);
    }
    look_up_token(section, &mut options)?;
    let name = name?;
    match vendors::build(&name, &options) {
        None => {
            section.error("vendor", format!("`{name}` is not a known vendor"), suggest(&name, vendors::NAMES));
            None
        }
        Some(Err(vendors::InvalidOption { key, reason })) => {
            section.error(&key, reason, "");
            None
        }
        Some(Ok(vendor)) => Some(vendor),
    }
}

/// The token of a custom scheme's GET handshake is a credential inside the vendor's own table: the
/// vendor is handed its value.
fn look_up_token(section: &Section<'_>, options: &mut toml::Table) -> Option<()> {
    let handshake = options.get_mut("scheme").and_then(|scheme| scheme.get_mut("handshake"));
    let Some(token) = handshake.and_then(|handshake| handshake.get_mut("token")) else { return Some(()) };
    let spot = section.spot("scheme.handshake.token");
    let text = token.as_str().unwrap_or_default().to_owned();
    let item = Item { place: spot.place.clone(), value: Value::Text(text) };
    let (secret, _) = section.unclaimed_secret_at(&item, &spot)?;
    *token = toml::Value::String(secret.expose_str()?.to_owned());
    Some(())
}

/// Certificates are public, but are kept in files all the same: the vendor is handed their text.
fn read_certificates(section: &mut Section<'_>) -> Option<toml::Value> {
    let items = section.items("certificates")?;
    let texts = items.into_iter().filter_map(|(spot, item)| {
        let (pem, _) = section.unclaimed_secret_at(&item, &spot)?;
        pem.expose_str().map(|text| toml::Value::String(text.to_owned()))
    });
    Some(toml::Value::Array(texts.collect()))
}

fn read_routes(section: &mut Section<'_>, around: &Around<'_>, vendor: Option<&dyn Vendor>) -> Vec<Arc<Route>> {
    let mut names = BTreeSet::new();
    let mut routes = Vec::new();
    for table in section.tables("routes") {
        let spot = table.here();
        let Some(route) = Route::read(table, around, vendor) else { continue };
        if !names.insert(route.name.clone()) {
            let problem = Problem::new(
                format!("a second route is named `{}`", route.name),
                "give each route of a source its own name: jobs are told apart by it",
            );
            section.ctx.error(&spot.place, &format!("{}.name", spot.key), problem);
        }
        routes.push(Arc::new(route));
    }
    routes
}

impl RedactRule {
    fn read(mut section: Section<'_>) -> Option<Self> {
        let pointer =
            section.required("pointer", "write a JSON pointer such as \"/customer/email\"; `*` stands for any key");
        let pointer: Option<Vec<String>> = pointer.and_then(|text: String| {
            let parts = split_pointer(&text);
            if parts.is_none() {
                section.error("pointer", "is not a JSON pointer", "begin it with `/`, such as \"/customer/email\"");
            }
            parts
        });
        let method = section.get("method", RedactMethod::Mask);
        section.finish();
        Some(Self { pointer: pointer?, method })
    }
}

/// A shorter key could be guessed together with what it hides.
const MIN_REDACT_KEY: usize = 16;

fn read_redact_key(section: &mut Section<'_>, rules: &[RedactRule]) -> Option<Secret> {
    let key = section.secret("redact_key");
    if key.as_ref().is_some_and(|key| key.expose().len() < MIN_REDACT_KEY) {
        section.error(
            "redact_key",
            format!("is shorter than {MIN_REDACT_KEY} bytes"),
            "make one with `openssl rand -hex 32`",
        );
    }
    if !section.has("redact_key") && rules.iter().any(|rule| rule.method == RedactMethod::Hash) {
        section.warn(
            "redact",
            "hashes without a `redact_key`: the values are masked instead",
            "add `redact_key`, a reference to a secret of at least 16 bytes",
        );
    }
    key
}

/// The parts of a JSON pointer (RFC 6901), unescaped. The whole document is no part of itself.
pub(super) fn split_pointer(text: &str) -> Option<Vec<String>> {
    let rest = text.strip_prefix('/')?;
    Some(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

impl FromItem for RedactMethod {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        units::word(item, &[("drop", Self::Drop), ("mask", Self::Mask), ("hash", Self::Hash)])
    }
}

impl FromItem for PiiPattern {
    fn from_item(item: &Item) -> Result<Self, Problem> {
        units::word(item, &Self::ALL)
    }
}

fn read_schema(mut section: Section<'_>) -> Option<(TypePattern, Arc<jsonschema::Validator>)> {
    let types = section.required("types", "write an event type or a prefix such as \"invoice.*\"");
    let file: Option<String> = section.required("file", "write the path of a JSON Schema");
    let validator = file.and_then(|file| {
        let path = section.ctx.secrets.dir.join(&file);
        section.ctx.files.borrow_mut().push(path.clone());
        match compile_schema(&path) {
            Ok(validator) => Some(Arc::new(validator)),
            Err(problem) => {
                section.problem("file", problem);
                None
            }
        }
    });
    section.finish();
    Some((types?, validator?))
}

fn compile_schema(path: &std::path::Path) -> Result<jsonschema::Validator, Problem> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problem::new(
            format!("cannot read {shown}: {error}"),
            "correct the path; relative paths start at the configuration's folder",
        )
    })?;
    let schema: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| Problem::new(format!("{shown} is not JSON: {error}"), "correct the file"))?;
    // Patterns are matched in linear time: what a payload costs must not be the sender's choice. Such
    // patterns have no look-around and no back-references.
    jsonschema::options()
        .with_pattern_options(jsonschema::PatternOptions::regex())
        .build(&schema)
        .map_err(|error| Problem::new(format!("{shown} is not a JSON Schema: {error}"), "correct the file"))
}
