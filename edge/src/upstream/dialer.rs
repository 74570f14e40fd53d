//! TCP connections to members. A name may have several addresses, and some of them may not answer: the
//! next is tried soon (RFC 8305 §5), and what was found out is remembered, so that later connections
//! begin with an address that answers.

use super::lookup::Lookup;
use socket2::{SockRef, TcpKeepalive};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an address is waited for before the next is tried too (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// How long an address that did not answer is tried after the others.
const AVOIDED: Duration = Duration::from_secs(60);

/// Addresses that are remembered. What comes beyond them is not.
const MOST: usize = 1024;

/// Probes of an idle connection: whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long one of several addresses of a name is waited for at most: the others are there, too. The second packet of
/// a connection whose first one was lost is sent after one second.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(2);

/// Opens the connections of a pool.
#[derive(Clone)]
pub(super) struct Dialer {
    connect: Duration,
    lookup: Lookup,
    avoided: Arc<Mutex<HashMap<SocketAddr, Instant>>>,
}

impl Dialer {
    /// A connection is given up after `connect`, the resolution of the name included.
    pub(super) fn new(connect: Duration, lookup: Lookup) -> Self {
        Self { connect, lookup, avoided: Arc::default() }
    }

    /// How long a connection may take, what is agreed upon it (TLS, HTTP/2) included.
    pub(super) fn bound(&self) -> Duration {
        self.connect
    }

    /// A connection to a name or an address (IPv6 without brackets).
    pub(super) async fn dial(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let dialed = async {
            let found = self.lookup.addresses(host).await?.addresses.into_iter();
            self.dial_any(found.map(|ip| SocketAddr::new(ip, port)).collect()).await
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        ready(timeout(self.connect, dialed).await.map_err(late)??)
    }

    /// A connection to one of several addresses of a name.
    pub(super) async fn dial_address(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let bound = self.connect.min(ONE_OF_SEVERAL);
        ready(timeout(bound, TcpStream::connect(address)).await.map_err(late)??)
    }

    /// A connection to a Unix socket.
    pub(super) async fn dial_socket(&self, path: &Path) -> io::Result<UnixStream> {
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        timeout(self.connect, UnixStream::connect(path)).await.map_err(late)?
    }

    /// The first connection that one of the addresses takes.
    async fn dial_any(&self, addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
        let addresses = self.in_order(addresses, Instant::now());
        let mut waiting = addresses.into_iter().peekable();
        let mut running = JoinSet::new();
        let mut late = Vec::new();
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        loop {
            if let Some(address) = waiting.next() {
                running.spawn(async move { (address, TcpStream::connect(address).await) });
                late.push(address);
            }
            let dialed = match waiting.peek() {
                Some(_) => match timeout(HEAD_START, running.join_next()).await {
                    Ok(dialed) => dialed,
                    Err(_) => continue,
                },
                None => running.join_next().await,
            };
            let (address, outcome) = match dialed {
                Some(Ok(dialed)) => dialed,
                Some(Err(_)) => continue,
                None => return Err(failure),
            };
            late.retain(|other| *other != address);
            match outcome {
                Ok(stream) => {
                    // Those that began before it, and have not answered yet.
                    self.note(address, true);
                    late.iter().for_each(|late| self.note(*late, false));
                    return Ok(stream);
                }
                Err(error) => {
                    self.note(address, false);
                    failure = error;
                }
            }
        }
    }

    /// The addresses in the resolver's order, those to be avoided last. One whose time is over has its
    /// place back for one connection, until that connection shows whether it answers.
    fn in_order(&self, mut addresses: Vec<SocketAddr>, now: Instant) -> Vec<SocketAddr> {
        if addresses.len() > 1 {
            let mut avoided = self.avoided.lock().unwrap_or_else(PoisonError::into_inner);
            addresses.sort_by_cached_key(|address| match avoided.get_mut(address) {
                Some(until) if *until > now => true,
                Some(until) => {
                    *until = now + AVOIDED;
                    false
                }
                None => false,
            });
        }
        addresses
    }

    fn note(&self, address: SocketAddr, answers: bool) {
        let mut avoided = self.avoided.lock().unwrap_or_else(PoisonError::into_inner);
        if answers {
            avoided.remove(&address);
        } else if avoided.len() < MOST || avoided.contains_key(&address) {
            avoided.insert(address, Instant::now() + AVOIDED);
        } else {
            // Addresses of names that have changed would stay for ever.
            let now = Instant::now();
            avoided.retain(|_, until| *until > now);
        }
    }
}

/// A connection, with the options of all.
fn ready(stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(stream)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpSocket};

    const BOUND: Duration = Duration::from_secs(20);

    /// An address that takes no connection and refuses none: its queue is full.
    async fn black_hole() -> (SocketAddr, Vec<TcpStream>, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queue = Vec::new();
        while let Ok(Ok(stream)) =
            timeout(Duration::from_millis(100), TcpStream::connect(address)).await
        {
            queue.push(stream);
        }
        (address, queue, listener)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_delays_one_connection_and_no_other() {
        let (hole, _queue, _hole) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let dialer = Dialer::new(BOUND, Lookup::System);
        let begun = Instant::now();
        let stream = dialer.dial_any(vec![hole, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert!(begun.elapsed() >= HEAD_START, "the resolver's order counts");
        assert!(begun.elapsed() < 8 * HEAD_START, "{:?}", begun.elapsed());
        let now = Instant::now();
        assert_eq!(dialer.in_order(vec![hole, good], now), [good, hole]);
        // When its time is over, one connection tries it.
        let later = now + AVOIDED;
        assert_eq!(dialer.in_order(vec![hole, good], later), [hole, good]);
        assert_eq!(dialer.in_order(vec![hole, good], later), [good, hole]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_is_passed_at_once_and_the_last_failure_is_told() {
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let dialer = Dialer::new(BOUND, Lookup::System);
        let stream = dialer.dial_any(vec![refusing, good]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        assert_eq!(dialer.in_order(vec![refusing, good], Instant::now()), [good, refusing]);
        let failure = dialer.dial_any(vec![refusing]).await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::ConnectionRefused);
        drop(listener);
        assert_eq!(dialer.dial_any(vec![]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn no_answer_at_all_is_a_timeout() {
        let (hole, _queue, _hole) = black_hole().await;
        let dialer = Dialer::new(Duration::from_millis(50), Lookup::System);
        let failure = dialer.dial("127.0.0.1", hole.port()).await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let dialer = Dialer::new(BOUND, Lookup::System);
        for n in 0..2 * MOST {
            dialer.note(SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 80)), false);
        }
        assert!(dialer.avoided.lock().unwrap().len() <= MOST);
    }
}
