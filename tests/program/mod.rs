//! The real `weir` program, run by tests: started on ports that the system chooses, read until it
//! says where it listens, and stopped when dropped. Every wait is bounded by [`PATIENCE`].

#![allow(dead_code, reason = "each test file uses its part")]

mod certificates;
mod control;
mod etcd;
mod line;
mod lone;
mod port;
mod shared;
mod topology;

#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use certificates::Certificates;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use control::{ADMIN_TOKEN, Control, NODE_TOKEN, call};
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use etcd::{Etcd, etcdctl};
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use line::Line;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use lone::Lone;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use port::lasting_address;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use shared::Shared;
#[allow(unused_imports, reason = "each test file uses its part")]
pub(crate) use topology::{Spec, Topology};

use rustix::process::Signal;
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running `weir serve` or `weir control`.
pub(crate) struct Weir {
    child: Option<Child>,
    lines: Receiver<String>,
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// Where they connect with TLS, if it listens there.
    pub(crate) listen_tls: Option<SocketAddr>,
    /// Where control listens.
    pub(crate) admin: SocketAddr,
}

impl Weir {
    /// `weir serve --origin ORIGIN`.
    pub(crate) fn in_front_of(origin: &str) -> Self {
        Self::serve(&["--origin", origin])
    }

    /// `weir serve` with these arguments, on ports that the system chooses.
    pub(crate) fn serve(arguments: &[&str]) -> Self {
        Self::begin_to_serve(arguments).serving()
    }

    /// The same, with these variables.
    pub(crate) fn serve_with(arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = program();
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(arguments).envs(variables.iter().copied());
        Self::run_by(command).serving()
    }

    /// The same, not waiting for it to listen.
    pub(crate) fn begin_to_serve(arguments: &[&str]) -> Self {
        let ports = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        Self::start(&[&ports[..], arguments].concat())
    }

    /// Once it says where it listens.
    pub(crate) fn serving(mut self) -> Self {
        let rows = self.lines_until("admin");
        let listens = |scheme: &str| {
            let row = rows.iter().find(|row| row.contains("listen") && row.contains(scheme))?;
            row.rsplit(scheme).next()?.trim().parse().ok()
        };
        self.listen = listens("http://").unwrap_or_else(|| panic!("no address in {rows:?}"));
        self.listen_tls = listens("https://");
        self.admin = address_in(&rows[rows.len() - 1]);
        self
    }

    /// `weir control`, listening there, with this configuration.
    pub(crate) fn control_at(listen: &str, config: &TextFile) -> Self {
        Self::control_with(&["--listen", listen], config)
    }

    /// The same with these arguments.
    pub(crate) fn control_with(arguments: &[&str], config: &TextFile) -> Self {
        let all = [&["control", "--config", config.path()], arguments].concat();
        let mut weir = Self::start(&all);
        weir.admin = weir.announced("control");
        weir
    }

    /// The same with a standard output that is the test's to read, or not to read.
    pub(crate) fn serve_with_output(arguments: &[&str]) -> (Self, ChildStdout) {
        let ports = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
        let mut command = program();
        command.args(ports).args(arguments).stdout(Stdio::piped());
        let mut weir = Self::run_by(command).serving();
        let child = weir.child.as_mut().expect("it runs");
        let output = child.stdout.take().expect("its standard output is piped");
        (weir, output)
    }

    /// `weir demo` with these arguments, and what it prints once it runs.
    pub(crate) fn demo(arguments: &[&str]) -> (Self, Vec<String>) {
        let mut command = program();
        command.arg("demo").args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let lines = lines_of(child.stdout.take().expect("its standard output is piped"));
        let mut demo = Self::of(child, lines);
        let mut printed = vec![demo.next_line()];
        while !printed.iter().any(|line| line.starts_with("Press Ctrl-C")) {
            printed.push(demo.next_line());
        }
        let at = |name: &str| {
            let line = printed.iter().find(|line| line.starts_with(name)).expect("a line for it");
            let address = line.split("http://").nth(1).and_then(|rest| rest.split(' ').next());
            address.expect("an address").parse().expect("an address")
        };
        (demo.admin, demo.listen) = (at("control "), at("edge-eu-west "));
        (demo, printed)
    }

    fn start(arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(arguments);
        Self::run_by(command)
    }

    /// By this command, which may do something first.
    pub(crate) fn run_by(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let lines = lines_of(child.stderr.take().expect("its standard error is piped"));
        Self::of(child, lines)
    }

    fn of(child: Child, lines: Receiver<String>) -> Self {
        let unbound = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { child: Some(child), lines, listen: unbound, listen_tls: None, admin: unbound }
    }

    /// Until it is ready.
    pub(crate) fn until_ready(&self) {
        until("it is ready", || self.json("GET /readyz", ""), |answer| answer.status == 200);
    }

    /// Ends it without a word, and returns once it is gone.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    fn announced(&self, what: &str) -> SocketAddr {
        address_in(&self.until_line(what))
    }

    fn next_line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line in time")
    }

    /// The next line of its log that contains `part`.
    pub(crate) fn until_line(&self, part: &str) -> String {
        self.lines_until(part).pop().expect("at least that line")
    }

    /// The next lines of its log, up to the first that contains `part`.
    pub(crate) fn lines_until(&self, part: &str) -> Vec<String> {
        let end = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    seen.push(line);
                    if seen.last().is_some_and(|line| line.contains(part)) {
                        return seen;
                    }
                }
                Err(_) => panic!("no line with {part:?}; there were {seen:#?}"),
            }
        }
    }

    /// The rest of its log, once it was told to end.
    pub(crate) fn rest_of_log(&self) -> Vec<String> {
        std::iter::from_fn(|| self.lines.recv_timeout(PATIENCE).ok()).collect()
    }

    /// The URL of its control.
    pub(crate) fn control(&self) -> String {
        format!("http://{}", self.admin)
    }

    /// Sends it a signal. One that stops it has stopped all of its threads on return.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = rustix::process::Pid::from_child(child);
        rustix::process::kill_process(pid, signal).expect("it is there");
        if signal == Signal::STOP {
            let stopped = |states: &Vec<char>| states.iter().all(|state| *state == 'T');
            until("it stops", || thread_states(child.id()), stopped);
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Whether it runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.as_mut().expect("it was started").try_wait().expect("it can be asked").is_none()
    }

    /// Its exit status, once it ends by itself.
    pub(crate) fn exit_status(mut self) -> Option<i32> {
        let mut child = self.child.take().expect("it runs");
        within_patience(move || child.wait()).expect("it can be waited for").code()
    }

    /// Runs a client command against its control.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        run(arguments, &[("WEIR_CONTROL", &self.control())])
    }

    /// One call of its control, on a connection of its own, with exactly these fields beside
    /// Content-Length and Connection.
    pub(crate) fn call(&self, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        exchange(self.admin, line, fields, body)
    }

    /// A call as a program on this machine makes it.
    pub(crate) fn json(&self, line: &str, body: &str) -> Answer {
        self.call(line, &[("Host", "localhost"), ("Content-Type", "application/json")], body)
    }

    /// A request of a client without a body.
    pub(crate) fn ask(&self, line: &str, fields: &[(&str, &str)]) -> Answer {
        exchange(self.listen, line, fields, "")
    }

    /// GET of a client.
    pub(crate) fn get(&self, path: &str) -> Answer {
        get(self.listen, path)
    }
}

/// The address of a row that says where something listens.
fn address_in(row: &str) -> SocketAddr {
    let address = row.rsplit("http://").next().expect("a rest");
    address.trim().parse().unwrap_or_else(|_| panic!("no address in {row:?}"))
}

impl Drop for Weir {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A command that ran to its end.
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program with these arguments and variables.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = program();
    command.args(arguments).envs(variables.iter().copied());
    let output = within_patience(move || command.output()).expect("the program runs");
    Ran {
        status: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Begins to run the program with these arguments; what it says is not kept.
pub(crate) fn spawn(arguments: &[&str]) -> Child {
    let mut command = program();
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program runs")
}

/// The program, to be run.
fn program() -> Command {
    unconfigured(Command::new(env!("CARGO_BIN_EXE_weir")))
}

/// A command with nothing of the surroundings that would configure the program.
pub(crate) fn unconfigured(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("WEIR_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The states of the threads of a process, as proc(5) names them.
fn thread_states(pid: u32) -> Vec<char> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it is there");
    // One that ends meanwhile has no state.
    let stats =
        threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("stat")).ok());
    stats.filter_map(|stat| stat.rsplit(") ").next()?.chars().next()).collect()
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {:?}", self.body))
    }
}

/// GET of a client of the node that listens at `listen`.
pub(crate) fn get(listen: SocketAddr, path: &str) -> Answer {
    exchange(listen, &format!("GET {path}"), &[("Host", "example.com")], "")
}

fn exchange(to: SocketAddr, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    try_exchange(to, line, fields, body).unwrap_or_else(|why| panic!("no answer to {line}: {why}"))
}

/// One exchange with who may not be there, or may break off.
///
/// # Errors
/// Nothing that is an answer came.
pub(crate) fn try_exchange(
    to: SocketAddr,
    line: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
    for (name, value) in fields {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    // It may refuse by the head alone and close; the answer is there all the same.
    let _ = stream.write_all(body.as_bytes());
    let mut answer = Vec::new();
    let mut part = [0; 65_536];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no status in {head:?}")))?;
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Looks again and again until what is seen `holds`, and returns it. Fails with what was seen last.
pub(crate) fn until<T: Debug>(
    what: &str,
    mut look: impl FnMut() -> T,
    holds: impl Fn(&T) -> bool,
) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if holds(&seen) {
            return seen;
        }
        assert!(Instant::now() < end, "not in time: {what}; seen last: {seen:#?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory of its own, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("weir-{}-{name}", std::process::id())));
        std::fs::create_dir_all(&folder.0).expect("the directory can be made");
        folder
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file of its own, removed when dropped.
pub(crate) struct TextFile(PathBuf);

impl TextFile {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        // Tests of one process run at once, and may use one name.
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-{}-{number}-{name}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(text);
        file
    }

    pub(crate) fn write(&self, text: &str) {
        std::fs::write(&self.0, text).expect("the file can be written");
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for TextFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What `work` returns, if it does in time.
pub(crate) fn within_patience<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    std::thread::spawn(move || done.send(work()));
    result.recv_timeout(PATIENCE).expect("done in time")
}

fn lines_of(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
