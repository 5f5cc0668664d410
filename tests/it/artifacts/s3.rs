//! A gateway whose artifacts lie in a bucket, with the credentials of its container's role: no static key. The
//! server checks signatures as S3 does; `scripts/test` installs it (s3s-fs).

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use sluice::standins::StandInApi;
use warp::Filter as _;

use super::{Upload, put};
use crate::harness::{Folder, PATIENCE, Process, SECRET, Sender, command, eventually, free_port, run, within};

const KEY_ID: &str = "ASIAROLE";
const ROLE_SECRET: &str = "canaryhunter71-role";
const CONTAINER_TOKEN: &str = "canaryhunter72-container";

/// The server; ended with the test.
struct Bucket(Child);

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bucket {
    async fn start(folder: &Folder, port: u16) -> Self {
        let binary = std::env::var("SLUICE_TEST_S3").expect(
            "SLUICE_TEST_S3 names s3s-fs: run `scripts/test`, which installs it (s3s-fs 0.14.1, feature `binary`)",
        );
        let data = folder.path().join("s3");
        std::fs::create_dir_all(data.join("artifacts")).unwrap();
        let mut command = Command::new(binary);
        command.args(["--access-key", KEY_ID, "--secret-key", ROLE_SECRET, "--host", "127.0.0.1"]);
        command.args(["--port", &port.to_string()]).arg(data).env("RUST_LOG", "error");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("the S3 server starts");
        let server = Self(child);
        eventually("the S3 server listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
        server
    }
}

/// Where the container gets the credentials of its role from.
async fn container_endpoint() -> String {
    let keys = warp::path("creds").and(warp::header::exact("authorization", CONTAINER_TOKEN)).map(|| {
        warp::reply::json(&json!({
            "AccessKeyId": KEY_ID, "SecretAccessKey": ROLE_SECRET, "Token": "canaryhunter73-token",
            "Expiration": "2099-01-01T00:00:00Z",
        }))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/creds", listener.local_addr().unwrap());
    tokio::spawn(warp::serve(keys).incoming(listener).run());
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_with_a_bucket_signs_with_its_role_and_a_server_that_is_away_loses_nothing() {
    let (folder, api) = (Folder::new(), StandInApi::start().await.unwrap());
    let port = free_port();
    folder.main("[artifacts]\nstore = \"s3://artifacts/of/sluice\"\n");
    let reference = folder.secret("chat.secret", SECRET);
    folder.tenant(
        "acme",
        &format!(
            r#"
[sources.chat]
vendor = "generic"
secrets = ["{reference}"]
uploads = true
[[sources.chat.routes]]
name = "call"
action = "http_call"
url = "{}"
attachments = ["/data/file"]
"#,
            api.url("/sink")
        ),
    );
    let (container, endpoint) = (container_endpoint().await, format!("http://127.0.0.1:{port}"));
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_S3", &*endpoint),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let doctor = async || {
        let mut doctor = command(folder.path(), &["doctor", "--json"]);
        doctor.envs(environment);
        run(doctor).await.stdout
    };
    let process = Process::start_in(folder.path(), &environment).await;
    let away = doctor().await;
    assert!(away.contains("s3:artifacts: the object store is unavailable"), "{away}");
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);

    // Leave is signed without asking the server; the event waits while it is away.
    let upload = Upload::ask(&sender, b"content", "image/png").await;
    assert!(upload.url.starts_with(&format!("{endpoint}/artifacts/of/sluice/acme/uploads/")), "{}", upload.url);
    let event = json!({
        "event_type": "assistant.completed", "subject_id": "s1", "occurred_at": "2026-11-24T07:00:00Z",
        "data": { "file": upload.key },
    });
    let sent = sender.send("e1", &event).await;
    let job = async || process.get(&format!("/api/v1/events/{}", sent.event())).await["jobs"][0].clone();
    eventually("the job waits for the bucket", || async {
        let job = job().await;
        job["last_error"].as_str().is_some_and(|told| told.contains("the object store is unavailable")).then_some(())
    })
    .await;
    let _bucket = Bucket::start(&folder, port).await;
    assert_eq!(upload.put(b"CONTENT").await / 100, 4, "other bytes");
    assert_eq!(upload.put(b"content!").await, 403, "another length");
    let tampered = upload.url.replace("/acme/", "/bravo/");
    assert_eq!(put(&tampered, upload.headers.clone(), b"content").await, 403);
    assert_eq!(upload.put(b"content").await, 200);
    within(PATIENCE * 4, "the job is done", || async { (job().await["state"] == "succeeded").then_some(()) }).await;
    let called: Value = serde_json::from_slice(&api.requests()[0].body).unwrap();
    let link = called["attachments"][0]["url"].as_str().unwrap();
    // Past what any delivery may have.
    let large = vec![7; 3 << 20];
    let upload = Upload::ask(&sender, &large, "application/pdf").await;
    assert_eq!((upload.put(&large[1..]).await, upload.put(&large).await), (403, 200));
    let read = reqwest::get(link).await.unwrap();
    let header = |name: &str| read.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!((read.status().as_u16(), header("content-type").as_deref()), (200, Some("image/png")));
    assert!(header("content-disposition").unwrap().starts_with("attachment; filename="), "{read:?}");
    assert_eq!(read.bytes().await.unwrap(), "content");
    let status = async |url: String| reqwest::get(url).await.unwrap().status().as_u16();
    assert_eq!(status(link.replace("X-Amz-Expires=3600", "X-Amz-Expires=360000")).await, 403);
    let here = doctor().await;
    assert!(here.contains("s3:artifacts takes, gives back and removes a probe"), "{here}");
    // The gateway serves nothing of a bucket itself.
    let own = format!("{}/artifacts/{}", process.runtime.public, upload.key);
    assert_eq!(status(own).await, 404);
    process.terminate();
    let (ended, lines) = process.ended().await;
    assert!(ended.success());
    let told: Vec<&String> =
        lines.iter().filter(|line| line.contains("canaryhunter") || line.contains("X-Amz-Signature")).collect();
    assert!(told.is_empty(), "{told:#?}");
}
