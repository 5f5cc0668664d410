//! Fresh keys for each vendor's scheme: what the gateway is given, and what the sender signs with.

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize,
};

use crate::{ids, secrets::Secret};

/// Both halves of a source's secret.
pub(super) struct Keys {
    /// What the source's secret file holds.
    pub(super) verifies: String,
    /// What deliveries are signed with.
    pub(super) signs: Secret,
    /// The vendor's own keys of the source's table.
    pub(super) options: toml::Table,
    /// The root that a certificate among them leads to, as PEM.
    pub(super) root: Option<String>,
}

impl Keys {
    /// Fresh keys of `vendor`.
    pub(super) fn fresh(vendor: &str) -> anyhow::Result<Self> {
        match vendor {
            "discord" => {
                let key = KeyPair::generate_for(&PKCS_ED25519)?;
                Ok(Self::pair(hex::encode(key.public_key_raw()), &key))
            }
            "sendgrid" => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                Ok(Self::pair(key.public_key_pem(), &key))
            }
            "paypal" => Self::certified(),
            "openai" | "standard" | "svix" => {
                Ok(Self::shared(format!("whsec_{}", STANDARD.encode(ids::secret_bytes()))))
            }
            "custom" => {
                let scheme = r#"
                    scheme = { algorithm = "hmac-sha512", signature = { header = "X-Demo-Signature", encoding = "base64" }, signed = "{timestamp}.{id}.{body}", timestamp = { header = "X-Demo-Time", unit = "s" }, id = { header = "X-Demo-Id" }, type = { pointer = "/kind" }, subject = { pointer = "/about" } }
                "#;
                let options = scheme.parse().context("the demo's custom scheme")?;
                Ok(Self { options, ..Self::shared(hex::encode(ids::secret_bytes())) })
            }
            _ => Ok(Self::shared(hex::encode(ids::secret_bytes()))),
        }
    }

    /// The same text on both sides.
    fn shared(secret: String) -> Self {
        let signs = Secret::new(secret.clone().into_bytes());
        Self { verifies: secret, signs, options: toml::Table::new(), root: None }
    }

    fn pair(public: String, private: &KeyPair) -> Self {
        let signs = Secret::new(private.serialize_pem().into_bytes());
        Self { verifies: public, signs, options: toml::Table::new(), root: None }
    }

    /// A certificate for a name of `PayPal` under a root of our own, which the source trusts instead of
    /// the public ones.
    fn certified() -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = CertifiedIssuer::self_signed(authority, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
        let mut leaf = CertificateParams::new(vec!["messageverificationcerts.paypal.com".to_owned()])?;
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let certificate = leaf.signed_by(&key, &root)?;
        let mut keys = Self::pair(certificate.pem(), &key);
        keys.options.insert("webhook_id".to_owned(), "WH-DEMO-0001".into());
        keys.root = Some(root.pem());
        Ok(keys)
    }
}
