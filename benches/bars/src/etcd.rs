//! A cluster of etcd, as processes of the program in the path.

use crate::Error;
use crate::client::Client;
use crate::program::{Folder, Running, free_address};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a quorum may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// Members that run until this is dropped.
pub(crate) struct Etcd {
    clients: Vec<SocketAddr>,
    _members: Vec<Running>,
    folder: Folder,
}

impl Etcd {
    /// So many members, once each answers with a quorum behind it.
    pub(crate) async fn start(count: usize) -> Result<Self, Error> {
        let folder = Folder::new("etcd")?;
        let addresses = || (0..count).map(|_| free_address()).collect::<Result<Vec<_>, _>>();
        let (clients, peers) = (addresses()?, addresses()?);
        let all: Vec<_> =
            peers.iter().enumerate().map(|(n, peer)| format!("m{n}=http://{peer}")).collect();
        let all = all.join(",");
        let mut members = Vec::new();
        for (number, (client, peer)) in clients.iter().zip(&peers).enumerate() {
            let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
            let data = folder.path().join(number.to_string());
            let data = data.to_str().ok_or("a path that is no UTF-8")?;
            let arguments = [
                "--name",
                &format!("m{number}"),
                "--data-dir",
                data,
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
                "--initial-cluster",
                &all,
                "--logger",
                "zap",
                "--log-level",
                "error",
            ];
            members.push(Running::start(Path::new("etcd"), &arguments)?);
        }
        let cluster = Self { clients, _members: members, folder };
        let end = Instant::now() + PATIENCE;
        for client in &cluster.clients {
            while !answers(*client).await {
                if Instant::now() > end {
                    return Err(format!("etcd at {client} has no quorum").into());
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(cluster)
    }

    /// The URLs of all members, as TOML.
    pub(crate) fn endpoints(&self) -> String {
        let urls = self.clients.iter().map(|client| format!("\"http://{client}\""));
        urls.collect::<Vec<_>>().join(", ")
    }

    /// Where the members have their files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

async fn answers(client: SocketAddr) -> bool {
    let Ok(mut connection) = Client::connect(client).await else { return false };
    let answer = connection.post("/v3/kv/range", "{\"key\":\"YQ==\"}".to_owned()).await;
    answer.is_ok_and(|answer| answer.status == 200)
}
