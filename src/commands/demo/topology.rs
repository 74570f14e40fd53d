//! The processes that a topology would have, in one: each node has its own listener, worker, store
//! and configuration, and follows the one control as it would from elsewhere.

use crate::commands::running::until_joined;
use crate::program::{Program, in_process};
use crate::settings::Settings;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weir_config::Config;
use weir_control::{Control, Gate, Process};
use weir_edge::node::Node;
use weir_origin_sim::{Builder, Origin, demo_site};

/// The host name under which visitors ask for the site, at whichever edge.
pub(super) const HOST: &str = "demo.example";

/// What control runs by: the log in memory, callers of this machine only.
pub(super) const CONTROL: &str = "[log]\nlevel = \"error\"\n\
     [limits]\nconnections = 1024\norigin_connections = 64\n\
     [[site]]\nid = \"demo\"\norigins = [\"http://127.0.0.1:7820\"]\n";

/// Ports that nothing well-known has; where one is taken all the same, the system chooses.
const CONTROL_PORT: u16 = 7800;
const ORIGIN_PORT: u16 = 7820;

/// How far away the origin is, so that it shows what a hit saves.
const ORIGIN_DELAY: Duration = Duration::from_millis(40);

/// Requests that the origin keeps in full.
const KEPT_REQUESTS: usize = 100;

/// A node as it is written down.
struct Spec {
    name: &'static str,
    tier: &'static str,
    region: &'static str,
    port: u16,
}

const PARENTS: [Spec; 2] = [
    Spec { name: "parent-eu", tier: "parent", region: "eu", port: 7811 },
    Spec { name: "parent-us", tier: "parent", region: "us", port: 7812 },
];

const EDGES: [Spec; 3] = [
    Spec { name: "edge-eu-west", tier: "edge", region: "eu", port: 7801 },
    Spec { name: "edge-us-east", tier: "edge", region: "us", port: 7802 },
    Spec { name: "edge-asia-se", tier: "edge", region: "asia", port: 7803 },
];

/// Origin, control, parents and edges, all ready.
pub(super) struct Topology {
    origin: Origin,
    control: Arc<Control>,
    control_at: SocketAddr,
    parents: Vec<Member>,
    edges: Vec<Member>,
    /// Ends control's listener.
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

/// A node that runs.
struct Member {
    spec: &'static Spec,
    node: Arc<Node>,
}

/// Something that listens, for people to read.
pub(super) struct Listening {
    /// Its name.
    pub(super) name: &'static str,
    /// Where.
    pub(super) at: SocketAddr,
    /// The port that it would have if that were free.
    pub(super) wanted: u16,
}

impl Topology {
    /// Starts all of it; every node has joined when this returns.
    ///
    /// # Errors
    /// What could not start, in words.
    pub(super) async fn start(config: Config, settings: Settings) -> Result<Self, String> {
        let origin = origin().await?;
        let (listener, control_at) = listener().await?;
        let (stop, stopping) = watch::channel(false);
        let process = Process::new(Program { node: None, settings }, config, stopping.clone());
        let control = Control::open(Arc::new(process))?;
        let router = weir_control::router(control.clone());
        let serving = tokio::spawn(weir_control::serve(listener, Gate::new(router), stopping));
        let here = Here { origin: origin.url(), control: control.clone() };
        let parents = here.nodes(&PARENTS, &[]).await?;
        let edges = here.nodes(&EDGES, &parents).await?;
        Ok(Self { origin, control, control_at, parents, edges, stop, serving })
    }

    /// Control, which reloads.
    pub(super) fn control(&self) -> Arc<Control> {
        self.control.clone()
    }

    /// Where control listens.
    pub(super) fn control_at(&self) -> SocketAddr {
        self.control_at
    }

    /// Where the edges listen.
    pub(super) fn edges(&self) -> Vec<SocketAddr> {
        self.edges.iter().map(|edge| edge.node.listen()).collect()
    }

    /// All that listens.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let (at, wanted) = (self.control_at, CONTROL_PORT);
        let control = Listening { name: "control", at, wanted };
        let origin = Listening { name: "origin", at: self.origin.addr(), wanted: ORIGIN_PORT };
        let nodes = self.edges.iter().chain(&self.parents).map(|member| {
            let Spec { name, port, .. } = *member.spec;
            Listening { name, at: member.node.listen(), wanted: port }
        });
        [control].into_iter().chain(nodes).chain([origin]).collect()
    }

    /// Ends all of it: those first that ask the others.
    pub(super) async fn end(self) {
        for tier in [&self.edges, &self.parents] {
            // They drain side by side; each on its own would add up their waits.
            let mut draining = tokio::task::JoinSet::new();
            for member in tier {
                let node = member.node.clone();
                draining.spawn(async move { node.drain().await });
            }
            draining.join_all().await;
        }
        // Fails only if no receiver is left, which is the goal.
        let _ = self.stop.send(true);
        let _ = self.serving.await;
        self.origin.stop().await;
    }
}

/// What every node of this process needs.
struct Here {
    origin: String,
    control: Arc<Control>,
}

impl Here {
    /// Starts a tier that asks `parents`; each node has joined when this returns.
    async fn nodes(
        &self,
        specs: &'static [Spec],
        parents: &[Member],
    ) -> Result<Vec<Member>, String> {
        let mut members = Vec::new();
        for spec in specs {
            let node = Arc::new(self.node(spec, parents)?);
            let here = Handle::current();
            node.follow(in_process(&self.control, &here), &here).map_err(|error| error.0)?;
            until_joined(&node).await?;
            members.push(Member { spec, node });
        }
        Ok(members)
    }

    /// Starts a node at its port; where that is taken, at one that the system chooses.
    fn node(&self, spec: &Spec, parents: &[Member]) -> Result<Node, String> {
        let start = |port| {
            let config = Config::from_toml(&spec.config(port, &self.origin, parents));
            let config = config.map_err(|mistakes| mistakes.to_string())?;
            Node::start(config).map_err(|error| error.0)
        };
        start(spec.port).or_else(|_| start(0)).map_err(|why| format!("{}: {why}", spec.name))
    }
}

impl Spec {
    /// What the node runs by.
    fn config(&self, port: u16, origin: &str, parents: &[Member]) -> String {
        let Self { name, tier, region, .. } = self;
        let mut urls = String::new();
        for parent in parents {
            let (at, region) = (parent.node.listen(), parent.spec.region);
            // Writing to a String cannot fail.
            let _ = write!(urls, "{{ url = \"http://{at}\", region = \"{region}\" }}, ");
        }
        format!(
            "[node]\nname = \"{name}\"\ntier = \"{tier}\"\nregion = \"{region}\"\n\
             listen = \"127.0.0.1:{port}\"\nworkers = 1\ndrain = \"1s\"\n\
             [memory]\nsize = \"32MiB\"\n\
             [parents]\nurls = [{urls}]\nscope = \"global\"\n\
             [[site]]\nid = \"demo\"\nhosts = [\"{HOST}\", \"*\"]\norigins = [\"{origin}\"]\n"
        )
    }
}

/// The demo site's origin.
async fn origin() -> Result<Origin, String> {
    let at = |port| {
        let builder = Builder::default().keep_requests(KEPT_REQUESTS);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        demo_site::at_a_distance(builder, ORIGIN_DELAY).listen(listen).bind()
    };
    match at(ORIGIN_PORT).await {
        Ok(origin) => Ok(origin),
        Err(_) => at(0).await.map_err(|error| format!("the origin: {error}")),
    }
}

/// Control's listener.
async fn listener() -> Result<(TcpListener, SocketAddr), String> {
    let at = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let bound = match at(CONTROL_PORT).await {
        Ok(listener) => Ok(listener),
        Err(_) => at(0).await,
    };
    let named = |error: std::io::Error| format!("control: {error}");
    let listener = bound.map_err(named)?;
    let at = listener.local_addr().map_err(named)?;
    Ok((listener, at))
}
