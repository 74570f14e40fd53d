//! Addresses of processes that end and are started again at the same place.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the ports begin, and how many there are: below those that the system gives to connections.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;

/// How many were asked for in this process.
static ASKED: AtomicU32 = AtomicU32::new(0);

/// An address at which nobody listens. A port that the system chose could belong to a connection of another test
/// by the time that its process is started again; this one cannot.
pub(crate) fn lasting_address() -> SocketAddr {
    // Processes of tests that run at once begin at different places.
    let begin = std::process::id().wrapping_mul(97);
    let mut ports = std::iter::repeat_with(|| {
        let asked = ASKED.fetch_add(1, Ordering::Relaxed);
        FIRST + begin.wrapping_add(asked) % COUNT
    });
    let free = |port: u32| {
        let port = u16::try_from(port).expect("below 65,536");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        TcpListener::bind(address).is_ok().then_some(address)
    };
    let tried = COUNT as usize;
    ports.by_ref().take(tried).find_map(free).expect("a port that nobody listens at")
}
