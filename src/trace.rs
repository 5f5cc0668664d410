//! The trace of a delivery (W3C Trace Context, version 00): which spans it has and by which ids,
//! whoever keeps them. What keeps them is a [`Tracer`]; OpenTelemetry is only known to `telemetry`.
//!
//! The ids of the spans that work hangs under are made from what is stored: of an event from its id,
//! of an attempt from its job and fence. So an event keeps only its trace and whether it is sampled,
//! and any node finds the same parent after any restart ([ADR 0017](../docs/adr/0017-traces.md)).

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};
use sluice_actors::domain::{CalleeId, EventId, Job, JobClass, TraceId};
use url::Url;

use crate::ids;

/// The header that carries a [`Context`] from one service to the next.
pub const TRACEPARENT: &str = "traceparent";
/// The flag of a trace whose spans are kept.
const SAMPLED: u8 = 1;

/// Names a span in its trace: 8 bytes, never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl SpanId {
    /// From 8 bytes; all zeros, which the standard calls invalid, become another constant.
    fn of(bytes: [u8; 8]) -> Self {
        Self(if bytes == [0; 8] { [0xff; 8] } else { bytes })
    }

    /// A new one, by chance.
    pub fn fresh() -> Self {
        Self::of(first(&ids::nonce()))
    }

    /// The 8 bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A span, as others are told of it; written as a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub span: SpanId,
    flags: u8,
}

impl Context {
    /// A span of a trace that is sampled or not.
    pub const fn new(trace: TraceId, span: SpanId, sampled: bool) -> Self {
        Self { trace, span, flags: if sampled { SAMPLED } else { 0 } }
    }

    /// The one that a whole `traceparent` of version 00 tells of.
    pub fn parse(text: &str) -> Option<Self> {
        let lower_hex =
            |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let whole = parts.next().is_none() && version == "00" && lower_hex(span, 16) && lower_hex(flags, 2);
        let span = Some(u64::from_str_radix(span, 16).ok()?).filter(|span| whole && *span != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(Self { trace: trace.parse().ok()?, span: SpanId(span.to_be_bytes()), flags })
    }

    /// Whether its spans are kept.
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Its span id for a log line; none where there is no such span.
    pub fn logged(&self) -> Option<tracing::field::DisplayValue<SpanId>> {
        self.is_sampled().then_some(tracing::field::display(self.span))
    }

    /// The value of the header.
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("hexadecimal digits and dashes")
    }
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// The trace of one authentic delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryTrace {
    /// The span of its request.
    pub request: Context,
    /// The vendor's own span.
    pub theirs: Option<Context>,
    /// Whether the trace is the vendor's and its span the parent; else it is only linked.
    pub continued: bool,
}

impl DeliveryTrace {
    /// The trace of a delivery that came with `headers`. `continues`: its source says that the
    /// vendor's trace goes on here.
    pub fn of(headers: &HeaderMap, continues: bool, tracer: &dyn Tracer) -> Self {
        let theirs = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(Context::parse);
        let parent = theirs.filter(|_| continues);
        let trace = parent.map_or_else(ids::trace_id, |parent| parent.trace);
        let sampled = tracer.samples(trace, parent.map(|parent| parent.is_sampled()));
        Self { request: Context::new(trace, SpanId::fresh(), sampled), theirs, continued: parent.is_some() }
    }

    /// The span of one event that was stored with it.
    pub fn stored(&self, event: EventId) -> Context {
        stored(event, self.request.trace, self.request.is_sampled())
    }
}

/// The span of a stored event, that its work hangs under.
fn stored(event: EventId, trace: TraceId, sampled: bool) -> Context {
    // The second half of a UUID of version 7 is random.
    Context::new(trace, SpanId::of(first(&event.as_uuid().as_bytes()[8..])), sampled)
}

/// The trace of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptTrace {
    /// The span of the attempt.
    pub span: Context,
    /// The span of its event: the parent, or for a replay, which is a trace of its own, the link.
    pub stored: Context,
}

impl AttemptTrace {
    /// The trace of the attempt that holds `job`, whose event has this trace.
    pub fn of(job: &Job, trace: TraceId, sampled: bool, tracer: &dyn Tracer) -> Self {
        let stored = stored(job.event_id, trace, sampled);
        let digest =
            Sha256::new().chain_update(job.id.as_uuid().as_bytes()).chain_update(job.fence.0.to_be_bytes()).finalize();
        let span = SpanId::of(first(&digest));
        let replay = (job.class == JobClass::Replay).then(|| TraceId::from_bytes(first(&digest[8..]))).flatten();
        let span = match replay {
            Some(trace) => Context::new(trace, span, tracer.samples(trace, None)),
            None => Context::new(trace, span, sampled),
        };
        Self { span, stored }
    }

    /// Whether a person brought the job back: the trace is not that of its delivery.
    pub fn is_replay(&self) -> bool {
        self.span.trace != self.stored.trace
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    *bytes.first_chunk().expect("a digest or nonce is long enough")
}

/// What was asked of a callee.
#[derive(Debug, Clone, Copy)]
pub enum Request<'a> {
    /// A request of HTTP.
    Http {
        /// The method.
        method: &'a Method,
        /// Where to. Its path and query may hold a credential: only scheme, host and port are kept.
        url: &'a Url,
    },
    /// A message for a broker.
    Publish {
        /// Which kind of broker.
        system: &'static str,
        /// Its name or address.
        host: &'a str,
        /// Its port.
        port: u16,
        /// Where to, as the configuration has it: a template, without what the event put into it.
        destination: &'a str,
    },
}

/// A call that ended.
#[derive(Debug)]
pub struct Called<'a> {
    /// For which attempt.
    pub attempt: &'a AttemptTrace,
    /// Its own span.
    pub span: Context,
    /// Whom it called.
    pub callee: &'a CalleeId,
    /// What was asked of it.
    pub request: Request<'a>,
    /// The answer's status if it has one, or what kind of error there was.
    pub answer: Result<Option<StatusCode>, &'static str>,
    /// How long it took.
    pub took: Duration,
}

/// Keeps spans. Must return at once.
pub trait Tracer: Send + Sync + 'static {
    /// Whether the spans of a trace are kept that begins here, or whose parent says (`Some`) whether
    /// it is sampled.
    fn samples(&self, trace: TraceId, parent: Option<bool>) -> bool;

    /// A call ended.
    fn called(&self, call: &Called<'_>);
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untraced;

impl Tracer for Untraced {
    fn samples(&self, _trace: TraceId, _parent: Option<bool>) -> bool {
        false
    }

    fn called(&self, _call: &Called<'_>) {}
}

#[cfg(test)]
mod tests {
    use sluice_actors::domain::{CheckpointStage, Fence, JobState, LaneKey, Timestamp};

    use super::*;

    /// Keeps what the parent keeps, and all that begins here.
    struct All;

    impl Tracer for All {
        fn samples(&self, _trace: TraceId, parent: Option<bool>) -> bool {
            parent.unwrap_or(true)
        }

        fn called(&self, _call: &Called<'_>) {}
    }

    fn job(class: JobClass, fence: i64) -> Job {
        Job {
            id: "job_0193a7d4c1e87cc0a3f0c5d6e7f80911".parse().unwrap(),
            event_id: "evt_0193a7d4c1e87cc0a3f0c5d6e7f80910".parse().unwrap(),
            lane: LaneKey::new("acme".parse().unwrap(), "pay".parse().unwrap()),
            route: "main".parse().unwrap(),
            kind: "log".into(),
            state: JobState::Running,
            class,
            attempts: 0,
            claims: 1,
            deaths: 0,
            suspicion: 0,
            next_run_at: Timestamp::from_secs(1),
            fence: Fence(fence),
            stage: CheckpointStage::None,
        }
    }

    #[test]
    fn only_a_whole_traceparent_of_version_00_counts_and_is_written_as_it_was_read() {
        for (text, valid) in [
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03", true),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false),
            ("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false),
            ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033-01", false),
            ("00-0af7651916cd43dd8448eb211c80319c-+7ad6b7169203331-01", false),
            ("", false),
        ] {
            let parsed = Context::parse(text);
            assert_eq!(parsed.map(|it| it.to_string()), valid.then(|| text.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_foreign_trace_is_continued_with_its_decision_only_where_the_source_says_so() {
        let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let headers: HeaderMap = [(TRACEPARENT.parse().unwrap(), theirs.parse().unwrap())].into_iter().collect();
        let linked = DeliveryTrace::of(&headers, false, &All);
        assert_eq!(linked.theirs.map(|it| it.to_string()).as_deref(), Some(theirs));
        assert!(!linked.continued && linked.request.is_sampled());
        assert_ne!(linked.request.trace.to_string(), theirs[3..35]);
        let continued = DeliveryTrace::of(&headers, true, &All);
        assert!(continued.continued && !continued.request.is_sampled());
        assert_eq!(continued.request.trace.to_string(), theirs[3..35]);
        assert_ne!(continued.request.span.to_string(), theirs[36..52]);
        assert!(!DeliveryTrace::of(&HeaderMap::new(), true, &All).continued);
    }

    #[test]
    fn attempts_share_the_trace_and_parent_of_their_event_and_have_spans_of_their_own() {
        let trace: TraceId = "0af7651916cd43dd8448eb211c80319c".parse().unwrap();
        let of = |class, fence| AttemptTrace::of(&job(class, fence), trace, true, &All);
        let (first, second) = (of(JobClass::Fresh, 1), of(JobClass::Retry, 2));
        assert_eq!((first, first.stored), (of(JobClass::Fresh, 1), second.stored));
        assert_eq!((first.span.trace, second.span.trace), (trace, trace));
        assert_ne!(first.span.span, second.span.span);
        assert_eq!(first.stored.span.to_string(), "a3f0c5d6e7f80910");
    }

    #[test]
    fn a_replay_begins_a_trace_of_its_own_and_decides_anew() {
        let trace: TraceId = "0af7651916cd43dd8448eb211c80319c".parse().unwrap();
        let replay = AttemptTrace::of(&job(JobClass::Replay, 3), trace, false, &All);
        assert!(replay.is_replay() && replay.span.is_sampled());
        assert_eq!((replay.stored.trace, replay.stored.is_sampled()), (trace, false));
    }
}
