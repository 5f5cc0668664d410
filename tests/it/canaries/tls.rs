//! The keys of certificates, in use, refused and renewed.

use std::fs;

use super::{
    memory::memory,
    planted::{self, MARK},
    search::Search,
};
use crate::{
    edge::certificates::{Client, LISTENERS, Pair, address},
    harness::{Folder, Process, command, eventually, run},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_of_a_certificate_comes_out_nowhere_and_a_renewed_one_leaves_the_memory() {
    let folder = Folder::new();
    let [old, new, admin, other] = [1, 2, 3, 4].map(|number| Pair::of(&planted::signing_key(number)));
    old.write(&folder, "edge");
    admin.write(&folder, "admin");
    fs::write(folder.config(), LISTENERS.replace("[telemetry]\n", "[telemetry]\nfilter = 'trace'\n")).unwrap();
    folder.tenant("acme", "");
    let command_of = |words: &[&str]| command(folder.path(), words);
    let gateway = Process::start_as(command_of(&["serve", "--allow-core-dumps"]), folder.path()).await;
    let (public, pid) = (address(&gateway.runtime.public), gateway.runtime.pid);
    let client = Client::trusting([&old, &new, &admin]);
    let mut seen = vec![client.get(public, "/.well-known/jwks.json").await];
    seen.push(client.get(address(&gateway.runtime.admin), "/metrics").await);
    assert!(Client::trusting([&other]).greet(public).await.is_err(), "who does not trust it hangs up");
    seen.push(reqwest::get(format!("http://{public}/")).await.unwrap_err().to_string());
    let old_key = Search::of(&["signing-key-0001"]);
    assert!(old_key.count(&memory(pid)) > 0, "a key in use is in memory");

    // A key that is not the certificate's, one that is none, and then the right one.
    folder.secret("edge.pem", &new.cert);
    for (key, told) in [(&*other.key, "is not the key"), ("canaryhunter", "edge.tls.key")] {
        folder.secret("edge.key", key);
        gateway.signal("HUP");
        eventually("it is refused", || async { gateway.lines().iter().any(|line| line.contains(told)).then_some(()) })
            .await;
    }
    for words in [&["check"][..], &["doctor", "--json"], &["lanes", "--json"]] {
        seen.push(format!("{:?}", run(command_of(words)).await));
    }
    folder.secret("edge.key", &new.key);
    eventually("it is taken", || async { (client.shown(public).await == new.der()).then_some(()) }).await;
    seen.push(client.get(public, "/.well-known/jwks.json").await);
    eventually("the old key is gone", || async { (old_key.count(&memory(pid)) == 0).then_some(()) }).await;
    gateway.terminate();
    let (_, lines) = gateway.ended().await;
    let log = lines.join("\n");
    for word in ["\"level\":\"trace\"", "certificate taken"] {
        assert!(log.contains(word), "the log has no {word}");
    }
    seen.push(log);

    let search = Search::of(&[MARK]);
    for text in &seen {
        assert_eq!(search.find(text.as_bytes()), [""; 0]);
    }
    for (path, bytes) in folder.stored_bytes() {
        assert_eq!(search.find(&bytes), [""; 0], "{}", path.display());
    }
}
