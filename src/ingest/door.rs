//! Where a path leads, and what came by it. The caps and media types of a [`Door`] are the same for every path that
//! leads nowhere.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderMap, Method, uri::PathAndQuery};
use sluice_actors::domain::Timestamp;

use super::{
    Shown, access,
    directory::{Directory, Intake},
    media,
    memory::Share,
};
use crate::{config::Source, trace::DeliveryTrace, vendors::Refusal};

/// One delivery, read to its end within the limits of its [`Door`].
#[derive(Debug)]
pub struct Inbound {
    /// The method.
    pub method: Method,
    /// Path and query as sent.
    pub target: PathAndQuery,
    /// All headers.
    pub headers: HeaderMap,
    /// The raw body.
    pub body: Bytes,
    /// Who sent it.
    pub client: IpAddr,
    /// The certificate that the client showed, if any.
    pub certificate: Option<Shown>,
}

impl Inbound {
    /// Whether its client may deliver to `source`, whatever it signed.
    pub(super) fn admitted(&self, source: &Source, now: Timestamp) -> Result<(), Refusal> {
        access::admit(&source.access, self.client, self.certificate.as_ref(), now)
    }
}

/// The way of one request to its source, or to nowhere: same limits either way.
pub struct Door {
    pub(super) directory: Arc<Directory>,
    pub(super) intake: Option<Arc<Intake>>,
    /// The source that a path which leads nowhere is treated as.
    pub(super) decoy: Option<Arc<Intake>>,
    pub(super) max_body: usize,
    /// Known once the delivery verified.
    pub(super) trace: OnceLock<DeliveryTrace>,
}

impl Door {
    /// The URL that the vendor called, whatever stands between us.
    pub(super) fn url_of(&self, inbound: &Inbound) -> String {
        let (base, target) = (self.directory.public_url.as_str(), inbound.target.as_str());
        let mut url = String::with_capacity(base.len() + target.len());
        url.push_str(base);
        url.push_str(target);
        url
    }

    /// The largest body that is read. Where the path leads nowhere: that of some real source.
    pub fn max_body(&self) -> usize {
        self.max_body
    }

    /// The memory that the body is charged to.
    pub fn memory(&self) -> &Arc<Share> {
        self.intake.as_ref().map_or_else(|| self.directory.nowhere(), |intake| &intake.memory)
    }

    /// Whether headers may be read on: a media type that some source accepts, and no content coding.
    pub fn accepts(&self, headers: &HeaderMap) -> bool {
        media::is_one_of(headers, &self.directory.media_types)
    }

    /// Where it leads, for [`IngestEvent::Answered`](super::IngestEvent::Answered).
    pub fn place(&self) -> Option<super::Place<'_>> {
        self.intake.as_ref().map(|intake| intake.place())
    }

    /// The trace of a delivery that verified, for [`IngestEvent::Answered`](super::IngestEvent::Answered).
    pub fn trace(&self) -> Option<DeliveryTrace> {
        self.trace.get().copied()
    }
}
