//! The real binary as a child process: found by its `runtime.json`, ended by signals.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::Value;
use sluice::app::runtime::Runtime;

use super::{Folder, within};

/// `sluice serve` of a folder.
pub(crate) struct Process {
    child: Child,
    folder: PathBuf,
    output: Arc<Mutex<Vec<String>>>,
    readers: Vec<std::thread::JoinHandle<()>>,
    client: reqwest::Client,
    /// What it wrote into its data folder.
    pub(crate) runtime: Runtime,
}

impl Process {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(folder: &Folder) -> Self {
        Self::start_in(folder.path(), &[]).await
    }

    /// Starts it in a folder that has a configuration, with more environment variables.
    pub(crate) async fn start_in(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = command(folder, &["serve"]);
        command.envs(environment.iter().copied());
        Self::start_as(command, folder).await
    }

    /// Starts it in a folder by a command that becomes it.
    pub(crate) async fn start_as(mut command: Command, folder: &Path) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let output = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            collect(child.stdout.take().expect("a pipe"), output.clone()),
            collect(child.stderr.take().expect("a pipe"), output.clone()),
        ];
        let pid = child.id();
        let path = folder.to_path_buf();
        let runtime = within(Duration::from_mins(1), "runtime.json of the child", || {
            assert_eq!(
                child.try_wait().expect("the child's state"),
                None,
                "ended early: {:#?}",
                output.lock().unwrap()
            );
            let runtime = Runtime::read(&path).ok().filter(|runtime| runtime.pid == pid);
            async move { runtime }
        })
        .await;
        Self { child, folder: path, output, readers, client: reqwest::Client::new(), runtime }
    }

    /// The lines it wrote so far, on both outputs.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.output.lock().expect("no reader panicked").clone()
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the child was alive");
        self.child.wait().expect("the child's end");
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        // `kill` is a shell builtin: no unsafe code and no crate for one call.
        let pid = self.child.id().to_string();
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status();
        assert!(status.expect("a shell").success(), "signal {name} to {pid}");
    }

    /// Waits for its end in order; returns its exit status and everything it wrote.
    pub(crate) async fn ended(self) -> (ExitStatus, Vec<String>) {
        let folder = self.folder.clone();
        let ended = self.gone().await;
        assert!(!folder.join("runtime.json").exists(), "runtime.json is left");
        ended
    }

    /// Waits until it is gone, however; returns its exit status and everything it wrote.
    pub(crate) async fn gone(mut self) -> (ExitStatus, Vec<String>) {
        let status = within(Duration::from_mins(1), "the end of the child", || {
            let status = self.child.try_wait().expect("the child's state");
            async move { status }
        })
        .await;
        for reader in std::mem::take(&mut self.readers) {
            reader.join().expect("a reader of output");
        }
        let lines = self.lines();
        (status, lines)
    }

    /// A GET at the admin listener with the token.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.runtime.admin);
        let answer = self.client.get(url).bearer_auth(&self.runtime.token).send().await;
        answer.expect("the API answers").json().await.expect("the API answers JSON")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only after a failed assertion is it still alive.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit status.
    pub(crate) status: i32,
    /// Its results.
    pub(crate) stdout: String,
    /// All else it said.
    pub(crate) stderr: String,
}

impl Ran {
    /// Its results as JSON, after it succeeded.
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, 0, "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    fn of(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let status = output.status.code().expect("no signal ended it");
        Self { status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs a command of the binary in a folder, with `--config` of that folder, to its end.
pub(crate) async fn sluice(folder: &Path, arguments: &[&str]) -> Ran {
    run(command(folder, arguments)).await
}

/// A command of the binary that a test changes before [`run`].
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(arguments).arg("--config").arg(folder.join("sluice.toml"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end, while the gateway in this process goes on.
pub(crate) async fn run(mut command: Command) -> Ran {
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    Ran::of(output.expect("no panic").expect("the binary starts"))
}

fn collect(pipe: impl std::io::Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            let Ok(line) = line else { return };
            into.lock().expect("no reader panicked").push(line);
        }
    })
}
