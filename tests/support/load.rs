//! Clients that go on asking while something happens to the nodes and to what is behind them.

use super::{Answer, Client, PATIENCE};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Clients that ask one request after the other, each for what nobody asked for before, and are to
/// be told of no error.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    clients: JoinSet<()>,
}

impl Load {
    /// A client for each of these addresses of nodes. `is_right` panics where an answer is not.
    ///
    /// Each client may see `cuts` answers break off whose head was out when its sender died: nothing
    /// can be tried again then.
    pub(crate) fn on(
        nodes: impl IntoIterator<Item = SocketAddr>,
        cuts: usize,
        is_right: impl Fn(&Answer) + Copy + Send + 'static,
    ) -> Self {
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = JoinSet::new();
        for (client, node) in nodes.into_iter().enumerate() {
            let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
            clients.spawn(async move {
                let mut connection = Client::connect(node).await;
                let mut cuts = cuts;
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let target = format!("/load/{client}/{number}");
                    connection.request("GET", &target, &[], "").await;
                    let answer = connection.answer("GET").await;
                    if answer.status == 200 && !answer.whole && cuts > 0 {
                        cuts -= 1;
                        connection = Client::connect(node).await;
                        continue;
                    }
                    assert_eq!((answer.status, answer.whole), (200, true), "{target}: {answer:?}");
                    is_right(&answer);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stop, served, clients }
    }

    /// Until more than so many further requests were served.
    pub(crate) async fn more(&mut self, requests: usize) {
        let before = self.served.load(Ordering::Relaxed);
        let end = Instant::now() + PATIENCE;
        loop {
            let served = self.served.load(Ordering::Relaxed) - before;
            if served > requests {
                return;
            }
            if let Some(ended) = self.clients.try_join_next() {
                ended.expect("no client is told of an error");
            }
            assert!(Instant::now() < end, "{served} are served in time, not {requests}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Ends; panics where a client was told of an error.
    pub(crate) async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
    }
}
