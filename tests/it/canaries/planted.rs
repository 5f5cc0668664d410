//! A secret of each kind, with [`MARK`] in it wherever it may be chosen, and the files that refer to them.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{brokers::Brokers, echo};
use crate::{
    harness::{Engine, Folder},
    oidc::real::CLIENT_SECRET,
    secrets::fake::{ROLE_ID, SECRET_ID, TOKEN},
};

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
/// Of Redis, `RabbitMQ` and NATS.
pub(super) const BROKERS: [&str; 3] =
    ["canaryhunter-password-at-redis", "canaryhunter-password-at-rabbitmq", "canaryhunter-password-at-nats"];
/// Of `sealed/chat`, before it is rotated and after.
pub(super) const ROTATED: &str = "canaryhunter-rotated-secret-of-32-b-";
pub(super) const NEXT: &str = "canaryhunter-what-it-is-rotated-to--";
/// The newest wrapping key and the one before it: 32 bytes each, as the gateway wants them.
const WRAPPING: [&[u8; 32]; 2] = [b"canaryhunter-wrapping-key-of-32-", b"canaryhunter-wrapping-key-before"];
/// What signs the links of the folder of artifacts: 32 bytes.
const LINKS: &[u8; 32] = b"canaryhunter-links-are-signed-by";
/// Where the gateway looks for it.
pub(super) const LINK_KEY: &str = "artifacts/.signing-key";
/// Whether this build publishes to brokers: to none, or to all three. One that cannot refuses a route that would.
pub(super) const PUBLISHES: bool = cfg!(all(feature = "redis", feature = "rabbitmq", feature = "nats"));

/// The wrapping key as it lies in its file.
pub(super) fn wrapping_key() -> String {
    STANDARD.encode(WRAPPING[0])
}

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
    /// How to log in there.
    pub(super) vault_login: String,
    pub(super) llm: String,
    pub(super) site: String,
    pub(super) site_uuid: &'static str,
    pub(super) api: String,
    pub(super) echo: u16,
    pub(super) brokers: Brokers,
    /// None: a file of the folder.
    pub(super) database: Option<String>,
}

/// One way to log in to Vault at a time: with each engine another.
pub(super) fn vault_login(engine: Engine) -> String {
    match engine {
        Engine::Sqlite => format!("[secrets.vault.approle]\nrole_id = '{ROLE_ID}'\nsecret_id = 'file:secret-id'"),
        Engine::Postgres => "token = 'file:vault'".to_owned(),
    }
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
        ("secret-id", SECRET_ID),
        ("bearer", BEARER),
        ("basic", BASIC),
        ("header", "canaryhunter-header-value"),
        ("client", "stand-in-client-secret"),
        ("redact", "canaryhunter-redact-key"),
        ("rotated", ROTATED),
        ("bearer-sealed", &format!("{BEARER}-sealed")),
        ("wrapping", &wrapping_key()),
        ("wrapping-before", &hex::encode(WRAPPING[1])),
        ("forward", &whsec("forward")),
        ("alerts", &whsec("alerts")),
        ("dsn", &at.dsn),
        ("chat", &format!("{}/services/canaryhunter/chat", at.alerts)),
    ] {
        folder.secret(name, value);
    }
    for (url, name) in at.brokers.urls().into_iter().zip(["redis", "rabbitmq", "nats"]) {
        folder.secret(&format!("{name}.url"), &url);
    }
    if let Some(url) = &at.database {
        folder.secret("database", url);
    }
    std::fs::create_dir(folder.path().join("artifacts")).unwrap();
    folder.secret(LINK_KEY, &hex::encode(LINKS));
    std::fs::write(folder.config(), main(at)).unwrap();
    folder.secret("key-0", &signing_key(0));
    folder.tenant("acme", &acme(at));
    folder.tenant("sealed", &sealed(at));
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
    let Addresses { admin, issuer, collector, alerts, mail, vault, vault_login, .. } = at;
    format!(
        r#"
[edge]
listen = "127.0.0.1:0"
public_url = "https://hooks.example.com"
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
{vault_login}
[artifacts]
store = "artifacts"
transcripts = true
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
    let published: String = [
        "redis = { url = 'file:redis.url', stream = 'orders' }",
        "rabbitmq = { url = 'file:rabbitmq.url', exchange = 'events', routing_key = 'orders' }",
        "nats = { url = 'file:nats.url', subject = 'orders' }",
    ]
    .iter()
    .filter(|_| PUBLISHES)
    .enumerate()
    .map(|(n, broker)| format!("[[sources.chat.routes]]\nname = 'broker-{n}'\naction = 'queue_publish'\n{broker}\n"))
    .collect();
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
{published}
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

/// A tenant whose rows are sealed. One of its own: in the sealed rows of others nothing could be found.
fn sealed(at: &Addresses) -> String {
    format!(
        r#"
[encryption]
key = ["file:wrapping", "file:wrapping-before"]
[sources.chat]
vendor = "generic"
secrets = ["file:rotated"]
[[sources.chat.routes]]
name = "bearer"
action = "http_call"
url = "{}/sink"
auth = {{ bearer = "file:bearer-sealed" }}
"#,
        at.api
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
