//! Vault's contract as it is documented, against the fake.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;
use sluice::{
    config::{self, Config, Errors},
    secrets::{Keep, Refreshed, reference::RemoteReference},
};

use sluice_actors::domain::LaneKey;

use super::fake::{FakeVault, JWT, ROLE_ID, SECRET_ID, TOKEN};
use crate::harness::{Folder, eventually, free_port};

const SOURCE: &str = "[sources.pay]\nvendor = 'generic'\nsecrets = ['vault:secret/data/acme#stripe']\n";

/// A folder whose gateway logs in by `login`, with what that needs.
fn folder(vault: &FakeVault, login: &str, tenant: &str) -> Folder {
    let folder = Folder::new();
    folder.secret("secret.id", &format!("{SECRET_ID}\n"));
    folder.secret("jwt", JWT);
    folder.secret("vault.token", TOKEN);
    folder.main(&vault.section("timeout = '1m'", login));
    folder.tenant("acme", tenant);
    folder
}

fn token() -> &'static str {
    "token = 'file:vault.token'"
}

fn approle() -> String {
    format!("[secrets.vault.approle]\nrole_id = '{ROLE_ID}'\nsecret_id = 'file:secret.id'")
}

async fn load(folder: &Folder) -> Result<Config, Errors> {
    let path = folder.config();
    tokio::task::spawn_blocking(move || config::load(&path)).await.unwrap()
}

/// The only error of a configuration that is refused.
async fn refused(folder: &Folder) -> String {
    let errors = load(folder).await.unwrap_err();
    assert_eq!(errors.0.len(), 1, "{errors}");
    assert_eq!(errors.0[0].code.as_str(), "SLU02");
    errors.to_string()
}

fn lane() -> LaneKey {
    LaneKey::new("acme".parse().unwrap(), "pay".parse().unwrap())
}

async fn fetch(config: &Config, keep: &Keep) -> Refreshed {
    keep.fetch(&config.secrets, &config.remote).await
}

#[tokio::test]
async fn each_way_to_log_in_reads_the_secret_in_its_namespace() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "stripe": "whsec_1", "other": "whsec_2" }));
    let kubernetes = "[secrets.vault.kubernetes]\nmount = 'k8s/prod'\nrole = 'sluice'\ntoken_file = 'jwt'";
    for login in [token(), &approle(), kubernetes] {
        let config = load(&folder(&vault, &format!("namespace = 'teams/web'\n{login}"), SOURCE)).await.unwrap();
        let (_, source) = config.source(&lane()).unwrap();
        assert_eq!(source.keys.len(), 1, "{login}");
        assert_eq!(&*source.keys[0].version, "vault:secret/data/acme#stripe");
    }
    let state = vault.state();
    assert_eq!(state.logins, 2);
    assert!(state.namespaces.len() >= 5 && state.namespaces.iter().all(|namespace| namespace == "teams/web"));
}

#[tokio::test]
async fn many_fields_of_one_path_are_one_question() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "stripe": "whsec_1", "shop": "whsec_2" }));
    let two = format!("{SOURCE}[sources.shop]\nvendor = 'generic'\nsecrets = ['vault:secret/data/acme#shop']\n");
    load(&folder(&vault, token(), &two)).await.unwrap();
    assert_eq!(vault.state().reads, 1);
}

#[tokio::test]
async fn what_cannot_be_read_stops_the_start_and_is_named_without_its_value() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "other": "canaryhunter45", "number": 5 }));
    vault.put("gone", json!({ "stripe": "canaryhunter45" }));
    vault.delete("gone", 1);
    for (reference, told) in [
        ("vault:secret/data/acme#stripe", "has no such field"),
        ("vault:secret/data/acme#number", "has no text in that field"),
        ("vault:secret/data/acme?version=7#other", "the provider has no such version of it"),
        ("vault:secret/data/gone#stripe", "the provider has no such version of it"),
        ("vault:secret/data/nothing#stripe", "the provider knows no such secret"),
        ("vault:secret/data/forbidden#stripe", "the provider does not let us read it (status 403)"),
    ] {
        let tenant = format!("[sources.pay]\nvendor = 'generic'\nsecrets = ['{reference}']\n");
        for login in [token(), &approle()] {
            let error = refused(&folder(&vault, login, &tenant)).await;
            assert!(error.contains(&format!("sources.pay.secrets[0]: `{reference}`: {told}")), "{error}");
            assert!(!error.contains("canaryhunter"), "{error}");
        }
    }
}

#[tokio::test]
async fn each_status_of_a_vault_that_cannot_answer_is_told() {
    let vault = FakeVault::start().await;
    for (status, told) in [
        (429, "it asks us to come back, or is a standby"),
        (472, "it is a secondary for disasters"),
        (473, "it is a standby for performance"),
        (503, "it is sealed or in maintenance"),
        (500, "it failed"),
        (307, "it sends us elsewhere: name the address of the active node"),
        (412, "the node is behind"),
        (418, "answered what it should not (status 418)"),
    ] {
        vault.state().outage = Some(status);
        let error = refused(&folder(&vault, token(), SOURCE)).await;
        assert!(error.contains(told), "{status}: {error}");
    }
}

#[tokio::test]
async fn a_vault_that_is_not_there_is_told_within_the_deadline() {
    let vault = FakeVault::start().await;
    let folder = folder(&vault, token(), SOURCE);
    // A listener that never answers.
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", free_port())).await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    folder.main(&vault.section("timeout = '1s'", token()).replace(&vault.address, &address));
    let error = refused(&folder).await;
    assert!(error.contains("the provider cannot be reached (no answer within 1 s)"), "{error}");
    drop(silent);
    let error = refused(&folder).await;
    assert!(error.contains("connection refused"), "{error}");
}

#[tokio::test]
async fn wrong_credentials_are_told_as_such() {
    let vault = FakeVault::start().await;
    let folder = folder(&vault, &approle(), SOURCE);
    folder.secret("secret.id", "canaryhunter46");
    let error = refused(&folder).await;
    assert!(error.contains("the provider refuses our credentials (status 400)"), "{error}");
    assert!(!error.contains("canaryhunter46"));
}

#[tokio::test]
async fn a_revoked_token_is_replaced_by_a_login() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "stripe": "whsec_1" }));
    let config = load(&folder(&vault, &approle(), SOURCE)).await.unwrap();
    let refreshed = fetch(&config, &config.keep).await;
    assert!(refreshed.failed.is_empty() && !refreshed.changed, "{refreshed:?}");
    assert_eq!(vault.state().logins, 1, "the token is kept from one refresh to the next");
    vault.state().tokens.clear();
    let refreshed = fetch(&config, &config.keep).await;
    assert!(refreshed.failed.is_empty(), "{refreshed:?}");
    assert_eq!(vault.state().logins, 2);
}

#[tokio::test]
async fn a_path_that_is_forbidden_is_no_reason_to_log_in_again() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "stripe": "whsec_1" }));
    let two = format!("{SOURCE}[sources.shop]\nvendor = 'generic'\nsecrets = ['vault:secret/data/forbidden#shop']\n");
    let error = refused(&folder(&vault, &approle(), &two)).await;
    assert!(error.contains("secret/data/forbidden"), "{error}");
    assert_eq!(vault.state().logins, 1);
}

#[tokio::test]
async fn the_version_before_is_asked_for_once_the_one_that_is_there_is_known() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "stripe": "whsec_1" }));
    vault.put("acme", json!({ "stripe": "whsec_2" }));
    let source = "[sources.pay]\nvendor = 'generic'\n\
        secrets = [{ ref = 'vault:secret/data/acme#stripe', overlap = '1h' }]\n";
    let config = load(&folder(&vault, token(), source)).await.unwrap();
    assert_eq!(config.remote.len(), 2);
    let asked = vault.state().asked;
    vault.hang();
    let refresh = async {
        let refreshed = fetch(&config, &config.keep).await;
        assert!(refreshed.failed.is_empty(), "{refreshed:?}");
    };
    let look = async {
        eventually("it is asked", || async { (vault.state().asked > asked).then_some(()) }).await;
        // Were both asked at once, a rotation between them could retire a version that neither is.
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(vault.state().asked, asked + 1);
        vault.answer();
    };
    tokio::join!(refresh, look);
    assert_eq!(vault.state().asked, asked + 3);
}

#[tokio::test]
async fn a_token_is_renewed_once_it_is_half_as_old_as_it_may_become() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "stripe": "whsec_1" }));
    vault.state().lease = 10;
    let config = load(&folder(&vault, &approle(), SOURCE)).await.unwrap();
    eventually("the token is renewed", || async {
        let refreshed = fetch(&config, &config.keep).await;
        assert!(refreshed.failed.is_empty(), "{refreshed:?}");
        (vault.state().renewals > 0).then_some(())
    })
    .await;
    assert_eq!(vault.state().logins, 1);
}

#[tokio::test]
async fn a_value_that_cannot_be_read_again_stays_until_it_is_too_old() {
    let vault = FakeVault::start().await;
    vault.put("acme", json!({ "stripe": "whsec_1" }));
    let config = load(&folder(&vault, token(), SOURCE)).await.unwrap();
    vault.state().outage = Some(503);
    let refreshed = fetch(&config, &config.keep).await;
    let failed: BTreeSet<&RemoteReference> = refreshed.failed.iter().map(|(reference, _)| reference).collect();
    assert_eq!(failed, config.remote.iter().collect());
    let (_, source) = config.source(&lane()).unwrap();
    assert!(config.keep.expire(Duration::from_hours(1)).is_empty() && source.is_on());
    assert_eq!(config.keep.expire(Duration::ZERO).len(), 1);
    assert!(source.is_stale() && !source.is_on());
    assert!(config.keep.expire(Duration::ZERO).is_empty(), "told once");
    vault.state().outage = None;
    let refreshed = fetch(&config, &config.keep).await;
    assert!(refreshed.changed && source.is_on());
}

#[tokio::test]
async fn nobody_is_asked_offline_and_a_credential_of_the_provider_is_local() {
    let vault = FakeVault::start().await;
    let plain = folder(&vault, token(), SOURCE);
    let offline = config::Input::read(&plain.config()).unwrap().offline().resolve().unwrap();
    assert_eq!(vault.state().reads, 0);
    let warning = "`vault:secret/data/acme#stripe` is not looked up here";
    assert!(offline.warnings.iter().any(|it| it.to_string().contains(warning)), "{:?}", offline.warnings);

    let circular = folder(&vault, "token = 'vault:secret/data/acme#token'", "");
    let errors = load(&circular).await.unwrap_err().to_string();
    assert!(errors.contains("secrets.vault.token: is kept by a provider"), "{errors}");
    assert_eq!(vault.state().reads, 0);
}
