//! A TCP proxy between a node and its database that a test freezes or cuts.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// What becomes of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// They are passed on.
    Flow,
    /// They go nowhere, and nobody is told.
    Freeze,
    /// Connections are broken off, new ones refused.
    Cut,
}

/// A running proxy.
pub(crate) struct Proxy {
    /// Where it listens.
    pub(crate) port: u16,
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Before the server that listens on a port of this machine.
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (mode, seen) = watch::channel(Mode::Flow);
        let task = tokio::spawn(async move {
            let server = SocketAddr::from(([127, 0, 0, 1], server));
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, seen.clone()));
            }
        });
        Self { port, mode, task }
    }

    /// Passes everything on again. What was frozen arrives.
    pub(crate) fn flow(&self) {
        self.mode.send_replace(Mode::Flow);
    }

    /// Passes nothing on.
    pub(crate) fn freeze(&self) {
        self.mode.send_replace(Mode::Freeze);
    }

    /// Breaks every connection off.
    pub(crate) fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: SocketAddr, mut mode: watch::Receiver<Mode>) {
    if *mode.borrow_and_update() == Mode::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (there, back) = (mode.clone(), mode.clone());
    tokio::select! {
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
        _ = pass(from_client, to_server, there) => {}
        _ = pass(from_server, to_client, back) => {}
    }
}

/// Passes bytes on while they may flow.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        if mode.wait_for(|mode| *mode == Mode::Flow).await.is_err() {
            return Ok(());
        }
        to.write_all(&buffer[..read]).await?;
    }
}
