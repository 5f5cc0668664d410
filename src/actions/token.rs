//! The gateway's signing keys for WordPress sites and the tokens made with them (DESIGN §7).
//! WordPress holds only public keys: a hacked site cannot sign.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sluice_actors::domain::Timestamp;

use crate::{
    config::{Config, WordPress},
    secrets::Secret,
};

/// How long a token is good for.
pub const TOKEN_TTL_SECS: i64 = 60;
/// The token's `typ`.
pub const TOKEN_TYPE: &str = "sluice-callback+jwt";

/// A secret that is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 private key in PKCS#8 PEM (make one with `openssl genpkey -algorithm ed25519`)")]
pub struct InvalidSigningKey;

/// An Ed25519 key that signs callbacks.
pub struct SigningKey {
    encoding: EncodingKey,
    public: String,
    kid: String,
}

impl SigningKey {
    /// Reads a PKCS#8 PEM.
    pub fn parse(pem: &Secret) -> Result<Self, InvalidSigningKey> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose()).map_err(|_| InvalidSigningKey)?;
        let pair = Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| InvalidSigningKey)?;
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        let kid = thumbprint(&public);
        Ok(Self { encoding: EncodingKey::from_ed_der(der.secret_pkcs8_der()), public, kid })
    }

    /// The key's id: its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half as a JWK.
    pub fn jwk(&self) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": self.public, "kid": self.kid, "alg": "EdDSA", "use": "sig" })
    }

    /// Signs a token's claims.
    pub(crate) fn sign(&self, claims: &Claims<'_>) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TOKEN_TYPE.to_owned());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.encoding).expect("a parsed Ed25519 key signs")
    }
}

/// RFC 7638: SHA-256 of the required members in lexicographic order (RFC 8037 §2 for OKP).
fn thumbprint(x: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

/// The claims of a token, in the order they are written.
#[derive(Debug, Serialize)]
pub(crate) struct Claims<'a> {
    iss: &'a str,
    aud: [String; 2],
    sub: &'a str,
    scope: &'static str,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fence: Option<i64>,
    body_sha256: String,
}

/// What a token vouches for.
pub(crate) struct Vouched<'a> {
    pub(crate) gateway: &'a str,
    pub(crate) site_uuid: &'a str,
    pub(crate) tenant: &'a str,
    /// What the token is for.
    pub(crate) scope: &'static str,
    /// The job and the fence of the attempt, where it is for one.
    pub(crate) attempt: Option<(String, i64)>,
    pub(crate) body: &'a [u8],
}

impl<'a> Claims<'a> {
    pub(crate) fn new(vouched: &Vouched<'a>, now: Timestamp, jti: [u8; 16]) -> Self {
        let iat = now.as_secs();
        let (job_id, fence) = vouched.attempt.clone().unzip();
        Self {
            iss: vouched.gateway,
            aud: ["wp".to_owned(), format!("wp:{}", vouched.site_uuid)],
            sub: vouched.tenant,
            scope: vouched.scope,
            iat,
            nbf: iat,
            exp: iat + TOKEN_TTL_SECS,
            jti: hex::encode(jti),
            job_id,
            fence,
            body_sha256: hex::encode(Sha256::digest(vouched.body)),
        }
    }
}

/// The gateway's id in tokens: the public URL, or `sluice` where none is configured.
pub(crate) fn gateway_id(config: &Config) -> String {
    match &config.edge.public_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => "sluice".to_owned(),
    }
}

/// The public keys of all tenants' signing keys, as served at `/.well-known/jwks.json` at `now`.
pub fn jwks(config: &Config, now: Timestamp) -> Value {
    jwks_of(config.tenants.values().filter_map(|tenant| tenant.wordpress.as_deref()), now)
}

/// The public keys that these sites are to know at `now`: what requests to them are signed with, will
/// be, or were a short while ago.
pub fn jwks_of<'a>(sites: impl IntoIterator<Item = &'a WordPress>, now: Timestamp) -> Value {
    let published = sites.into_iter().flat_map(|site| site.signing.published(now));
    let mut keys: Vec<SigningKey> = published.filter_map(|key| SigningKey::parse(&key.pem).ok()).collect();
    keys.sort_by(|a, b| a.kid.cmp(&b.kid));
    keys.dedup_by(|a, b| a.kid == b.kid);
    json!({ "keys": keys.iter().map(SigningKey::jwk).collect::<Vec<_>>() })
}

/// When what [`jwks`] says changes next after `now`, by the clock alone.
pub fn next_jwks(config: &Config, now: Timestamp) -> Option<Timestamp> {
    let sites = config.tenants.values().filter_map(|tenant| tenant.wordpress.as_deref());
    sites.filter_map(|site| site.signing.next_change(now)).min()
}

/// The key that requests to a site are signed with at `now`.
pub(crate) fn signing_key(site: &WordPress, now: Timestamp) -> Result<SigningKey, &'static str> {
    let key = site.signing.signing(now).ok_or("no signing key is in force now")?;
    SigningKey::parse(&key.pem).map_err(|_| "its signing key is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_appendix_a3() {
        assert_eq!(
            thumbprint("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn other_secrets_are_refused_without_being_shown() {
        for bad in ["", "secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            let error = SigningKey::parse(&Secret::new(bad.into())).err().unwrap();
            assert!(!error.to_string().contains("AAAA"));
        }
    }
}
