//! Listening sockets that this process did not bind: of the service manager (socket activation), or
//! of the process that it takes over from.

use listenfd::ListenFd;
use rustix::net::sockopt::socket_acceptconn;
use std::net::{SocketAddr, TcpListener};
use weir_protocol::takeover::Role;

/// Sockets that wait to be used. Each is used for the key that has its address.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Vec<Held>);

#[derive(Debug)]
struct Held {
    /// What the other process used it for.
    role: Option<Role>,
    address: SocketAddr,
    socket: TcpListener,
}

impl Sockets {
    /// Those that a service manager passed (sd_listen_fds(3)). To be called before there are other
    /// threads: it removes the variables that say so from the environment.
    ///
    /// # Errors
    /// What it passed is no listening TCP socket.
    pub(crate) fn of_service_manager() -> Result<Self, String> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let failed = |error: String| format!("socket {index} of the service manager: {error}");
            let socket = passed.take_tcp_listener(index);
            let socket = socket.map_err(|error| failed(error.to_string()))?;
            let Some(socket) = socket else { continue };
            let listens = socket_acceptconn(&socket);
            if !listens.map_err(|error| failed(error.to_string()))? {
                return Err(failed("it does not listen; set Accept=no".to_owned()));
            }
            let address = socket.local_addr().map_err(|error| failed(error.to_string()))?;
            sockets.push(Held { role: None, address, socket });
        }
        Ok(Self(sockets))
    }

    /// Those of the process that is taken over from.
    ///
    /// # Errors
    /// One is no TCP socket.
    pub(crate) fn of_process(sockets: Vec<(Role, TcpListener)>) -> Result<Self, String> {
        let held = sockets.into_iter().map(|(role, socket)| {
            let address = socket.local_addr().map_err(|error| error.to_string())?;
            Ok(Held { role: Some(role), address, socket })
        });
        held.collect::<Result<_, String>>().map(Self)
    }

    /// The socket for a key with this address. Port 0 stands for the port that the other process had
    /// for the same key.
    pub(crate) fn take(&mut self, role: Role, address: SocketAddr) -> Option<TcpListener> {
        let fits = |held: &Held| {
            held.address == address
                || (address.port() == 0
                    && held.role == Some(role)
                    && held.address.ip() == address.ip())
        };
        let found = self.0.iter().position(fits)?;
        Some(self.0.swap_remove(found).socket)
    }

    /// The addresses of those that no key has.
    pub(crate) fn unused(&self) -> Vec<SocketAddr> {
        self.0.iter().map(|held| held.address).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_used_for_the_key_that_has_its_address() {
        let bound = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (clear, admin) = (bound(), bound());
        let (at, admin_at) = (clear.local_addr().unwrap(), admin.local_addr().unwrap());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let all = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut sockets =
            Sockets::of_process(vec![(Role::Listen, clear), (Role::Admin, admin)]).unwrap();
        assert!(sockets.take(Role::ListenTls, any).is_none());
        assert!(sockets.take(Role::Listen, all).is_none());
        let taken = sockets.take(Role::Admin, any).unwrap();
        assert_eq!(taken.local_addr().unwrap(), admin_at);
        assert_eq!(sockets.unused(), [at]);
        let taken = sockets.take(Role::Listen, at).unwrap();
        assert_eq!(taken.local_addr().unwrap(), at);
        assert!(sockets.unused().is_empty());
    }
}
