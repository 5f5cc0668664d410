//! Svix and who sends through it (Clerk, Resend, …): Standard Webhooks under `svix-…` headers.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use sluice_actors::domain::Timestamp;

use super::{
    InvalidKey, Key, Malformed, Outgoing, Profile, Reading, Refusal, Request, Sample, Vendor, Verified,
    standard::{self, SVIX},
};
use crate::secrets::Secret;

/// The scheme; it has no options.
#[derive(Debug)]
pub(super) struct Svix;

impl Vendor for Svix {
    fn name(&self) -> &'static str {
        "svix"
    }

    fn profile(&self) -> &Profile {
        &standard::PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        standard::key(secret)
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        SVIX.verify(request, keys, tolerance)
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        standard::read(SVIX.id(request)?, request.body)
    }

    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        standard::sign(&SVIX, sample, secret)
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        standard::sample(id, now)
    }
}
