//! Control and any number of nodes that follow it, each a process of the real program: started,
//! killed and started again where they were, cut off, put to sleep. Every wait is bounded.

use super::{Answer, Folder, Line, Ran, TextFile, Weir, run, try_exchange, until_seen};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

const NODE_TOKEN: &str = "nnnnnnnnnnnnnnnn";
const ADMIN_TOKEN: &str = "aaaaaaaaaaaaaaaa";

/// Control and its nodes, by name.
pub(crate) struct Topology {
    name: String,
    control: Option<Weir>,
    at: SocketAddr,
    config: TextFile,
    data: Folder,
    nodes: BTreeMap<String, Member>,
}

/// A node, running or not.
struct Member {
    weir: Option<Weir>,
    config: TextFile,
    line: Line,
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

    fn config(&self, name: &str, control: SocketAddr) -> String {
        let Self { tier, region, origins, node, tables, site } = self;
        let mut text = format!("[node]\nname = \"{name}\"\ntier = \"{tier}\"\n");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "region = \"{region}\"\nworkers = 1\n{node}\
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
        let data = Folder::new(name);
        let config = format!(
            "[control]\ndata = {:?}\nrate = 1000000\n{keys}\n\
             [[token]]\nname = \"nodes\"\nsecret = \"{NODE_TOKEN}\"\nscopes = [\"node\"]\n\
             [[token]]\nname = \"me\"\nsecret = \"{ADMIN_TOKEN}\"\n\
             scopes = [\"purge\", \"read\", \"admin\"]\n",
            data.path()
        );
        let config = TextFile::new(&format!("{name}-control.toml"), &config);
        let control = Weir::control_at("127.0.0.1:0", &config);
        let (at, name) = (control.admin, name.to_owned());
        Self { name, control: Some(control), at, config, data, nodes: BTreeMap::new() }
    }

    /// Where control listens, or did when it ran.
    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Where control keeps the log.
    pub(crate) fn data(&self) -> &str {
        self.data.path()
    }

    /// Ends control as a crash does.
    pub(crate) fn kill_control(&mut self) {
        self.control.take().expect("control runs").kill();
    }

    /// Starts control again where it was.
    pub(crate) fn start_control(&mut self) {
        assert!(self.control.is_none(), "control runs");
        self.control = Some(Weir::control_at(&self.at.to_string(), &self.config));
    }

    /// Starts a node; returns when control sees it.
    pub(crate) fn add(&mut self, name: &str, spec: &Spec) {
        let line = Line::to(self.at);
        let file = format!("{}-{name}.toml", self.name);
        let config = TextFile::new(&file, &spec.config(name, line.at()));
        self.nodes.insert(name.to_owned(), Member { weir: None, config, line });
        self.start_node(name);
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
        until_seen("it was let in", || node.json("GET /metrics", ""), let_in);
        node.until_ready();
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

    /// Runs a client command against control as its operator does.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let [control, token] = &self.operator();
        run(arguments, &[(control.0, &control.1), (token.0, &token.1)])
    }

    /// The variables by which an operator's commands find control and are let in.
    pub(crate) fn operator(&self) -> [(&'static str, String); 2] {
        let control = format!("http://{}", self.at);
        [("WEIR_CONTROL", control), ("WEIR_TOKEN", ADMIN_TOKEN.to_owned())]
    }

    /// A call of control as its operator makes it.
    pub(crate) fn call(&self, line: &str, body: &str) -> Answer {
        call(self.at, line, body).unwrap_or_else(|why| panic!("no answer to {line}: {why}"))
    }

    /// Purges.
    pub(crate) fn purge(&self, body: &Value) -> Answer {
        self.call("POST /v1/purges", &body.to_string())
    }

    /// What control tells of a purge now.
    pub(crate) fn told(&self, id: &Value) -> Value {
        let id = id.as_str().expect("an id");
        self.call(&format!("GET /v1/purges/{id}"), "").json()
    }

    /// Waits until every expected node applied a purge; returns what control tells of it then.
    pub(crate) fn until_completed(&self, id: &Value) -> Value {
        let completed = |told: &Value| told["status"] == "completed";
        until_seen("the purge is completed", || self.told(id), completed)
    }

    /// Waits until control tells of a node that it is in this state.
    pub(crate) fn until_state(&self, name: &str, state: &str) {
        let line = format!("GET /v1/nodes/{name}");
        let what = format!("{name} is {state}");
        until_seen(&what, || self.call(&line, "").json(), |node: &Value| node["state"] == state);
    }

    /// All purges that control lists, in order.
    pub(crate) fn listed(&self) -> Vec<Value> {
        let mut listed = Vec::new();
        loop {
            let after =
                listed.last().map_or(0, |purge: &Value| purge["seq"].as_u64().expect("a seq"));
            let page = self.call(&format!("GET /v1/purges?after={after}&limit=1000"), "").json();
            let page = page["purges"].as_array().expect("a list").clone();
            if page.is_empty() {
                return listed;
            }
            listed.extend(page);
        }
    }
}

/// A call of control, which may not be there, as its operator makes it.
///
/// # Errors
/// Nothing that is an answer came.
pub(crate) fn call(control: SocketAddr, line: &str, body: &str) -> std::io::Result<Answer> {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let fields = [
        ("Host", "control"),
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    try_exchange(control, line, &fields, body)
}
