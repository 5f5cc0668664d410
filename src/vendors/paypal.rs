//! `PayPal`: RSA over id, time, our webhook id and the CRC32 of the body.
//!
//! The signed text is `{PAYPAL-TRANSMISSION-ID}|{PAYPAL-TRANSMISSION-TIME}|{webhook id}|{CRC32 of the
//! body, decimal}` (paypalrestsdk `notifications.py`). The certificate comes from the operator: each
//! secret of the source is the PEM chain that `PAYPAL-CERT-URL` serves, leaf first, checked once when
//! the configuration is read. Nothing is fetched on the request path, and the URL in the header, which
//! anybody can write, is only checked to be PayPal's. `certificates` replaces the public roots.
//!
//! A CRC32 is no digest: whoever holds one delivery can make another body with its CRC and send it
//! within the window. The event's id is therefore treated as unsigned, and the signed text is what a
//! replay is known by: such a body after the real one is a duplicate. Before it, nothing can tell.

use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime, pem::PemObject};
use serde_json::json;
use sluice_actors::domain::Timestamp;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use super::{
    Envelope, InvalidKey, InvalidOption, Key, Malformed, OnConflict, Outgoing, Profile, Reading, Refusal, Request,
    Sample, Vendor, Verified,
    asymmetric::{self, Algorithm},
    field, header, mac,
    options::Options,
    window,
};
use crate::secrets::Secret;

static SIGNATURE: HeaderName = HeaderName::from_static("paypal-transmission-sig");
static ID: HeaderName = HeaderName::from_static("paypal-transmission-id");
static TIME: HeaderName = HeaderName::from_static("paypal-transmission-time");
static CERTIFICATE_URL: HeaderName = HeaderName::from_static("paypal-cert-url");
static ALGORITHM: HeaderName = HeaderName::from_static("paypal-auth-algo");

static PROFILE: Profile = Profile {
    content_types: &["application/json"],
    max_body: super::DEFAULT_MAX_BODY,
    tolerance: window::FIVE_MINUTES,
    success: StatusCode::OK,
    on_conflict: OnConflict::Revision,
    volatile: &[],
    signs_time: true,
    signs_url: false,
    weak: false,
    id_only: &[],
    setup: "developer.paypal.com, Apps & Credentials, your app, Webhooks: the URL; its webhook ID is `webhook_id`. \
            Download the certificate chain from the PAYPAL-CERT-URL of a delivery; that file is the secret here.",
};

/// The scheme of one webhook.
#[derive(Debug)]
pub(super) struct PayPal {
    webhook_id: String,
    /// Roots to trust in place of the public ones; empty: the public ones.
    roots: Vec<TrustAnchor<'static>>,
}

impl PayPal {
    /// Reads `webhook_id`, and `certificates`, a list of PEM texts.
    pub(super) fn new(options: &toml::Table) -> Result<Self, InvalidOption> {
        let mut options = Options::new(options);
        let webhook_id = options.needed("webhook_id", "the ID that PayPal shows beside the webhook")?;
        if !is_plain(&webhook_id) {
            return Err(options.invalid("webhook_id", "must be letters, digits and dashes"));
        }
        let mut roots = Vec::new();
        for pem in options.texts("certificates")? {
            let before = roots.len();
            for certificate in certificates(&pem) {
                let anchor = anchor_from_trusted_cert(&certificate)
                    .map_err(|_| options.invalid("certificates", "must be certificates of authorities"))?;
                roots.push(anchor.to_owned());
            }
            if roots.len() == before {
                return Err(options.invalid("certificates", "must be a list of PEM texts"));
            }
        }
        options.finish()?;
        Ok(Self { webhook_id, roots })
    }

    fn message(&self, id: &str, time: &str, body: &[u8]) -> String {
        format!("{id}|{time}|{}|{}", self.webhook_id, crc32fast::hash(body))
    }

    /// Checks a chain as it was when its leaf was issued. Whether the leaf is still valid is checked
    /// with each delivery, so that a gateway that runs for months does not outlive it.
    fn check(&self, pem: &str) -> Result<Key, &'static str> {
        let chain = certificates(pem);
        let (leaf, intermediates) = chain.split_first().ok_or("expected the PEM chain that PAYPAL-CERT-URL serves")?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| "the certificate cannot be read")?;
        if !is_paypals(&parsed) {
            return Err("the certificate is not one of paypal.com");
        }
        let validity = parsed.validity();
        let issued = u64::try_from(validity.not_before.timestamp()).unwrap_or(0);
        let roots = if self.roots.is_empty() { webpki_roots::TLS_SERVER_ROOTS } else { &self.roots };
        EndEntityCert::try_from(leaf)
            .and_then(|certificate| {
                let at = UnixTime::since_unix_epoch(Duration::from_secs(issued));
                let usage = KeyUsage::server_auth();
                certificate.verify_for_usage(ALL_VERIFICATION_ALGS, roots, intermediates, at, usage, None, None)?;
                Ok(())
            })
            .map_err(|_| "the certificate's chain does not lead to a trusted root")?;
        match asymmetric::from_spki(parsed.tbs_certificate.subject_pki.raw) {
            Some(Key::Rsa(rsa)) => Ok(Key::Certified {
                rsa,
                not_before: Timestamp::from_secs(validity.not_before.timestamp()),
                not_after: Timestamp::from_secs(validity.not_after.timestamp()),
            }),
            _ => Err("the certificate's key is not RSA of 2048 bits or more"),
        }
    }
}

impl Vendor for PayPal {
    fn name(&self) -> &'static str {
        "paypal"
    }

    fn profile(&self) -> &Profile {
        &PROFILE
    }

    fn key(&self, secret: &Secret) -> Result<Key, InvalidKey> {
        self.check(secret.expose_str().unwrap_or_default()).map_err(|reason| InvalidKey(reason.into()))
    }

    fn verify(&self, request: &Request<'_>, keys: &[Key], tolerance: Duration) -> Result<Verified, Refusal> {
        let signature = rsa_signature(header::needed(request, &SIGNATURE)?).ok_or(Refusal::MalformedSignature)?;
        let id = header::needed(request, &ID)?;
        let time = header::needed(request, &TIME)?;
        let url = header::needed(request, &CERTIFICATE_URL)?;
        let algorithm = header::needed(request, &ALGORITHM)?;
        let signed_at = Timestamp::parse_rfc3339(time).map_err(|_| Refusal::MalformedSignature)?;
        if algorithm != "SHA256withRSA" || !is_plain(id) || time.contains('|') || !is_paypals_url(url) {
            return Err(Refusal::MalformedSignature);
        }
        let message = self.message(id, time, request.body);
        let valid = |key: &Key| match key {
            Key::Certified { not_before, not_after, .. } => (*not_before..=*not_after).contains(&request.now),
            _ => false,
        };
        if keys.is_empty() {
            return Err(Refusal::NoLiveSecret);
        }
        let key = keys
            .iter()
            .position(|key| valid(key) && asymmetric::verifies(key, message.as_bytes(), &signature))
            .ok_or(Refusal::BadSignature)?;
        window::check(signed_at, request.now, tolerance)?;
        Ok(Verified { key, signed_at: Some(signed_at) })
    }

    fn read(&self, request: &Request<'_>, _verified: &Verified, _keys: &[Key]) -> Result<Reading, Malformed> {
        let payload = field::object(request.body)?;
        let id = field::id(field::needed(&payload, "id")?)?;
        let event_type = field::event_type(field::needed(&payload, "event_type")?)?;
        let subject_id = field::scalar(&payload, &["resource", "id"]).and_then(field::subject);
        let occurred_at = field::rfc3339(&payload, &["create_time"]);
        let api_version = field::scalar(&payload, &["resource_version"]);
        // `verify` found them: there is nothing to add where they are not.
        let signed = header::envelope(request, &ID)?.zip(header::envelope(request, &TIME)?);
        Ok(Reading::one(Envelope {
            id_signed: false,
            signed_instead: signed.map(|(id, time)| self.message(id, time, request.body)),
            subject_id,
            occurred_at,
            api_version,
            ..Envelope::new(id, event_type, payload)
        }))
    }

    /// `secret` is the RSA private key of a certificate for a name under paypal.com, as PKCS#8 PEM.
    fn sign(&self, sample: &Outgoing<'_>, secret: &Secret) -> Result<Vec<(HeaderName, HeaderValue)>, InvalidKey> {
        let time = Timestamp::from_secs(sample.now.as_secs()).to_string();
        let signature = Algorithm::Rsa.sign(secret, self.message(sample.id, &time, sample.body).as_bytes())?;
        Ok(vec![
            (SIGNATURE.clone(), header::made(&mac::to_base64(&signature))),
            (ID.clone(), header::made(sample.id)),
            (TIME.clone(), header::made(&time)),
            (ALGORITHM.clone(), HeaderValue::from_static("SHA256withRSA")),
            (
                CERTIFICATE_URL.clone(),
                HeaderValue::from_static("https://api.sandbox.paypal.com/v1/notifications/certs/CERT-example"),
            ),
        ])
    }

    fn sample(&self, id: &str, now: Timestamp) -> Sample {
        Sample::json(
            "PAYMENT.CAPTURE.COMPLETED",
            &json!({
                "id": format!("WH-{id}"),
                "event_version": "1.0",
                "create_time": now.to_string(),
                "resource_type": "capture",
                "resource_version": "2.0",
                "event_type": "PAYMENT.CAPTURE.COMPLETED",
                "summary": "Payment completed for EUR 49.00 EUR",
                "resource": {
                    "id": "42311647XV020574X",
                    "status": "COMPLETED",
                    "amount": {"currency_code": "EUR", "value": "49.00"},
                    "final_capture": true,
                    "create_time": now.to_string(),
                    "update_time": now.to_string(),
                },
                "links": [],
            }),
        )
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap_or_default()
}

fn is_plain(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn rsa_signature(text: &str) -> Option<Vec<u8>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text).ok()
}

fn is_paypals_host(host: &str) -> bool {
    host == "paypal.com" || host.strip_suffix(".paypal.com").is_some_and(|label| !label.is_empty())
}

fn is_paypals_url(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| {
        url.scheme() == "https"
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && url.host_str().is_some_and(is_paypals_host)
    })
}

/// Whether a certificate names a host of PayPal: in its alternative names, or in its common name where
/// it has none.
fn is_paypals(certificate: &X509Certificate<'_>) -> bool {
    match certificate.subject_alternative_name() {
        Ok(Some(names)) => names
            .value
            .general_names
            .iter()
            .any(|name| matches!(name, GeneralName::DNSName(host) if is_paypals_host(host))),
        Ok(None) => certificate.subject().iter_common_name().any(|name| name.as_str().is_ok_and(is_paypals_host)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paypals_own_https_addresses_may_name_a_certificate() {
        for good in ["https://api.paypal.com/v1/notifications/certs/CERT-1", "https://api.sandbox.paypal.com/x"] {
            assert!(is_paypals_url(good), "{good}");
        }
        for bad in [
            "http://api.paypal.com/x",
            "https://paypal.com.evil.example/x",
            "https://evilpaypal.com/x",
            "https://.paypal.com/x",
            "https://api.paypal.com:8443/x",
            "https://api.paypal.com@evil.example/x",
            "https://evil@api.paypal.com/x",
            "https://evil.example/api.paypal.com",
            "//api.paypal.com/x",
            "",
        ] {
            assert!(!is_paypals_url(bad), "{bad}");
        }
    }

    #[test]
    fn the_webhook_id_is_needed_and_nothing_else_is_taken() {
        let error = |text: &str| PayPal::new(&text.parse().expect("TOML")).expect_err("an error").key;
        assert_eq!(error(""), "webhook_id");
        assert_eq!(error("webhook_id = 'a|b'"), "webhook_id");
        assert_eq!(error("webhook_id = 'W1'\ncertificates = ['x']"), "certificates");
        assert_eq!(error("webhook_id = 'W1'\ncertificates = 'x'"), "certificates");
        assert_eq!(error("webhook_id = 'W1'\nextra = 1"), "extra");
    }
}
