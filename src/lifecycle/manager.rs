//! What a service manager is told, by the protocol of `sd_notify(3)`: a datagram for each change.

use std::{
    env,
    ffi::OsStr,
    future::Future,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    sync::Arc,
    time::Duration,
};

/// One change of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Deliveries are taken, after the start or a reload.
    Ready,
    /// The configuration is being read again.
    Reloading,
    /// The drain began.
    Stopping,
    /// It still does its work.
    Alive,
}

impl Told {
    const fn message(self) -> &'static str {
        match self {
            Self::Ready => "READY=1",
            Self::Reloading => "RELOADING=1",
            Self::Stopping => "STOPPING=1",
            Self::Alive => "WATCHDOG=1",
        }
    }
}

/// The service manager that started this process; nobody, if none asked to be told.
#[derive(Debug, Clone, Default)]
pub struct Manager {
    socket: Option<Arc<UnixDatagram>>,
    /// After this long without [`Told::Alive`] it ends the process.
    watchdog: Option<Duration>,
}

impl Manager {
    /// Who asks in `NOTIFY_SOCKET`, and in `WATCHDOG_USEC` unless `WATCHDOG_PID` names another process.
    pub fn of_this_process() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET") else { return Self::default() };
        let socket = match connect(&address) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                tracing::warn!(%error, "cannot reach the service manager that NOTIFY_SOCKET names");
                None
            }
        };
        let number = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0).map(Duration::from_micros);
        Self { socket, watchdog }
    }

    /// Tells it; a manager that cannot be told changes nothing here.
    pub fn tell(&self, told: Told) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(told.message().as_bytes()) {
            tracing::warn!(%error, told = told.message(), "cannot tell the service manager");
        }
    }

    /// Tells a manager that watches, twice in its time, that the process is alive, whenever `works` says
    /// so within that half. Silence makes the manager start the process anew.
    pub async fn while_alive<F: Future<Output = bool>>(self, works: impl Fn() -> F) {
        let Some(watchdog) = self.watchdog else { return };
        let mut ticks = tokio::time::interval(watchdog / 2);
        loop {
            ticks.tick().await;
            if tokio::time::timeout(watchdog / 2, works()).await == Ok(true) {
                self.tell(Told::Alive);
            }
        }
    }
}

/// A path, or `@` and a name of the abstract namespace.
fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    let address = match address.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    socket.connect_addr(&address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn pair() -> (UnixDatagram, Manager) {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        (theirs, Manager { socket: Some(Arc::new(ours)), watchdog: Some(Duration::from_secs(30)) })
    }

    fn told(socket: &UnixDatagram) -> Vec<String> {
        let mut told = Vec::new();
        let mut buffer = [0; 64];
        while let Ok(read) = socket.recv(&mut buffer) {
            told.push(String::from_utf8(buffer[..read].to_vec()).unwrap());
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_works_says_so_twice_in_the_watchdogs_time_and_one_that_hangs_is_silent() {
        let (socket, manager) = pair();
        let lives = manager.clone().while_alive(|| std::future::ready(true));
        assert!(tokio::time::timeout(Duration::from_secs(59), lives).await.is_err());
        assert_eq!(told(&socket), ["WATCHDOG=1"; 4]);

        let hangs = pin!(manager.clone().while_alive(std::future::pending));
        assert!(tokio::time::timeout(Duration::from_secs(59), hangs).await.is_err());
        let broken = manager.while_alive(|| std::future::ready(false));
        assert!(tokio::time::timeout(Duration::from_secs(59), broken).await.is_err());
        assert_eq!(told(&socket), Vec::<String>::new());
    }

    #[test]
    fn an_address_is_a_path_or_a_name_of_the_abstract_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("sluice-test-{}", std::process::id());
        let at_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let at_name = UnixDatagram::bind_addr(&address).unwrap();
        for (address, socket) in [(path.as_os_str(), at_path), (OsStr::new(&format!("@{abstract_name}")), at_name)] {
            socket.set_nonblocking(true).unwrap();
            let manager = Manager { socket: Some(Arc::new(connect(address).unwrap())), watchdog: None };
            manager.tell(Told::Stopping);
            assert_eq!(told(&socket), ["STOPPING=1"]);
        }
        assert!(connect(folder.path().join("nobody").as_os_str()).is_err());
    }
}
