//! What metrics and logs are told of ingest.

use std::{net::IpAddr, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use sluice_actors::domain::LaneKey;

use super::{EventStatus, Recorded};
use crate::{trace::DeliveryTrace, vendors::Refusal};

/// Is told what happens at the edge and in ingest. Must return at once.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn observe(&self, event: &IngestEvent<'_>);
}

/// Where a delivery went: the lane and its vendor. Only of sources that exist.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The lane.
    pub lane: &'a LaneKey,
    /// The vendor's name.
    pub vendor: &'static str,
}

/// What an [`Observer`] hears. Nothing in it comes from a body.
#[derive(Debug)]
#[non_exhaustive]
pub enum IngestEvent<'a> {
    /// The header block of a request to a webhook path was read.
    Arrived,
    /// That request is over, answered or not.
    Left,
    /// A request to a webhook path was answered.
    Answered {
        /// Where to; none for a path that leads to no source.
        place: Option<Place<'a>>,
        /// Its method.
        method: &'a Method,
        /// Whether it came over https.
        https: bool,
        /// Its trace, if it verified.
        trace: Option<DeliveryTrace>,
        /// The status.
        status: StatusCode,
        /// From the last byte of the request to the answer; for a request that was not read to its
        /// end, from its header block.
        took: Duration,
        /// From its header block to the answer.
        whole: Duration,
        /// Bytes of body that were read.
        bytes: usize,
    },
    /// A delivery did not verify (answered 401).
    Refused {
        /// Where to; none for a path that leads to no source.
        place: Option<Place<'a>>,
        /// Why.
        reason: Refusal,
        /// Who sent it.
        client: IpAddr,
    },
    /// A delivery verified.
    Verified {
        /// Where to.
        place: Place<'a>,
        /// The label of the secret that verified it.
        secret_version: &'a str,
        /// The label under which its uses are counted.
        counted_as: &'a str,
        /// How far our clock is ahead of the signed time, in milliseconds.
        skew_ms: Option<i64>,
    },
    /// An authentic delivery was not taken.
    Rejected {
        /// Where to.
        place: Place<'a>,
        /// Why.
        reason: Rejection,
        /// Its trace; none where it was not begun.
        trace: Option<DeliveryTrace>,
    },
    /// An event was stored, or was there already.
    Recorded {
        /// Where to.
        place: Place<'a>,
        /// New or not, and under which id.
        recorded: Recorded,
        /// The type.
        event_type: &'a str,
        /// Its status (as prepared, for a duplicate).
        status: EventStatus,
        /// The actions of the jobs stored with it; none for a duplicate.
        jobs: &'a [Arc<str>],
        /// The trace of the delivery.
        trace: DeliveryTrace,
        /// From its receipt to its commit.
        took: Duration,
        /// Of that, the time in the store's hands.
        storing: Duration,
    },
    /// A vendor's handshake was answered.
    Handshake {
        /// Where to.
        place: Place<'a>,
    },
}

/// Why a delivery was not taken though nothing is wrong with its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rejection {
    /// Its envelope is unusable (400).
    Malformed,
    /// Its media type is not one of the vendor's (415).
    MediaType,
    /// The source's rate is used up (429).
    SourceRate,
    /// The source has too many jobs waiting (429).
    Pending,
    /// The store could not confirm it (503).
    Store,
    /// The source's secrets are older than `secrets.max_age`, so that nobody can tell whether it is
    /// authentic (503).
    StaleSecret,
}

impl Rejection {
    /// The word for logs, labels and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::MediaType => "media_type",
            Self::SourceRate => "source_rate",
            Self::Pending => "pending",
            Self::Store => "store",
            Self::StaleSecret => "stale_secret",
        }
    }
}
