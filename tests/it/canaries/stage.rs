//! Everybody whom a gateway with canaries has to do with, and what is to be seen of it.

use std::{collections::BTreeMap, path::Path, process::Command, time::Duration};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use sluice::{
    clock::SystemClock,
    standins::{Seen, StandInApi, StandInLlm, StandInWordPress},
};

use super::{
    brokers::Brokers,
    echo,
    planted::{self, Addresses},
};
use crate::{
    alerts::{certificates, mailbox::Mailbox},
    harness::{Cluster, Engine, Folder, Process, Receiver, Sender, command, free_port, within},
    oidc::real::RealProvider,
    secrets::{
        aws::{CONTAINER_TOKEN, Moto, container_endpoint},
        fake::FakeVault,
    },
};

const SITE_UUID: &str = "8f14e45f-ceea-467f-a3c0-5a0d9f0c2b11";

pub(super) struct Stage {
    pub(super) folder: Folder,
    pub(super) llm: StandInLlm,
    pub(super) site: StandInWordPress,
    pub(super) api: StandInApi,
    pub(super) alerts: StandInApi,
    pub(super) mailbox: Mailbox,
    pub(super) collector: Receiver,
    pub(super) sentry: Receiver,
    pub(super) brokers: Brokers,
    pub(super) provider: RealProvider,
    _moto: Moto,
    /// The database in the shared cluster; none: SQLite.
    database: Option<String>,
    environment: BTreeMap<&'static str, String>,
}

impl Stage {
    pub(super) async fn set(engine: Engine) -> Self {
        let folder = Folder::new();
        let [roots, cert, key] = certificates(&folder);
        let mailbox = Mailbox::start(&["starttls", &cert, &key, "sluice", planted::MAIL]);
        let brokers = Brokers::start().await;
        let (collector, sentry) = tokio::join!(Receiver::start("otlp"), Receiver::start("sentry"));
        let admin = free_port();
        let back = format!("http://127.0.0.1:{admin}/api/v1/session/provider/callback");
        let mut provider = RealProvider::start(0, &back);
        provider.accounts(&json!({ "u1": { "preferred_username": "grace", "groups": ["root"] } }));
        let moto = Moto::start();
        moto.create("prod/acme", &json!({ "pay": planted::CLOUD })).await;
        let vault = FakeVault::start().await;
        vault.put("acme", json!({ "pay": planted::VAULTED }));
        let nobody = json!({ "keys": [] });
        let llm = StandInLlm::start(planted::LLM).await.unwrap();
        let site = StandInWordPress::start(SITE_UUID, &nobody, std::sync::Arc::new(SystemClock));
        let (site, api, alerts) =
            (site.await.unwrap(), StandInApi::start().await.unwrap(), StandInApi::start().await.unwrap());
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Cluster::shared().database().await),
        };
        let url = |database: &String| format!("{}&password={}", Cluster::shared().url(database), planted::DATABASE);
        let addresses = Addresses {
            admin,
            issuer: provider.issuer.clone(),
            collector: collector.url.clone(),
            dsn: sentry.url.clone(),
            alerts: alerts.url("").as_str().trim_end_matches('/').to_owned(),
            mail: mailbox.port,
            vault: vault.address.clone(),
            vault_login: planted::vault_login(engine),
            llm: llm.base_url().to_string(),
            site: site.site().to_string(),
            site_uuid: SITE_UUID,
            api: format!("http://{}", api.authority()),
            echo: echo::start().await,
            brokers: brokers.clone(),
            database: database.as_ref().map(url),
        };
        planted::write(&folder, &addresses);
        let environment = BTreeMap::from([
            ("SSL_CERT_FILE", roots),
            ("AWS_REGION", "eu-west-1".to_owned()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto.address.clone()),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container_endpoint().await),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN.to_owned()),
            ("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{}", planted::COLLECTOR)),
            ("RUST_BACKTRACE", "full".to_owned()),
        ]);
        Self {
            folder,
            llm,
            site,
            api,
            alerts,
            mailbox,
            collector,
            sentry,
            brokers,
            provider,
            _moto: moto,
            database,
            environment,
        }
    }

    /// A command of the binary in this world.
    pub(super) fn command(&self, words: &[&str]) -> Command {
        let mut command = command(self.folder.path(), words);
        command.envs(&self.environment);
        command
    }

    /// The gateway; the kernel may write as large a core dump as it likes.
    pub(super) async fn gateway(&self) -> Process {
        let process = Process::start_as(dumping(&self.command(&["serve"])), self.folder.path()).await;
        let keys = reqwest::get(format!("{}/.well-known/jwks.json", process.runtime.public)).await.unwrap();
        let keys: Value = keys.json().await.unwrap();
        let of_acme = keys["keys"].as_array().unwrap().len();
        assert!(of_acme > 0, "{keys}");
        self.site.trust(&keys);
        process
    }

    /// All that the store keeps, and the objects of artifacts.
    pub(super) fn stored(&self) -> Vec<(String, Vec<u8>)> {
        let mut stored = self.objects();
        stored.extend(self.rows());
        stored
    }

    fn rows(&self) -> Vec<(String, Vec<u8>)> {
        match &self.database {
            Some(database) => vec![("the dump of the database".to_owned(), Cluster::shared().dump(database))],
            None => self
                .folder
                .stored_bytes()
                .into_iter()
                .map(|(path, bytes)| (path.display().to_string(), bytes))
                .collect(),
        }
    }

    /// The objects of artifacts by their paths, without the key that lies beside them.
    fn objects(&self) -> Vec<(String, Vec<u8>)> {
        fn walk(folder: &Path, into: &mut Vec<(String, Vec<u8>)>) {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    walk(&path, into);
                } else if !path.ends_with(planted::LINK_KEY) {
                    into.push((path.display().to_string(), std::fs::read(&path).expect("an object")));
                }
            }
        }
        let mut objects = Vec::new();
        walk(&self.folder.path().join("artifacts"), &mut objects);
        objects
    }

    /// The ids of transcripts that are kept.
    pub(super) fn transcripts(&self) -> Vec<String> {
        let paths = self.objects().into_iter().map(|(path, _)| path).filter(|path| path.contains("/transcripts/"));
        paths.filter_map(|path| path.rsplit('/').next().map(str::to_owned)).collect()
    }
}

/// The same command under a shell that takes the limit of core dumps away.
pub(super) fn dumping(command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -c \"$(ulimit -H -c)\" && exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().expect("the folder"));
    shell.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    shell
}

/// Somebody who asks.
pub(super) struct Caller {
    pub(super) name: String,
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Caller {
    pub(super) fn bearer(name: &str, token: &str) -> Self {
        Self { name: name.to_owned(), headers: vec![("authorization", format!("Bearer {token}"))] }
    }

    /// Status, headers and body of an answer, as text.
    pub(super) async fn ask(&self, client: &Client, method: Method, url: &str, body: Option<&Value>) -> String {
        let mut request = client.request(method.clone(), url);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_default();
        format!("{status} {headers:?}\n{}", String::from_utf8_lossy(&body))
    }
}

/// What callees and receivers were told besides credentials: the bodies.
pub(super) fn bodies(of: &str, seen: &[Seen]) -> Vec<(String, Vec<u8>)> {
    seen.iter().map(|seen| (format!("{of} {}", seen.path), seen.body.to_vec())).collect()
}

/// A sender to a source.
pub(super) fn sender(process: &Process, tenant: &str, source: &str, vendor: &str, secret: &str) -> Sender {
    Sender::new(&process.runtime.public, tenant, source, vendor, secret)
}

/// Waits until every job was tried.
pub(super) async fn all_tried(process: &Process, at_least: usize) {
    within(Duration::from_mins(2), "every job was tried", || async {
        let jobs = process.get("/api/v1/jobs?limit=500").await;
        let jobs = jobs["items"].as_array().expect("items");
        let tried = jobs.iter().all(|job| {
            let waits = ["pending", "running"].contains(&job["state"].as_str().unwrap());
            !waits || job["attempts"].as_u64() > Some(0) || job["last_error"].is_string()
        });
        (tried && jobs.len() >= at_least).then_some(())
    })
    .await;
}
