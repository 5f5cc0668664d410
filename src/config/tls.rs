//! Certificates: those that our listeners show, and the authorities of those that clients show.

use rustls::{InconsistentKeys, crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor, pem::PemObject};
use webpki::anchor_from_trusted_cert;

use super::section::Section;
use crate::secrets::Secret;

/// A certificate chain and its key, PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The chain.
    pub cert: Secret,
    /// The key.
    pub key: Secret,
}

/// Why a certificate and a key cannot be used. Names what, never shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// `tls.cert` holds no certificate chain in PEM.
    #[error("is not a certificate chain in PEM")]
    Certificate,
    /// `tls.key` holds no private key in PEM.
    #[error("is not a private key in PEM (PKCS#8, PKCS#1 or SEC1)")]
    Key,
    /// The key is of a kind that TLS does not use here.
    #[error("is a private key that cannot be used: RSA, ECDSA and Ed25519 can")]
    UnknownKey,
    /// They do not belong together.
    #[error("is not the key of the certificate")]
    Mismatch,
}

impl TlsProblem {
    /// The key of the table that is wrong, and what to do.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Certificate => ("cert", "refer to the file with `BEGIN CERTIFICATE`"),
            Self::Key | Self::UnknownKey => ("key", "refer to the file with `BEGIN PRIVATE KEY`"),
            Self::Mismatch => ("key", "renew both; while one of them is still the old one, the running pair stays"),
        }
    }
}

impl Tls {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let mut table = section.table("tls")?;
        let cert = table.required_secret("cert");
        let key = table.required_secret("key");
        let tls = cert.zip(key).map(|(cert, key)| Self { cert, key });
        if let Some(Err(problem)) = tls.as_ref().map(Self::certified) {
            let (key, cure) = problem.told();
            table.error(key, problem.to_string(), cure);
        }
        table.finish();
        tls
    }

    /// The chain with its key, ready to be shown.
    ///
    /// # Errors
    /// Which of them cannot be used.
    pub fn certified(&self) -> Result<CertifiedKey, TlsProblem> {
        let chain = certificates(&self.cert).ok_or(TlsProblem::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.key.expose()).map_err(|_| TlsProblem::Key)?;
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsProblem::Mismatch,
            rustls::Error::InvalidCertificate(_) => TlsProblem::Certificate,
            _ => TlsProblem::UnknownKey,
        })
    }

    /// Whether it is the same pair.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.cert.expose() == other.cert.expose() && self.key.expose() == other.key.expose()
    }
}

/// Authorities whose client certificates are believed.
#[derive(Debug, Clone, Default)]
pub struct Authorities(pub Vec<TrustAnchor<'static>>);

impl Authorities {
    /// The authorities that the reference under `key` leads to. They are public, so that several tenants
    /// may name the same.
    pub(super) fn read(section: &mut Section<'_>, key: &'static str) -> Option<Self> {
        let pem = section.public(key)?;
        let anchors = certificates(&pem).and_then(|certificates| {
            let anchors = certificates.iter().map(|it| anchor_from_trusted_cert(it).map(|anchor| anchor.to_owned()));
            anchors.collect::<Result<Vec<_>, _>>().ok()
        });
        if anchors.is_none() {
            section.error(
                key,
                "is not a list of authorities' certificates in PEM",
                "refer to a file with the `BEGIN CERTIFICATE` of each authority, intermediate ones too",
            );
        }
        anchors.map(Self)
    }
}

/// The certificates of a PEM text; none unless all of it can be read and there is one.
fn certificates(pem: &Secret) -> Option<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.expose()).collect();
    read.ok().filter(|read| !read.is_empty())
}
