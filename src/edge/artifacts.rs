//! `/artifacts/…`: objects of the folder, under URLs that the gateway signed. `/uploads/…`: leave to upload,
//! for the sender of a source, and the upload itself.
//!
//! An object comes from anybody: it is a file to save, of no origin of ours, and never a page.

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt as _, stream::BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use sluice_actors::{
    domain::{SourceName, TenantName},
    ports::Clock,
};
use tokio::time::{Duration, Instant, timeout, timeout_at};
use warp::{Filter, Rejection, Reply as _};

use super::{
    Answer, Edge,
    accept::Arrival,
    answer::{self, Fixed},
    content_length, exact,
};
use crate::artifacts::{
    Artifacts, Exactly, Folder, GetRange, Incoming, Key, LinkRefused, ObjectError, SLOWEST, UploadRefused,
};

/// Bytes of a request for leave to upload.
const MAX_ASK: usize = 4096;
/// Uploads of one tenant at once, and of all.
const TENANT_UPLOADS: usize = 8;
const UPLOADS: usize = 64;
/// How long an upload may be slower than [`SLOWEST`].
const GRACE: Duration = Duration::from_secs(10);

/// What the public listener needs of artifacts.
pub(super) struct Shelf {
    artifacts: Arc<Artifacts>,
    clock: Arc<dyn Clock>,
    /// Uploads under way, by tenant.
    under_way: Arc<Mutex<HashMap<TenantName, usize>>>,
}

/// An upload's place, until it is dropped.
struct Seat {
    tenant: TenantName,
    under_way: Arc<Mutex<HashMap<TenantName, usize>>>,
}

impl Shelf {
    pub(super) fn new(artifacts: Arc<Artifacts>, clock: Arc<dyn Clock>) -> Self {
        Self { artifacts, clock, under_way: Arc::default() }
    }

    fn seat(&self, tenant: &TenantName) -> Option<Seat> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = under_way.values().sum();
        let own = under_way.entry(tenant.clone()).or_default();
        if all >= UPLOADS || *own >= TENANT_UPLOADS {
            return None;
        }
        *own += 1;
        Some(Seat { tenant: tenant.clone(), under_way: self.under_way.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = under_way.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                under_way.remove(&self.tenant);
            }
        }
    }
}

/// The routes of artifacts and uploads.
pub(super) fn routes(
    edge: Arc<Edge>,
) -> impl Filter<Extract = (Answer,), Error = Rejection> + Clone + Send + Sync + 'static {
    let (asked, put) = (edge.clone(), edge.clone());
    let object = warp::path!("artifacts" / String / String / String / String)
        .and(exact())
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .then(move |tenant, kind, date, id, arrival, method, headers| {
            let edge = edge.clone();
            async move { edge.object(key((tenant, kind, date, id)).as_ref(), &arrival, &method, &headers).await }
        });
    let ask = warp::path!("uploads" / TenantName / SourceName)
        .and(exact())
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |tenant, source, arrival, method, headers, body| {
            let edge = asked.clone();
            async move { edge.ask_upload((tenant, source), arrival, method, headers, body).await }
        });
    let upload = warp::path!("uploads" / String / String / String / String)
        .and(exact())
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |tenant, kind, date, id, arrival, method, headers, body| {
            let edge = put.clone();
            async move { edge.upload(key((tenant, kind, date, id)).as_ref(), &arrival, &method, &headers, body).await }
        });
    object.or(ask).unify().or(upload).unify()
}

fn key((tenant, kind, date, id): (String, String, String, String)) -> Option<Key> {
    [tenant, kind, date, id].join("/").parse().ok()
}

const fn refused(why: LinkRefused) -> Fixed {
    match why {
        LinkRefused::Forged => answer::LINK_FORGED,
        LinkRefused::Expired => answer::LINK_EXPIRED,
    }
}

fn away(error: &ObjectError) -> Fixed {
    match error {
        ObjectError::NotFound => answer::NO_OBJECT,
        ObjectError::Refused | ObjectError::Unavailable(_) => {
            tracing::warn!(%error, "the object store does not do what it is asked for");
            answer::OBJECTS_AWAY
        }
    }
}

impl Edge {
    /// The shelf and its folder, where the gateway serves one.
    fn folder(&self) -> Option<(&Shelf, &Folder)> {
        let shelf = self.artifacts.as_ref()?;
        Some((shelf, shelf.artifacts.folder()?))
    }

    async fn object(&self, key: Option<&Key>, arrival: &Arrival, method: &Method, headers: &HeaderMap) -> Answer {
        let (Some(key), Some((shelf, folder))) = (key, self.folder()) else { return answer::NOT_FOUND.response() };
        if self.bucket.take().is_err() {
            return answer::NODE_RATE.response();
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            return answer::METHOD_GET.response();
        }
        let query = arrival.target.query().unwrap_or_default();
        let shown = match folder.shown(key, query, shelf.clock.now()).await {
            Ok(shown) => shown,
            Err(why) => return refused(why).response(),
        };
        let whole = match folder.read(key, None).await {
            Ok(whole) => whole,
            Err(error) => return away(&error).response(),
        };
        let size = whole.meta.size;
        let (status, part) = match range(headers, size) {
            Asked::Whole => (StatusCode::OK, Ok(whole)),
            Asked::Outside => {
                let mut response: Answer = answer::BAD_RANGE.response();
                response.headers_mut().insert(header::CONTENT_RANGE, text(&format!("bytes */{size}")));
                return response;
            }
            Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, folder.read(key, Some(range)).await),
        };
        let part = match part {
            Ok(part) => part,
            Err(error) => return away(&error).response(),
        };
        let range = part.range.clone();
        let mut response = if *method == Method::HEAD {
            Response::new(Bytes::new().into())
        } else {
            warp::reply::stream(Pieces(Mutex::new(part.into_stream()))).into_response()
        };
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if status == StatusCode::PARTIAL_CONTENT {
            let told = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
            headers.insert(header::CONTENT_RANGE, text(&told));
        }
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        headers.insert(header::CONTENT_TYPE, text(&shown.media_type));
        headers.insert(header::CONTENT_DISPOSITION, text(&format!("attachment; filename=\"{}\"", shown.file_name)));
        for (name, value) in [
            (header::ACCEPT_RANGES, "bytes"),
            (header::CACHE_CONTROL, "private, no-store"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; frame-ancestors 'none'"),
            (header::REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }

    async fn ask_upload<B: Buf>(
        &self,
        (tenant, source): (TenantName, SourceName),
        arrival: Arrival,
        method: Method,
        headers: HeaderMap,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Answer {
        let Some(shelf) = &self.artifacts else { return answer::NOT_FOUND.response() };
        if method != Method::POST {
            return answer::METHOD.response();
        }
        let door = self.receiver.door(&tenant, &source);
        if content_length(&headers).is_some_and(|bytes| bytes > MAX_ASK) {
            return answer::TOO_LARGE.response();
        }
        let inbound = match self.read(&door, arrival, method, headers, body).await {
            Ok(inbound) if inbound.body.len() > MAX_ASK => return answer::TOO_LARGE.response(),
            Ok(inbound) => inbound,
            Err(refused) => return refused.response(),
        };
        let given = async {
            let (lane, body) = self.receiver.admit(&door, inbound).await?;
            let given = shelf.artifacts.promise(&lane, &body).await;
            Ok((lane, given))
        };
        let (lane, given) = match timeout(self.limits.answer, given).await {
            Ok(Ok(given)) => given,
            Ok(Err(reply)) => return answer::from_reply(reply),
            Err(_) => return answer::TOO_LATE.response(),
        };
        match given {
            Ok(promise) => {
                let json = serde_json::to_vec(&promise).unwrap_or_default();
                let mut response: Answer = Response::new(Bytes::from(json).into());
                response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }
            Err(UploadRefused::Malformed) => answer::UPLOAD_MALFORMED.response(),
            Err(UploadRefused::TooLarge) => answer::UPLOAD_TOO_LARGE.response(),
            Err(UploadRefused::Full) => answer::UPLOADS_FULL.response(),
            Err(UploadRefused::Ending) => answer::UPLOAD_ENDING.response(),
            Err(UploadRefused::Unavailable(error)) => {
                tracing::warn!(%lane, %error, "leave to upload cannot be given");
                answer::OBJECTS_AWAY.response()
            }
        }
    }

    async fn upload<B: Buf>(
        &self,
        key: Option<&Key>,
        arrival: &Arrival,
        method: &Method,
        headers: &HeaderMap,
        body: impl Stream<Item = Result<B, warp::Error>>,
    ) -> Answer {
        let (Some(key), Some((shelf, folder))) = (key, self.folder()) else { return answer::NOT_FOUND.response() };
        if self.bucket.take().is_err() {
            return answer::NODE_RATE.response();
        }
        if *method != Method::PUT {
            return answer::METHOD_PUT.response();
        }
        let query = arrival.target.query().unwrap_or_default();
        let exactly = match folder.admitted(key, query, shelf.clock.now()).await {
            Ok(exactly) => exactly,
            Err(why) => return refused(why).response(),
        };
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let differs = media_type != Some(&*exactly.media_type)
            || headers.contains_key(header::CONTENT_ENCODING)
            || content_length(headers).is_some_and(|length| length as u64 != exactly.length);
        if differs {
            return answer::UPLOAD_DIFFERS.response();
        }
        let Some(_seat) = shelf.seat(key.tenant()) else { return answer::UPLOADS_BUSY.response() };
        let mut incoming = match folder.receive(key).await {
            Ok(incoming) => incoming,
            Err(error) => return away(&error).response(),
        };
        if let Err(why) = read(&mut incoming, &exactly, body).await {
            shelf.artifacts.cut_off(incoming).await;
            return why.response();
        }
        match shelf.artifacts.received(key, incoming, &exactly).await {
            Ok(true) => answer::UPLOAD_STORED.response(),
            Ok(false) => answer::UPLOAD_DIFFERS.response(),
            Err(error) => away(&error).response(),
        }
    }
}

/// An object as it is read. The lock is never waited for: it only lets two threads know of the stream.
struct Pieces<E>(Mutex<BoxStream<'static, Result<Bytes, E>>>);

impl<E> Stream for Pieces<E> {
    type Item = Result<Bytes, E>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_next(context)
    }
}

/// Reads an upload to its end, no byte further than it may go and no slower than it must.
async fn read<B: Buf, E>(
    incoming: &mut Incoming,
    exactly: &Exactly,
    body: impl Stream<Item = Result<B, E>>,
) -> Result<(), Fixed> {
    let begun = Instant::now();
    let mut body = pin!(body);
    loop {
        let due = begun + GRACE + Duration::from_secs_f64(incoming.bytes() as f64 / SLOWEST as f64);
        let mut piece = match timeout_at(due, body.next()).await {
            Err(_) => return Err(answer::SLOW_BODY),
            Ok(None) => return Ok(()),
            Ok(Some(Err(_))) => return Err(answer::BROKEN_BODY),
            Ok(Some(Ok(piece))) => piece,
        };
        while piece.has_remaining() {
            let chunk = piece.chunk();
            if incoming.bytes() + chunk.len() as u64 > exactly.length {
                return Err(answer::UPLOAD_DIFFERS);
            }
            incoming.write(chunk).await.map_err(|error| away(&error))?;
            let advanced = chunk.len();
            piece.advance(advanced);
        }
    }
}

fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"))
}

/// What of an object is asked for.
#[derive(Debug, PartialEq)]
enum Asked {
    Whole,
    Part(GetRange),
    Outside,
}

/// One range of bytes (RFC 9110 §14.2). Several, and what is none, ask for the whole.
fn range(headers: &HeaderMap, size: u64) -> Asked {
    let Some(spec) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes=")) else {
        return Asked::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else { return Asked::Whole };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    match (number(first), number(last)) {
        (None, Some(suffix)) if first.is_empty() => {
            if suffix == 0 || size == 0 {
                Asked::Outside
            } else {
                Asked::Part(GetRange::Bounded(size.saturating_sub(suffix)..size))
            }
        }
        (Some(first), _) if first >= size => Asked::Outside,
        (Some(first), None) if last.is_empty() => Asked::Part(GetRange::Bounded(first..size)),
        (Some(first), Some(last)) if last >= first => {
            Asked::Part(GetRange::Bounded(first..last.saturating_add(1).min(size)))
        }
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn one_range_is_a_part_and_all_else_the_whole() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, HeaderValue::from_str(text).unwrap());
            range(&headers, 10)
        };
        let part = |range| Asked::Part(GetRange::Bounded(range));
        assert_eq!(range(&HeaderMap::new(), 10), Asked::Whole);
        assert_eq!((of("bytes=0-3"), of("bytes=4-"), of("bytes=-3")), (part(0..4), part(4..10), part(7..10)));
        assert_eq!((of("bytes=4-99"), of("bytes=-99")), (part(4..10), part(0..10)));
        assert_eq!((of("bytes=10-"), of("bytes=-0")), (Asked::Outside, Asked::Outside));
        for odd in ["bytes=", "bytes=-", "bytes=3-1", "bytes=1-2,4-5", "bytes=+1-2", "lines=0-1", "bytes=x-y"] {
            assert_eq!(of(odd), Asked::Whole, "{odd}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_upload_that_drips_is_cut_off_and_one_that_is_too_long_at_its_first_byte_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path().join("a"), String::new);
        let key: Key = "acme/uploads/2026-11-24/art_0193a7d4c1e87cc0a3f0c5d6e7f80912".parse().unwrap();
        let exactly = Exactly { length: 1 << 20, media_type: "a/b".to_owned(), digest: [0; 32] };
        let status = |fixed: Fixed| fixed.response::<Bytes>().status().as_u16();
        let drip = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Bytes::from_static(b"xxxx")), ()))
        });
        let mut incoming = folder.receive(&key).await.unwrap();
        let begun = Instant::now();
        assert_eq!(read(&mut incoming, &exactly, drip).await.map_err(status), Err(408));
        assert_eq!(begun.elapsed().as_secs(), 10);
        let endless = futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[0; 4096])));
        let mut incoming = folder.receive(&key).await.unwrap();
        assert_eq!(read(&mut incoming, &exactly, endless).await.map_err(status), Err(422));
        assert_eq!(incoming.bytes(), exactly.length);
    }
}
