//! AWS Secrets Manager against moto, with the credentials of a container's and of a pod's role: no
//! static key. `scripts/test` installs moto.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use sluice::clock::SystemClock;
use sluice_actors::{domain::Timestamp, ports::Clock as _};
use warp::Filter as _;

use super::sending::{FOREVER, Sending, demand};
use crate::harness::{Folder, Process, Sender, command, eventually, run};

const OLD: &str = "canaryhunter61-old-secret";
const NEW: &str = "canaryhunter62-new-secret";
pub(crate) const CONTAINER_TOKEN: &str = "canaryhunter63-container";

/// moto; it ends with its standard input, so at the latest with this process.
pub(crate) struct Moto {
    child: Child,
    pub(crate) address: String,
    client: reqwest::Client,
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Moto {
    pub(crate) fn start() -> Self {
        let python = std::env::var("SLUICE_TEST_MOTO").unwrap_or_else(|_| {
            panic!(
                "SLUICE_TEST_MOTO is not set: run `scripts/test`, or make a virtual environment, install \
                 tests/tools/requirements-aws.txt (moto) into it and name its python"
            )
        });
        let mut child = Command::new(&python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/moto_server.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{python} does not start: {error}"));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("LISTEN ").map(str::to_owned));
        let address = address.unwrap_or_else(|| panic!("moto did not start: is it installed for {python}?"));
        Self { child, address, client: reqwest::Client::new() }
    }

    /// An operation of Secrets Manager, as its owner calls it.
    async fn call(&self, operation: &str, body: &Value) -> Value {
        let scope = "AWS4-HMAC-SHA256 Credential=owner/20260101/eu-west-1/secretsmanager/aws4_request, \
                     SignedHeaders=host, Signature=0";
        let request = self.client.post(&self.address).header("authorization", scope);
        let request = request.header("x-amz-target", format!("secretsmanager.{operation}"));
        let request = request.header("content-type", "application/x-amz-json-1.1").body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{operation}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub(crate) async fn create(&self, name: &str, secret: &Value) {
        self.call("CreateSecret", &json!({ "Name": name, "SecretString": secret.to_string() })).await;
    }

    async fn put(&self, name: &str, secret: &Value) {
        let token = "8a1b9c2d-5e6f-4a3b-9c8d-7e6f5a4b3c2d";
        let body = json!({ "SecretId": name, "SecretString": secret.to_string(), "ClientRequestToken": token });
        self.call("PutSecretValue", &body).await;
    }
}

/// Where a container gets the credentials of its role from.
pub(crate) async fn container_endpoint() -> String {
    let keys = warp::path("creds").and(warp::header::exact("authorization", CONTAINER_TOKEN)).map(|| {
        warp::reply::json(&json!({
            "AccessKeyId": "ASIAROLE", "SecretAccessKey": "canaryhunter64", "Token": "canaryhunter65",
            "Expiration": "2099-01-01T00:00:00Z",
        }))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/creds", listener.local_addr().unwrap());
    tokio::spawn(warp::serve(keys).incoming(listener).run());
    address
}

/// Tests send faster than vendors do.
const FAST: &str = "limits = { inbound = { per_second = 5000, burst = 5000 } }\n";

fn folder(secrets: &str) -> Folder {
    let folder = Folder::new();
    folder.main("[secrets]\nrefresh = '1s'\nmax_age = '1m'\ntimeout = '1m'\n");
    let main = std::fs::read_to_string(folder.config()).unwrap().replace("info,sluice=debug", "trace");
    std::fs::write(folder.config(), main).unwrap();
    folder.tenant("acme", &format!("[sources.pay]\nvendor = 'generic'\nsecrets = [{secrets}]\n{FAST}"));
    folder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_read_what_they_may_and_what_is_not_there_is_named() {
    let moto = Moto::start();
    moto.create("prod/acme", &json!({ "pay": OLD, "port": 5432 })).await;
    let container = container_endpoint().await;
    let folder = folder("'aws-sm:prod/acme#pay'");
    let token = folder.path().join("web.token");
    std::fs::write(&token, "canaryhunter66.jwt").unwrap();
    let common = [("AWS_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL", &*moto.address)];
    let of_container =
        [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN)];
    let of_pod = [
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/sluice"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token.to_str().unwrap()),
    ];
    let check = async |more: &[(&str, &str)]| {
        let mut check = command(folder.path(), &["check"]);
        check.envs(common).envs(more.iter().copied()).env("AWS_EC2_METADATA_DISABLED", "true");
        run(check).await
    };
    for role in [of_container, of_pod] {
        let ran = check(&role).await;
        assert_eq!((ran.status, &*ran.stdout), (0, "ok: 1 tenant, 1 source, 0 routes\n"), "{ran:#?}");
    }
    // The endpoint refuses the container: nothing is read with no credentials.
    let ran = check(&[of_container[0], ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "wrong")]).await;
    assert_eq!(ran.status, 78);
    assert!(ran.stderr.contains("`aws-sm:prod/acme#pay`: the provider refuses our credentials"), "{}", ran.stderr);

    for (reference, told) in [
        ("aws-sm:prod/nobody#pay", "the provider knows no such secret"),
        ("aws-sm:prod/acme?version=AWSPREVIOUS#pay", "the provider has no such version of it"),
        ("aws-sm:prod/acme#shop", "has no such field"),
        ("aws-sm:prod/acme#port", "has no text in that field"),
    ] {
        folder.tenant("acme", &format!("[sources.pay]\nvendor = 'generic'\nsecrets = ['{reference}']\n"));
        let ran = check(&of_container).await;
        assert_eq!(ran.status, 78);
        assert!(ran.stderr.contains(&format!("`{reference}`: {told}")), "{reference}: {}", ran.stderr);
        assert!(!ran.stderr.contains("canaryhunter"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_in_secrets_manager_is_followed_with_an_overlap_and_no_secret_is_logged() {
    let moto = Moto::start();
    moto.create("prod/acme", &json!({ "pay": OLD })).await;
    let overlap = Duration::from_secs(8);
    let folder = folder("{ ref = 'aws-sm:prod/acme#pay', overlap = '8s' }");
    let container = container_endpoint().await;
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &*moto.address),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
    ];
    let process = Process::start_in(folder.path(), &environment).await;
    let old = Sender::new(&process.runtime.public, "acme", "pay", "generic", OLD);
    let new = old.with_secret(NEW);
    let begun = SystemClock.now();
    let with_old = Sending::begin(&old);
    with_old.past(begun).await;
    moto.put("prod/acme", &json!({ "pay": NEW })).await;
    let current = moto.call("GetSecretValue", &json!({ "SecretId": "prod/acme" })).await;
    // In seconds, as AWS tells it.
    let made = current["CreatedDate"].as_f64().expect("a time");
    let ends = Timestamp::from_millis((made * 1000.0).round() as i64).plus(overlap);
    // The vendor is switched once the gateway knows the new secret. Nothing else is promised of when: by the refresh.
    let nth = AtomicUsize::new(0);
    eventually("the new secret verifies", || async {
        let id = format!("evt_{}", nth.fetch_add(1, Ordering::Relaxed));
        (new.sample(&id).await.status == 200).then_some(())
    })
    .await;
    let known = SystemClock.now();
    let with_new = Sending::begin(&new);
    // Who knows the new version knows when the one before it ends: after that there is no lateness.
    let over = ends.max(known);
    with_old.past(over).await;
    with_new.past(over).await;
    let (with_old, with_new) = (with_old.end().await, with_new.end().await);
    demand("the old secret until its end", &with_old, begun, ends, 200);
    demand("the old secret after its end", &with_old, over, FOREVER, 401);
    demand("the new secret", &with_new, known, FOREVER, 200);
    // The stages of AWS say which is which.
    let previous =
        moto.call("GetSecretValue", &json!({ "SecretId": "prod/acme", "VersionStage": "AWSPREVIOUS" })).await;
    assert_eq!(previous["SecretString"], json!({ "pay": OLD }).to_string());
    eventually("refreshes went on", || async {
        process.lines().iter().any(|line| line.contains("configuration reloaded")).then_some(())
    })
    .await;
    process.terminate();
    let (status, lines) = process.ended().await;
    assert!(status.success());
    let told: Vec<&String> = lines.iter().filter(|line| line.contains("canaryhunter")).collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_in_secrets_manager_is_rotated_in_its_place_and_leaves_the_other_keys() {
    let moto = Moto::start();
    moto.create("prod/acme", &json!({ "pay": OLD, "port": 5432 })).await;
    let folder = folder("{ ref = 'aws-sm:prod/acme#pay', overlap = '1h' }");
    let container = container_endpoint().await;
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", &*moto.address),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*container),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", CONTAINER_TOKEN),
    ];
    let rotate = async |more: &[&str]| {
        let mut rotating = command(folder.path(), &[&["secret", "rotate", "acme/pay", "--json"][..], more].concat());
        rotating.envs(environment);
        run(rotating).await
    };
    let stage = async |stage: &str| -> Value {
        let asked = json!({ "SecretId": "prod/acme", "VersionStage": stage });
        let secret = moto.call("GetSecretValue", &asked).await;
        serde_json::from_str(secret["SecretString"].as_str().unwrap()).unwrap()
    };
    let told = rotate(&[]).await.json();
    assert_eq!(told["previous"], "aws-sm:prod/acme?version=previous#pay");
    let made = told["secret"].as_str().unwrap();
    assert_eq!(stage("AWSCURRENT").await, json!({ "pay": made, "port": 5432 }));
    assert_eq!(stage("AWSPREVIOUS").await, json!({ "pay": OLD, "port": 5432 }));
    let refused = rotate(&[]).await;
    assert!(refused.status == 1 && refused.stderr.contains("would end now"), "{refused:#?}");
    assert_eq!(rotate(&["--undo"]).await.json()["secret"], Value::Null);
    assert_eq!(
        (stage("AWSCURRENT").await["pay"].clone(), stage("AWSPREVIOUS").await["pay"].clone()),
        (json!(OLD), json!(made))
    );
}
