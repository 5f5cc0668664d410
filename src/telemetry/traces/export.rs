//! The way out of spans: a queue that refuses instead of waiting, and the SDK's thread that sends
//! them. Whatever is lost on the way is counted: refused by a full queue, or not taken by the
//! collector. This thread makes no spans of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor},
};
use prometheus::IntCounter;

use super::{TracesError, settings::Settings};

/// Spans of one message to the collector, and how long the first of them waits for the others.
const BATCH: (usize, Duration) = (1024, Duration::from_secs(1));

/// The queue and its thread.
pub(super) struct Export {
    processor: Arc<BatchSpanProcessor>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
    dropped: IntCounter,
}

impl Export {
    pub(super) fn start(settings: &Settings, dropped: IntCounter) -> Result<Self, TracesError> {
        let waiting = Arc::new(AtomicUsize::new(0));
        let inner = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .build()
            .map_err(|error| TracesError::Exporter(error.to_string()))?;
        let mut exporter =
            Counting { inner, waiting: waiting.clone(), dropped: dropped.clone(), is_taken: AtomicBool::new(true) };
        exporter.set_resource(&resource(settings));
        // What the variables say, and where they are silent more room than the SDK gives.
        let mut batches = BatchConfigBuilder::default().with_max_queue_size(settings.queue);
        if std::env::var_os("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").is_none() {
            batches = batches.with_max_export_batch_size(BATCH.0.min(settings.queue));
        }
        if std::env::var_os("OTEL_BSP_SCHEDULE_DELAY").is_none() {
            batches = batches.with_scheduled_delay(BATCH.1);
        }
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches.build()).build();
        Ok(Self { processor: Arc::new(processor), waiting, limit: settings.queue, dropped })
    }

    /// Hands a span over, or counts it as lost.
    pub(super) fn send(&self, span: SpanData) {
        // The SDK's own queue is as long, so that it is never what overflows.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.inc();
            return;
        }
        self.processor.on_end(span);
    }

    pub(super) async fn shutdown(&self, within: Duration) {
        let (processor, (told, done)) = (self.processor.clone(), tokio::sync::oneshot::channel());
        // It waits for the collector: a thread of its own, which the end of the process does not wait for.
        std::thread::spawn(move || told.send(processor.shutdown_with_timeout(within)));
        if !matches!(tokio::time::timeout(within, done).await, Ok(Ok(Ok(())))) {
            let waiting = self.waiting.load(Ordering::Relaxed);
            tracing::warn!(waiting, "spans were not taken in time and are lost");
        }
    }
}

/// Whose spans they are.
fn resource(settings: &Settings) -> Resource {
    Resource::builder_empty()
        .with_service_name(settings.service.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())])
        .build()
}

/// Counts what was sent and what was lost.
#[derive(Debug)]
struct Counting {
    inner: opentelemetry_otlp::SpanExporter,
    waiting: Arc<AtomicUsize>,
    dropped: IntCounter,
    /// Whether the last batch was taken: only changes are logged.
    is_taken: AtomicBool,
}

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.inner.export(batch).await;
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let was_taken = self.is_taken.swap(result.is_ok(), Ordering::Relaxed);
        match &result {
            Ok(()) if was_taken => {}
            Ok(()) => tracing::info!("the collector takes spans again"),
            Err(error) => {
                self.dropped.inc_by(count as u64);
                if was_taken {
                    tracing::warn!(%error, "the collector does not take spans, they are dropped and counted");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
