//! A tenant with an LLM, a WordPress site and sources, for tests of the whole way.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice::{
    clock::SystemClock,
    standins::{StandInLlm, StandInWordPress},
};

use super::{App, Cluster, Folder};

/// The secret of every source of a [`World`].
pub(crate) const SECRET: &str = "a-test-secret-of-32-bytes-length";
/// The key of the stand-in LLM.
pub(crate) const LLM_KEY: &str = "sk-test-llm-key";

/// The id of the stand-in site.
const SITE_UUID: &str = "8f14e45f-ceea-467f-a3c0-5a0d9f0c2b11";

/// A folder with the tenant `acme`, whose callees are stand-ins.
pub(crate) struct World {
    /// The configuration.
    pub(crate) folder: Folder,
    /// The model.
    pub(crate) llm: StandInLlm,
    /// The site.
    pub(crate) wordpress: StandInWordPress,
}

/// What the store is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file of the folder.
    Sqlite,
    /// A database of its own in the shared cluster.
    Postgres,
}

/// Cases of the whole gateway that hold on both engines.
macro_rules! on_both_engines {
    ($($case:ident)*) => {
        mod on_sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::harness::Engine::Sqlite).await;
                }
            )*
        }
        mod on_postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case(crate::harness::Engine::Postgres).await;
                }
            )*
        }
    };
}
pub(crate) use on_both_engines;

impl World {
    /// `acme` with these sources (TOML); `{llm}` and `{site}` blocks come before them.
    pub(crate) async fn new(sources: &str) -> Self {
        Self::on(Engine::Sqlite, sources).await
    }

    /// As [`World::new`], with its store on an engine.
    pub(crate) async fn on(engine: Engine, sources: &str) -> Self {
        match engine {
            Engine::Sqlite => Self::of(Folder::new(), sources).await,
            Engine::Postgres => {
                let cluster = Cluster::shared();
                Self::on_url(&cluster.url(&cluster.database().await), sources).await
            }
        }
    }

    /// As [`World::new`], with its store at a URL.
    pub(crate) async fn on_url(url: &str, sources: &str) -> Self {
        let folder = Folder::new();
        let reference = folder.secret("database.url", url);
        folder.main(&format!("[database]\nurl = \"{reference}\"\n"));
        Self::of(folder, sources).await
    }

    async fn of(folder: Folder, sources: &str) -> Self {
        let llm = StandInLlm::start(LLM_KEY).await.expect("a port");
        let nobody = json!({ "keys": [] });
        let wordpress = StandInWordPress::start(SITE_UUID, &nobody, Arc::new(SystemClock)).await.expect("a port");
        let world = Self { folder, llm, wordpress };
        world.folder.signing_key("acme-wordpress.pem");
        world.folder.secret("pay.secret", SECRET);
        world.folder.secret("llm.key", LLM_KEY);
        world.sources(sources);
        world
    }

    /// Rewrites the sources of `acme`.
    pub(crate) fn sources(&self, sources: &str) {
        let text = format!(
            r#"
[llm]
base_url = "{}"
model = "test-model"
api_key = "file:llm.key"
[wordpress]
site = "{}"
site_uuid = "{SITE_UUID}"
signing_key = "file:acme-wordpress.pem"
{sources}
"#,
            self.llm.base_url(),
            self.wordpress.site(),
        );
        self.folder.tenant("acme", &text);
    }

    /// Writes a file beside the configuration.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).expect("a file of the folder");
    }

    /// Starts the gateway; the site trusts its published keys.
    pub(crate) async fn start(&self) -> App {
        let app = App::start(&self.folder).await;
        self.trust(&app.public()).await;
        app
    }

    /// The site trusts the keys that a gateway publishes.
    pub(crate) async fn trust(&self, public: &str) {
        let url = format!("{public}/.well-known/jwks.json");
        let keys: Value = reqwest::get(url).await.expect("the key set").json().await.expect("JSON");
        self.wordpress.trust(&keys);
    }
}

/// A source of `acme` with one route to `summarize_and_publish`.
pub(crate) fn summarising(source: &str, vendor: &str, more: &str) -> String {
    format!(
        r#"
[sources.{source}]
vendor = "{vendor}"
secrets = ["file:pay.secret"]
{more}
[[sources.{source}.routes]]
name = "summary"
action = "summarize_and_publish"
"#
    )
}

/// An `assistant.completed` of the generic scheme about `subject`, at a second of 2026-11-24.
pub(crate) fn completed(subject: &str, second: u32) -> Value {
    json!({
        "event_type": "assistant.completed",
        "subject_id": subject,
        "occurred_at": format!("2026-11-24T07:{:02}:{:02}Z", second / 60, second % 60),
        "data": { "answer": "The order was shipped." },
    })
}
