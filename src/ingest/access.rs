//! Whether a client may deliver to a source besides being able to sign: its address, its certificate.
//!
//! A listener asks for certificates and takes any that its client has the key of; who issued it, for
//! whom and until when is looked at here, by the source that demands one. So the same listener serves
//! sources that demand none, and a refusal is the one that every stranger gets.

use std::{fmt::Write as _, net::IpAddr, sync::Arc, time::Duration};

use http::HeaderValue;
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use sha2::{Digest, Sha256};
use sluice_actors::domain::Timestamp;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::{
    config::{Access, ClientCertificate, Fingerprint},
    vendors::Refusal,
};

/// Certificates of a chain that are looked at; real chains have two or three. The paths that a verifier tries among
/// authorities of one name grow with the factorial.
const LONGEST_CHAIN: usize = 4;
/// Names of a certificate that are told, and characters of each.
const TOLD_NAMES: (usize, usize) = (3, 80);

/// The certificate chain that a client showed, leaf first. All that is known is that somebody who may
/// say so (our own TLS, or a trusted proxy) saw the client prove that it has the leaf's key.
#[derive(Debug, Clone)]
pub struct Shown(Arc<[CertificateDer<'static>]>);

impl Shown {
    /// The chain of a TLS connection that ended here.
    pub fn of_connection(chain: &[CertificateDer<'_>]) -> Self {
        Self(chain.iter().take(LONGEST_CHAIN).map(|it| it.clone().into_owned()).collect())
    }

    /// The chain in a header of a trusted proxy: percent-encoded PEM, as nginx (`$ssl_client_escaped_cert`)
    /// and AWS (`X-Amzn-Mtls-Clientcert`, `…-Leaf`) write it. What cannot be read is a certificate that
    /// nobody takes.
    pub fn of_header(value: &HeaderValue) -> Self {
        let pem = unescaped(value.as_bytes());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).take(LONGEST_CHAIN).collect();
        Self(chain.unwrap_or_default().into())
    }

    /// A certificate that nobody takes.
    pub fn unreadable() -> Self {
        Self(Arc::new([]))
    }

    /// The leaf's digest; none of what is no certificate.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.leaf().map(|(leaf, _)| fingerprint(leaf))
    }

    fn leaf(&self) -> Option<(&CertificateDer<'static>, X509Certificate<'_>)> {
        let leaf = self.0.first()?;
        let (rest, parsed) = X509Certificate::from_der(leaf).ok()?;
        rest.is_empty().then_some((leaf, parsed))
    }
}

/// Percent-decoded. `+` stands for itself: it is no form.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let mut byte = [*first];
        let escaped = digits.is_some_and(|digits| hex::decode_to_slice(digits, &mut byte).is_ok());
        bytes.extend(byte);
        rest = if escaped { &after[2..] } else { after };
    }
    bytes
}

/// Whether a client may deliver.
///
/// # Errors
/// What is wrong with its address or its certificate.
pub fn admit(access: &Access, client: IpAddr, shown: Option<&Shown>, now: Timestamp) -> Result<(), Refusal> {
    let client = client.to_canonical();
    if !access.allow_from.is_empty() && !access.allow_from.iter().any(|net| net.contains(&client)) {
        return Err(Refusal::AddressNotAllowed);
    }
    match (&access.certificate, shown) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(Refusal::CertificateMissing),
        (Some(demanded), Some(shown)) => demanded.takes(shown, now),
    }
}

impl ClientCertificate {
    fn takes(&self, shown: &Shown, now: Timestamp) -> Result<(), Refusal> {
        let (leaf, parsed) = shown.leaf().ok_or(Refusal::CertificateInvalid)?;
        let validity = parsed.validity();
        if !(validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now.as_secs()) {
            return Err(Refusal::CertificateExpired);
        }
        if self.fingerprints.contains(&fingerprint(leaf)) {
            return Ok(());
        }
        if self.authorities.0.is_empty() {
            return Err(Refusal::CertificateNotAccepted);
        }
        self.is_issued(leaf, &shown.0[1..], now)?;
        let names = names(&parsed);
        let is_named = |name: &String| names.iter().any(|(kind, own)| kind.is_same(own, name));
        if self.names.is_empty() || self.names.iter().any(is_named) {
            Ok(())
        } else {
            Err(Refusal::CertificateNotAccepted)
        }
    }

    /// Whether one of the authorities issued it, for clients.
    fn is_issued(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().try_into().unwrap_or(0)));
        let anchors = &self.authorities.0;
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| Refusal::CertificateInvalid)?;
        let usage = KeyUsage::client_auth();
        match leaf.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, intermediates, at, usage, None, None) {
            Ok(_) => Ok(()),
            // Of the leaf this was looked at before: it is one above it.
            Err(webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. }) => {
                Err(Refusal::CertificateExpired)
            }
            Err(_) => Err(Refusal::CertificateInvalid),
        }
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint(Sha256::digest(certificate).into())
}

/// How a kind of name is compared.
#[derive(Clone, Copy)]
enum NameKind {
    /// DNS names and common names.
    Host,
    /// URIs (SPIFFE) and mail addresses.
    Exact,
}

impl NameKind {
    fn is_same(self, one: &str, other: &str) -> bool {
        match self {
            Self::Host => one.eq_ignore_ascii_case(other),
            Self::Exact => one == other,
        }
    }
}

/// The subject alternative names; the common name only where there are none (RFC 9525 §2).
fn names(certificate: &X509Certificate<'_>) -> Vec<(NameKind, String)> {
    match certificate.subject_alternative_name() {
        Ok(Some(extension)) => {
            let name = |name: &GeneralName<'_>| match name {
                GeneralName::DNSName(name) => Some((NameKind::Host, (*name).to_owned())),
                GeneralName::URI(name) | GeneralName::RFC822Name(name) => Some((NameKind::Exact, (*name).to_owned())),
                _ => None,
            };
            extension.value.general_names.iter().filter_map(name).collect()
        }
        Ok(None) => {
            let common = certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok());
            common.map(|name| (NameKind::Host, name.to_owned())).collect()
        }
        // There twice.
        Err(_) => Vec::new(),
    }
}

/// What an operator is told of a client that may not deliver; none for what has other reasons.
pub fn explain(refusal: Refusal, client: IpAddr, shown: Option<&Shown>) -> Option<String> {
    let text = match refusal {
        Refusal::AddressNotAllowed => format!(
            "{client} is not in the source's `allow_from`: compare with the networks that the vendor publishes; \
             if it is a proxy of yours, name it in `edge.trusted_proxies`"
        ),
        Refusal::CertificateMissing => {
            "the client showed no certificate; behind a proxy that ends TLS it comes in the header that \
             `edge.client_certificate_header` names"
                .to_owned()
        }
        Refusal::CertificateInvalid => format!(
            "the client's certificate ({}) cannot be read, is not for clients, or no authority that the source trusts leads to it",
            told(shown)
        ),
        Refusal::CertificateExpired => {
            format!("the client's certificate ({}), or one above it, is not valid at this time", told(shown))
        }
        Refusal::CertificateNotAccepted => {
            format!("the client's certificate ({}) is none that the source names", told(shown))
        }
        Refusal::MissingSignature
        | Refusal::MalformedSignature
        | Refusal::BadSignature
        | Refusal::StaleTimestamp
        | Refusal::FutureTimestamp
        | Refusal::UnknownEndpoint
        | Refusal::Disabled
        | Refusal::NoLiveSecret => return None,
    };
    Some(text)
}

/// Names, validity and fingerprint of what was shown: public, but a stranger's words.
fn told(shown: Option<&Shown>) -> String {
    let Some((leaf, parsed)) = shown.and_then(Shown::leaf) else { return "not X.509 in PEM".to_owned() };
    let (most, longest) = TOLD_NAMES;
    let mut text = String::new();
    for (_, name) in names(&parsed).into_iter().take(most) {
        let plain = name.chars().take(longest).map(|c| if c.is_ascii_graphic() { c } else { '?' });
        text.extend(plain.chain(", ".chars()));
    }
    let validity = parsed.validity();
    let [from, to] = [validity.not_before, validity.not_after].map(|at| Timestamp::from_secs(at.timestamp()));
    let Fingerprint(digest) = fingerprint(leaf);
    let _ = write!(text, "valid {from} to {to}, sha256:{}", hex::encode(digest));
    text
}

#[cfg(test)]
mod tests;
