//! Many clients at once.

use crate::Error;
use crate::client::Client;
use std::net::SocketAddr;
use tokio::task::JoinSet;

/// Connections opened at once, below what a listening socket queues.
const OPENING: usize = 256;

/// Connects a crowd.
pub(crate) async fn gather(to: SocketAddr, count: usize) -> Result<Vec<Client>, Error> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let wave = OPENING.min(count - clients.len());
        for client in all((0..wave).collect(), move |_| Client::connect(to)).await {
            clients.push(client?);
        }
    }
    Ok(clients)
}

/// Runs `work` for all at once.
pub(crate) async fn all<T, F, R>(items: Vec<T>, work: impl Fn(T) -> F) -> Vec<R>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let set: JoinSet<R> = items.into_iter().map(work).collect();
    set.join_all().await
}
