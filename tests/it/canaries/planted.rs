//! A secret of each kind, with [`MARK`] in it wherever it may be chosen, and the files that refer to them.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::echo;
use crate::{harness::Folder, oidc::real::CLIENT_SECRET, secrets::fake::TOKEN};

/// In every planted secret.
pub(super) const MARK: &str = "canaryhunter";
/// Secrets of stand-ins that are what they are.
pub(super) const GIVEN: [&str; 2] = ["stand-in-client-secret", "stand-in-token-"];

pub(super) const VENDOR: &str = "canaryhunter-vendor-secret-of-32-bytes";
pub(super) const SLACK: &str = "canaryhunter-slack-signing-secret";
pub(super) const STATIC: &str = "canaryhunter-static-token-of-a-sender";
pub(super) const VAULTED: &str = "canaryhunter-kept-in-vault-32-bytes-";
pub(super) const CLOUD: &str = "canaryhunter-kept-in-the-cloud-32-b-";
pub(super) const LLM: &str = "sk-canaryhunter-llm-key";
const BEARER: &str = "canaryhunter-bearer-token";
const BASIC: &str = "canaryhunter-basic-password";
pub(super) const SITE_TOKEN: &str = "canaryhunter-site-token-of-32-bytes-";
pub(super) const SCRAPE: &str = "canaryhunter-scrape-token";
pub(super) const DATABASE: &str = "canaryhunter-database-password";
pub(super) const MAIL: &str = "canaryhunter-mail-password";
pub(super) const COLLECTOR: &str = "canaryhunter-collector-token";
pub(super) const USER: &str = "canaryhunter-password-of-a-user";

/// `whsec_` and base64.
pub(super) fn whsec(name: &str) -> String {
    format!("whsec_{}", STANDARD.encode(format!("canaryhunter-{name:-<19}")))
}

/// An Ed25519 key in PKCS 8 and PEM whose 32 bytes are a canary.
pub(super) fn signing_key(number: usize) -> String {
    let mut der = hex::decode("302e020100300506032b657004220420").unwrap();
    der.extend_from_slice(format!("canaryhunter-wp-signing-key-{number:04}").as_bytes());
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der))
}

/// Where everybody is whom the gateway has to do with.
pub(super) struct Addresses {
    pub(super) admin: u16,
    pub(super) issuer: String,
    pub(super) collector: String,
    pub(super) dsn: String,
    pub(super) alerts: String,
    pub(super) mail: u16,
    pub(super) vault: String,
    pub(super) llm: String,
    pub(super) site: String,
    pub(super) site_uuid: &'static str,
    pub(super) api: String,
    pub(super) echo: u16,
    /// None: a file of the folder.
    pub(super) database: Option<String>,
}

/// Writes all files.
pub(super) fn write(folder: &Folder, at: &Addresses) {
    for (name, value) in [
        ("vendor", VENDOR),
        ("slack", SLACK),
        ("static", STATIC),
        ("llm", LLM),
        ("site", SITE_TOKEN),
        ("scrape", SCRAPE),
        ("mail", MAIL),
        ("oidc", CLIENT_SECRET),
        ("vault", TOKEN),
        ("bearer", BEARER),
        ("basic", BASIC),
        ("header", "canaryhunter-header-value"),
        ("client", "stand-in-client-secret"),
        ("redact", "canaryhunter-redact-key"),
        ("forward", &whsec("forward")),
        ("alerts", &whsec("alerts")),
        ("dsn", &at.dsn),
        ("chat", &format!("{}/services/canaryhunter/chat", at.alerts)),
    ] {
        folder.secret(name, value);
    }
    if let Some(url) = &at.database {
        folder.secret("database", url);
    }
    std::fs::write(folder.config(), main(at)).unwrap();
    folder.secret("key-0", &signing_key(0));
    folder.tenant("acme", &acme(at));
    for (n, answer) in echo::ANSWERS.into_iter().enumerate() {
        folder.secret(&format!("key-{}", n + 1), &signing_key(n + 1));
        // Each tenant has secrets of its own.
        for (name, value) in [("vendor", VENDOR), ("llm", LLM), ("bearer", BEARER), ("basic", BASIC)] {
            folder.secret(&format!("{name}-{answer}"), &format!("{value}-{answer}"));
        }
        folder.secret(&format!("forward-{answer}"), &whsec(answer));
        folder.tenant(&format!("echo-{answer}"), &echoed(at, answer, n + 1));
    }
}

fn main(at: &Addresses) -> String {
    let database = at.database.as_ref().map_or("", |_| "[database]\nurl = 'file:database'");
    let Addresses { admin, issuer, collector, alerts, mail, vault, .. } = at;
    format!(
        r#"
[edge]
listen = "127.0.0.1:0"
[admin]
listen = "127.0.0.1:{admin}"
public_url = "http://127.0.0.1:{admin}"
scrape_token = "file:scrape"
[admin.oidc]
label = "Example"
issuer = "{issuer}"
client_id = "sluice"
client_secret = "file:oidc"
[[admin.oidc.roles]]
value = "root"
role = "admin"
[outbound]
allow_private = ["127.0.0.0/8"]
[telemetry]
format = "json"
filter = "trace"
[telemetry.traces]
endpoint = "{collector}"
[telemetry.sentry]
dsn = "file:dsn"
[secrets]
refresh = "2s"
[secrets.vault]
address = "{vault}"
token = "file:vault"
[alerts]
dead_letters = 1
[[alerts.receivers]]
name = "hook"
webhook = "{alerts}/alerts"
secret = "file:alerts"
[[alerts.receivers]]
name = "chat"
slack = "file:chat"
[[alerts.receivers]]
name = "mail"
email = {{ server = "smtp://localhost:{mail}", user = "sluice", password = "file:mail", from = "sluice@example.com", to = ["ops@example.com"] }}
{database}
"#
    )
}

fn acme(at: &Addresses) -> String {
    let Addresses { llm, site, site_uuid, api, .. } = at;
    let calls: String = [
        ("bearer", "{ bearer = 'file:bearer' }".to_owned()),
        ("basic", "{ basic = { user = 'sluice', password = 'file:basic' } }".to_owned()),
        ("header", "{ header = { name = 'X-Api-Key', value = 'file:header' } }".to_owned()),
        (
            "oauth2",
            format!("{{ oauth2 = {{ token_url = '{api}/oauth/token', client_id = 'stand-in-client', client_secret = 'file:client' }} }}"),
        ),
    ]
    .map(|(name, auth)| {
        format!("[[sources.chat.routes]]\nname = '{name}'\naction = 'http_call'\nurl = '{api}/sink'\nauth = {auth}\n")
    })
    .concat();
    format!(
        r#"
[llm]
base_url = "{llm}"
model = "test-model"
api_key = "file:llm"
[wordpress]
site = "{site}"
site_uuid = "{site_uuid}"
signing_key = "file:key-0"
site_token = "file:site"
[sources.chat]
vendor = "generic"
secrets = ["file:vendor"]
redact = [{{ pointer = "/data/customer", method = "hash" }}]
redact_key = "file:redact"
[[sources.chat.routes]]
name = "summary"
action = "summarize_and_publish"
[[sources.chat.routes]]
name = "forward"
action = "http_forward"
url = "{api}/sink"
secret = "file:forward"
{calls}
[sources.vaulted]
vendor = "generic"
secrets = [{{ ref = "vault:secret/data/acme#pay", overlap = "1h" }}]
[sources.cloud]
vendor = "generic"
secrets = ["aws-sm:prod/acme#pay"]
[sources.slack]
vendor = "slack"
secrets = ["file:slack"]
[sources.token]
vendor = "custom"
secrets = ["file:static"]
scheme = {{ algorithm = "token", signature = {{ header = "X-Sender-Token" }}, id = {{ header = "X-Event" }}, type = {{ value = "thing.happened" }} }}
"#
    )
}

/// A tenant whose every callee is the echo.
fn echoed(at: &Addresses, answer: &str, key: usize) -> String {
    let origin = echo::origin(at.echo, answer);
    format!(
        r#"
[llm]
base_url = "{origin}/v1"
model = "test-model"
api_key = "file:llm-{answer}"
[wordpress]
site = "{origin}"
site_uuid = "{}"
signing_key = "file:key-{key}"
[sources.chat]
vendor = "generic"
secrets = ["file:vendor-{answer}"]
[[sources.chat.routes]]
name = "summary"
action = "summarize_and_publish"
[[sources.chat.routes]]
name = "post"
action = "wordpress_publish"
title = "A title"
summary = "A summary."
[[sources.chat.routes]]
name = "call"
action = "http_call"
url = "{origin}/call"
auth = {{ bearer = "file:bearer-{answer}" }}
[[sources.chat.routes]]
name = "basic"
action = "http_call"
url = "{origin}/basic"
auth = {{ basic = {{ user = "sluice", password = "file:basic-{answer}" }} }}
[[sources.chat.routes]]
name = "forward"
action = "http_forward"
url = "{origin}/forward"
secret = "file:forward-{answer}"
[[sources.chat.routes]]
name = "fetched"
action = "wordpress_publish"
title = "A title"
summary = "A summary."
fetch = {{ url = "{origin}/thing", auth = {{ bearer = "file:bearer-{answer}" }} }}
"#,
        at.site_uuid
    )
}
