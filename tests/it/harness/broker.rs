//! Private brokers of a test: Redis, `RabbitMQ` and NATS of Debian's packages, on free ports.
//!
//! A shell keeps each, as it keeps Postgres: when the pipe from this process closes, however the process ended,
//! the server is killed and its folder removed.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{
    free_port,
    postgres::{certificate, root},
};

/// A broker that only this process knows. Its user is `gw`; `reader` may read and not publish.
pub(crate) struct Broker {
    folder: PathBuf,
    /// Where it listens without TLS.
    pub(crate) port: u16,
    /// Where it listens with TLS; of NATS the same.
    pub(crate) tls_port: u16,
    /// PEM of the certificate authority of its certificate, which is for `localhost`.
    pub(crate) authority: String,
    /// Its standard input keeps the server alive.
    keeper: Child,
    waits: u32,
}

/// The password of both users.
pub(crate) const PASSWORD: &str = "broker-PLANTED/@:";

/// Starts `$@` again and again; `kill` ends it as a crash does.
const KEEPER: &str = r#"
    trap '' INT HUP
    folder=$1
    shift
    export HOME="$folder"
    echo started
    running=
    while read -r word; do
        case $word in
            start) setsid "$@" >>"$folder/log" 2>&1 </dev/null & running=$! ;;
            kill) kill -KILL "-$running"; wait "$running"; running=; echo killed ;;
        esac
    done
    # A server that was started this moment may not have its group yet.
    [ -z "$running" ] || kill -KILL "-$running" || { sleep 1; kill -KILL "-$running"; }
    # The name server of Erlang outlives its nodes.
    [ -z "$ERL_EPMD_PORT" ] || epmd -kill
    rm -rf "$folder"
"#;

impl Broker {
    /// A Redis that keeps every write. A value of it may have 1 MiB.
    pub(crate) fn redis() -> Self {
        Self::start("redis-server", 20, |folder, port, tls_port| {
            let conf = format!(
                "port {port}\ntls-port {tls_port}\nbind 127.0.0.1\ndir {0}\nappendonly yes\nappendfsync always\nsave \"\"\n\
                 tls-cert-file {0}/server.crt\ntls-key-file {0}/server.key\ntls-auth-clients no\n\
                 proto-max-bulk-len 1048576\n\
                 user default off\nuser gw on >{PASSWORD} ~* +@all\nuser reader on >{PASSWORD} ~* +@read +@connection\n",
                folder.display()
            );
            (
                vec![("redis.conf", conf)],
                vec!["redis-server".into(), format!("{}/redis.conf", folder.display())],
                vec![],
            )
        })
    }

    /// A NATS with `JetStream`. A message of it may have 64 KiB. With `tls` it speaks nothing else.
    pub(crate) fn nats(tls: bool) -> Self {
        Self::start("nats-server", 20, |folder, port, _| {
            let folder = folder.display();
            let tls = if tls {
                format!("tls {{ cert_file: \"{folder}/server.crt\", key_file: \"{folder}/server.key\" }}\n")
            } else {
                String::new()
            };
            let conf = format!(
                "listen: \"127.0.0.1:{port}\"\nmax_payload: 65536\njetstream {{ store_dir: \"{folder}/js\" }}\n{tls}\
                 authorization {{ users: [\n\
                   {{ user: gw, password: \"{PASSWORD}\" }}\n\
                   {{ user: reader, password: \"{PASSWORD}\", permissions: {{ publish: \"$JS.>\", subscribe: \">\" }} }}\n\
                 ] }}\n"
            );
            (vec![("nats.conf", conf)], vec!["nats-server".into(), "-c".into(), format!("{folder}/nats.conf")], vec![])
        })
    }

    /// A `RabbitMQ` with the exchange `events` (topic), from which the queue `all` takes `orders.#` and the queue
    /// `one`, which refuses more than one message, takes `one`. A message of it may have 64 KiB.
    pub(crate) fn rabbitmq() -> Self {
        const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
        Self::start(SERVER, 240, |folder, port, tls_port| {
            let folder = folder.display();
            let conf = format!(
                "listeners.tcp.1 = 127.0.0.1:{port}\nlisteners.ssl.1 = 127.0.0.1:{tls_port}\n\
                 ssl_options.certfile = {folder}/server.crt\nssl_options.keyfile = {folder}/server.key\n\
                 ssl_options.verify = verify_none\n\
                 max_message_size = 65536\nloopback_users = none\nload_definitions = {folder}/definitions.json\n\
                 log.console = true\nlog.console.level = warning\nlog.file = false\n"
            );
            let queue = |name: &str, arguments: serde_json::Value| json!({ "name": name, "vhost": "/", "durable": true, "auto_delete": false, "arguments": arguments });
            let user = |name: &str| json!({ "name": name, "password_hash": hashed(PASSWORD), "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "" });
            let may = |name: &str, write: &str| json!({ "user": name, "vhost": "/", "configure": ".*", "write": write, "read": ".*" });
            let bound = |queue: &str, key: &str| {
                json!({ "source": "events", "vhost": "/", "destination": queue, "destination_type": "queue",
                        "routing_key": key, "arguments": {} })
            };
            let definitions = json!({
                "vhosts": [{ "name": "/" }],
                "users": [user("gw"), user("reader")],
                "permissions": [may("gw", ".*"), may("reader", "^$")],
                "exchanges": [{ "name": "events", "vhost": "/", "type": "topic", "durable": true,
                                "auto_delete": false, "internal": false, "arguments": {} }],
                "queues": [queue("all", json!({})),
                           queue("one", json!({ "x-max-length": 1, "x-overflow": "reject-publish" }))],
                "bindings": [bound("all", "orders.#"), bound("one", "one")],
            });
            let own = |name: &str, value: String| (name.to_owned(), value);
            let environment = vec![
                own("RABBITMQ_NODENAME", format!("gw{port}@localhost")),
                own("RABBITMQ_MNESIA_BASE", format!("{folder}/mnesia")),
                own("RABBITMQ_LOG_BASE", format!("{folder}")),
                own("RABBITMQ_CONFIG_FILE", format!("{folder}/rabbitmq.conf")),
                own("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
                own("RABBITMQ_ENABLED_PLUGINS_FILE", format!("{folder}/plugins")),
                own("RABBITMQ_DIST_PORT", free_port().to_string()),
                own("ERL_EPMD_PORT", free_port().to_string()),
                own("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
                // It may be ended though a node that was just killed is still on its list.
                own("ERL_EPMD_RELAXED_COMMAND_CHECK", "true".to_owned()),
                // It is not alone on the machine: few schedulers, and none that spins.
                own("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1:1 +sbwt none".to_owned()),
            ];
            let files =
                vec![("rabbitmq.conf", conf), ("definitions.json", definitions.to_string()), ("plugins", "[].".into())];
            (files, vec![SERVER.to_owned()], environment)
        })
    }

    fn start(program: &str, seconds: u32, configure: impl FnOnce(&Path, u16, u16) -> Setup) -> Self {
        let folder = tempfile::Builder::new().prefix("sluice-broker-").tempdir_in(root()).expect("a folder").keep();
        let authority = certificate(&folder);
        let (port, tls_port) = (free_port(), free_port());
        let (files, command, environment) = configure(&folder, port, tls_port);
        for (name, text) in files {
            fs::write(folder.join(name), text).expect("a file of the broker");
        }
        let mut keeper = Command::new("sh");
        let mut keeper = keeper
            .args(["-c", KEEPER, "sh"])
            .arg(&folder)
            .args(command)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into()))
            .env("LANG", "C.UTF-8")
            .envs(environment)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut started = String::new();
        BufReader::new(keeper.stdout.as_mut().expect("a pipe")).read_line(&mut started).expect("the keeper's word");
        let mut broker = Self { folder, port, tls_port, authority, keeper, waits: seconds * 20 };
        broker.say("start");
        broker.wait(program);
        broker
    }

    fn say(&mut self, word: &str) {
        let input = self.keeper.stdin.as_mut().expect("a pipe");
        writeln!(input, "{word}").and_then(|()| input.flush()).expect("the keeper listens");
    }

    fn wait(&self, program: &str) {
        for _ in 0..self.waits {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        panic!(
            "{program} did not start; these tests need the packages redis-server, rabbitmq-server and nats-server \
             (Debian): {log}"
        )
    }

    /// Ends the server as a crash does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.say("kill");
        let mut killed = String::new();
        BufReader::new(self.keeper.stdout.as_mut().expect("a pipe")).read_line(&mut killed).expect("its end");
        // Erlang's process takes a moment to be gone.
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts it again on the same data and port.
    pub(crate) fn again(&mut self) {
        self.say("start");
        self.wait("the broker");
    }

    /// The URL of a user, with `scheme` and the port without TLS.
    pub(crate) fn url(&self, scheme: &str, user: &str) -> String {
        format!("{scheme}://{user}:{}@127.0.0.1:{}", escaped(PASSWORD), self.port)
    }

    /// As [`Broker::url`], with TLS and the name that its certificate has.
    pub(crate) fn tls_url(scheme: &str, port: u16) -> String {
        format!("{scheme}://gw:{}@localhost:{port}", escaped(PASSWORD))
    }
}

/// Files, command, environment.
type Setup = (Vec<(&'static str, String)>, Vec<String>, Vec<(String, String)>);

impl Drop for Broker {
    fn drop(&mut self) {
        // The keeper ends what it started once its input ends.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A password as `RabbitMQ` keeps it: four bytes of salt, and the digest of both.
fn hashed(password: &str) -> String {
    const SALT: [u8; 4] = [1, 2, 3, 4];
    let digest = Sha256::new().chain_update(SALT).chain_update(password).finalize();
    STANDARD.encode([&SALT[..], &digest[..]].concat())
}
