//! Control and any number of nodes that follow it, each a process of the real program: started,
//! killed and started again where they were, cut off, put to sleep. Every wait is bounded.

use super::control::NODE_TOKEN;
use super::{Answer, Control, Folder, Line, TextFile, Weir, until};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::ops::Deref;

/// Control, as which it can be called, and its nodes, by name.
pub(crate) struct Topology {
    name: String,
    control: Control,
    nodes: BTreeMap<String, Member>,
}

/// A node, running or not.
struct Member {
    weir: Option<Weir>,
    config: TextFile,
    line: Line,
    /// Its `node.state`.
    state: Folder,
}

/// What a node is to be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    tier: &'static str,
    region: String,
    origins: Vec<String>,
    node: String,
    tables: String,
    site: String,
}

impl Spec {
    /// An edge in front of `origin`.
    pub(crate) fn edge(origin: &str) -> Self {
        let (region, origins) = ("default".to_owned(), vec![origin.to_owned()]);
        let (node, tables, site) = (String::new(), String::new(), String::new());
        Self { tier: "edge", region, origins, node, tables, site }
    }

    /// A parent in front of `origin`.
    pub(crate) fn parent(origin: &str) -> Self {
        Self { tier: "parent", ..Self::edge(origin) }
    }

    /// In this region.
    pub(crate) fn region(self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self }
    }

    /// Further keys of `[node]`, as TOML.
    pub(crate) fn node(mut self, toml: &str) -> Self {
        self.node.push_str(toml);
        self.node.push('\n');
        self
    }

    /// Further keys of `[control]`, then further tables, as TOML.
    pub(crate) fn tables(mut self, toml: &str) -> Self {
        self.tables.push_str(toml);
        self.tables.push('\n');
        self
    }

    /// In front of a further origin.
    pub(crate) fn origin(mut self, origin: &str) -> Self {
        self.origins.push(origin.to_owned());
        self
    }

    /// Further keys of the site, as TOML.
    pub(crate) fn site(mut self, toml: &str) -> Self {
        self.site.push_str(toml);
        self.site.push('\n');
        self
    }

    fn config(&self, name: &str, control: SocketAddr, state: &Folder) -> String {
        let Self { tier, region, origins, node, tables, site } = self;
        let mut text = format!("[node]\nname = \"{name}\"\ntier = \"{tier}\"\n");
        let state = state.path();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "region = \"{region}\"\nworkers = 1\nstate = \"{state}\"\n{node}\
             [control]\nurl = \"http://{control}\"\ntoken = \"{NODE_TOKEN}\"\n{tables}\n\
             [[site]]\nid = \"site\"\norigins = {origins:?}\n{site}"
        );
        text
    }
}

impl Topology {
    /// Control without a node.
    pub(crate) fn start(name: &str) -> Self {
        Self::with(name, "")
    }

    /// The same, with further keys of `[control]`.
    pub(crate) fn with(name: &str, keys: &str) -> Self {
        let (name, control) = (name.to_owned(), Control::with(name, keys));
        Self { name, control, nodes: BTreeMap::new() }
    }

    /// Ends control as a crash does.
    pub(crate) fn kill_control(&mut self) {
        self.control.kill();
    }

    /// Starts control again where it was.
    pub(crate) fn start_control(&mut self) {
        self.control.start_again();
    }

    /// Starts a node; returns when control sees it.
    pub(crate) fn add(&mut self, name: &str, spec: &Spec) {
        let line = Line::to(self.at());
        let file = format!("{}-{name}.toml", self.name);
        let state = Folder::new(&format!("{}-{name}-state", self.name));
        let config = TextFile::new(&file, &spec.config(name, line.at(), &state));
        self.nodes.insert(name.to_owned(), Member { weir: None, config, line, state });
        self.start_node(name);
    }

    /// Writes a node's configuration anew; it takes it with a reload or when it starts.
    pub(crate) fn reconfigure(&self, name: &str, spec: &Spec) {
        let member = &self.nodes[name];
        member.config.write(&spec.config(name, member.line.at(), &member.state));
    }

    /// Starts a node that was killed; returns when control sees it and it is ready.
    pub(crate) fn start_node(&mut self, name: &str) {
        self.run_node(name);
        self.until_joined(name);
    }

    /// Starts a node that does not run; returns when it listens.
    pub(crate) fn run_node(&mut self, name: &str) {
        let member = self.nodes.get_mut(name).expect("a node of this name");
        assert!(member.weir.is_none(), "{name} runs");
        member.weir = Some(Weir::serve(&["--config", member.config.path()]));
    }

    /// Waits until control sees a node, and the node was let in and is ready. Control sees it from
    /// its hello on: what control's answer means for what is stored, the node knows a little later.
    pub(crate) fn until_joined(&self, name: &str) {
        self.until_state(name, "connected");
        let node = self.node(name);
        let let_in = |metrics: &Answer| metrics.body.contains("\nweir_control_connected 1\n");
        until("it was let in", || node.json("GET /metrics", ""), let_in);
        node.until_ready();
    }

    /// The directory in which a node keeps its secret.
    pub(crate) fn state_of(&self, name: &str) -> &Folder {
        &self.nodes[name].state
    }

    /// Ends a node as a crash does.
    pub(crate) fn kill_node(&mut self, name: &str) {
        let member = self.nodes.get_mut(name).expect("a node of this name");
        member.weir.take().expect("it runs").kill();
    }

    /// Has a node leave; returns its exit status.
    pub(crate) fn drain_node(&mut self, name: &str) -> Option<i32> {
        let member = self.nodes.get_mut(name).expect("a node of this name");
        let weir = member.weir.take().expect("it runs");
        weir.signal(Signal::TERM);
        weir.exit_status()
    }

    /// Has a new process take over from a node that has `node.state`; returns the old process,
    /// which ends by itself.
    pub(crate) fn take_over_node(&mut self, name: &str) -> Weir {
        let member = self.nodes.get_mut(name).expect("a node of this name");
        let new = Weir::serve(&["--config", member.config.path(), "--takeover"]);
        member.weir.replace(new).expect("it runs")
    }

    /// Has a new process take over from control; returns the old process, which ends by itself.
    pub(crate) fn take_over_control(&mut self) -> Weir {
        self.control.take_over()
    }

    /// A running node.
    pub(crate) fn node(&self, name: &str) -> &Weir {
        self.nodes[name].weir.as_ref().expect("it runs")
    }

    /// The line between a node and control.
    pub(crate) fn line(&self, name: &str) -> &Line {
        &self.nodes[name].line
    }

    /// The names of all nodes, running or not.
    pub(crate) fn names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }
}

impl Deref for Topology {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}
