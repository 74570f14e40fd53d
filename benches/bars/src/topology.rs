//! Control and nodes that follow it, as processes of their own on this machine.

use crate::Error;
use crate::client::{self, Client};
use crate::program::{Control, Folder, Programs, Weir};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running topology.
pub(crate) struct Topology {
    pub(crate) nodes: Vec<Weir>,
    control: Control,
    _folder: Folder,
}

impl Topology {
    /// `count` edges with a worker each, named `edge-0` and so on, in front of `origin`; they are
    /// all expected when this returns.
    pub(crate) async fn start(
        programs: &Programs,
        origin: SocketAddr,
        count: usize,
    ) -> Result<Self, Error> {
        let folder = Folder::new(&format!("topology-{}", origin.port()))?;
        let data = folder.path().join("data");
        let text = format!("[control]\ndata = {data:?}\nrate = 1000000\n");
        let control = Control::configured(programs, &folder.file("control.toml", &text)?)?;
        let mut nodes = Vec::new();
        for number in 0..count {
            let text = format!(
                "[node]\nname = \"edge-{number}\"\nworkers = 1\n\
                 [control]\nurl = \"http://{}\"\n\
                 [memory]\nsize = \"256MiB\"\n\
                 [[site]]\nid = \"site\"\norigins = [\"http://{origin}\"]\n",
                control.at
            );
            let config = folder.file(&format!("edge-{number}.toml"), &text)?;
            nodes.push(Weir::configured(programs, &config)?);
        }
        let topology = Self { nodes, control, _folder: folder };
        topology.until_joined().await?;
        Ok(topology)
    }

    /// A connection to control.
    pub(crate) async fn control(&self) -> Result<Client, Error> {
        Client::connect(self.control.at).await
    }

    /// Where control listens.
    pub(crate) fn control_at(&self) -> SocketAddr {
        self.control.at
    }

    /// Waits until a purge is applied by every node.
    async fn until_joined(&self) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut ready = 0;
            for node in &self.nodes {
                ready += u64::from(client::once(node.admin, "GET", "/readyz").await?.status == 200);
            }
            if ready == self.nodes.len() as u64 {
                break;
            }
            if Instant::now() > end {
                return Err(format!("{ready} of {} nodes are ready", self.nodes.len()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let told = purge(&mut self.control().await?, &json!({"paths": ["/"]})).await?;
        let nodes = told["nodes"].as_array().map_or(0, Vec::len);
        match (told["status"].as_str(), nodes == self.nodes.len()) {
            (Some("completed"), true) => Ok(()),
            _ => Err(format!("not all nodes are expected: {told}").into()),
        }
    }
}

/// Purges what `body` says; returns the answer.
pub(crate) async fn purge(control: &mut Client, body: &Value) -> Result<Value, Error> {
    let answer = control.post("/v1/purges", body.to_string()).await?;
    match answer.status {
        200 | 202 => Ok(serde_json::from_slice(&answer.body)?),
        status => Err(format!("status {status}: {}", String::from_utf8_lossy(&answer.body)).into()),
    }
}
