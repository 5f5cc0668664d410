//! Receivers of telemetry that others wrote, as child processes: `tests/tools/receivers.py`.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use super::eventually;

/// A receiver; it ends with its standard input, so at the latest with this process.
pub(crate) struct Receiver {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    /// Where it listens; of Sentry's, the DSN.
    pub(crate) url: String,
}

impl Receiver {
    /// Starts `otlp` or `sentry` and waits until it listens.
    pub(crate) async fn start(kind: &str) -> Self {
        let python = std::env::var("SLUICE_TEST_PYTHON").unwrap_or_else(|_| {
            panic!(
                "SLUICE_TEST_PYTHON is not set: run `scripts/test`, or make a virtual environment, install \
                 tests/tools/requirements.txt (rotel, bugsink) into it and name its python"
            )
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/receivers.py");
        let mut child = Command::new(&python)
            .arg(script)
            .arg(kind)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{python} does not start: {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let pipes: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().expect("piped")), Box::new(child.stderr.take().expect("piped"))];
        for pipe in pipes {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    lines.lock().expect("no reader panicked").push(line);
                }
            });
        }
        let mut receiver = Self { child, lines, url: String::new() };
        receiver.url = super::within(super::PATIENCE * 4, "the receiver listens", || {
            let ended = receiver.child.try_wait().expect("the child's state");
            let lines = receiver.lines();
            assert!(ended.is_none(), "{kind} ended: are rotel and bugsink installed for {python}? {lines:#?}");
            async move { lines.iter().find_map(|line| line.strip_prefix("LISTEN ").map(str::to_owned)) }
        })
        .await;
        receiver
    }

    /// All it said so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no reader panicked").clone()
    }

    /// Says a line to it; returns the rest of the first new line that begins with `begin`.
    pub(crate) async fn ask(&self, line: &str, begin: &str) -> String {
        let known = self.lines().len();
        let mut input = self.child.stdin.as_ref().expect("piped");
        writeln!(input, "{line}").and_then(|()| input.flush()).expect("the receiver listens");
        let lines = self.lines.clone();
        eventually("the receiver's answer", || {
            let lines = lines.lock().expect("no reader panicked").clone();
            let answer = lines[known..].iter().find_map(|line| line.strip_prefix(begin).map(str::to_owned));
            async move { answer }
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It ends what it started itself once its input ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
