//! A request saved as text: request line, headers, an empty line, the body to the end.

use anyhow::{Context, bail};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// A request as it was saved.
#[derive(Debug)]
pub(super) struct Saved {
    pub(super) method: Method,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// How the body differs from what its headers announce, in words.
    pub(super) odd: Option<String>,
}

impl Saved {
    /// Reads it. Line ends of the head may be those of an editor; the body is taken to the byte.
    pub(super) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let (head, body) = split(bytes).context("has no empty line after its headers")?;
        let head = std::str::from_utf8(head).context("has headers that are not text")?;
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split_ascii_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            bail!("does not begin with a request line such as `POST /webhooks/acme/orders HTTP/1.1`");
        };
        let method = method.parse().context("begins with no method")?;
        let target = path_of(target).context("names no path that begins with `/`")?.to_owned();
        let mut headers = HeaderMap::new();
        for (n, line) in lines.enumerate() {
            let at = n + 2;
            let (name, value) = line.split_once(':').with_context(|| format!("has no header on line {at}"))?;
            let name: HeaderName = name.trim().parse().with_context(|| format!("has no header's name on line {at}"))?;
            let value = HeaderValue::from_str(value.trim()).with_context(|| format!("has no value on line {at}"))?;
            headers.append(name, value);
        }
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let (body, odd) = match length {
            Some(length) if length < body.len() => {
                let odd =
                    format!("the file has {} bytes after its headers; the first {length} are the body", body.len());
                (&body[..length], Some(odd))
            }
            Some(length) if length > body.len() => {
                let odd =
                    format!("the body has {} of {length} bytes: it was cut or changed when it was saved", body.len());
                (body, Some(odd))
            }
            _ => (body, None),
        };
        Ok(Self { method, target, headers, body: body.to_vec(), odd })
    }

    /// The tenant and the source that its path names.
    pub(super) fn endpoint(&self) -> Option<(&str, &str)> {
        let path = self.target.split('?').next()?;
        path.strip_prefix("/webhooks/")?.split_once('/')
    }
}

/// Head and body, parted by the first empty line.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let find = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part).map(|at| (at, part.len()));
    let (at, length) = [find(b"\r\n\r\n"), find(b"\n\n")].into_iter().flatten().min()?;
    Some((&bytes[..at], &bytes[at + length..]))
}

/// The path and query of a request's target, which may be a whole URL.
fn path_of(target: &str) -> Option<&str> {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    rest.find('/').filter(|at| *at == 0 || rest.len() < target.len()).map(|at| &rest[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_either_line_ends_and_its_body_to_the_byte() {
        for end in ["\r\n", "\n"] {
            let head = ["POST /webhooks/acme/orders?x=1 HTTP/1.1", "Host: a.example", "X-A:  b", "Content-Length: 5"];
            let text = format!("{}{end}{end}{{\r\n}} \n\n", head.join(end));
            let saved = Saved::parse(text.as_bytes()).unwrap();
            assert_eq!((saved.method.as_str(), saved.target.as_str()), ("POST", "/webhooks/acme/orders?x=1"));
            assert_eq!(saved.endpoint(), Some(("acme", "orders")));
            assert_eq!(saved.headers["x-a"], "b");
            assert_eq!(saved.body, b"{\r\n} ");
            assert!(saved.odd.unwrap().contains("the first 5 are the body"));
        }
    }

    #[test]
    fn a_body_that_is_too_short_is_odd_and_a_whole_one_is_not() {
        let odd = |text: &str| Saved::parse(text.as_bytes()).unwrap().odd;
        assert!(odd("POST /a\nContent-Length: 5\n\nabc").unwrap().contains("3 of 5 bytes"));
        assert_eq!(odd("POST /a\nContent-Length: 3\n\nabc"), None);
        assert_eq!(odd("POST https://a.example/b\n\nabc"), None);
    }

    #[test]
    fn what_is_no_request_says_where() {
        let error = |text: &str| Saved::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("{\"a\": 1}"), "has no empty line after its headers");
        assert!(error("{\n\n}").contains("request line"));
        assert!(error("POST a\n\n").contains("path"));
        assert!(error("POST /a\nX-A: b\nnothing\n\n").contains("line 3"));
    }
}
