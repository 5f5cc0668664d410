//! What the demo plays with: a scratch folder, stand-ins, the gateway, a sender for each source.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use sluice_actors::{domain::Timestamp, ports::Clock};
use tempfile::TempDir;
use url::Url;

use super::{keys::Keys, story::Outcome};
use crate::{
    actions::jwks,
    app::{self, AppOptions, Running},
    cli::{
        output,
        send::{self, Answer, Delivery, Target},
    },
    clock::SystemClock,
    config::{self, LogFormat},
    edge::RequestLimits,
    ids,
    lifecycle::DrainPlan,
    secrets::Secret,
    standins::{Fault, StandInApi, StandInLlm, StandInWordPress},
    telemetry::{Reports, logs},
    vendors::{self, Vendor},
};

/// The tenant with a source of every vendor, named as its vendor.
pub(super) const ACME: &str = "acme";
/// The tenant whose callees fail.
pub(super) const GLOBEX: &str = "globex";
/// Its lane whose callee is down for a while.
pub(super) const STATUS: &str = "status";
/// Its lane whose callee refuses one call for good.
pub(super) const ORDERS: &str = "orders";

const SITE_UUID: &str = "3f0c9a52-6b1e-4f57-9a53-0d6d5d3c5b11";

/// How long a stand-in model thinks, so that there is something to watch.
const THINKING: Duration = Duration::from_millis(250);

/// Everything that runs. The folder goes when it is dropped.
pub(super) struct World {
    pub(super) running: Running,
    pub(super) llm: StandInLlm,
    pub(super) wordpress: StandInWordPress,
    /// What `globex/status` calls.
    pub(super) pager: StandInApi,
    /// What `globex/orders` calls.
    pub(super) crm: StandInApi,
    senders: Vec<Sender>,
    /// Holds the resources that events of `OpenAI` and Notion only name.
    _library: StandInApi,
    folder: TempDir,
}

/// Signs and sends as the vendor of one source.
pub(super) struct Sender {
    tenant: &'static str,
    source: &'static str,
    target: Target,
    vendor: Arc<dyn Vendor>,
    secret: Secret,
}

impl Sender {
    fn new(
        public: &Url,
        tenant: &'static str,
        source: &'static str,
        vendor: &str,
        keys: &Keys,
    ) -> anyhow::Result<Self> {
        let target = Target::parse(&public.join(&format!("webhooks/{tenant}/{source}"))?)?;
        let vendor = vendors::build(vendor, &keys.options).context("a vendor of the registry")??;
        Ok(Self { tenant, source, target, vendor, secret: keys.signs.clone() })
    }

    /// The vendor's sample under `id`, signed as at `now`.
    pub(super) fn sample(&self, id: &str, now: Timestamp) -> anyhow::Result<Delivery> {
        send::sign(&*self.vendor, &self.secret, &self.target.url, id, now, None)
    }

    /// `body` under `id`, signed now.
    pub(super) fn delivery(&self, id: &str, body: &Value) -> anyhow::Result<Delivery> {
        let body = body.to_string().into_bytes();
        send::sign(&*self.vendor, &self.secret, &self.target.url, id, SystemClock.now(), Some(body))
    }

    /// The vendor's sample, signed with a secret that somebody guessed.
    pub(super) fn forgery(&self, id: &str) -> anyhow::Result<Delivery> {
        let guessed = Secret::new(hex::encode(ids::secret_bytes()).into_bytes());
        send::sign(&*self.vendor, &guessed, &self.target.url, id, SystemClock.now(), None)
    }

    /// Sends a delivery.
    pub(super) async fn send(&self, delivery: &Delivery) -> anyhow::Result<Answer> {
        send::deliver(&self.target, delivery).await
    }
}

impl World {
    /// Writes the configuration, starts the stand-ins and the gateway.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let folder =
            tempfile::Builder::new().prefix("sluice-demo-").tempdir().context("cannot make a scratch folder")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        log_into(&folder.path().join("sluice.log"), clock.clone())?;

        let llm_key = hex::encode(ids::secret_bytes());
        let llm = StandInLlm::start(&llm_key).await?;
        llm.fail_always(Some(Fault::Late(THINKING)));
        let wordpress = StandInWordPress::start(SITE_UUID, &json!({ "keys": [] }), clock).await?;
        let (library, pager, crm) =
            (StandInApi::start().await?, StandInApi::start().await?, StandInApi::start().await?);

        let [listen, admin] = free_addresses()?;
        let public: Url = format!("http://{listen}/").parse()?;
        let files = Files { folder: folder.path() };
        files.secret("llm.key", &llm_key)?;
        files.secret("acme-wordpress.pem", &KeyPair::generate_for(&PKCS_ED25519)?.serialize_pem())?;
        files.write("sluice.toml", &main_file(listen, admin, &llm.base_url()))?;
        fs::create_dir(folder.path().join("tenants"))?;

        let mut senders = Vec::new();
        let mut acme = format!(
            "[wordpress]\nsite = \"{}\"\nsite_uuid = \"{SITE_UUID}\"\nsigning_key = \"file:acme-wordpress.pem\"\n",
            wordpress.site()
        );
        for vendor in vendors::NAMES {
            let keys = Keys::fresh(vendor)?;
            let reference = files.secret(&format!("{ACME}-{vendor}.secret"), &keys.verifies)?;
            let mut options = keys.options.clone();
            if let Some(root) = &keys.root {
                options.insert("certificates".to_owned(), vec![files.secret("paypal-root.pem", root)?].into());
            }
            acme.push_str(&source_of_every_vendor(vendor, &reference, &options, &library)?);
            senders.push(Sender::new(&public, ACME, vendor, vendor, &keys)?);
        }
        files.write("tenants/acme.toml", &acme)?;

        let mut globex = String::new();
        for (source, callee) in [(STATUS, &pager), (ORDERS, &crm)] {
            let keys = Keys::fresh("generic")?;
            let reference = files.secret(&format!("{GLOBEX}-{source}.secret"), &keys.verifies)?;
            globex.push_str(&source_that_calls(source, &reference, &callee.url("/v1/notes")));
            senders.push(Sender::new(&public, GLOBEX, source, "generic", &keys)?);
        }
        files.write("tenants/globex.toml", &globex)?;

        let path = folder.path().join("sluice.toml");
        let config = config::load(&path)?;
        wordpress.trust(&jwks(&config, SystemClock.now()));
        let drain = DrainPlan { announce: Duration::ZERO, jobs: Duration::from_secs(5), ..DrainPlan::default() };
        // It shows what happens, on however slow a machine.
        let request = RequestLimits { answer: Duration::from_mins(1), ..RequestLimits::default() };
        let options = AppOptions { drain, request, config_path: Some(path), ..AppOptions::default() };
        let running = app::start(config, options).await?;
        Ok(Self { running, llm, wordpress, pager, crm, senders, _library: library, folder })
    }

    /// Where everything is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The sender to a source.
    pub(super) fn sender(&self, tenant: &str, source: &str) -> &Sender {
        let found = self.senders.iter().find(|sender| sender.tenant == tenant && sender.source == source);
        found.expect("the story knows its own sources")
    }

    /// Ends the gateway in order.
    pub(super) async fn stop(self) {
        let Self { running, folder, .. } = self;
        running.shutdown().await;
        if let Err(error) = folder.close() {
            output::warn(&format!("the demo's folder is left behind: {error}"));
        }
    }

    /// What was shown and where to look, for a person.
    pub(super) fn summary(&self, outcomes: &[Outcome]) {
        let shown = outcomes.iter().filter(|outcome| outcome.is_shown()).count();
        output::line(&format!(
            "\nshown: {shown} of {}; the model was asked {} times, the site has {} posts",
            outcomes.len(),
            self.llm.chats().len(),
            self.wordpress.posts().len()
        ));
        for outcome in outcomes.iter().filter(|outcome| !outcome.is_shown()) {
            output::complain(&outcome.line());
        }
    }

    /// Where it can be looked at while it runs.
    pub(super) fn places(&self) {
        let (public, admin) = (self.running.public_addr, self.running.admin_addr);
        output::line("");
        output::facts(&[
            ("webhooks", format!("http://{public}/webhooks/{ACME}/VENDOR, each signed as its vendor does")),
            ("metrics", format!("http://{admin}/metrics")),
            ("health", format!("http://{admin}/readyz")),
            ("log", self.folder().join("sluice.log").display().to_string()),
        ]);
        let program = std::env::current_exe().map_or_else(|_| "sluice".to_owned(), |path| path.display().to_string());
        output::line("\ntry in another terminal:");
        output::line(&format!("  export SLUICE_CONFIG={}", self.config().display()));
        for arguments in ["jobs", "events", "lanes", "dead list", "why"] {
            output::line(&format!("  {program} {arguments}"));
        }
        let secret = self.folder().join(format!("{ACME}-generic.secret"));
        output::line(&format!(
            "  {program} send generic --url http://{public}/webhooks/{ACME}/generic --secret file:{}",
            secret.display()
        ));
    }

    /// The same for a program.
    pub(super) fn report(&self, outcomes: &[Outcome]) -> Value {
        json!({
            "ok": outcomes.iter().all(Outcome::is_shown),
            "shown": outcomes,
            "public": format!("http://{}", self.running.public_addr),
            "admin": format!("http://{}", self.running.admin_addr),
            "config": self.config(),
        })
    }

    fn config(&self) -> PathBuf {
        self.folder().join("sluice.toml")
    }
}

/// The demo's screen belongs to its board: the log goes into a file.
fn log_into(path: &Path, clock: Arc<dyn Clock>) -> anyhow::Result<()> {
    let file = fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let sink: logs::Sink = Arc::new(Mutex::new(file));
    let options = logs::Options {
        format: LogFormat::Json,
        filter: "info".to_owned(),
        sink: Some(sink),
        reports: Reports::default(),
    };
    let (subscriber, _) = logs::subscriber(options, clock)?;
    tracing::subscriber::set_global_default(subscriber).context("a log is already set up")?;
    logs::log_panics_by_place();
    Ok(())
}

/// `HubSpot` and Twilio sign the public URL, so that the port must be known before the gateway starts.
fn free_addresses() -> anyhow::Result<[SocketAddr; 2]> {
    let listener = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1");
    // Both are held until both are known: they differ.
    let [one, other] = [listener()?, listener()?];
    Ok([one.local_addr()?, other.local_addr()?])
}

/// Writes into the scratch folder.
struct Files<'a> {
    folder: &'a Path,
}

impl Files<'_> {
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Writes a file that only its owner reads, and returns the reference to it.
    fn secret(&self, name: &str, value: &str) -> anyhow::Result<String> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(value.as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(format!("file:{name}"))
    }
}

fn main_file(listen: SocketAddr, admin: SocketAddr, llm: &Url) -> String {
    format!(
        r#"[edge]
listen = "{listen}"
public_url = "http://{listen}"

[admin]
listen = "{admin}"

[outbound]
allow_private = ["127.0.0.0/8"]

[llm]
base_url = "{llm}"
model = "stand-in"
api_key = "file:llm.key"
"#
    )
}

/// A source whose events become summaries and posts. What an id-only event names is fetched first.
fn source_of_every_vendor(
    vendor: &str,
    secret: &str,
    options: &toml::Table,
    library: &StandInApi,
) -> anyhow::Result<String> {
    let mut text = format!("\n[sources.{vendor}]\nvendor = \"{vendor}\"\nsecrets = [\"{secret}\"]\n");
    for (key, value) in options {
        writeln!(text, "{key} = {value}")?;
    }
    write!(text, "\n[[sources.{vendor}.routes]]\nname = \"summary\"\naction = \"summarize_and_publish\"\n")?;
    match vendor {
        "stripe" => text.push_str("event_types = [\"invoice.*\"]\n"),
        "openai" | "notion" => {
            let path = "/v1/resources/{{ subject_id }}";
            writeln!(text, "fetch = {{ url = \"http://{}{path}\" }}", library.authority())?;
        }
        "hubspot" => write!(
            text,
            "\n[[sources.hubspot.routes]]\nname = \"crm\"\naction = \"http_call\"\nurl = \"{}\"\n\
             body = '{{\"contact\": {{{{ subject_id | tojson }}}}, \"what\": {{{{ event_type | tojson }}}}}}'\n",
            library.url("/v1/contacts")
        )?,
        _ => {}
    }
    Ok(text)
}

/// A source with one route to an API, and a breaker that can be watched at work.
fn source_that_calls(source: &str, secret: &str, url: &Url) -> String {
    format!(
        r#"
[sources.{source}]
vendor = "generic"
secrets = ["{secret}"]

[sources.{source}.limits]
outbound = {{ per_second = 10, burst = 20, concurrency = 1 }}
breaker = {{ failures = 3, ratio = 0.5, min_calls = 10, window = "60s", cooldown = "1s" }}

[[sources.{source}.routes]]
name = "notes"
action = "http_call"
url = "{url}"
"#
    )
}
