//! `[sources.*]` of a tenant file.

use std::{sync::Arc, time::Duration};

use sluice_actors::{
    domain::{LaneKey, Timestamp},
    ports::{BreakerPolicy, Rate},
};

use super::Route;
use crate::vendors::{Key, OnConflict, Vendor};

/// One source, resolved: the scheme, its live keys, its limits, its routes.
#[derive(Debug)]
pub struct Source {
    /// Tenant and source.
    pub lane: LaneKey,
    /// Whether it accepts deliveries and runs jobs.
    pub enabled: bool,
    /// Its scheme.
    pub vendor: Arc<dyn Vendor>,
    /// Newest first, at most 3.
    pub keys: Vec<LiveKey>,
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
    /// Redaction by rule.
    pub redact: Vec<RedactRule>,
    /// Built-in redaction patterns that are on.
    pub redact_patterns: Vec<PiiPattern>,
    /// Keys the digests of `hash` rules (`redact_key`, a reference to a secret of at least 16 bytes);
    /// without it they mask.
    pub redact_key: Option<crate::secrets::Secret>,
    /// JSON Schemas an operator adds: event type pattern and compiled schema, checked after the
    /// built-in schema; a misfit is quarantined.
    pub schemas: Vec<(super::TypePattern, Arc<jsonschema::Validator>)>,
    /// Its limits.
    pub limits: SourceLimits,
    /// Its routes, in the order of the file.
    pub routes: Vec<Arc<Route>>,
}

/// A key with its label and its end.
#[derive(Debug, Clone)]
pub struct LiveKey {
    /// The key.
    pub key: Key,
    /// A label that tells versions apart without telling the secret (`env:NEW`).
    pub version: Arc<str>,
    /// When it stops verifying.
    pub not_after: Option<Timestamp>,
}

/// `[sources.*.limits]`.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceLimits {
    /// Deliveries, charged after verification.
    pub inbound: Rate,
    /// Attempts.
    pub outbound: Rate,
    /// Attempts at once.
    pub concurrency: u32,
    /// Jobs not yet done, above which deliveries get 429.
    pub pending: u64,
    /// The largest body in bytes.
    pub max_body: usize,
    /// The breaker of each callee.
    pub breaker: BreakerPolicy,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
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
