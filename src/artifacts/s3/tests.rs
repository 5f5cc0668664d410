//! Against a server that checks signatures (`scripts/test` installs it), and the signer by itself.

use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::{super::Objects, *};

const NOW: Timestamp = Timestamp::from_secs(1_795_507_205);
const ACCESS_KEY: &str = "ASIAROLE";
const SECRET_KEY: &str = "the-secret-key-of-a-role";

fn credentials(ends_in: Option<u64>) -> Credentials {
    let ends = ends_in.map(|seconds| at(NOW) + Duration::from_secs(seconds));
    Credentials::new(ACCESS_KEY, SECRET_KEY, Some("token".to_owned()), ends, "test")
}

#[test]
fn a_url_ends_with_the_credentials_that_signed_it() {
    let hour = Duration::from_hours(1);
    assert_eq!(lives(&credentials(None), NOW, hour), hour);
    assert_eq!(lives(&credentials(Some(7200)), NOW, hour), hour);
    assert_eq!(lives(&credentials(Some(600)), NOW, hour), Duration::from_secs(600));
}

#[test]
fn an_upload_pins_length_type_and_digest_and_a_download_the_answers_headers() {
    let sign = |method: &str, url: &str, headers: &[(&'static str, String)]| {
        presigned(&credentials(None), "eu-west-1", (method, url), headers, NOW, Duration::from_secs(60)).unwrap()
    };
    let headers = [
        ("content-length", "5".to_owned()),
        ("content-type", "image/png".to_owned()),
        ("x-amz-checksum-sha256", "AA==".to_owned()),
    ];
    let put = sign("PUT", "https://b.s3.eu-west-1.amazonaws.com/acme/x", &headers);
    assert!(put.contains("X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost%3Bx-amz-checksum-sha256"), "{put}");
    assert!(put.contains("X-Amz-Expires=60") && put.contains("X-Amz-Security-Token=token"), "{put}");
    let get = sign("GET", "https://b.s3.eu-west-1.amazonaws.com/acme/x?response-content-type=text%2Fplain", &[]);
    assert!(get.contains("acme/x?response-content-type=text%2Fplain&X-Amz-Algorithm=AWS4-HMAC-SHA256"), "{get}");
}

/// The parts of a URL's query, sorted: signers put them in an order of their own.
fn query(url: &str) -> Vec<(String, String)> {
    let mut parts: Vec<_> = Url::parse(url).unwrap().query_pairs().into_owned().collect();
    parts.sort();
    parts
}

/// What AWS's Python SDK (botocore, by `scripts/test`) makes of the same.
fn signed_by_botocore(method: &str, url: &str, headers: &[(&'static str, String)]) -> String {
    let python = std::env::var("SLUICE_TEST_MOTO").expect(
        "SLUICE_TEST_MOTO names the Python that has botocore: run `scripts/test`, which installs it \
         (tests/tools/requirements-aws.txt)",
    );
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/presign.py");
    let mut child =
        Command::new(python).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let asked = serde_json::json!({
        "now": NOW.as_secs(), "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "token": "token",
        "method": method, "url": url, "headers": headers, "region": "eu-west-1", "expires": 60,
    });
    serde_json::to_writer(child.stdin.take().unwrap(), &asked).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
}

#[test]
fn a_url_is_the_one_that_awss_own_python_sdk_signs() {
    let upload = [
        ("content-length", "48213".to_owned()),
        ("content-type", "application/pdf".to_owned()),
        ("x-amz-checksum-sha256", STANDARD.encode([7; 32])),
    ];
    let path = "https://b.s3.eu-west-1.amazonaws.com/of/sluice/acme/uploads/2026-11-24/art_0193a7d4";
    let disposition = percent("attachment; filename=\"upload-art_0193a7d4.pdf\"");
    let answer = format!("{path}?response-content-disposition={disposition}&response-content-type=image%2Fsvg%2Bxml");
    let by_path = "http://127.0.0.1:9000/b/of/sluice/acme/x";
    for (method, url, headers) in
        [("PUT", path, &upload[..]), ("GET", &*answer, &[]), ("GET", by_path, &[]), ("PUT", by_path, &upload)]
    {
        let ours = presigned(&credentials(None), "eu-west-1", (method, url), headers, NOW, Duration::from_secs(60));
        let theirs = signed_by_botocore(method, url, headers);
        assert!(theirs.contains("X-Amz-Signature="), "{theirs}");
        assert_eq!(query(&ours.unwrap()), query(&theirs), "{method} {url}");
    }
}

/// A server that checks signatures as S3 does (s3s-fs), over a folder of its own.
struct Server {
    child: Child,
    endpoint: Url,
    folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    async fn start() -> Self {
        let binary = std::env::var("SLUICE_TEST_S3").unwrap_or_else(|_| {
            panic!(
                "SLUICE_TEST_S3 is not set: run `scripts/test`, or `cargo install --locked --debug s3s-fs@0.14.1 \
                 --features binary` and name its `s3s-fs`"
            )
        });
        for _ in 0..5 {
            if let Some(server) = Self::start_on_some_port(&binary).await {
                return server;
            }
        }
        panic!("{binary} does not start");
    }

    /// None where somebody else was faster to take the port.
    async fn start_on_some_port(binary: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("artifacts")).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(binary);
        command.args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY, "--host", "127.0.0.1"]);
        command.args(["--port", &free.to_string()]).arg(folder.path()).env("RUST_LOG", "error");
        command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{binary} does not start: {error}"));
        let endpoint = format!("http://127.0.0.1:{free}").parse().unwrap();
        let mut server = Self { child, endpoint, folder };
        for _ in 0..1500 {
            if server.child.try_wait().unwrap().is_some() {
                return None;
            }
            if tokio::net::TcpStream::connect(("127.0.0.1", free)).await.is_ok() {
                return Some(server);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{binary} does not listen");
    }

    /// The bucket as the role sees it, or as somebody who has another secret.
    fn bucket(&self, secret_key: &str) -> Objects {
        let bucket = Bucket {
            name: "artifacts".to_owned(),
            prefix: "of/sluice".to_owned(),
            region: None,
            endpoint: Some(self.endpoint.clone()),
        };
        let credentials = Credentials::new(ACCESS_KEY, secret_key, Some("token".to_owned()), None, "test");
        let mut s3 = S3::new(bucket);
        let opened = s3.open_with(SharedCredentialsProvider::new(credentials), None).unwrap();
        s3.opened = OnceCell::new_with(Some(opened));
        Objects::S3(Box::new(s3))
    }
}

fn now() -> Timestamp {
    use sluice_actors::ports::Clock as _;
    crate::clock::SystemClock.now()
}

/// Status and body of a plain request, as anybody makes it who was handed a URL.
async fn plain(method: http::Method, url: &str, headers: &[(&str, &str)], body: &'static [u8]) -> (u16, Vec<u8>) {
    let mut call = crate::http_client::Call::new(method, url.parse().unwrap());
    for (name, value) in headers {
        let name: http::HeaderName = name.parse().unwrap();
        call.headers.insert(name, value.parse().unwrap());
    }
    call.body = (!body.is_empty()).then(|| Bytes::from_static(body));
    let client = crate::http_client::HttpClient::new(vec!["127.0.0.0/8".parse().unwrap()]).unwrap();
    let answer = client.send(call).await.unwrap();
    (answer.status.as_u16(), answer.partial().to_vec())
}

const KEY: &str = "acme/uploads/2026-11-24/art_0193a7d4c1e87cc0a3f0c5d6e7f80912";

#[tokio::test]
async fn objects_are_put_read_measured_and_removed_by_the_role_and_by_nobody_else() {
    let server = Server::start().await;
    let (objects, key): (_, Key) = (server.bucket(SECRET_KEY), KEY.parse().unwrap());
    assert_eq!(objects.get(&key).await, Err(ObjectError::NotFound));
    objects.put(&key, "text/plain", Bytes::from_static(b"content")).await.unwrap();
    assert_eq!((objects.get(&key).await, objects.length(&key).await), (Ok(Bytes::from_static(b"content")), Ok(7)));
    assert!(server.folder.path().join("artifacts/of/sluice").join(KEY).exists());
    let stranger = server.bucket("a-guess");
    assert_eq!(stranger.get(&key).await, Err(ObjectError::Refused));
    assert_eq!(stranger.put(&key, "text/plain", Bytes::from_static(b"x")).await, Err(ObjectError::Refused));
    objects.delete(&key).await.unwrap();
    objects.delete(&key).await.unwrap();
    assert_eq!(objects.length(&key).await, Err(ObjectError::NotFound));
    objects.probe(now()).await.unwrap();
    drop(server);
    assert!(matches!(objects.get(&key).await, Err(ObjectError::Unavailable(_))), "a server that is gone");
}

#[tokio::test]
async fn a_link_reads_one_object_until_it_ends_and_nothing_of_it_can_be_another() {
    let server = Server::start().await;
    let (objects, key): (_, Key) = (server.bucket(SECRET_KEY), KEY.parse().unwrap());
    objects.put(&key, "image/png", Bytes::from_static(b"content")).await.unwrap();
    let other: Key = KEY.replace("acme", "bravo").parse().unwrap();
    objects.put(&other, "image/png", Bytes::from_static(b"not yours")).await.unwrap();
    let (ttl, get) = (Duration::from_secs(60), http::Method::GET);
    let link = objects.link(&key, "image/png", now(), ttl).await.unwrap();
    assert_eq!(plain(get.clone(), &link.url, &[], b"").await, (200, b"content".to_vec()));
    for forged in [
        link.url.replace("/acme/", "/bravo/"),
        link.url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"),
        link.url.replace("attachment", "inline"),
        link.url.replace("image%2Fpng", "text%2Fhtml"),
        link.url.split('?').next().unwrap().to_owned(),
    ] {
        assert_ne!(forged, link.url);
        let (status, body) = plain(get.clone(), &forged, &[], b"").await;
        assert!(status == 403 && !body.starts_with(b"content"), "{status} {forged}");
    }
    let (status, _) = plain(http::Method::PUT, &link.url, &[], b"x").await;
    assert_eq!(status, 403, "leave to read is none to write");
    let past = objects.link(&key, "image/png", now().minus(Duration::from_secs(61)), ttl).await.unwrap();
    assert_eq!(plain(get.clone(), &past.url, &[], b"").await.0, 403, "its time is over");
    let stranger = server.bucket("a-guess").link(&key, "image/png", now(), ttl).await.unwrap();
    assert_eq!(plain(get, &stranger.url, &[], b"").await.0, 403);
}

#[tokio::test]
async fn an_upload_is_taken_of_exactly_its_length_type_and_bytes_until_its_time() {
    let server = Server::start().await;
    let (objects, key): (_, Key) = (server.bucket(SECRET_KEY), KEY.parse().unwrap());
    let (ttl, put) = (Duration::from_secs(60), http::Method::PUT);
    let exactly = Exactly { length: 7, media_type: "image/png".to_owned(), digest: Sha256::digest(b"content").into() };
    let ticket = objects.ticket(&key, &exactly, now(), ttl).await.unwrap();
    // The client says the length by itself.
    let sent: Vec<(&str, &str)> = ticket
        .headers
        .iter()
        .filter(|(name, _)| *name != "content-length")
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let with = |name: &str, value: &'static str| -> Vec<(&str, &str)> {
        sent.iter().map(|(known, old)| if *known == name { (*known, value) } else { (*known, *old) }).collect()
    };
    let url = &ticket.link.url;
    let refused = [
        ("longer", url.clone(), sent.clone(), &b"content!"[..]),
        ("shorter", url.clone(), sent.clone(), b"conten"),
        ("other bytes", url.clone(), sent.clone(), b"CONTENT"),
        ("another type", url.clone(), with("content-type", "text/html"), b"content"),
        ("another digest", url.clone(), with("x-amz-checksum-sha256", "AAAA"), b"content"),
        (
            "no type",
            url.clone(),
            sent.iter().copied().filter(|(name, _)| *name != "content-type").collect(),
            b"content",
        ),
        ("another key", url.replace("/acme/", "/bravo/"), sent.clone(), b"content"),
        ("longer leave", url.replace("X-Amz-Expires=60", "X-Amz-Expires=600"), sent.clone(), b"content"),
    ];
    for (what, url, headers, body) in refused {
        let (status, _) = plain(put.clone(), &url, &headers, body).await;
        assert!((400..500).contains(&status), "{what}: {status}");
        // This server refuses bytes of another digest after it wrote them under their name. S3 does not.
        if what == "other bytes" {
            objects.delete(&key).await.unwrap();
        }
        assert_eq!(objects.length(&key).await, Err(ObjectError::NotFound), "{what}");
    }
    let past = objects.ticket(&key, &exactly, now().minus(Duration::from_secs(61)), ttl).await.unwrap();
    assert_eq!(plain(put.clone(), &past.link.url, &sent, b"content").await.0, 403, "its time is over");
    assert_eq!(plain(put, url, &sent, b"content").await.0, 200);
    assert_eq!(objects.get(&key).await, Ok(Bytes::from_static(b"content")));
}
