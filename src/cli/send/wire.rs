//! HTTP/1.1 on a kept connection, as little of it as sending needs: a client library costs more per
//! request than the signature, and would measure itself.

use std::{io::Write, sync::Arc};

use anyhow::{Context, bail};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use url::Url;

use super::Delivery;

/// Where deliveries go.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Target {
    /// The whole URL, as vendors that sign it see it.
    pub(in crate::cli) url: String,
    host: String,
    port: u16,
    /// What stands in the `Host` header.
    authority: String,
    path: String,
    tls: bool,
}

impl Target {
    pub(in crate::cli) fn parse(url: &Url) -> anyhow::Result<Self> {
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => bail!("--url: {other} is not http or https"),
        };
        let host = url.host_str().context("--url names no host")?.trim_matches(['[', ']']).to_owned();
        let port = url.port_or_known_default().context("--url names no port")?;
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        Ok(Self { url: url.as_str().to_owned(), host, port, authority: url.authority().to_owned(), path, tls })
    }

    /// Writes the request of `delivery` into `into`.
    pub(in crate::cli) fn write_request(&self, delivery: &Delivery, into: &mut Vec<u8>) {
        into.clear();
        let Self { path, authority, .. } = self;
        let Delivery { content_type, headers, body } = delivery;
        let written = write!(
            into,
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n",
            body.len()
        );
        written.expect("a vector takes all bytes");
        for (name, value) in headers {
            into.extend_from_slice(name.as_str().as_bytes());
            into.extend_from_slice(b": ");
            into.extend_from_slice(value.as_bytes());
            into.extend_from_slice(b"\r\n");
        }
        into.extend_from_slice(b"\r\n");
        into.extend_from_slice(body);
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection that is kept alive.
pub(in crate::cli) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// Whether the other side announced that it closes.
    pub(in crate::cli) closing: bool,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Answer {
    pub(in crate::cli) status: u16,
    pub(in crate::cli) body: Vec<u8>,
}

/// An answer larger than this is none of a gateway.
const MAX_ANSWER: usize = 1 << 20;

impl Connection {
    pub(in crate::cli) async fn open(target: &Target) -> anyhow::Result<Self> {
        let Target { host, port, .. } = target;
        let tcp = TcpStream::connect((host.as_str(), *port)).await;
        let tcp = tcp.with_context(|| format!("cannot connect to {host}:{port}; is the gateway running there?"))?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if target.tls {
            let name = ServerName::try_from(host.clone()).context("--url: not a name that TLS can check")?;
            Box::new(tls()?.connect(name, tcp).await.with_context(|| format!("TLS with {host}:{port}"))?)
        } else {
            Box::new(tcp)
        };
        Ok(Self { stream, buffer: Vec::with_capacity(4096), closing: false })
    }

    /// Sends `request` and reads its answer.
    pub(in crate::cli) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        loop {
            if let Some((head, answer)) = parse(&self.buffer)? {
                self.buffer.drain(..head.consumed);
                self.closing = head.closing;
                return Ok(answer);
            }
            if self.buffer.len() > MAX_ANSWER {
                bail!("the answer is longer than {MAX_ANSWER} bytes");
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed before the answer");
            }
        }
    }
}

fn tls() -> anyhow::Result<TlsConnector> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

struct Head {
    consumed: usize,
    closing: bool,
}

/// The first whole answer in `bytes`; none while some of it is missing.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(Head, Answer)>> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..end]).context("not an HTTP answer")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1."));
    let status = status.and_then(|line| line.get(2..5)?.parse::<u16>().ok()).context("not an HTTP answer")?;
    let (mut length, mut chunked, mut closing) = (0, false, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.parse().context("a length that is none")?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = value.eq_ignore_ascii_case("chunked");
        } else if name.eq_ignore_ascii_case("connection") {
            closing = value.eq_ignore_ascii_case("close");
        }
    }
    let start = end + 4;
    let (body, consumed) = if chunked {
        let Some((body, taken)) = unchunk(&bytes[start..])? else { return Ok(None) };
        (body, start + taken)
    } else {
        let Some(body) = bytes.get(start..start + length) else { return Ok(None) };
        (body.to_vec(), start + length)
    };
    Ok(Some((Head { consumed, closing }, Answer { status, body })))
}

/// A chunked body without trailers, and the bytes it took; none while some of it is missing.
fn unchunk(bytes: &[u8]) -> anyhow::Result<Option<(Vec<u8>, usize)>> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&bytes[at..at + end])
            .ok()
            .and_then(|text| usize::from_str_radix(text.split(';').next().unwrap_or_default().trim(), 16).ok());
        let size = size.filter(|size| *size <= MAX_ANSWER).context("a chunk that is none")?;
        at += end + 2;
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(usize, bool, u16, String)> {
        let (head, answer) = parse(text.as_bytes()).unwrap()?;
        Some((head.consumed, head.closing, answer.status, String::from_utf8(answer.body).unwrap()))
    }

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 0..text.len() {
            assert_eq!(parsed(&text[..cut]), None, "{cut}");
        }
        assert_eq!(parsed(text), Some((text.len(), false, 200, "hello".to_owned())));
        let next = format!("{text}HTTP/1.1 500");
        assert_eq!(parsed(&next).unwrap().0, text.len());
    }

    #[test]
    fn an_answer_without_a_body_and_one_in_chunks_are_read() {
        let empty = "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
        assert_eq!(parsed(empty), Some((empty.len(), true, 204, String::new())));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        for cut in 0..chunked.len() {
            assert_eq!(parsed(&chunked[..cut]), None, "{cut}");
        }
        assert_eq!(parsed(chunked), Some((chunked.len(), false, 200, "abcde".to_owned())));
    }

    #[test]
    fn what_is_not_http_is_an_error() {
        assert!(parse(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 2xx\r\n\r\n").is_err());
    }

    #[test]
    fn a_url_is_taken_apart_as_a_request_needs_it() {
        let target = Target::parse(&"http://[::1]:8080/webhooks/a/b?x=1".parse().unwrap()).unwrap();
        assert_eq!((target.host.as_str(), target.port, target.path.as_str()), ("::1", 8080, "/webhooks/a/b?x=1"));
        assert_eq!(target.authority, "[::1]:8080");
        assert!(Target::parse(&"ftp://a.example".parse().unwrap()).is_err());
    }
}
