//! The two listeners: where they listen, and what the public one says without a delivery.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use sluice_actors::{domain::Timestamp, ports::Clock};
use tokio::net::TcpListener;

use super::Refused;
use crate::{
    actions::{jwks, next_jwks},
    config::{self, Config},
    edge::{
        self,
        accept::{ConnectionLimits, ListenerOptions},
        tls::LiveTls,
    },
    error_code::ErrorCode,
};

/// Listens at the address that this key of the configuration names.
pub(super) fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    Ok(edge::accept::bind(address).map_err(|error| {
        let cure = match error.kind() {
            std::io::ErrorKind::AddrInUse => "another process listens there; end it or choose another port",
            std::io::ErrorKind::PermissionDenied => "this user may not listen there; choose a port from 1024",
            _ => "choose an address of this machine",
        };
        Refused::new(ErrorCode::PortInUse, format!("{key}: cannot listen on {address} ({error}): {cure}"))
    })?)
}

/// The public keys of all tenants' callback tokens, of the configuration in force.
pub(super) fn key_set(live: config::Live, clock: Arc<dyn Clock>) -> Arc<dyn Fn() -> Bytes + Send + Sync> {
    let made = |config: Arc<Config>, now: Timestamp| {
        let json = Bytes::from(jwks(&config, now).to_string());
        let until = next_jwks(&config, now);
        // Only to know it again: its secrets are not to outlive it here.
        Arc::new((Arc::downgrade(&config), until, json))
    };
    let kept = ArcSwap::new(made(live.load_full(), clock.now()));
    // Anybody may ask: the keys are parsed once for each change of them, not for each request.
    Arc::new(move || {
        let now = clock.now();
        let (config, until, json) = &**kept.load();
        if config.as_ptr() == Arc::as_ptr(&live.load()) && until.is_none_or(|until| now < until) {
            return json.clone();
        }
        let made = made(live.load_full(), now);
        kept.store(made.clone());
        made.2.clone()
    })
}

/// The public listener's origin, for a configuration that names none.
pub(super) fn listens_at(edge: &config::Edge, listener: &TcpListener) -> anyhow::Result<String> {
    let scheme = if edge.tls.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}", listener.local_addr()?))
}

/// How the admin listener treats connections.
pub(super) fn admin_listener_options(admin: &config::Admin) -> anyhow::Result<ListenerOptions> {
    Ok(ListenerOptions {
        tls: admin.tls.as_ref().map(|tls| LiveTls::new(tls, false)).transpose()?,
        trusted_proxies: admin.trusted_proxies.clone().into(),
        require_https: !admin.listen.ip().is_loopback(),
        limits: ConnectionLimits { connections: 256, per_address: 256, ..ConnectionLimits::default() },
        ..ListenerOptions::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::SystemClock, config::Input, secrets::Environment};

    #[test]
    fn the_key_set_is_made_once_for_a_configuration_and_anew_for_the_next() {
        let config = |tenant: &str| {
            let key = include_str!("../../tests/fixtures/wordpress/signing-key.pem");
            let environment = Environment::fixed([("SIGNING", key)]);
            let resolved = Input::new("cfg").environment(environment).tenant("acme", tenant).resolve();
            Arc::new(resolved.expect("a right configuration"))
        };
        let site = "[wordpress]\nsite = 'https://blog.example'\n\
                    site_uuid = '7f8f0a2e-3c1b-4d5e-9f60-718293a4b5c6'\nsigning_key = 'env:SIGNING'\n";
        let live = Arc::new(ArcSwap::new(config("")));
        let keys = key_set(live.clone(), Arc::new(SystemClock));
        assert_eq!(keys(), r#"{"keys":[]}"#);
        assert_eq!(keys().as_ptr(), keys().as_ptr());
        live.store(config(site));
        assert!(keys().starts_with(br#"{"keys":[{"#));
        assert_eq!(keys().as_ptr(), keys().as_ptr());
    }
}
