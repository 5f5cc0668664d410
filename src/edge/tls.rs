//! TLS that the gateway ends itself: 1.2 and 1.3, HTTP/1.1 only.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};

use sluice_actors::domain::Timestamp;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::Tls;

/// A certificate or key cannot be used. Names what, never shows it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// `tls.cert` holds no certificate chain in PEM.
    #[error("tls.cert: not a certificate chain in PEM")]
    Certificate,
    /// `tls.key` holds no private key in PEM.
    #[error("tls.key: not a private key in PEM (PKCS#8, PKCS#1 or SEC1)")]
    Key,
    /// They do not belong together, or the key is of an unknown kind.
    #[error("tls: certificate and key cannot be used together")]
    Mismatch(#[source] rustls::Error),
}

/// When the certificate that the listener shows ends; `None` where it cannot be read.
pub fn not_after(tls: &Tls) -> Option<Timestamp> {
    let leaf = CertificateDer::pem_slice_iter(tls.cert.expose()).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&leaf).ok()?;
    Some(Timestamp::from_secs(certificate.validity().not_after.timestamp()))
}

/// The server's side of the TLS that the configuration names.
pub fn server_config(tls: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    from_pem(tls.cert.expose(), tls.key.expose())
}

/// The server's side of TLS from a certificate chain and its key: TLS 1.2 or later, aws-lc-rs, and
/// `http/1.1` as the only protocol offered.
pub fn from_pem(cert: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(cert).collect::<Result<_, _>>().map_err(|_| TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::Certificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(TlsError::Mismatch)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Mismatch)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
