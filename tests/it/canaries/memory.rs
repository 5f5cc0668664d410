//! The memory of the process: who may see it, and what is left in it.

use std::{
    fs::File,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sluice::standins::StandInApi;
use tokio::time::Instant;

use super::{
    planted::{self, MARK},
    search::Search,
    stage::{Caller, dumping},
};
use crate::harness::{Folder, PATIENCE, Process, Sender, World, command, completed, eventually};

/// Core dumps in a folder.
pub(super) fn cores(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core"))).collect()
}

/// Whether the kernel writes core dumps beside the process. Where it gives them to a program, only that the
/// process is not dumped into its folder is seen.
fn are_written_beside_it() -> bool {
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("the pattern of core dumps");
    pattern.starts_with("core")
}

#[tokio::test]
async fn a_crash_leaves_no_core_dump_unless_it_is_asked_for_and_then_it_has_the_secrets() {
    for (words, dumps) in [(&["serve"][..], false), (&["serve", "--allow-core-dumps"], true)] {
        let folder = Folder::new();
        let secret = folder.secret("vendor", planted::VENDOR);
        folder.tenant("acme", &format!("[sources.chat]\nvendor = 'generic'\nsecrets = ['{secret}']\n"));
        let process = Process::start_as(dumping(&command(folder.path(), words)), folder.path()).await;
        process.signal("ABRT");
        let (status, _) = process.gone().await;
        assert!(!status.success());
        let dumped = cores(folder.path());
        if !dumps {
            assert!(dumped.is_empty(), "{dumped:?}");
        } else if are_written_beside_it() {
            assert_eq!(dumped.len(), 1, "no core dump was written: is the hard limit of this shell 0 (ulimit -Hc)?");
            let file = File::open(&dumped[0]).unwrap();
            let length = file.metadata().unwrap().len();
            let bytes = not_empty(&file, 0..length);
            assert!(!Search::of(&[MARK]).find(&bytes).is_empty(), "a secret in use is in memory");
        }
    }
}

/// Bytes of memory that are read, or passed over, at once.
const CHUNK: usize = 64 * 1024;

/// What a range of a file holds, without the chunks that are empty: an allocator reserves much.
fn not_empty(file: &File, range: Range<u64>) -> Vec<u8> {
    let (mut all, mut chunk, empty) = (Vec::new(), vec![0; CHUNK], vec![0; CHUNK]);
    for at in range.clone().step_by(CHUNK) {
        let most = usize::try_from(range.end - at).unwrap().min(CHUNK);
        let read = file.read_at(&mut chunk[..most], at).unwrap_or(0);
        if chunk[..read] != empty[..read] {
            all.extend_from_slice(&chunk[..read]);
        }
    }
    all
}

/// All that a process has in memory and can be read.
pub(super) fn memory(pid: u32) -> Vec<u8> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).expect("the maps of the process");
    let file = File::open(format!("/proc/{pid}/mem")).expect("the memory of a process that may be dumped");
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| !line.ends_with("[vvar]") && !line.ends_with("[vsyscall]")) {
        let mut words = line.split([' ', '-']);
        let [from, to] = [words.next(), words.next()].map(|word| u64::from_str_radix(word.unwrap(), 16).unwrap());
        if words.next().unwrap().starts_with('r') {
            all.extend(not_empty(&file, from..to));
        }
    }
    all
}

/// What is configured in place of each canary.
const NEW: &str = "another-value-of-thirty-two-bytes-or-more";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_retired_is_gone_from_memory() {
    let api = StandInApi::start().await.unwrap();
    let world = World::new("").await;
    let auth = [
        ("bearer", "{ bearer = 'file:bearer' }"),
        ("basic", "{ basic = { user = 'sluice', password = 'file:basic' } }"),
        ("header", "{ header = { name = 'X-Api-Key', value = 'file:header' } }"),
    ];
    let calls = auth.map(|(name, auth)| {
        let url = api.url("/sink");
        format!("[[sources.chat.routes]]\nname = '{name}'\naction = 'http_call'\nurl = '{url}'\nauth = {auth}\n")
    });
    world.sources(&format!(
        "site_token = 'file:site'\n[sources.chat]\nvendor = 'generic'\nsecrets = ['file:vendor']\n\
         [[sources.chat.routes]]\nname = 'summary'\naction = 'summarize_and_publish'\n\
         [[sources.chat.routes]]\nname = 'post'\naction = 'wordpress_publish'\ntitle = 'A'\nsummary = 'B'\n\
         [[sources.chat.routes]]\nname = 'forward'\naction = 'http_forward'\nurl = '{}'\nsecret = 'file:forward'\n{}",
        api.url("/sink"),
        calls.concat()
    ));
    let written = ["vendor", "bearer", "basic", "header", "site", "llm.key"];
    for name in written {
        world.folder.secret(name, &format!("canaryhunter-{name}-of-thirty-two-bytes"));
    }
    world.folder.secret("forward", &planted::whsec("forward"));
    world.folder.secret("acme-wordpress.pem", &planted::signing_key(0));
    let command = command(world.folder.path(), &["serve", "--allow-core-dumps"]);
    let process = Process::start_as(command, world.folder.path()).await;
    world.trust(&process.runtime.public).await;
    let chat =
        Sender::new(&process.runtime.public, "acme", "chat", "generic", "canaryhunter-vendor-of-thirty-two-bytes");
    let client = reqwest::Client::new();
    let works = async |sender: &Sender, site: &str, id: &str| {
        let sent = sender.send(id, &completed(id, 0)).await;
        assert_eq!(sent.status, 200, "{sent:?}");
        eventually("its jobs were tried", || async {
            let event = process.get(&format!("/api/v1/events/{}", sent.event())).await;
            let jobs = event["jobs"].as_array().unwrap().clone();
            (jobs.len() == 6 && jobs.iter().all(tried)).then_some(())
        })
        .await;
        let of_site = Caller::bearer("the site", site);
        let url = format!("{}/site/v1/acme/jobs", process.runtime.public);
        let told = of_site.ask(&client, reqwest::Method::GET, &url, None).await;
        assert!(told.starts_with("200"), "{told}");
    };
    works(&chat, "canaryhunter-site-of-thirty-two-bytes", "e1").await;
    let search = Search::of(&[MARK]);
    let pid = process.runtime.pid;
    assert!(search.count(&memory(pid)) >= written.len(), "secrets in use are in memory");

    for name in written {
        world.folder.secret(name, &format!("{NEW}-{name}"));
    }
    world.folder.secret("forward", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    world.folder.signing_key("acme-wordpress.pem");
    process.signal("HUP");
    let new = chat.with_secret(&format!("{NEW}-vendor"));
    eventually("the new configuration is in force", || async {
        process.lines().iter().any(|line| line.contains("configuration reloaded")).then_some(())
    })
    .await;
    world.trust(&process.runtime.public).await;
    works(&new, &format!("{NEW}-site"), "e2").await;
    // What is under way ends first, and connections that rest keep their last request until the next one.
    let patience = Instant::now() + PATIENCE * 4;
    for n in 3.. {
        let found = search.find(&memory(pid));
        if found.is_empty() {
            break;
        }
        assert!(Instant::now() < patience, "left in memory: {found:#?}");
        works(&new, &format!("{NEW}-site"), &format!("e{n}")).await;
    }
    process.terminate();
    process.ended().await;
}

/// Whether an attempt of a job is over.
fn tried(job: &Value) -> bool {
    let waits = ["pending", "running"].contains(&job["state"].as_str().unwrap());
    !waits || job["last_error"].is_string()
}
