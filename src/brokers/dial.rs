//! The way to a broker: which address may be dialled, and whose certificate is believed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use rustls::{ClientConfig, client::danger::ServerCertVerifier, pki_types::ServerName};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use rustls_platform_verifier::Verifier;

use super::Endpoint;
use crate::http_client::{CallError, HttpClient, guard};

/// The address to dial: one that the guard allows. Without TLS only where nobody listens in: on this machine,
/// or in a network that `[outbound] allow_private` names.
pub(super) async fn address(http: &HttpClient, endpoint: &Endpoint) -> Result<SocketAddr, CallError> {
    let address = http.address_of(&endpoint.host).await?;
    check_plain(endpoint, address)?;
    Ok(SocketAddr::new(address, endpoint.port))
}

fn check_plain(endpoint: &Endpoint, address: IpAddr) -> Result<(), CallError> {
    if !endpoint.tls && guard::is_public(address) {
        return Err(CallError::RefusedUrl("without TLS only a private address may be called"));
    }
    Ok(())
}

/// The name that its certificate must have.
pub(super) fn name(endpoint: &Endpoint) -> Result<ServerName<'static>, CallError> {
    ServerName::try_from(endpoint.host.clone()).map_err(|_| CallError::RefusedUrl("its host is no name of TLS"))
}

/// Trusts what this machine trusts, and the endpoint's own authorities.
pub(super) fn verifier(endpoint: &Endpoint) -> Result<Arc<dyn ServerCertVerifier>, CallError> {
    let unusable = |what: &str| CallError::Tls(what.to_owned());
    let pem = endpoint.ca.as_ref().map_or(&[][..], |ca| ca.expose());
    let roots: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let roots = roots.map_err(|_| unusable("its `ca` is not certificates in PEM"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Verifier::new_with_extra_roots(roots, provider);
    Ok(Arc::new(verifier.map_err(|_| unusable("this machine has no usable roots of trust"))?))
}

/// TLS 1.2 and 1.3 by the one crypto provider, without a certificate of ours.
pub(super) fn config(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, CallError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|_| CallError::Tls("no version of it can be spoken".to_owned()))?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::{super::BrokerKind, *};

    fn endpoint(url: &str) -> Arc<Endpoint> {
        Endpoint::parse(BrokerKind::Nats, url, None).unwrap()
    }

    #[tokio::test]
    async fn only_addresses_that_the_guard_allows_are_dialled() {
        let http = HttpClient::new(vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
        let of = async |url: &str| address(&http, &endpoint(url)).await;
        assert_eq!(of("nats://127.0.0.1:9").await, Ok("127.0.0.1:9".parse().unwrap()));
        assert_eq!(of("nats://localhost:9").await, Ok("127.0.0.1:9".parse().unwrap()));
        assert_eq!(of("tls://169.254.169.254").await, Err(CallError::RefusedAddress([169, 254, 169, 254].into())));
        assert_eq!(
            of("tls://[::ffff:10.0.0.1]").await,
            Err(CallError::RefusedAddress("::ffff:10.0.0.1".parse().unwrap()))
        );
        assert_eq!(of("tls://93.184.216.34").await, Ok("93.184.216.34:4222".parse().unwrap()));
        assert!(matches!(of("nats://93.184.216.34").await, Err(CallError::RefusedUrl(_))));
    }
}
