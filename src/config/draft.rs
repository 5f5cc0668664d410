//! A new source as it is written into a tenant's file: what `sluice source add` appends, and what the
//! console shows.

use std::fmt::Write;

use serde::Serialize;
use sluice_actors::domain::{SourceName, TenantName};

use crate::vendors;

/// How a source comes to its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretFrom {
    /// We choose it, and write it into the vendor's settings.
    Us,
    /// The vendor shows it.
    Vendor,
    /// The vendor shows a public key, or certificates.
    PublicKey,
    /// The vendor sends it to the URL.
    HandedOver,
}

/// Vendors that send their secret to the URL.
pub(crate) const HANDED_OVER: [&str; 1] = ["notion"];
/// Vendors that let us choose the secret.
pub(crate) const OURS: [&str; 3] = ["custom", "generic", "github"];
/// Vendors that sign with a key of their own.
pub(crate) const PUBLIC_KEY: [&str; 3] = ["discord", "paypal", "sendgrid"];

/// How a source of this vendor comes to its secret.
pub fn secret_from(vendor: &str) -> SecretFrom {
    if HANDED_OVER.contains(&vendor) {
        SecretFrom::HandedOver
    } else if OURS.contains(&vendor) {
        SecretFrom::Us
    } else if PUBLIC_KEY.contains(&vendor) {
        SecretFrom::PublicKey
    } else {
        SecretFrom::Vendor
    }
}

/// The keys that a source of this vendor cannot do without, with values to be replaced; empty for most.
pub fn needed_options(vendor: &str) -> &'static str {
    match vendor {
        "custom" => {
            "scheme = { algorithm = \"hmac-sha256\", signature = { header = \"X-Signature\", encoding = \"hex\" }, \
             signed = \"{body}\", id = { header = \"X-Id\" }, type = { pointer = \"/type\" } }"
        }
        "paypal" => "webhook_id = \"THE-ID-THAT-PAYPAL-SHOWS\"",
        _ => "",
    }
}

/// Where the URL and the secret go in the vendor's own settings; none for a name that is no vendor's.
pub fn setup(vendor: &str) -> Option<&'static str> {
    let options = needed_options(vendor).parse().ok()?;
    Some(vendors::build(vendor, &options)?.ok()?.profile().setup)
}

/// The source as it is written. `secret`: its reference, none where the vendor hands it over; `options`:
/// the vendor's own keys.
pub fn table(
    tenant: &TenantName,
    source: &SourceName,
    vendor: &str,
    secret: Option<&str>,
    options: &toml::Table,
) -> String {
    let mut text =
        format!("# Deliveries come to /webhooks/{tenant}/{source}.\n[sources.{source}]\nvendor = \"{vendor}\"\n");
    match secret {
        Some(secret) => writeln!(text, "secrets = [{}]", toml::Value::String(secret.to_owned())),
        None => writeln!(text, "# Until the token came; then name it under `secrets` instead.\nawait_handshake = true"),
    }
    .expect("a text takes all of it");
    for (key, value) in options {
        writeln!(text, "{key} = {value}").expect("a text takes all of it");
    }
    // An event that no route wants would be stored and wait.
    write!(text, "\n[[sources.{source}.routes]]\nname = \"log\"\naction = \"log\"\n").expect("a text takes all of it");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{secrets::Secret, vendors::Key};

    #[test]
    fn every_vendor_is_told_how_it_comes_to_its_secret_and_where_the_url_goes() {
        for name in [&HANDED_OVER[..], &OURS, &PUBLIC_KEY].concat() {
            assert!(vendors::NAMES.contains(&name), "{name}");
        }
        for name in vendors::NAMES {
            assert!(setup(name).is_some_and(|text| text.len() > 20), "{name}");
            let options = needed_options(name).parse().unwrap();
            let vendor = vendors::build(name, &options).unwrap().unwrap();
            // What we could choose is symmetric; what we could not is a key of theirs.
            let made = ["hex-made-secret-of-32-characters", "whsec_aGV4LW1hZGUtc2VjcmV0LW9mLTMyLWNoYXJhY3RlcnM="];
            let is_ours = made
                .iter()
                .any(|text| matches!(vendor.key(&Secret::new(text.as_bytes().to_vec())), Ok(Key::Symmetric(_))));
            assert_eq!(is_ours, secret_from(name) != SecretFrom::PublicKey, "{name}");
        }
        assert_eq!(setup("nobody"), None);
    }
}
