//! Processes of control over one log in etcd, and nodes that follow them.

use super::{
    ADMIN_TOKEN, Answer, Etcd, Folder, NODE_TOKEN, TextFile, Weir, call, lasting_address, until,
};
use serde_json::Value;
use std::cell::Cell;
use std::net::SocketAddr;

/// Processes of control over one log.
pub(crate) struct Shared {
    controls: Vec<Process>,
    name: String,
    state: Folder,
}

struct Process {
    weir: Option<Weir>,
    at: SocketAddr,
    config: TextFile,
}

impl Shared {
    /// So many processes, once one of them is the writer.
    pub(crate) fn start(name: &str, etcd: &Etcd, count: usize) -> Self {
        let endpoints: Vec<_> = (0..count).map(|_| etcd.endpoints()).collect();
        Self::start_at(name, &endpoints, "")
    }

    /// One process for each list of endpoints, as TOML, with further keys of `[control]`.
    pub(crate) fn start_at(name: &str, endpoints: &[String], keys: &str) -> Self {
        let shared = Self::begin(name, endpoints, keys, "");
        shared.writer();
        shared
    }

    /// The same with further keys of `[control.etcd]`, too, whether or not one of them is the writer.
    pub(crate) fn begin(name: &str, endpoints: &[String], keys: &str, of_etcd: &str) -> Self {
        let process = |(number, endpoints): (usize, &String)| {
            let config = format!(
                "[control]\nlog = \"etcd\"\nrate = 1000000\n{keys}\n\
                 [control.etcd]\nendpoints = {endpoints}\n{of_etcd}\n\
                 [[token]]\nname = \"nodes\"\nsecret = \"{NODE_TOKEN}\"\nscopes = [\"node\"]\n\
                 [[token]]\nname = \"me\"\nsecret = \"{ADMIN_TOKEN}\"\n\
                 scopes = [\"purge\", \"read\", \"admin\"]\n",
            );
            let config = TextFile::new(&format!("{name}-control-{number}.toml"), &config);
            let weir = Weir::control_at(&lasting_address().to_string(), &config);
            Process { at: weir.admin, weir: Some(weir), config }
        };
        let controls = endpoints.iter().enumerate().map(process).collect();
        let state = Folder::new(&format!("{name}-state"));
        Self { controls, name: name.to_owned(), state }
    }

    /// Where a process listens, or did when it ran.
    pub(crate) fn at(&self, number: usize) -> SocketAddr {
        self.controls[number].at
    }

    /// Its process.
    pub(crate) fn weir(&self, number: usize) -> &Weir {
        self.controls[number].weir.as_ref().expect("it runs")
    }

    /// Ends a process as a crash does.
    pub(crate) fn kill(&mut self, number: usize) {
        self.controls[number].weir.take().expect("it runs").kill();
    }

    /// Starts a process again where it was.
    pub(crate) fn start_again(&mut self, number: usize) {
        let process = &mut self.controls[number];
        process.weir = Some(Weir::control_at(&process.at.to_string(), &process.config));
    }

    /// Whether a process says that it is the writer.
    pub(crate) fn is_writer(&self, number: usize) -> bool {
        let metrics = call(self.at(number), "GET /metrics", "");
        metrics.is_ok_and(|answer| answer.body.contains("\nweir_control_is_writer 1\n"))
    }

    /// The process that is the writer, among those that run.
    pub(crate) fn writer(&self) -> usize {
        let runs = |number: &usize| self.controls[*number].weir.is_some();
        let find = || (0..self.controls.len()).filter(runs).find(|number| self.is_writer(*number));
        until("there is a writer", find, Option::is_some).expect("just seen")
    }

    /// A process that runs and is not the writer.
    pub(crate) fn standby(&self) -> usize {
        let writer = self.writer();
        let runs = |number: &usize| self.controls[*number].weir.is_some();
        (0..self.controls.len()).filter(runs).find(|number| *number != writer).expect("another one")
    }

    /// A call of one process, as its operator makes it.
    pub(crate) fn call(&self, number: usize, line: &str, body: &str) -> Answer {
        call(self.at(number), line, body).unwrap_or_else(|why| panic!("no answer to {line}: {why}"))
    }

    /// Purges at one process.
    pub(crate) fn purge(&self, number: usize, body: &Value) -> Answer {
        self.call(number, "POST /v1/purges", &body.to_string())
    }

    /// All purges that a process lists, up to a thousand, once it does.
    pub(crate) fn listed(&self, number: usize) -> Vec<Value> {
        let list = || self.call(number, "GET /v1/purges?limit=1000", "");
        let listed = until("it lists purges", list, |answer| answer.status == 200).json();
        listed["purges"].as_array().expect("a list").clone()
    }

    /// A node that tries these processes in turn, once it has joined.
    pub(crate) fn node(&self, name: &str, origin: &str, controls: &[usize]) -> Weir {
        self.node_with(name, origin, controls, "")
    }

    /// The same, with further keys of `[control]`.
    pub(crate) fn node_with(
        &self,
        name: &str,
        origin: &str,
        controls: &[usize],
        keys: &str,
    ) -> Weir {
        self.node_of("edge", name, origin, controls, keys)
    }

    /// A parent that tries these processes in turn, once it has joined.
    pub(crate) fn parent(&self, name: &str, origin: &str, controls: &[usize]) -> Weir {
        self.node_of("parent", name, origin, controls, "")
    }

    fn node_of(
        &self,
        tier: &str,
        name: &str,
        origin: &str,
        controls: &[usize],
        keys: &str,
    ) -> Weir {
        let urls = controls.iter().map(|number| format!("\"http://{}\"", self.at(*number)));
        let urls = urls.collect::<Vec<_>>().join(", ");
        let state = format!("{}/{name}", self.state.path());
        let config = format!(
            "[node]\nname = \"{name}\"\ntier = \"{tier}\"\nworkers = 1\nstate = {state:?}\n\
             [control]\nurl = [{urls}]\ntoken = \"{NODE_TOKEN}\"\n{keys}\n\
             [[site]]\nid = \"site\"\norigins = [{origin:?}]\n"
        );
        let config = TextFile::new(&format!("{}-{name}.toml", self.name), &config);
        let node = Weir::serve(&["--config", config.path()]);
        self.until_state(name, "connected");
        node
    }

    /// Waits until control tells of a node that it is in this state.
    pub(crate) fn until_state(&self, name: &str, state: &str) {
        let line = format!("GET /v1/nodes/{name}");
        let node = || call(self.at(self.writer()), &line, "").ok().map(|answer| answer.json());
        let is_so = |node: &Option<Value>| node.as_ref().is_some_and(|node| node["state"] == state);
        until(&format!("{name} is {state}"), node, is_so);
    }

    /// Purges at one process until it says that it is durable; returns what it told of it then, and how
    /// often it was refused before.
    pub(crate) fn purge_until_taken(&self, number: usize, body: &Value) -> (Value, usize) {
        let attempts = Cell::new(0);
        let purged = || {
            attempts.set(attempts.get() + 1);
            let answer = call(self.at(number), "POST /v1/purges", &body.to_string());
            answer.ok().filter(|answer| [200, 202].contains(&answer.status))
        };
        let answer = until("the purge is taken", purged, Option::is_some);
        (answer.expect("just seen").json(), attempts.get() - 1)
    }

    /// Waits until every expected node applied a purge; returns what a process tells of it then.
    pub(crate) fn until_completed(&self, number: usize, id: &Value) -> Value {
        let line = format!("GET /v1/purges/{}", id.as_str().expect("an id"));
        let told = || call(self.at(number), &line, "").ok().map(|answer| answer.json());
        let completed =
            |told: &Option<Value>| told.as_ref().is_some_and(|told| told["status"] == "completed");
        until("the purge is completed", told, completed).expect("just seen")
    }
}
