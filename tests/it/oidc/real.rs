//! `oidc-provider`, run by node. `scripts/test` installs it.

use std::{
    io::{BufRead as _, BufReader, Lines, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::Value;

/// What the provider calls the gateway's secret.
pub(crate) const CLIENT_SECRET: &str = "canaryhunter-secret-of-the-client";

/// A running provider; it ends with its standard input, so at the latest with this process.
pub(crate) struct RealProvider {
    child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) issuer: String,
}

impl RealProvider {
    /// Starts one on `port` whose client comes back to `callback`.
    pub(crate) fn start(port: u16, callback: &str) -> Self {
        let modules = std::env::var("SLUICE_TEST_OIDC").unwrap_or_else(|_| {
            panic!(
                "SLUICE_TEST_OIDC is not set: run `scripts/test`, or copy tests/tools/oidc/package.json into a \
                 folder, run `npm install` there (Node.js 20 or newer) and name the folder"
            )
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools/oidc/provider.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(modules)
            .args([&port.to_string(), callback])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts: install Node.js 20 or newer");
        let orders = child.stdin.take().expect("piped");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let line = lines.next().expect("the provider starts: is oidc-provider installed?").unwrap();
        let issuer = line.strip_prefix("LISTEN ").expect("an address").to_owned();
        Self { child, orders, lines, issuer }
    }

    /// Who there is from now on, and what is said of them.
    pub(crate) fn accounts(&mut self, accounts: &Value) {
        writeln!(self.orders, "{accounts}").unwrap();
        // It also has advice to give.
        let taken = self.lines.by_ref().map_while(Result::ok).any(|line| line == "ACCOUNTS");
        assert!(taken, "the provider is gone");
    }
}

impl Drop for RealProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
