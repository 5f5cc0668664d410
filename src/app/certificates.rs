//! The certificates that our listeners show follow the configuration in force.

use std::sync::{Arc, OnceLock, Weak};

use super::runtime::Written;
use crate::{
    config::{Config, Tls},
    edge::{
        accept::{Refused, Told},
        tls::{LiveTls, not_after},
    },
    http_client::Pin,
    telemetry::{host, metrics::Metrics},
};

/// The TLS of both listeners; none where somebody else ends it.
pub(super) struct Certificates {
    edge: Option<LiveTls>,
    admin: Option<LiveTls>,
    metrics: Metrics,
    /// Where commands on this machine read what the admin listener shows.
    runtime: OnceLock<Weak<Written>>,
}

/// The label of the public listener.
pub(super) const EDGE: &str = "edge";
/// The label of the admin listener.
pub(super) const ADMIN: &str = "admin";

impl Certificates {
    /// Those that the listeners began with.
    pub(super) fn new([edge, admin]: [Option<LiveTls>; 2], metrics: Metrics, config: &Config) -> Self {
        let certificates = Self { edge, admin, metrics, runtime: OnceLock::new() };
        for (listener, tls) in [(EDGE, &config.edge.tls), (ADMIN, &config.admin.tls)] {
            if let Some(tls) = tls {
                certificates.tell(listener, tls);
            }
        }
        certificates
    }

    /// Takes what changed between two configurations, for handshakes from now on.
    pub(super) fn follow(&self, old: &Config, new: &Config) {
        let asks = new.asks_for_certificates();
        let asked_before = old.asks_for_certificates();
        for (listener, live, [old, new], asks, changed) in [
            (EDGE, &self.edge, [&old.edge.tls, &new.edge.tls], asks, asks != asked_before),
            (ADMIN, &self.admin, [&old.admin.tls, &new.admin.tls], false, false),
        ] {
            let (Some(live), Some(new)) = (live, new) else { continue };
            let is_same = old.as_ref().is_some_and(|old| old.is_same_as(new));
            if is_same && !changed {
                continue;
            }
            match live.replace(new, asks) {
                Ok(()) => {
                    self.tell(listener, new);
                    let not_after = not_after(new).map(tracing::field::display);
                    tracing::info!(listener, not_after, "certificate taken for new connections");
                }
                // Reading the configuration refuses such a pair already.
                Err(error) => tracing::error!(listener, %error, "certificate refused, the running one stays in use"),
            }
        }
    }

    /// From now on who reads the file is told, too, beginning with what is in force.
    pub(super) fn tell_in(&self, written: &Arc<Written>, now: &Config) {
        self.runtime.set(Arc::downgrade(written)).ok();
        if let Some(tls) = now.admin.tls.as_ref().filter(|_| self.admin.is_some()) {
            self.tell(ADMIN, tls);
        }
    }

    fn tell(&self, listener: &str, tls: &Tls) {
        if let Some(written) = self.runtime.get().and_then(Weak::upgrade).filter(|_| listener == ADMIN)
            && let Err(error) = written.shows(pin(tls))
        {
            tracing::warn!(%error, "commands on this machine are not told of the new certificate");
        }
        if let Some(not_after) = not_after(tls) {
            host::certificate(&self.metrics, listener, not_after);
        }
    }
}

/// What tells a certificate from all others.
pub(super) fn pin(tls: &Tls) -> Option<Pin> {
    tls.certified().ok()?.cert.first().map(Pin::of)
}

/// Counts the connections of a listener that are closed before their first request.
pub(super) fn counting(listener: &'static str, metrics: &Metrics) -> Told {
    let refused = metrics.http_connections_refused_total.clone();
    for why in Refused::ALL {
        refused.with_label_values(&[listener, why.as_str()]);
    }
    Told::by(move |why| refused.with_label_values(&[listener, why.as_str()]).inc())
}
