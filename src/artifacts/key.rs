//! Where an object lies: `{tenant}/{kind}/{date}/{id}`. A key is always one tenant's, by its type.

use std::{fmt, str::FromStr};

use sluice_actors::domain::{ArtifactId, TenantName, Timestamp};

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// What a sender uploaded, for an event to refer to.
    Upload,
    /// What a job produced and no callback could carry.
    Result,
    /// What a model was asked and what it said.
    Transcript,
    /// The payload of an event, past its time in the store.
    Payload,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Upload, Self::Result, Self::Transcript, Self::Payload];

    /// The stored word, and the segment of keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "uploads",
            Self::Result => "results",
            Self::Transcript => "transcripts",
            Self::Payload => "payloads",
        }
    }

    /// What an editor is told that it is: the `type` of the callback's `artifacts`.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Upload => "attachment",
            Self::Result => "result",
            Self::Transcript => "transcript",
            Self::Payload => "payload",
        }
    }
}

impl FromStr for Kind {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(InvalidKey)
    }
}

/// The text is no key of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no key of an artifact, such as `acme/uploads/2026-11-24/art_…`")]
pub struct InvalidKey;

/// The key of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    tenant: TenantName,
    kind: Kind,
    /// `YYYY-MM-DD`, of when it was made: for people and lifecycle rules that look into the store.
    date: String,
    id: ArtifactId,
}

/// How many characters a date has.
const DATE: usize = 10;

impl Key {
    /// The key of an artifact that was made then.
    pub fn new(tenant: TenantName, kind: Kind, created_at: Timestamp, id: ArtifactId) -> Self {
        let mut date = created_at.to_string();
        date.truncate(DATE);
        Self { tenant, kind, date, id }
    }

    /// Whose it is.
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Which it is.
    pub fn id(&self) -> ArtifactId {
        self.id
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.tenant, self.kind.as_str(), self.date, self.id)
    }
}

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = text.split('/');
        let mut next = || parts.next().ok_or(InvalidKey);
        let tenant = next()?.parse().map_err(|_| InvalidKey)?;
        let kind = next()?.parse()?;
        let date = next()?;
        let digits = date.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
        let id: ArtifactId = next()?.parse().map_err(|_| InvalidKey)?;
        let key = Self { tenant, kind, date: date.to_owned(), id };
        // One text for each key: `art_` takes hexadecimal digits in either case.
        let whole = parts.next().is_none() && digits && date.len() == DATE && key.to_string() == text;
        if whole { Ok(key) } else { Err(InvalidKey) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_tenant_kind_date_and_id_and_reads_back() {
        let id: ArtifactId = "art_0193a7d4c1e87cc0a3f0c5d6e7f80912".parse().unwrap();
        let at = Timestamp::parse_rfc3339("2026-11-24T08:00:05Z").unwrap();
        let key = Key::new("acme".parse().unwrap(), Kind::Upload, at, id);
        assert_eq!(key.to_string(), "acme/uploads/2026-11-24/art_0193a7d4c1e87cc0a3f0c5d6e7f80912");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn what_climbs_hides_or_varies_is_no_key() {
        let id = "art_0193a7d4c1e87cc0a3f0c5d6e7f80912";
        for bad in [
            String::new(),
            "acme".into(),
            format!("acme/uploads/2026-11-24/{id}/"),
            format!("acme/uploads/2026-11-24/{id}/x"),
            format!("/acme/uploads/2026-11-24/{id}"),
            format!("../uploads/2026-11-24/{id}"),
            format!("acme/../2026-11-24/{id}"),
            format!("acme/uploads/../{id}"),
            format!("acme/uploads/2026-11-2a/{id}"),
            format!("acme/uploads/2026-11-241/{id}"),
            format!("acme/uploads/2026-11-24/{}", id.to_uppercase().replace("ART", "art")),
            "acme/uploads/2026-11-24/evt_0193a7d4c1e87cc0a3f0c5d6e7f80912".into(),
            format!("acme/secrets/2026-11-24/{id}"),
            format!("acme%2fuploads/2026-11-24/{id}"),
            format!("acme/uploads/2026-11-24/{id}\0"),
        ] {
            assert_eq!(bad.parse::<Key>(), Err(InvalidKey), "{bad}");
        }
    }
}
