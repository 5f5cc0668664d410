//! What a service manager hears from the real binary on its datagram socket.

use std::path::Path;

use tokio::{net::UnixDatagram, sync::mpsc, task::JoinHandle, time::timeout};

use crate::harness::{Folder, PATIENCE, Process};

/// A service manager. It reads at once: the system keeps only few messages, and the gateway waits for nobody.
struct Manager {
    messages: mpsc::UnboundedReceiver<String>,
    reading: JoinHandle<()>,
}

impl Manager {
    fn at(address: &Path) -> Self {
        let socket = UnixDatagram::bind(address).unwrap();
        let (sender, messages) = mpsc::unbounded_channel();
        let reading = tokio::spawn(async move {
            let mut buffer = [0; 256];
            while let Ok(read) = socket.recv(&mut buffer).await {
                sender.send(String::from_utf8(buffer[..read].to_vec()).expect("text")).ok();
            }
        });
        Self { messages, reading }
    }

    async fn heard(&mut self) -> String {
        timeout(PATIENCE, self.messages.recv()).await.expect("a message in time").expect("a message")
    }

    /// The next message that is no sign of life.
    async fn change(&mut self) -> String {
        loop {
            let message = self.heard().await;
            if message != "WATCHDOG=1" {
                return message;
            }
        }
    }

    async fn goes(self) {
        self.reading.abort();
        assert!(self.reading.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_hears_of_the_start_of_life_of_a_reload_and_of_the_end() {
    let folder = Folder::new();
    let address = folder.path().join("notify");
    let mut manager = Manager::at(&address);
    let environment = [("NOTIFY_SOCKET", address.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let process = Process::start_in(folder.path(), &environment).await;
    assert_eq!(manager.heard().await, "READY=1");
    for _ in 0..3 {
        assert_eq!(manager.heard().await, "WATCHDOG=1");
    }
    process.signal("HUP");
    assert_eq!([manager.change().await, manager.change().await], ["RELOADING=1", "READY=1"]);
    process.terminate();
    assert_eq!(manager.change().await, "STOPPING=1");
    assert!(process.ended().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchdog_of_another_process_and_a_manager_that_is_gone_change_nothing() {
    let folder = Folder::new();
    let address = folder.path().join("notify");
    let mut manager = Manager::at(&address);
    let environment = [("NOTIFY_SOCKET", address.to_str().unwrap()), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let process = Process::start_in(folder.path(), &environment).await;
    assert_eq!(manager.heard().await, "READY=1");
    process.signal("HUP");
    assert_eq!([manager.heard().await, manager.heard().await], ["RELOADING=1", "READY=1"]);
    manager.goes().await;
    process.terminate();
    assert!(process.ended().await.0.success());
}
