//! Names and ids, parsed once at the door.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not the name or id it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {rule}")]
pub struct InvalidId {
    kind: &'static str,
    rule: &'static str,
}

impl InvalidId {
    pub(crate) const fn new(kind: &'static str, rule: &'static str) -> Self {
        Self { kind, rule }
    }
}

const NAME_RULE: &str = "1 to 64 of a-z, 0-9, `-` and `_`, beginning with a letter or digit";

fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    (1..=64).contains(&bytes.len())
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_name(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId { kind: $kind, rule: NAME_RULE })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A tenant: an isolated customer of the gateway.
    TenantName,
    "tenant name"
);
name!(
    /// A source: one vendor for one tenant; the last part of its webhook URL.
    SourceName,
    "source name"
);
name!(
    /// A route of a source.
    RouteName,
    "route name"
);

/// A lane: tenant and source. The unit of isolation, of limits and of supervision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LaneKey {
    /// Whose work it is.
    pub tenant: TenantName,
    /// Which of the tenant's sources.
    pub source: SourceName,
}

impl LaneKey {
    /// The lane of `source` of `tenant`.
    pub fn new(tenant: TenantName, source: SourceName) -> Self {
        Self { tenant, source }
    }
}

impl fmt::Display for LaneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.source)
    }
}

/// Who an action calls: an LLM credential, a WordPress site, a host. Never contains a secret;
/// forms: `llm:<digest>`, `wordpress:<host>`, `host:<host>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct CalleeId(Arc<str>);

impl CalleeId {
    /// A callee of a `kind` (`llm`, `wordpress`, `queue`, `host`) with a name that is safe to show.
    pub fn new(kind: &str, name: &str) -> Self {
        Self(format!("{kind}:{name}").into())
    }

    /// The id as text, safe for logs and metric labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CalleeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// From the stored 16 bytes.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID behind the id (version 7: it sorts by time of creation).
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The 16 bytes of the UUID, as stored.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.as_simple())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let invalid = InvalidId {
                    kind: $kind,
                    rule: concat!("`", $prefix, "_` and 32 hexadecimal digits"),
                };
                let hex = text.strip_prefix(concat!($prefix, "_")).ok_or_else(|| invalid.clone())?;
                if hex.len() != 32 {
                    return Err(invalid);
                }
                Uuid::try_parse(hex).map(Self).map_err(|_| invalid)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

id!(
    /// An event: `evt_` and 32 hexadecimal digits.
    EventId,
    "evt",
    "event id"
);
id!(
    /// A job: `job_` and 32 hexadecimal digits.
    JobId,
    "job",
    "job id"
);
id!(
    /// An artifact: `art_` and 32 hexadecimal digits.
    ArtifactId,
    "art",
    "artifact id"
);
id!(
    /// A token of the API: `tok_` and 32 hexadecimal digits. Names it; it is not its secret.
    TokenId,
    "tok",
    "token id"
);

/// The token of one attempt. Rises with every `begin`; every later write of that attempt must
/// present it, so a stale attempt changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub i64);

/// Which ownership of a lane: rises whenever a node takes the lane. A begin presents it, so that a
/// node that no longer owns the lane begins nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub i64);

/// A W3C trace id: 16 bytes, written as 32 lowercase hexadecimal digits, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TraceId([u8; 16]);

impl TraceId {
    /// From 16 random bytes; `None` for all zeros, which the standard calls invalid.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// The 16 bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl FromStr for TraceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = InvalidId { kind: "trace id", rule: "32 lowercase hexadecimal digits, not all zero" };
        let lower = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let bytes = u128::from_str_radix(text, 16).map_err(|_| invalid.clone())?.to_be_bytes();
        Self::from_bytes(bytes).filter(|_| lower).ok_or(invalid)
    }
}

impl TryFrom<String> for TraceId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<TraceId> for String {
    fn from(id: TraceId) -> Self {
        id.to_string()
    }
}
