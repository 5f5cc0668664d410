//! The composition root: the one place where the parts are put together. `serve`, the demo and the
//! tests start the same gateway through [`start`].

mod certificates;
mod changes;
pub mod database;
mod folder;
mod keys;
mod listeners;
pub(crate) mod nodes;
mod operations;
mod refused;
mod revoked;
pub mod runtime;
mod secrets;
mod serve;
pub mod sites;
mod sweep;
mod traffic;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use arc_swap::ArcSwap;
use sluice_actors::{
    domain::LaneKey,
    handle::{Gateway, NodeLimits, World},
    ports::{Clock, JobStore},
};
use tokio::{
    sync::{Mutex, Notify},
    task::JoinHandle,
};

use crate::{
    actions::{Actions, ConfigPolicies},
    alerts::{self, Alarm, Desk as AlertDesk, DeskParts, Poster},
    api::{
        self, Api, Door,
        backlog::Backlogs,
        encryption::Sealing,
        live::Changes,
        records::Records,
        scrape::{Scrape, ScrapeSources},
    },
    artifacts::{self, Artifacts},
    clock::SystemClock,
    config::{self, Config},
    console,
    edge::{self, EdgeOptions, RequestLimits, accept::Server},
    error_code::ErrorCode,
    http_client::HttpClient,
    ids,
    ingest::{EventStore, Informed, Receiver, ReceiverParts},
    lifecycle::{DrainPlan, ShutdownReport},
    oidc::Provider,
    schema::Drift,
    secrets::Secret,
    store::Store,
    telemetry::{
        Reports,
        calls::{Callees, Calls},
        deliveries::IngestObserver,
        host::{Connections, Host},
        lanes::Lanes,
        logs::Logs,
        metrics::Metrics,
        observe::TreeObserver,
        store::Timed,
        traces::Traces,
        traffic::Traffic,
    },
};

use self::{
    certificates::{ADMIN, Certificates, EDGE, counting},
    changes::Telling,
    listeners::{admin_listener_options, bind, key_set, listens_at},
    operations::{Operations, Previews, Reloading},
    revoked::Revoked,
    runtime::Runtime,
    secrets::{Doubting, Refresh},
    sites::{Arrivals, Changed, Desk, Listener, Pull, ReportPace, Sites},
    traffic::Minutes,
};
pub use self::{refused::Refused, serve::serve};

/// What differs between `serve`, the demo and tests.
pub struct AppOptions {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Seeds all jitter.
    pub seed: u64,
    /// How long each step of the drain may take.
    pub drain: DrainPlan,
    /// Limits of the tree that are not in the configuration.
    pub node: NodeLimits,
    /// Where the configuration is read again from; none: it cannot be reloaded.
    pub config_path: Option<PathBuf>,
    /// The running log, whose filter a reload changes.
    pub logs: Option<Logs>,
    /// How often WordPress sites are told what became of jobs.
    pub reports: ReportPace,
    /// The deadlines of one delivery.
    pub request: RequestLimits,
    /// Where series go.
    pub metrics: Metrics,
    /// Where the log reports errors, to be waited for at the end.
    pub errors: Reports,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            seed: ids::seed(),
            drain: DrainPlan::default(),
            node: NodeLimits::default(),
            config_path: None,
            logs: None,
            reports: ReportPace::default(),
            request: RequestLimits::default(),
            metrics: Metrics::new(),
            errors: Reports::default(),
        }
    }
}

/// A running gateway.
pub struct Running {
    /// Where vendors deliver.
    pub public_addr: SocketAddr,
    /// Where the API, metrics and health are.
    pub admin_addr: SocketAddr,
    /// What the API asks for.
    pub token: String,
    /// The way into the tree.
    pub gateway: Gateway,
    /// What people read of the store.
    pub records: Arc<dyn Records>,
    /// The configuration in force.
    pub config: config::Live,
    /// Artifacts.
    pub artifacts: Arc<Artifacts>,
    operations: Arc<Operations>,
    accepting: Arc<AtomicBool>,
    public: Server,
    admin: Server,
    store: Store,
    tasks: Vec<JoinHandle<()>>,
    alert_desk: alerts::Working,
    minutes: Minutes,
    drain: DrainPlan,
    traces: Traces,
    errors: Reports,
    _runtime: Arc<runtime::Written>,
    _folder: Option<folder::Held>,
}

/// Starts the whole gateway of a configuration.
///
/// # Errors
/// A [`Refused`] for what an operator can mend; nothing was changed then.
pub async fn start(config: Config, options: AppOptions) -> anyhow::Result<Running> {
    let AppOptions { clock, seed, drain, node, config_path, logs, reports, request, metrics, errors } = options;
    let keep = config.keep.clone();
    let public_listener = bind("edge.listen", config.edge.listen)?;
    let admin_listener = bind("admin.listen", config.admin.listen)?;
    let mut admin_options = admin_listener_options(&config.admin)?;
    admin_options.told = counting(ADMIN, &metrics);

    let data_dir = config.database.data_dir().to_owned();
    let folder = if data_dir.as_os_str().is_empty() { PathBuf::from(".") } else { data_dir };
    // A file of SQLite is locked by itself.
    let held = match &config.database {
        config::Database::Sqlite(_) => None,
        config::Database::Postgres { .. } => Some(folder::hold(&folder)?),
    };
    let name = held.as_ref().map(|held| held.name.clone());
    let store = database::open(&config.database, clock.clone(), name).await?;
    if let Err(error) = keys::apply(&store, &config).await {
        // Whoever corrects the file starts again at once.
        store.close().await;
        return Err(Refused::from(error).into());
    }
    let (records, jobs): (Arc<dyn Records>, Arc<dyn JobStore>) = (Arc::new(store.clone()), Arc::new(store.clone()));
    let events: Arc<dyn EventStore> = Arc::new(store.clone());

    let client = HttpClient::new(config.outbound.allow_private.clone())?;
    let node = NodeLimits { concurrency: config.limits.concurrency, ..node };
    let traces = Traces::start(&config.telemetry.traces, metrics.telemetry_dropped_total.with_label_values(&["spans"]))
        .map_err(|error| Refused::new(ErrorCode::Configuration, error.to_string()))?;
    let tracer = Arc::new(traces.clone());
    let lanes = Arc::new(Lanes::new(&metrics, config.limits.metric_lanes));
    let callees = Arc::new(Callees::new(config.limits.metric_lanes));
    let host = Arc::new(stands_on(&config, &folder, &store));
    let jobs: Arc<dyn JobStore> = Arc::new(Timed::new(metrics.clone(), jobs));
    let events: Arc<dyn EventStore> = Arc::new(Timed::new(metrics.clone(), events));
    let live: config::Live = Arc::new(ArcSwap::from_pointee(config));
    let switched = records.switches().await.context("the store does not answer")?;
    live.load().switch(&switched);
    // Where nobody else can revoke, what is known stays right.
    let informed = if store.nodes().is_some() { Informed::for_a(revoked::IN_FORCE) } else { Informed::always() };
    let revoked = Revoked::new(records.clone(), informed);
    revoked.put_into(&live.load_full()).await.context("the store does not answer")?;
    let mut edge_options = EdgeOptions::new(&live.load(), key_set(live.clone(), clock.clone()))?;
    edge_options.request = request;
    edge_options.listener.told = counting(EDGE, &metrics);
    let tls = [&edge_options.listener, &admin_options].map(|listener| listener.tls.clone());
    let certificates = Certificates::new(tls, metrics.clone(), &live.load());
    let drift = Arc::new(Drift::default());
    let shared = store.nodes();
    let users = nodes::Users::default();
    if let Some(shared) = &shared {
        nodes::introduce(shared, &live);
    }

    let changed = Arc::new(Changed::default());
    let listener = Listener {
        tree: TreeObserver::new(metrics.clone(), lanes.clone(), callees.clone(), live.clone(), traces.clone()),
        changed: changed.clone(),
        config: live.clone(),
    };
    let changes = Changes::default();
    let traffic = Arc::new(Traffic::default());
    let calls = Arc::new(Calls::new(metrics.clone(), callees.clone()));
    let artifacts = Arc::new(Artifacts::new(
        live.clone(),
        Arc::new(store.clone()),
        clock.clone(),
        listens_at(&live.load().edge, &public_listener)?,
        counting_artifacts(metrics.clone()),
    ));
    let actions = Actions::new(live.clone(), client.clone(), calls, clock.clone(), tracer.clone());
    let actions = Arc::new(actions.with_artifacts(artifacts.clone()));
    let (alarm, notices) = Alarm::new(live.clone(), metrics.clone());
    let telling = Telling { changes: changes.clone(), traffic: traffic.clone(), clock: clock.clone(), next: listener };
    let world = World {
        store: jobs.clone(),
        action: actions.clone(),
        policies: Arc::new(nodes::Divided { whole: ConfigPolicies::new(live.clone()), users: users.clone() }),
        observer: Arc::new(alerts::Watching { alarm: alarm.clone(), next: telling }),
        clock: clock.clone(),
        seed,
        limits: node,
    };
    let (gateway, recovered) = Gateway::start(world).await.context("the store does not answer")?;
    if recovered.suspects + recovered.poisoned > 0 {
        let (suspects, poisoned) = (recovered.suspects, recovered.poisoned);
        tracing::warn!(suspects, poisoned, "jobs were running when the process ended");
    }

    let desk = Arc::new(Desk {
        config: live.clone(),
        records: records.clone(),
        gateway: gateway.clone(),
        client: client.clone(),
        clock: clock.clone(),
        changed: changed.clone(),
        artifacts: artifacts.clone(),
    });
    (edge_options.artifacts, edge_options.clock) = (Some(artifacts.clone()), clock.clone());
    edge_options.sites = Arc::new(Pull::new(desk.clone()));
    let (wake, doubt) = (gateway.clone(), Arc::new(Notify::new()));
    let receiver = Arc::new(Receiver::new(ReceiverParts {
        config: live.clone(),
        store: events,
        records: records.clone(),
        clock: clock.clone(),
        wake: Arc::new(move |lane: &LaneKey| wake.wake(lane)),
        observer: Arc::new(Doubting {
            live: live.clone(),
            doubt: doubt.clone(),
            next: Telling {
                changes: changes.clone(),
                traffic: traffic.clone(),
                clock: clock.clone(),
                next: Arrivals {
                    ingest: IngestObserver::new(metrics.clone(), lanes.clone(), live.clone(), traces.clone()),
                    changed,
                    config: live.clone(),
                },
            },
        }),
        drift: drift.clone(),
        tracer,
        informed: revoked.informed(),
    }));
    let public = edge::serve(public_listener, receiver.clone(), edge_options)?;

    let accepting = Arc::new(AtomicBool::new(true));
    let sites = Sites { desk, pace: reports };
    let provider = Provider::new(client.clone(), clock.clone());
    let poster = Poster { client: client.clone(), clock: clock.clone() };
    let reloading = config_path.map(|path| Reloading { path, logs, client });
    let operations = Operations {
        live: live.clone(),
        store: store.clone(),
        gateway: gateway.clone(),
        metrics: metrics.clone(),
        callees: callees.clone(),
        clock: clock.clone(),
        accepting: accepting.clone(),
        reloading: reloading.map(Mutex::new),
        nodes: shared.clone(),
        certificates,
        receiver,
        records: records.clone(),
        poster: poster.clone(),
        switched: Mutex::new(switched),
        owed: AtomicBool::new(false),
        previews: Previews::new(actions),
        revoked: revoked.clone(),
    };
    let operations = Arc::new(operations.started());
    let token = hex::encode(ids::secret_bytes());
    let api = Api {
        sealing: Sealing::default(),
        gateway: gateway.clone(),
        records: records.clone(),
        jobs: jobs.clone(),
        keys: Arc::new(store.clone()),
        config: live.clone(),
        scrape: Scrape::new(metrics.clone(), ScrapeSources { lanes, callees, drift, host }),
        operations: operations.clone(),
        backlogs: Backlogs::default(),
        traffic: traffic.clone(),
        changes,
        door: Door::new(Arc::new(store.clone()), clock.clone(), Secret::new(token.clone().into_bytes())),
        artifacts: artifacts.clone(),
        provider,
        clock: clock.clone(),
    };
    let admin =
        edge::accept::serve_filter(admin_listener, api::serve(Arc::new(api), console::routes()), admin_options)?;

    let (public_addr, admin_addr) = (public.local_addr(), admin.local_addr());
    let scheme = |tls: bool| if tls { "https" } else { "http" };
    let console = format!("{}://{admin_addr}", scheme(live.load().admin.tls.is_some()));
    let reached_at = format!("{}://{public_addr}", scheme(live.load().edge.tls.is_some()));
    let runtime = Runtime {
        pid: std::process::id(),
        token: token.clone(),
        admin: console.clone(),
        admin_certificate: live.load().admin.tls.as_ref().and_then(certificates::pin),
        public: reached_at.clone(),
    };
    let written = Arc::new(runtime.write(&folder).map_err(|error| {
        Refused::new(ErrorCode::NotWritable, format!("database.url: cannot write into {}: {error}", folder.display()))
    })?);
    operations.certificates.tell_in(&written, &live.load());
    tracing::info!(public = reached_at, admin = console, "gateway started");
    let desk_parts = DeskParts {
        config: live.clone(),
        records: records.clone(),
        jobs,
        marks: Arc::new(store.clone()),
        poster,
        metrics: metrics.clone(),
        console,
        seed,
    };
    let alert_desk = AlertDesk::start(desk_parts, alarm.clone(), notices);
    let refresh = Refresh { operations: operations.clone(), keep, metrics: metrics.clone(), doubt, seed };
    let sweeper = sweep::run(sweep::Sweeper {
        records: records.clone(),
        artifacts: artifacts.clone(),
        config: live.clone(),
        clock: clock.clone(),
        metrics: metrics.clone(),
    });
    let minutes = Minutes { traffic, records: records.clone(), clock };
    let mut tasks = vec![
        tokio::spawn(operations::follow(operations.clone())),
        tokio::spawn(revoked.follow(live.clone())),
        tokio::spawn(sweeper),
        tokio::spawn(sites.run()),
    ];
    tasks.push(tokio::spawn(minutes.clone().run()));
    tasks.push(tokio::spawn(refresh.run()));
    if let Some(nodes) = shared {
        tasks.push(tokio::spawn(keys::follow(store.clone(), minutes.clock.clone())));
        let around = nodes::Around { nodes, gateway: gateway.clone(), config: live.clone(), metrics, users, alarm };
        tasks.push(tokio::spawn(nodes::run(around)));
    }
    Ok(Running {
        public_addr,
        admin_addr,
        token,
        gateway,
        records,
        config: live,
        artifacts,
        operations,
        accepting,
        public,
        admin,
        store,
        tasks,
        alert_desk,
        minutes,
        drain,
        traces,
        errors,
        _runtime: written,
        _folder: held,
    })
}

/// Counts what is written into the object store.
fn counting_artifacts(metrics: Metrics) -> artifacts::Count {
    Arc::new(move |backend, written, bytes| {
        metrics.artifact_uploads_total.with_label_values(&[backend, written.as_str()]).inc();
        metrics.artifact_bytes_total.with_label_values(&[backend]).inc_by(bytes);
    })
}

impl Running {
    /// Reads the configuration again. `Err` says why the running one stays in force.
    ///
    /// # Errors
    /// What is wrong with the new configuration, in an operator's words.
    pub async fn reload(&self) -> Result<(), String> {
        api::Operations::reload(&*self.operations).await
    }

    /// Ends in order: readiness turns false, accepting goes on for a moment, then requests and
    /// attempts in flight may finish; what does not is left to another life.
    pub async fn shutdown(self) -> ShutdownReport {
        self.accepting.store(false, Ordering::Relaxed);
        tracing::info!("no longer ready, draining");
        tokio::time::sleep(self.drain.announce).await;
        let cut_connections = self.public.stop(self.drain.requests).await;
        let jobs = self.gateway.drain(self.drain.jobs).await;
        for task in &self.tasks {
            task.abort();
        }
        // Alerts ask the store who told them before.
        tokio::join!(self.alert_desk.end(self.drain.telemetry), self.admin.stop(self.drain.requests));
        self.minutes.keep().await;
        self.store.close().await;
        let within = self.drain.telemetry;
        tokio::join!(self.traces.shutdown(within), self.errors.flush(within));
        let (finished, released) = (jobs.finished, jobs.released.len());
        tracing::info!(finished, released, cut_connections, "gateway stopped");
        ShutdownReport { cut_connections, jobs }
    }
}

/// What `/metrics` tells of the machine.
fn stands_on(config: &Config, folder: &Path, store: &Store) -> Host {
    let database = match &config.database {
        config::Database::Sqlite(path) => Some(path.clone()),
        config::Database::Postgres { .. } => None,
    };
    let store = store.clone();
    let connections = move || {
        let (size, idle, max) = store.connections();
        Connections { in_use: (size as usize).saturating_sub(idle), idle, max: max as usize }
    };
    Host { folder: folder.to_owned(), database, connections: Box::new(connections) }
}
