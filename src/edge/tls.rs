//! TLS that the gateway ends itself: 1.2 and 1.3, HTTP/1.1 only. The pair in use can be replaced while
//! connections live on; new handshakes take the new one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};

use sluice_actors::domain::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::{Tls, TlsProblem};

/// A certificate or key cannot be used. Names what, never shows it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The pair.
    #[error("tls: {0}")]
    Pair(#[from] TlsProblem),
    /// TLS cannot be set up with it.
    #[error("tls: cannot be set up")]
    Setup(#[source] Error),
}

/// When the certificate that the listener shows ends; `None` where it cannot be read.
pub fn not_after(tls: &Tls) -> Option<Timestamp> {
    let pair = tls.certified().ok()?;
    let (_, certificate) = X509Certificate::from_der(pair.end_entity_cert().ok()?).ok()?;
    Some(Timestamp::from_secs(certificate.validity().not_after.timestamp()))
}

/// The TLS of a listener, as it is now. Clones are the same.
#[derive(Debug, Clone)]
pub struct LiveTls(Arc<ArcSwap<ServerConfig>>);

impl LiveTls {
    /// TLS with a pair. `asks`: clients are asked for certificates, and may do without.
    ///
    /// # Errors
    /// The pair cannot be used.
    pub fn new(tls: &Tls, asks: bool) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(ArcSwap::new(server_config(tls, asks)?))))
    }

    /// Takes another pair for the handshakes from now on.
    ///
    /// # Errors
    /// The pair cannot be used; the one before stays.
    pub fn replace(&self, tls: &Tls, asks: bool) -> Result<(), TlsError> {
        self.0.store(server_config(tls, asks)?);
        Ok(())
    }

    /// For one handshake.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

/// TLS 1.2 or later, aws-lc-rs, and `http/1.1` as the only protocol offered.
fn server_config(tls: &Tls, asks: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let pair = tls.certified()?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Setup)?;
    let builder = if asks {
        builder.with_client_cert_verifier(Arc::new(AnyCertificate::default()))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Asks for a certificate, requires none, and takes any whose key the client has. Whether it is good for
/// anything is for the source to say that demands one (`ingest::admit`): at the handshake it is not
/// known which source is meant, and a refusal there would tell strangers from one another.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl Default for AnyCertificate {
    fn default() -> Self {
        Self(aws_lc_rs::default_provider().signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client shows what it has, and nobody learns whom the sources trust.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
