//! What the kernel sees: no delivery is acknowledged before the disk was asked to keep it, and has said
//! so. A kill proves nothing here, for the kernel keeps what a process wrote.

use std::{
    collections::HashMap,
    io::Read,
    path::Path,
    process::{Child, Command, Stdio},
};

use futures_util::future::join_all;

use crate::harness::{Folder, Process, SECRET, Sender, completed, eventually};

const DELIVERIES: usize = 24;
const AT_ONCE: usize = 8;

/// `strace` of a running process.
struct Trace {
    child: Child,
}

impl Trace {
    /// Traces all threads of `process` into `path`. Needs the package `strace`.
    fn attach(process: u32, path: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-s", "65536", "-e", "trace=pwrite64,fdatasync,fsync,write,writev,sendto", "-o"]);
        command.arg(path).arg("-p").arg(process.to_string()).stderr(Stdio::piped());
        let child = command.spawn().expect("install the package strace");
        Self { child }
    }

    /// Lets go of the process.
    fn detach(mut self) {
        let interrupt = format!("kill -INT {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        assert!(!said.contains("Operation not permitted"), "strace may not trace here: {said}");
    }
}

/// Counts the answers in a trace. `ids`: the event of each delivery. `Err`: one that left before a sync of
/// the log that began after its delivery was written.
fn judge(trace: &str, ids: &[String]) -> Result<usize, String> {
    let mut begun: HashMap<&str, usize> = HashMap::new();
    let mut synced_from = None;
    let mut written: HashMap<usize, usize> = HashMap::new();
    let mut answered = 0;
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let log = call.contains("sluice.db-wal>");
        if call.starts_with("pwrite64(") && log {
            for n in 0..ids.len() {
                if call.contains(&format!("marker-{n}-end")) {
                    written.entry(n).or_insert(at);
                }
            }
        } else if (call.starts_with("fdatasync(") || call.starts_with("fsync(")) && log {
            if call.ends_with("= 0") {
                synced_from = synced_from.max(Some(at));
            } else {
                begun.insert(thread, at);
            }
        } else if call.contains("sync resumed") && call.ends_with("= 0") {
            synced_from = synced_from.max(begun.remove(thread));
        } else if call.contains("HTTP/1.1 200 OK") {
            let Some(n) = ids.iter().position(|id| call.contains(&**id)) else { continue };
            let payload = written.get(&n).ok_or_else(|| format!("answer {n} before its payload"))?;
            if synced_from.is_none_or(|from| from < *payload) {
                return Err(format!("answer {n} left in line {at}, written in {payload}, synced: {synced_from:?}"));
            }
            answered += 1;
        }
    }
    Ok(answered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_leaves_before_a_sync_of_the_log_that_began_after_its_delivery_was_written() {
    let folder = Folder::on_disk();
    folder.main("");
    let key = folder.secret("chat", SECRET);
    folder.tenant("acme", &format!("[sources.chat]\nvendor = \"generic\"\nsecrets = [\"{key}\"]\n"));
    let process = Process::start(&folder).await;
    let path = folder.path().join("trace");
    let trace = Trace::attach(process.runtime.pid, &path);
    let sender = Sender::new(&process.runtime.public, "acme", "chat", "generic", SECRET);
    eventually("strace is attached", || async { path.metadata().is_ok_and(|trace| trace.len() > 0).then_some(()) })
        .await;
    let mut ids = Vec::new();
    for round in 0..DELIVERIES / AT_ONCE {
        // Several at once: while one batch is on its way to the disk the next is written.
        let sent = (0..AT_ONCE).map(|nth| {
            let (n, sender) = (round * AT_ONCE + nth, &sender);
            async move {
                // Who is traced is slow, and tells a sender to come again; a duplicate too is answered after the sync.
                eventually("it is taken", || async {
                    let answer = sender.send(&format!("evt_{n}"), &completed(&format!("marker-{n}-end"), 1)).await;
                    (answer.status != 503).then_some(answer)
                })
                .await
            }
        });
        for answer in join_all(sent).await {
            assert_eq!(answer.status, 200);
            ids.push(answer.event().to_owned());
        }
    }
    trace.detach();
    process.kill();
    let trace = std::fs::read_to_string(path).unwrap();
    assert_eq!(judge(&trace, &ids), Ok(DELIVERIES));
}

#[test]
fn an_answer_without_a_sync_after_its_delivery_is_seen() {
    let ids = ["evt_a".to_owned()];
    let wrote = "1 pwrite64(9</d/sluice.db-wal>, \"marker-0-end\", 8192, 0) = 8192";
    let answer = "2 writev(12<TCP:[1]>, [{iov_base=\"HTTP/1.1 200 OK evt_a\"}], 1) = 120";
    let begin = "3 fdatasync(9</d/sluice.db-wal> <unfinished ...>";
    let end = "3 <... fdatasync resumed>) = 0";
    assert_eq!(judge(&[wrote, begin, end, answer].join("\n"), &ids), Ok(1));
    for wrong in [vec![wrote, answer], vec![begin, wrote, end, answer], vec![wrote, begin, answer, end]] {
        assert!(judge(&wrong.join("\n"), &ids).is_err(), "{wrong:?}");
    }
}
