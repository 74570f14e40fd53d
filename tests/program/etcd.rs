//! A cluster of etcd: real processes of the program in the path, whose data are gone with it.

use super::{
    Certificates, Folder, lasting_address, try_exchange, unconfigured, until, within_patience,
};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// A cluster, whose members run or not.
pub(crate) struct Etcd {
    members: Vec<Member>,
    token: String,
    /// What its members and its clients show each other; `None` speaks in the clear.
    certificates: Option<Certificates>,
}

struct Member {
    child: Option<Child>,
    client: SocketAddr,
    peer: SocketAddr,
    data: Folder,
    arguments: Vec<String>,
}

impl Etcd {
    /// Whether the program is installed; says so if it is not.
    pub(crate) fn is_installed() -> bool {
        let ran = Command::new("etcd").arg("--version").stdout(Stdio::null()).status();
        let is_installed = ran.is_ok_and(|status| status.success());
        if !is_installed {
            println!("skipped: etcd is not installed (Debian: etcd-server, etcd-client)");
        }
        is_installed
    }

    /// So many members, once all of them answer.
    pub(crate) fn start(name: &str, members: usize) -> Self {
        Self::start_with(name, members, &[])
    }

    /// The same with further arguments of each member.
    pub(crate) fn start_with(name: &str, members: usize, arguments: &[&str]) -> Self {
        Self::start_as(name, members, arguments, None)
    }

    /// So many members that speak TLS only, to clients that show a certificate of the same authority.
    pub(crate) fn start_with_tls(
        name: &str,
        members: usize,
        arguments: &[&str],
        certificates: Certificates,
    ) -> Self {
        let (ca, chain, key) =
            (certificates.ca(), certificates.chain("server"), certificates.key("server"));
        let tls = ["--client-cert-auth", "--trusted-ca-file", &ca];
        let shown = ["--cert-file", &chain, "--key-file", &key];
        let arguments = [&tls[..], &shown, arguments].concat();
        Self::start_as(name, members, &arguments, Some(certificates))
    }

    fn start_as(
        name: &str,
        members: usize,
        arguments: &[&str],
        certificates: Option<Certificates>,
    ) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let member = |number| Member {
            child: None,
            client: lasting_address(),
            peer: lasting_address(),
            data: Folder::new(&format!("{name}-etcd-{number}")),
            arguments: arguments.clone(),
        };
        let mut cluster = Self {
            members: (0..members).map(member).collect(),
            token: format!("{name}-1"),
            certificates,
        };
        (0..members).for_each(|number| cluster.start_member(number));
        cluster.until_healthy();
        cluster
    }

    /// Where clients reach a member.
    pub(crate) fn at(&self, number: usize) -> SocketAddr {
        self.members[number].client
    }

    /// The URLs of all members, as TOML.
    pub(crate) fn endpoints(&self) -> String {
        let urls = self.members.iter().map(|member| format!("\"{}\"", self.url(member)));
        format!("[{}]", urls.collect::<Vec<_>>().join(", "))
    }

    fn url(&self, member: &Member) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", member.client)
    }

    /// The files that its clients are to know.
    pub(crate) fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("it speaks TLS")
    }

    /// Whether a process is the writer of the log below `/weir/`.
    pub(crate) fn has_writer(&self) -> bool {
        // "/weir/writer" in base64.
        let body = r#"{"key":"L3dlaXIvd3JpdGVy"}"#;
        let answer = try_exchange(self.at(0), "POST /v3/kv/range", &[("Host", "etcd")], body);
        answer.is_ok_and(|answer| answer.json()["count"] == "1")
    }

    /// How many batches of entries the log below `/weir/` has.
    pub(crate) fn batches(&self) -> u64 {
        // From "/weir/entries/" to before "/weir/entries0", in base64.
        let body = r#"{"key":"L3dlaXIvZW50cmllcy8=","range_end":"L3dlaXIvZW50cmllczA=","count_only":true}"#;
        let answer = try_exchange(self.at(0), "POST /v3/kv/range", &[("Host", "etcd")], body);
        let count = answer.expect("an answer").json()["count"].clone();
        count.as_str().map_or(0, |count| count.parse().expect("a number"))
    }

    /// Runs etcd's client for this cluster, by someone with these further arguments.
    pub(crate) fn ctl(&self, arguments: &[&str]) {
        etcdctl(&self.named(arguments));
    }

    /// The same, with a file on its standard input.
    pub(crate) fn ctl_reading(&self, file: &str, arguments: &[&str]) {
        run_etcdctl(&self.named(arguments), File::open(file).expect("the file").into());
    }

    fn named(&self, arguments: &[&str]) -> Vec<String> {
        let urls: Vec<_> = self.members.iter().map(|member| self.url(member)).collect();
        let mut all = vec!["--endpoints".to_owned(), urls.join(",")];
        if let Some(certificates) = &self.certificates {
            all.extend(["--cacert".to_owned(), certificates.ca()]);
            all.extend(["--cert".to_owned(), certificates.chain("client")]);
            all.extend(["--key".to_owned(), certificates.key("client")]);
        }
        all.extend(arguments.iter().map(|text| (*text).to_owned()));
        all
    }

    /// Starts a member that does not run.
    pub(crate) fn start_member(&mut self, number: usize) {
        let cluster = self.initial_cluster();
        let client = self.url(&self.members[number]);
        let member = &mut self.members[number];
        assert!(member.child.is_none(), "the member runs");
        let peer = format!("http://{}", member.peer);
        let mut command = unconfigured(Command::new("etcd"));
        command.args(["--name", &format!("m{number}"), "--data-dir", member.data.path()]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &cluster, "--initial-cluster-token", &self.token]);
        command.args(["--initial-cluster-state", "new", "--logger", "zap", "--log-level", "error"]);
        command.args(&member.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        member.child = Some(command.spawn().expect("etcd starts"));
    }

    /// Waits until each member that runs answers with a quorum behind it.
    pub(crate) fn until_healthy(&self) {
        if self.certificates.is_some() {
            self.ctl(&["--command-timeout", "20s", "endpoint", "health"]);
            return;
        }
        for member in self.members.iter().filter(|member| member.child.is_some()) {
            let line = "POST /v3/kv/range";
            let ask =
                || try_exchange(member.client, line, &[("Host", "etcd")], "{\"key\":\"YQ==\"}");
            let answers = |answer: &std::io::Result<super::Answer>| {
                answer.as_ref().is_ok_and(|answer| answer.status == 200)
            };
            drop(until("etcd answers", ask, answers));
        }
    }

    /// Ends a member as a crash does.
    pub(crate) fn kill(&mut self, number: usize) {
        let mut child = self.members[number].child.take().expect("the member runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// Sends a member a signal.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        let child = self.members[number].child.as_ref().expect("the member runs");
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).expect("it is there");
    }

    /// The member that leads.
    pub(crate) fn leader(&self) -> usize {
        let status = |member: &Member| {
            member.child.as_ref()?;
            let line = "POST /v3/maintenance/status";
            let answer = try_exchange(member.client, line, &[("Host", "etcd")], "{}").ok()?;
            let status: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
            let own = status["header"]["member_id"].clone();
            (status["leader"].is_string() && status["leader"] == own).then_some(())
        };
        let leader = || self.members.iter().position(|member| status(member).is_some());
        until("etcd has a leader", leader, Option::is_some).expect("just seen")
    }

    /// Saves a snapshot.
    pub(crate) fn save(&self, to: &str) {
        let endpoint = format!("http://{}", self.members[0].client);
        etcdctl(&["--endpoints", &endpoint, "snapshot", "save", to]);
    }

    /// Restores the only member from a snapshot, as its operator does.
    pub(crate) fn restore(&mut self, from: &str, token: &str) {
        self.kill(0);
        self.token = token.to_owned();
        let (cluster, member) = (self.initial_cluster(), &self.members[0]);
        std::fs::remove_dir_all(member.data.path()).expect("it is there");
        let peer = format!("http://{}", member.peer);
        etcdctl(&[
            "snapshot",
            "restore",
            from,
            "--name",
            "m0",
            "--data-dir",
            member.data.path(),
            "--initial-cluster",
            &cluster,
            "--initial-cluster-token",
            token,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        self.start_member(0);
        self.until_healthy();
    }

    fn initial_cluster(&self) -> String {
        let member =
            |(number, member): (usize, &Member)| format!("m{number}=http://{}", member.peer);
        self.members.iter().enumerate().map(member).collect::<Vec<_>>().join(",")
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|member| member.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs etcd's client to its end.
pub(crate) fn etcdctl<T: AsRef<OsStr>>(arguments: &[T]) {
    run_etcdctl(arguments, Stdio::null());
}

fn run_etcdctl<T: AsRef<OsStr>>(arguments: &[T], input: Stdio) {
    let mut command = unconfigured(Command::new("etcdctl"));
    command.env("ETCDCTL_API", "3").args(arguments).stdin(input);
    let output = within_patience(move || command.output()).expect("etcdctl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
