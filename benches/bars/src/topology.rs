//! Control and nodes that follow it, as processes of their own on this machine.

use crate::client::{self, Client};
use crate::etcd::Etcd;
use crate::program::{Control, Folder, Programs, Weir};
use crate::{Error, affinity};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The host that clients ask every node for.
pub(crate) const HOST: &str = "bars.example";

/// What nodes and callers show where control asks for it.
const TOKEN: &str = "bars-bars-bars-bars";

fn shared(etcd: &Etcd) -> String {
    format!(
        "[control]\nlog = \"etcd\"\nrate = 1000000\njoin_rate = 1000000\nretention = 1000000\n\
         [control.etcd]\nendpoints = [{}]\n[[token]]\nname = \"bars\"\nsecret = \"{TOKEN}\"\n\
         scopes = [\"node\", \"purge\", \"read\", \"admin\"]\n",
        etcd.endpoints()
    )
}

/// A running topology.
pub(crate) struct Topology {
    /// The parents first.
    pub(crate) nodes: Vec<Weir>,
    /// How many of them are parents.
    parents: usize,
    control: Control,
    folder: Folder,
    /// What nodes and callers show, if any.
    token: Option<&'static str>,
}

impl Topology {
    /// `count` edges with a worker each, named `edge-0` and so on, in front of `origin`; they are
    /// all expected when this returns.
    pub(crate) async fn start(
        programs: &Programs,
        origin: SocketAddr,
        count: usize,
    ) -> Result<Self, Error> {
        let mut topology = Self::alone(programs)?;
        for number in 0..count {
            topology.add(programs, origin, &format!("edge-{number}"), "")?;
        }
        topology.until_joined().await?;
        Ok(topology)
    }

    /// `count` parents with a worker each, which `edges` may follow as relays; they are all expected
    /// when this returns.
    pub(crate) async fn with_relays(
        programs: &Programs,
        origin: SocketAddr,
        count: usize,
        edges: usize,
    ) -> Result<Self, Error> {
        let mut topology = Self::with_control(programs, &format!("nodes = {}\n", edges + count))?;
        for number in 0..count {
            topology.add(programs, origin, &format!("relay-{number}"), "tier = \"parent\"\n")?;
        }
        topology.parents = count;
        topology.until_joined().await?;
        Ok(topology)
    }

    /// Parents `parent-eu` and `parent-us`, two edges in `eu` and one in `us`, each with a worker;
    /// keys are spread over the parents by `scope`. They are all expected when this returns.
    pub(crate) async fn with_parents(
        programs: &Programs,
        origin: SocketAddr,
        scope: &str,
    ) -> Result<Self, Error> {
        let mut topology = Self::alone(programs)?;
        let mut parents = Vec::new();
        for region in ["eu", "us"] {
            let keys = format!("tier = \"parent\"\nregion = \"{region}\"\n");
            topology.add(programs, origin, &format!("parent-{region}"), &keys)?;
            let listen = topology.nodes.last().ok_or("no parent")?.listen;
            parents.push(format!("{{ url = \"http://{listen}\", region = \"{region}\" }}"));
        }
        for (number, region) in ["eu", "eu", "us"].into_iter().enumerate() {
            let keys = format!(
                "region = \"{region}\"\n[parents]\nscope = \"{scope}\"\nurls = [{}]\n",
                parents.join(", ")
            );
            topology.add(programs, origin, &format!("edge-{number}"), &keys)?;
        }
        topology.parents = parents.len();
        topology.until_joined().await?;
        Ok(topology)
    }

    /// The nodes that are parents.
    pub(crate) fn parents(&self) -> impl Iterator<Item = &Weir> {
        self.nodes.iter().take(self.parents)
    }

    /// The nodes that are no parents.
    pub(crate) fn edges(&self) -> impl Iterator<Item = &Weir> {
        self.nodes.iter().skip(self.parents)
    }

    /// Bytes of memory that control has now.
    pub(crate) fn control_rss(&self) -> Result<u64, Error> {
        self.control.rss()
    }

    /// Time of processors that control has used so far.
    pub(crate) fn control_time(&self) -> Result<Duration, Error> {
        self.control.processor_time()
    }

    /// Where control and the nodes have their files.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Control without a node.
    pub(crate) fn alone(programs: &Programs) -> Result<Self, Error> {
        Self::with_control(programs, "")
    }

    /// The same, with these further lines of `[control]`.
    fn with_control(programs: &Programs, keys: &str) -> Result<Self, Error> {
        let folder = Folder::new("topology")?;
        let data = folder.path().join("data");
        let text =
            format!("[control]\ndata = {data:?}\nrate = 1000000\njoin_rate = 1000000\n{keys}");
        let control = Control::configured(programs, &folder.file("control.toml", &text)?)?;
        Ok(Self { nodes: Vec::new(), parents: 0, control, folder, token: None })
    }

    /// Control with a log in etcd, and `count` edges in front of `origin`; they are all expected when this returns.
    pub(crate) async fn on_etcd(
        programs: &Programs,
        etcd: &Etcd,
        origin: SocketAddr,
        count: usize,
    ) -> Result<Self, Error> {
        let folder = Folder::new("topology")?;
        let control = Control::configured(programs, &folder.file("control.toml", &shared(etcd))?)?;
        let token = Some(TOKEN);
        let mut topology = Self { nodes: Vec::new(), parents: 0, control, folder, token };
        for number in 0..count {
            topology.add(programs, origin, &format!("edge-{number}"), "")?;
        }
        topology.until_joined().await?;
        Ok(topology)
    }

    /// Another process of control over the same log.
    pub(crate) fn another(&self, programs: &Programs, etcd: &Etcd) -> Result<Control, Error> {
        Control::configured(programs, &self.folder.file("another.toml", &shared(etcd))?)
    }

    /// Starts a node with a worker; `keys` follow those of `[node]`.
    fn add(
        &mut self,
        programs: &Programs,
        origin: SocketAddr,
        name: &str,
        keys: &str,
    ) -> Result<(), Error> {
        let token = self.token.map(|token| format!("token = \"{token}\"\n")).unwrap_or_default();
        let text = format!(
            "[node]\nname = \"{name}\"\nworkers = 1\n{keys}\
             [control]\nurl = \"http://{}\"\n{token}\
             [memory]\nsize = \"256MiB\"\n\
             [[site]]\nid = \"site\"\norigins = [\"http://{origin}\"]\n",
            self.control.at
        );
        let config = self.folder.file(&format!("{name}.toml"), &text)?;
        self.nodes.push(Weir::configured(programs, &config)?);
        Ok(())
    }

    /// Gives the nodes a processor, and another to their control, to `other` and to this program,
    /// whose threads to come inherit it.
    ///
    /// # Errors
    /// There are not two processors.
    pub(crate) fn apart(&self, other: &Self) -> Result<(), Error> {
        let [own, shared] = affinity::two()?;
        for node in &self.nodes {
            affinity::pin(node.id(), own)?;
        }
        let others = other.nodes.iter().map(Weir::id);
        let rest = [self.control.id(), other.control.id(), std::process::id()];
        others.chain(rest).try_for_each(|id| affinity::pin(id, shared))
    }

    /// A connection to control.
    pub(crate) async fn control(&self) -> Result<Client, Error> {
        self.caller(self.control.at).await
    }

    /// A connection to another process of control.
    pub(crate) async fn caller(&self, control: SocketAddr) -> Result<Client, Error> {
        let client = Client::connect(control).await?;
        Ok(match self.token {
            Some(token) => client.with_token(token),
            None => client,
        })
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
