//! Every series of the gateway: name, labels and help in one table. The doc comment of a line is
//! its help text. To add a metric, add a line to [`Metrics`] and say where it is counted.
//!
//! Rules: base units; counters end in `_total`; label values come from the configuration or from a
//! closed set, never from a sender; every known label set begins at 0, so that `increase()` sees
//! the first event. No event, job or trace id, URL, address or error text is ever a label. The series
//! of single lanes have a table of their own, [`super::lanes`].

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
    core::Collector,
};

/// Seconds of a request.
const REQUEST: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Seconds of a call that leaves the gateway, or of the wait before it.
const CALL: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0, 15.0, 30.0];
/// Seconds of a request to the store.
const STORE: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
/// Seconds of a job's life.
const JOB: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 300.0, 3600.0];
/// Seconds by which two clocks differ.
const SKEW: &[f64] = &[0.5, 1.0, 2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 300.0, 600.0, 3600.0];
/// Bytes of a body.
const BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 524_288.0, 4_194_304.0, 26_214_400.0];

/// What `docs/metrics.md` tells about one metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Its full name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// Its help text.
    pub help: &'static str,
}

/// Writes series that are in no registry, in the text format of Prometheus.
pub(super) trait Tell: Send + Sync {
    /// Appends all of them, with their help and kind.
    fn tell(&self, text: &mut String);
}

/// Makes a collector of a kind and registers it.
trait Kind: Collector + Clone + Sized + 'static {
    const NAME: &'static str;

    fn make(opts: Opts, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self>;

    fn registered(registry: &Registry, described: &Described, buckets: &[f64]) -> Self {
        let opts = Opts::new(described.name, described.help);
        let made = Self::make(opts, described.labels, buckets).expect("names and labels of the table are valid");
        registry.register(Box::new(made.clone())).expect("names of the table are unique");
        made
    }
}

impl Kind for IntCounterVec {
    const NAME: &'static str = "counter";

    fn make(opts: Opts, labels: &[&str], _buckets: &[f64]) -> prometheus::Result<Self> {
        Self::new(opts, labels)
    }
}

impl Kind for IntGaugeVec {
    const NAME: &'static str = "gauge";

    fn make(opts: Opts, labels: &[&str], _buckets: &[f64]) -> prometheus::Result<Self> {
        Self::new(opts, labels)
    }
}

impl Kind for GaugeVec {
    const NAME: &'static str = "gauge";

    fn make(opts: Opts, labels: &[&str], _buckets: &[f64]) -> prometheus::Result<Self> {
        Self::new(opts, labels)
    }
}

impl Kind for HistogramVec {
    const NAME: &'static str = "histogram";

    fn make(opts: Opts, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        Self::new(HistogramOpts { common_opts: opts, buckets: buckets.to_vec() }, labels)
    }
}

macro_rules! metrics {
    (
        $(#[$doc:meta])*
        $type:ident {
            $(
                $(#[doc = $help:literal])+
                $name:ident: $kind:ident [$($label:literal),*] $(in $buckets:ident)?;
            )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $type {
            registry: Registry,
            more: Arc<Mutex<Vec<Arc<dyn Tell>>>>,
            $( $(#[doc = $help])+ pub $name: $kind, )*
        }

        impl $type {
            /// All of them, for the documentation.
            pub const DESCRIBED: &'static [Described] = &[
                $( Described {
                    name: concat!("sluice_", stringify!($name)),
                    kind: <$kind as Kind>::NAME,
                    labels: &[$($label),*],
                    help: concat!($($help, "\n"),+),
                }, )*
            ];

            /// A registry of its own with every metric in it.
            fn registered(registry: Registry) -> Self {
                let mut described = Self::DESCRIBED.iter().map(|line| Described { help: line.help.trim(), ..*line });
                Self {
                    $( $name: {
                        let line = described.next().expect("one description for each field");
                        let buckets: &[f64] = &[];
                        $( let buckets = { let _: &[f64] = buckets; $buckets }; )?
                        <$kind as Kind>::registered(&registry, &line, buckets)
                    }, )*
                    registry,
                    more: Arc::default(),
                }
            }
        }
    };
}

metrics! {
    /// The series of one gateway, in a registry of its own.
    Metrics {
        /// Requests answered, by route template, method and status.
        http_requests_total: IntCounterVec ["route", "method", "code"];
        /// Seconds from the last byte of a request to its answer.
        http_request_duration_seconds: HistogramVec ["route"] in REQUEST;
        /// Bytes of delivered bodies.
        http_request_size_bytes: HistogramVec ["route"] in BYTES;
        /// Requests that are being read or worked on.
        http_requests_in_flight: IntGaugeVec ["route"];
        /// Connections closed before their first request: a cap reached, past the proxy, no proxy header, no TLS.
        http_connections_refused_total: IntCounterVec ["listener", "reason"];

        /// Events of authentic deliveries, by what became of them.
        webhook_events_total: IntCounterVec ["vendor", "outcome"];
        /// Deliveries not accepted, by reason.
        webhook_rejections_total: IntCounterVec ["vendor", "reason"];
        /// Deliveries verified, by whether the newest secret or an older one did it: a rotation may end when `previous` stands still. Of all sources of the vendor: `sluice secret status` tells each.
        webhook_signatures_total: IntCounterVec ["vendor", "secret"];
        /// Seconds between a signed time and our clock, without sign.
        webhook_clock_skew_seconds: HistogramVec ["vendor"] in SKEW;
        /// Seconds from the last byte of a delivery that was taken to its answer; the commit is within it.
        webhook_ack_duration_seconds: HistogramVec ["vendor"] in REQUEST;
        /// Handshakes answered.
        webhook_handshakes_total: IntCounterVec ["vendor"];
        /// Fields of authentic payloads that are not as the vendor documents them, by what is odd.
        schema_drift_total: IntCounterVec ["vendor", "schema", "kind"];

        /// Live nodes that share the store; 0 where nobody can share it.
        nodes: IntGaugeVec [];
        /// Tenants that the live nodes have configured differently: their lanes stay where they are.
        node_config_mismatches: IntGaugeVec [];
        /// Whether this node may take its lanes for its own: 0 while its lease is not renewed.
        node_trusted: IntGaugeVec [];
        /// How often the other nodes took this one for dead.
        node_taken_for_dead_total: IntCounterVec [];
        /// Begins, checkpoints and ends of this node that were refused, because the job or the lane was not its own any more.
        node_stale_writes_total: IntCounterVec [];

        /// Lanes by what they do.
        lanes: IntGaugeVec ["status"];

        /// Jobs stored with new events, by action.
        jobs_enqueued_total: IntCounterVec ["vendor", "type"];
        /// Attempts that ended, by action and outcome.
        job_attempts_total: IntCounterVec ["vendor", "type", "outcome"];
        /// Seconds of one attempt.
        job_attempt_duration_seconds: HistogramVec ["vendor", "type"] in JOB;
        /// Seconds a job waited after it was due.
        job_queue_wait_seconds: HistogramVec ["vendor"] in JOB;
        /// Seconds from a job's creation to its success.
        job_end_to_end_seconds: HistogramVec ["vendor"] in JOB;
        /// Jobs that became dead letters, by reason.
        dead_letters_total: IntCounterVec ["vendor", "reason"];
        /// Dead letters brought back.
        dead_letter_replays_total: IntCounterVec [];
        /// Attempts in flight on this node.
        workers_busy: IntGaugeVec [];
        /// Attempts at once on this node at most.
        workers: IntGaugeVec [];

        /// Calls of attempts that ended or could not be made, by how. Callees past `limits.metric_lanes` are `llm:other`, `wordpress:other`, `queue:other` and `host:other`.
        outbound_requests_total: IntCounterVec ["callee", "outcome"];
        /// Seconds of a call, from its first step to the last byte of its answer.
        outbound_request_duration_seconds: HistogramVec ["callee"] in CALL;
        /// Seconds an attempt waited for the limits of a callee it came to. The first callee of a job is waited for before its attempt begins: that is in `sluice_job_queue_wait_seconds`.
        outbound_rate_limit_wait_seconds: HistogramVec ["callee"] in CALL;
        /// Tokens that LLMs say their answers cost, by model and direction.
        llm_tokens_total: IntCounterVec ["callee", "model", "direction"];
        /// State of the breaker that all lanes share for a callee: 1 in the state it has. Folded callees count theirs.
        circuit_breaker_state: IntGaugeVec ["callee", "state"];
        /// Times the shared breaker of a callee opened.
        circuit_breaker_opens_total: IntCounterVec ["callee"];
        /// 1 while a callee is held because it refuses our credentials. Folded callees count theirs.
        callee_unauthorized: IntGaugeVec ["callee"];

        /// Spans and reports of errors that did not reach their receiver.
        telemetry_dropped_total: IntCounterVec ["signal"];

        /// Alerts that a receiver took.
        alerts_sent_total: IntCounterVec ["receiver"];
        /// Alerts that a receiver did not take, after all tries.
        alerts_failed_total: IntCounterVec ["receiver"];
        /// Tries to tell a receiver that failed and are repeated.
        alerts_retries_total: IntCounterVec ["receiver"];
        /// Alerts that were not told, because the same was told less than an hour ago.
        alerts_suppressed_total: IntCounterVec ["cause"];
        /// Alerts and notices that were dropped, because too many waited.
        alerts_dropped_total: IntCounterVec [];

        /// Seconds of a request to the store as whoever asked saw it: its wait for a transaction and a connection is within it.
        db_query_duration_seconds: HistogramVec ["op"] in STORE;
        /// Requests to the store that failed.
        db_errors_total: IntCounterVec ["op"];
        /// Connections that read from the store, by what they do.
        db_pool_connections: IntGaugeVec ["state"];
        /// Connections that may read from the store at most.
        db_pool_max_connections: IntGaugeVec [];
        /// Bytes of the SQLite database and of its write-ahead log; none on Postgres, which tells of itself.
        db_file_bytes: IntGaugeVec ["file"];
        /// Bytes that may still be written to the disk of the data folder.
        data_disk_free_bytes: IntGaugeVec [];
        /// Bytes of the disk of the data folder.
        data_disk_size_bytes: IntGaugeVec [];
        /// Objects written into the object store, by how that ended. A sender's upload into a bucket does not pass here.
        artifact_uploads_total: IntCounterVec ["backend", "outcome"];
        /// Bytes of objects that were stored.
        artifact_bytes_total: IntCounterVec ["backend"];
        /// Rows removed by retention, and payloads that it archived.
        retention_swept_total: IntCounterVec ["kind"];

        /// When the certificate of a listener ends; none without TLS of its own.
        tls_cert_not_after_timestamp_seconds: GaugeVec ["listener"];

        /// Readings of all that a provider of secrets keeps for us, by whether it gave everything.
        secrets_refresh_total: IntCounterVec ["provider", "outcome"];
        /// When a provider of secrets gave everything that it was asked for last.
        secrets_last_success_timestamp_seconds: GaugeVec ["provider"];

        /// Reloads of the configuration, by whether they took effect.
        config_reloads_total: IntCounterVec ["outcome"];
        /// 1 if the last reload of the configuration took effect, 0 if it was refused.
        config_last_reload_successful: IntGaugeVec [];
        /// When the running configuration was read.
        config_last_reload_timestamp_seconds: GaugeVec [];
        /// Always 1; the labels tell the version, and the revision that the build was told of in `SLUICE_REVISION`.
        build_info: IntGaugeVec ["version", "revision"];
    }
}

/// The label values of a counter or gauge without labels.
pub const NONE: &[&str] = &[];

impl Metrics {
    /// An empty set of series, with those of the process.
    pub fn new() -> Self {
        let registry = Registry::new();
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("names of the process's metrics are unique");
        let metrics = Self::registered(registry);
        let revision = option_env!("SLUICE_REVISION").unwrap_or("unknown");
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION"), revision]).set(1);
        metrics
    }

    /// A request of a route is here until what is returned is dropped.
    pub fn present(&self, route: &str) -> Present {
        let gauge = self.http_requests_in_flight.with_label_values(&[route]);
        gauge.inc();
        Present(gauge)
    }

    /// More series, of a table of their own.
    pub(super) fn register(&self, more: Arc<dyn Tell>) {
        self.more.lock().unwrap_or_else(PoisonError::into_inner).push(more);
    }

    /// All series in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&self.registry.gather(), &mut text)
            .expect("a family of the registry has a name and a kind");
        self.more.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|more| more.tell(&mut text));
        text
    }
}

/// A request that is here.
#[derive(Debug)]
pub struct Present(IntGauge);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::telemetry::lanes;

    fn described() -> impl Iterator<Item = &'static Described> {
        Metrics::DESCRIBED.iter().chain(lanes::described())
    }

    #[test]
    fn every_metric_follows_the_rules_of_its_kind() {
        for line in described() {
            assert!(line.help.trim().ends_with('.'), "{}: help is a sentence", line.name);
            assert_eq!(line.name.ends_with("_total"), line.kind == "counter", "{}", line.name);
            for label in ["event_id", "job_id", "trace_id", "url", "peer", "error"] {
                assert!(!line.labels.contains(&label), "{}: {label}", line.name);
            }
            // DESIGN §10: only lanes name their tenant.
            assert_eq!(line.labels.contains(&"tenant"), line.name.starts_with("sluice_lane_"), "{}", line.name);
        }
        let names: BTreeSet<_> = described().map(|line| line.name).collect();
        assert_eq!(names.len(), described().count());
    }

    /// `docs/metrics.md` as the table has it.
    fn documentation() -> String {
        let mut text = String::from(
            "# Metrics\n\nServed at `/metrics` of the admin listener, beside the `process_*` series of the process \
             itself. This file is made from `src/telemetry/metrics.rs` and `src/telemetry/lanes/series.rs`; write it anew with\n\
             `SLUICE_WRITE_DOCS=1 cargo test --lib metrics`. [runbooks/](runbooks/README.md) has a page for each alert on them.\n\n\
             Past `limits.metric_lanes` lanes, single lanes fold into `tenant=\"other\"`, the worst ones last; callees \
             fold by the same number.\n\n\
             Gauges of the store (`sluice_lane_queue_jobs`, `sluice_lane_oldest_due_age_seconds`) are the same at every \
             node that shares it: take `max`, never `sum`, over `instance`. Counters and what a node does itself are \
             summed.\n\n\
             Not here: queues without a lane (each lane is a queue; sum `sluice_lane_queue_jobs`), \
             the outcome of a replay (it is that of its job), the size of a Postgres database (its own exporter tells \
             it).\n\n\
             | name | kind | labels | what it tells |\n|---|---|---|---|\n",
        );
        for Described { name, kind, labels, help } in described() {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            let help = help.trim().replace('\n', " ");
            text.push_str(&["| `", name, "` | ", kind, " | ", &labels.join(", "), " | ", &help, " |\n"].concat());
        }
        text
    }

    #[test]
    fn the_documentation_is_that_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("SLUICE_WRITE_DOCS").is_some() {
            std::fs::write(path, documentation()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), documentation());
    }

    #[test]
    fn the_scrape_tells_help_version_and_process() {
        let metrics = Metrics::new();
        metrics.dead_letter_replays_total.with_label_values(NONE).inc_by(3);
        metrics.webhook_ack_duration_seconds.with_label_values(&["stripe"]).observe(0.004);
        let text = metrics.render();
        for line in [
            "# HELP sluice_dead_letter_replays_total Dead letters brought back.",
            "sluice_dead_letter_replays_total 3",
            "sluice_webhook_ack_duration_seconds_bucket{vendor=\"stripe\",le=\"0.005\"} 1",
            "sluice_webhook_ack_duration_seconds_bucket{vendor=\"stripe\",le=\"0.0025\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains(concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")), "{text}");
        assert!(text.contains("process_resident_memory_bytes"));
    }
}
