//! `[encryption]` of a tenant file: the keys that wrap its data keys.

use super::{finding::Problem, section::Section};
use crate::seal::{Encryption, WrappingKey};

/// Room for a rotation that comes before the last one ended.
const MAX_KEYS: usize = 4;

impl Encryption {
    pub(super) fn read(mut section: Section<'_>) -> Option<Self> {
        let seal = section.get("seal", true);
        let items = section.one_or_more("key").unwrap_or_default();
        if items.is_empty() {
            section.error("key", "is missing", "write a reference such as \"vault:secret/data/acme#wrapping\"");
        } else if items.len() > MAX_KEYS {
            section.error(
                "key",
                format!("names {} keys", items.len()),
                format!("name at most {MAX_KEYS}, newest first"),
            );
        }
        let mut keys: Vec<WrappingKey> = Vec::with_capacity(items.len());
        for (spot, item) in &items {
            let Some((secret, reference)) = section.unclaimed_secret_at(item, spot) else { continue };
            match WrappingKey::parse(secret.expose(), reference.to_string()) {
                Ok(key) if keys.iter().any(|other| other.fingerprint() == key.fingerprint()) => {
                    section.ctx.warn(&spot.place, &spot.key, "is the same key as an earlier one", "remove it");
                }
                Ok(key) => keys.push(key),
                Err(error) => {
                    let problem = Problem::secret(error.to_string(), "make one with `openssl rand -base64 32`");
                    section.ctx.error(&spot.place, &spot.key, problem);
                }
            }
        }
        section.finish();
        (!keys.is_empty()).then_some(Self { keys, seal })
    }
}

#[cfg(test)]
mod tests {
    use crate::{config::Input, seal::WrappingKey, secrets::Environment};

    const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const TWO: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

    fn resolved(text: &str) -> Result<crate::config::Config, String> {
        let environment = Environment::fixed([("ONE", ONE), ("TWO", TWO), ("SHORT", "c2hvcnQ=")]);
        let input = Input::new("cfg").environment(environment).tenant("acme", text);
        input.resolve().map_err(|errors| errors.to_string())
    }

    #[test]
    fn keys_are_read_newest_first_and_shown_by_their_references() {
        let config = resolved("[encryption]\nkey = ['env:TWO', 'env:ONE']\nseal = false").unwrap();
        let tenant = config.tenants.values().next().unwrap();
        let encryption = tenant.encryption.as_ref().unwrap();
        assert_eq!(encryption.keys.iter().map(WrappingKey::reference).collect::<Vec<_>>(), ["env:TWO", "env:ONE"]);
        assert!(!encryption.seal);
        let shown = format!("{tenant:?}");
        assert!(shown.contains("env:ONE") && !shown.contains(&ONE[..8]) && !shown.contains(&TWO[..8]), "{shown}");
        let one = resolved("[encryption]\nkey = 'env:ONE'").unwrap();
        let encryption = one.tenants.values().next().unwrap().encryption.clone().unwrap();
        assert!(encryption.seal && encryption.keys.len() == 1);
    }

    #[test]
    fn what_is_wrong_with_a_key_is_named_with_its_place_and_never_quoted() {
        for (text, words) in [
            ("[encryption]", "encryption.key: is missing"),
            ("[encryption]\nkey = []", "encryption.key: is missing"),
            ("[encryption]\nkey = 'env:SHORT'", "encryption.key: is not 32 bytes"),
            ("[encryption]\nkey = ['env:ONE', 'env:SHORT']", "encryption.key[1]: is not 32 bytes"),
            ("[encryption]\nkey = 'env:NONE'", "`env:NONE`: the environment variable NONE is not set"),
            ("[encryption]\nkey = 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8='", "is a plain value"),
            ("[encryption]\nkey = 7", "encryption.key"),
            ("[encryption]\nkeys = 'env:ONE'", "encryption.keys: is not a known key"),
            ("[encryption]\nkey = ['env:ONE','env:ONE','env:ONE','env:ONE','env:ONE']", "names 5 keys"),
        ] {
            let errors = resolved(text).unwrap_err();
            assert!(errors.contains(words), "{text}: {errors}");
            assert!(!errors.contains("AAECAw") && !errors.contains("c2hvcnQ"), "{errors}");
        }
    }
}
