//! A private Postgres cluster of this test process, with a fresh database for each test.
//!
//! Its folder is in memory where there is room, for its `fsync` is on as the store demands. A shell
//! keeps it: when the pipe from this process closes, however the process ended, it stops the server
//! and removes the folder.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rcgen::{CertificateParams, Issuer, KeyPair};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};

use super::free_port;

/// A Postgres server that only this process knows.
pub(crate) struct Cluster {
    folder: PathBuf,
    port: u16,
    /// PEM of the certificate authority of its certificate, which is for `localhost`.
    pub(crate) authority: String,
    /// Its standard input keeps the server alive.
    keeper: Mutex<Child>,
}

/// What the server is started with beside its defaults.
const SETTINGS: &[&str] = &["max_connections=300", "shared_buffers=64MB", "autovacuum=on", "log_min_messages=warning"];

impl Cluster {
    /// The cluster of this process.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(SETTINGS))
    }

    /// A cluster of its own, with these settings.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_on(settings, |folder| {
            let mut initdb = Command::new(programs().join("initdb"));
            run(as_user(&mut initdb, unprivileged()).arg("-D").arg(folder.join("data")).args([
                "--auth=trust",
                "--username=postgres",
                "--no-sync",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
            ]));
        })
    }

    /// A cluster that begins as the base backup `base` and recovers from the archive beside it to the
    /// moment `until`.
    pub(crate) fn recovered(archive: &Archive, until: &str) -> Self {
        Self::start_on(&[], |folder| {
            let user = unprivileged();
            let data = folder.join("data");
            run(as_user(&mut Command::new("cp"), user).arg("-a").arg(archive.base()).arg(&data));
            let wal = archive.wal();
            let settings = format!(
                "restore_command = 'cp {}/%f %p'\nrecovery_target_time = '{until}'\nrecovery_target_action = 'promote'\n",
                wal.display()
            );
            let mut conf = fs::OpenOptions::new().append(true).open(data.join("postgresql.auto.conf")).expect("a file");
            conf.write_all(settings.as_bytes()).expect("the settings of the recovery");
            fs::write(data.join("recovery.signal"), "").expect("the signal");
            give(&data.join("recovery.signal"), user);
        })
    }

    /// A cluster whose folder `data` is made by `fill`.
    fn start_on(settings: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let programs = programs();
        let user = unprivileged();
        let folder = tempfile::Builder::new().prefix("sluice-pg-").tempdir_in(root()).expect("a folder").keep();
        let authority = certificate(&folder);
        for entry in fs::read_dir(&folder).expect("the folder").map(|entry| entry.expect("an entry").path()) {
            give(&entry, user);
        }
        give(&folder, user);
        fill(&folder);
        let port = free_port();
        let mut keeper = Command::new("sh");
        // SIGQUIT is an immediate shutdown, as a crash: what was not on the disk is lost.
        let script = r#"
            trap '' INT HUP
            echo started
            while true; do
                "$1/postgres" -D "$2/data" -k "$2" -p "$3" $4 >>"$2/log" 2>&1 &
                server=$!
                word=
                read -r word
                kill -QUIT "$server"
                wait "$server"
                [ "$word" = again ] || break
            done
            rm -rf "$2"
        "#;
        let mut options = vec![
            "-c listen_addresses=127.0.0.1".to_owned(),
            "-c ssl=on".to_owned(),
            format!("-c ssl_cert_file={}", folder.join("server.crt").display()),
            format!("-c ssl_key_file={}", folder.join("server.key").display()),
        ];
        options.extend(settings.iter().map(|setting| format!("-c {setting}")));
        let mut keeper = as_user(&mut keeper, user)
            .args(["-c", script, "sh"])
            .args([programs.as_os_str(), folder.as_os_str()])
            .args([port.to_string(), options.join(" ")])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let mut started = String::new();
        BufReader::new(keeper.stdout.take().expect("a pipe")).read_line(&mut started).expect("the keeper's word");
        let cluster = Self { folder, port, authority, keeper: Mutex::new(keeper) };
        let socket = cluster.folder.join(format!(".s.PGSQL.{port}"));
        // Half a minute of patience.
        for _ in 0..1500 {
            if std::os::unix::net::UnixStream::connect(&socket).is_ok() {
                return cluster;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not start: {}", fs::read_to_string(cluster.folder.join("log")).unwrap_or_default())
    }

    /// Ends the server as a crash would and starts it again.
    pub(crate) fn crash(&self) {
        let mut keeper = self.keeper.lock().expect("nobody panicked with it");
        keeper.stdin.as_mut().expect("a pipe").write_all(b"again\n").expect("the keeper listens");
    }

    /// The URL of a database, over the socket.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&port={}&user=postgres", self.folder.display(), self.port)
    }

    /// All of a database, as SQL.
    pub(crate) fn dump(&self, database: &str) -> Vec<u8> {
        let url = self.url(database);
        let dumped = Command::new(programs().join("pg_dump")).args(["--inserts", &url]).output().expect("pg_dump");
        assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
        dumped.stdout
    }

    /// Writes a dump of a database into a file, as docs/production.md does it every night.
    pub(crate) async fn dump_into(&self, database: &str, file: &Path) {
        let mut dump = Command::new(programs().join("pg_dump"));
        dump.arg("--format=custom").arg("--file").arg(file).arg(self.url(database));
        tokio::task::spawn_blocking(move || run(&mut dump)).await.expect("no panic");
    }

    /// A new database that holds what was dumped into a file, by the means of that page; returns its name.
    pub(crate) async fn restored(&self, file: &Path) -> String {
        let database = self.database().await;
        let mut restore = Command::new(programs().join("pg_restore"));
        restore.arg("--exit-on-error").arg("--dbname").arg(self.url(&database)).arg(file);
        tokio::task::spawn_blocking(move || run(&mut restore)).await.expect("no panic");
        database
    }

    /// The URL of a database over TCP, by the name in the server's certificate.
    pub(crate) fn tcp_url(&self, database: &str, parameters: &str) -> String {
        format!("postgres://postgres@localhost:{}/{database}?{parameters}", self.port)
    }

    /// Where it listens on loopback.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// A connection of another program.
    pub(crate) async fn connect(&self, database: &str) -> PgConnection {
        let options: PgConnectOptions = self.url(database).parse().expect("a URL");
        for _ in 0..600 {
            // "The database system is starting up".
            if let Ok(connection) = options.connect().await {
                return connection;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        options.connect().await.expect("a connection")
    }

    /// Sends each segment of its log to an archive, and writes a base backup into it.
    pub(crate) async fn archive_to(&self, archive: &Archive) {
        let mut connection = self.connect("postgres").await;
        let command = format!("ALTER SYSTEM SET archive_command = 'cp %p {}/%f'", archive.wal().display());
        for text in [command.as_str(), "SELECT pg_reload_conf()"] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(text.to_owned())).execute(&mut connection).await.expect("an archive");
        }
        let mut backup = Command::new(programs().join("pg_basebackup"));
        as_user(&mut backup, unprivileged()).arg("-D").arg(archive.base()).arg("-h").arg(&self.folder).args([
            "-p",
            &self.port.to_string(),
            "-U",
            "postgres",
            "--checkpoint=fast",
            "--no-sync",
        ]);
        tokio::task::spawn_blocking(move || run(&mut backup)).await.expect("no panic");
    }

    /// A new, empty database; returns its name.
    pub(crate) async fn database(&self) -> String {
        static NTH: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NTH.fetch_add(1, Ordering::Relaxed));
        let mut connection = self.connect("postgres").await;
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE template0"));
        sqlx::query(create).execute(&mut connection).await.expect("a new database");
        connection.close().await.expect("a clean end");
        name
    }
}

/// Where base backups and the log of a cluster go.
pub(crate) struct Archive(tempfile::TempDir);

impl Archive {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("sluice-archive-").tempdir_in(root()).expect("a folder");
        let archive = Self(folder);
        fs::create_dir(archive.wal()).expect("a folder");
        for folder in [archive.0.path().to_owned(), archive.wal()] {
            give(&folder, unprivileged());
        }
        archive
    }

    fn base(&self) -> PathBuf {
        self.0.path().join("base")
    }

    /// Where segments of the log are, by their names.
    pub(crate) fn wal(&self) -> PathBuf {
        self.0.path().join("wal")
    }
}

/// In memory where there is room.
pub(crate) fn root() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn run(command: &mut Command) {
    let output = command.current_dir("/").output().expect("a program starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Where Debian keeps the programs of the newest version.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    found.max().expect("these tests need the package `postgresql` (Debian): apt-get install postgresql")
}

/// Postgres does not run as root: whom to run it as then, by user and group.
fn unprivileged() -> Option<(u32, u32)> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the users");
    let ids = |line: &str| {
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let line = users.lines().find(|line| line.starts_with("nobody:")).expect("the user nobody");
    Some(ids(line).expect("ids of nobody"))
}

fn as_user(command: &mut Command, user: Option<(u32, u32)>) -> &mut Command {
    match user {
        Some((user, group)) => command.uid(user).gid(group),
        None => command,
    }
}

fn give(path: &Path, user: Option<(u32, u32)>) {
    if let Some((user, group)) = user {
        chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}

/// Writes a certificate for `localhost` and its key; returns the PEM of who signed it.
pub(super) fn certificate(folder: &Path) -> String {
    let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let signed = authority.self_signed(&authority_key).expect("a certificate");
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let server = server.signed_by(&key, &Issuer::new(authority, authority_key)).expect("a certificate");
    for (name, text) in [("server.crt", server.pem()), ("server.key", key.serialize_pem())] {
        let mut options = fs::OpenOptions::new();
        let options = std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create_new(true), 0o600);
        options.open(folder.join(name)).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");
    }
    signed.pem()
}
