//! What a service manager hears from the real binary on its datagram socket.

use tokio::{net::UnixDatagram, time::timeout};

use crate::harness::{Folder, PATIENCE, Process};

/// The next message that is no sign of life.
async fn change(socket: &UnixDatagram) -> String {
    loop {
        let message = heard(socket).await;
        if message != "WATCHDOG=1" {
            return message;
        }
    }
}

async fn heard(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 256];
    let read = timeout(PATIENCE, socket.recv(&mut buffer)).await.expect("a message in time").expect("a message");
    String::from_utf8(buffer[..read].to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_hears_of_the_start_of_life_of_a_reload_and_of_the_end() {
    let folder = Folder::new();
    let address = folder.path().join("notify");
    let socket = UnixDatagram::bind(&address).unwrap();
    let environment = [("NOTIFY_SOCKET", address.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let process = Process::start_in(folder.path(), &environment).await;
    assert_eq!(heard(&socket).await, "READY=1");
    for _ in 0..3 {
        assert_eq!(heard(&socket).await, "WATCHDOG=1");
    }
    process.signal("HUP");
    assert_eq!([change(&socket).await, change(&socket).await], ["RELOADING=1", "READY=1"]);
    process.terminate();
    assert_eq!(change(&socket).await, "STOPPING=1");
    assert!(process.ended().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watchdog_of_another_process_and_a_manager_that_is_gone_change_nothing() {
    let folder = Folder::new();
    let address = folder.path().join("notify");
    let socket = UnixDatagram::bind(&address).unwrap();
    let environment = [("NOTIFY_SOCKET", address.to_str().unwrap()), ("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let process = Process::start_in(folder.path(), &environment).await;
    assert_eq!(heard(&socket).await, "READY=1");
    process.signal("HUP");
    assert_eq!([heard(&socket).await, heard(&socket).await], ["RELOADING=1", "READY=1"]);
    drop(socket);
    process.terminate();
    assert!(process.ended().await.0.success());
}
