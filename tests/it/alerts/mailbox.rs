//! A mail server that others wrote (aiosmtpd).

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
};

use serde_json::Value;

use crate::harness::{PATIENCE, python};

/// A server of `tests/tools/smtp_server.py`; it ends with its standard input.
pub(crate) struct Mailbox {
    child: Child,
    lines: Receiver<String>,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Mailbox {
    /// Starts it with the arguments of the script.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let python = python("aiosmtpd");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/smtp_server.py");
        let mut child = Command::new(&python)
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{python} does not start: {error}"));
        let output = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let (sender, lines) = channel();
        std::thread::spawn(move || output.for_each(|line| drop(sender.send(line))));
        let first = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("is aiosmtpd installed for {python}?"));
        let port = first.strip_prefix("LISTEN 127.0.0.1:").and_then(|port| port.parse().ok());
        Self { child, lines, port: port.unwrap_or_else(|| panic!("{first}")) }
    }

    /// The next mail.
    pub(crate) fn next(&self) -> Value {
        serde_json::from_str(&self.lines.recv_timeout(PATIENCE).expect("a mail")).expect("JSON")
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
