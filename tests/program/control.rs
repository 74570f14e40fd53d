//! Control, a process of the real program: started, killed and started again where it was, and
//! called as its operator calls it. Every wait is bounded.

use super::{Answer, Folder, Ran, TextFile, Weir, lasting_address, run, try_exchange, until};
use serde_json::Value;
use std::net::SocketAddr;

/// What nodes show at control.
pub(crate) const NODE_TOKEN: &str = "nnnnnnnnnnnnnnnn";

/// What the operator shows at control.
pub(crate) const ADMIN_TOKEN: &str = "aaaaaaaaaaaaaaaa";

/// Control, running or not.
pub(crate) struct Control {
    weir: Option<Weir>,
    at: SocketAddr,
    config: TextFile,
    data: Folder,
}

impl Control {
    /// Control with further keys of `[control]`, as TOML.
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
        let weir = Weir::control_at(&lasting_address().to_string(), &config);
        Self { at: weir.admin, weir: Some(weir), config, data }
    }

    /// Where it listens, or did when it ran.
    pub(crate) fn at(&self) -> SocketAddr {
        self.at
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    /// Its process.
    pub(crate) fn weir(&self) -> &Weir {
        self.weir.as_ref().expect("control runs")
    }

    /// Its configuration.
    pub(crate) fn config(&self) -> &TextFile {
        &self.config
    }

    /// Where it keeps the log.
    pub(crate) fn data(&self) -> &str {
        self.data.path()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.weir.take().expect("control runs").kill();
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        assert!(self.weir.is_none(), "control runs");
        self.weir = Some(Weir::control_at(&self.at.to_string(), &self.config));
    }

    /// Has a new process take over; returns the old one, which ends by itself.
    pub(crate) fn take_over(&mut self) -> Weir {
        let at = self.at.to_string();
        let new = Weir::control_with(&["--listen", &at, "--takeover"], &self.config);
        self.weir.replace(new).expect("control runs")
    }

    /// Runs a client command against it as its operator does.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let [control, token] = &self.operator();
        run(arguments, &[(control.0, &control.1), (token.0, &token.1)])
    }

    /// The variables by which an operator's commands find control and are let in.
    pub(crate) fn operator(&self) -> [(&'static str, String); 2] {
        [("WEIR_CONTROL", self.url()), ("WEIR_TOKEN", ADMIN_TOKEN.to_owned())]
    }

    /// A call as its operator makes it.
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
        until("the purge is completed", || self.told(id), |told| told["status"] == "completed")
    }

    /// Waits until control tells of a node that it is in this state.
    pub(crate) fn until_state(&self, name: &str, state: &str) {
        let line = format!("GET /v1/nodes/{name}");
        let node = || self.call(&line, "").json();
        until(&format!("{name} is {state}"), node, |node| node["state"] == state);
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
