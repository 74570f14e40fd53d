//! A terminal that is closed while the program runs in it, and a log that nobody reads any more.

mod program;

use program::{TextFile, get, try_exchange, unconfigured, until, within_patience};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use weir_origin_sim::{Origin, held};

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:9";

/// A running program, with the end that its log is read from.
struct Running {
    child: Child,
    log: BufReader<File>,
    listen: SocketAddr,
    admin: SocketAddr,
}

/// `weir serve --origin ORIGIN` on ports that the system chooses.
fn serve(origin: &str) -> Vec<&str> {
    let ports = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    [&[env!("CARGO_BIN_EXE_weir"), "serve", "--origin", origin], &ports[..]].concat()
}

/// The two ends of a pseudo-terminal: the one of the window, and the one of programs.
fn terminal() -> (OwnedFd, OwnedFd) {
    // No program has the window's end, so that closing it here closes it.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let window = openpt(flags).expect("a pseudo-terminal");
    grantpt(&window).expect("it is granted");
    unlockpt(&window).expect("it is unlocked");
    let line = ioctl_tiocgptpeer(&window, flags).expect("its line");
    (window, line)
}

/// Runs a command that has all its streams on a terminal.
fn start(words: &[&str]) -> (Child, File) {
    let (window, line) = terminal();
    let stream = || Stdio::from(line.try_clone().expect("a copy of the line"));
    let mut command = unconfigured(Command::new(words[0]));
    command.args(&words[1..]).stdin(stream()).stdout(stream()).stderr(stream());
    (command.spawn().expect("it starts"), File::from(window))
}

fn exit_status(mut child: Child) -> Option<i32> {
    within_patience(move || child.wait()).expect("it can be waited for").code()
}

impl Running {
    /// Runs `weir serve` by these words: in a session of its own that a terminal controls, with all
    /// its streams there.
    fn in_a_terminal(words: &[&str]) -> Self {
        Self::in_a_session(&[&["setsid", "--ctty"], words].concat())
    }

    /// The same without such a session, if the words do not make one.
    fn in_a_session(words: &[&str]) -> Self {
        let (child, window) = start(words);
        Self::announced(child, BufReader::new(window))
    }

    /// Waits until it says where it listens.
    fn announced(child: Child, mut log: BufReader<File>) -> Self {
        let (log, listen, admin) = within_patience(move || {
            let listen = address(&mut log, "listen");
            let admin = address(&mut log, "admin");
            line_with(&mut log, "none configured");
            (log, listen, admin)
        });
        Self { child, log, listen, admin }
    }

    /// Closes the terminal, or whatever the log is read from.
    fn close(self) -> Closed {
        let Self { child, log, listen, admin } = self;
        drop(log);
        Closed { child, listen, admin }
    }

    /// Waits for a line of the log.
    fn until_line(self, part: &'static str) -> Self {
        let Self { child, mut log, listen, admin } = self;
        let log = within_patience(move || {
            line_with(&mut log, part);
            log
        });
        Self { child, log, listen, admin }
    }
}

/// A program that has lost what its log was read from.
struct Closed {
    child: Child,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Closed {
    /// Answers its clients, and logs that it cannot reach its origin.
    fn serves(&self) {
        for _ in 0..3 {
            assert_eq!(get(self.listen, "/").status, 502);
        }
    }

    fn is_gone(&self) -> bool {
        std::net::TcpListener::bind(self.listen).is_ok()
    }

    fn is_ready(&self) -> bool {
        let asked = try_exchange(self.admin, "GET /readyz", &[("Host", "localhost")], "");
        asked.is_ok_and(|answer| answer.status == 200)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is there");
    }

    fn exit_status(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let ended = || child.try_wait().expect("it can be waited for");
        until("it ends", ended, Option::is_some).expect("just seen").code()
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line_with(log: &mut impl BufRead, part: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(log.read_line(&mut line).expect("a line"), 0, "no line with {part:?}");
        if line.contains(part) {
            return line;
        }
    }
}

fn address(log: &mut impl BufRead, name: &str) -> SocketAddr {
    let line = line_with(log, name);
    let address = line.rsplit("http://").next().expect("a rest");
    address.trim().parse().unwrap_or_else(|_| panic!("no address in {line:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_terminal_is_closed_lets_requests_finish_and_ends() {
    let origin = Origin::start().await;
    origin.route("/slow", held("whole"));
    let node = Running::in_a_terminal(&serve(&origin.url()));
    let listen = node.listen;
    let request = tokio::task::spawn_blocking(move || get(listen, "/slow"));
    origin.until_requests("/slow", 1).await;
    let mut node = node.close();
    until("it is not ready any more", || node.is_ready(), |ready| !ready);
    // Further ones, as a shell sends them to its jobs, do not stop it immediately.
    node.signal(Signal::HUP);
    origin.release("/slow");
    assert_eq!(request.await.expect("an answer").body, "whole");
    assert_eq!(node.exit_status(), Some(0));
}

#[test]
fn a_demo_whose_terminal_is_closed_ends() {
    let program = env!("CARGO_BIN_EXE_weir");
    let (child, window) = start(&["setsid", "--ctty", program, "demo", "--traffic", "100/s"]);
    let window = within_patience(move || {
        let mut shown = BufReader::new(window);
        line_with(&mut shown, "Press Ctrl-C");
        shown
    });
    drop(window);
    assert_eq!(exit_status(child), Some(0));
}

#[test]
fn a_node_that_a_shell_runs_does_not_outlive_the_terminal() {
    let line = format!("{}; true", serve(NOBODY).join(" "));
    let node = Running::in_a_terminal(&["sh", "-c", &line]).close();
    until("its port is free", || node.is_gone(), |gone| *gone);
}

#[test]
fn a_hang_up_that_was_sent_reloads_in_a_terminal_too() {
    let node = Running::in_a_terminal(&serve(NOBODY));
    kill_process(Pid::from_child(&node.child), Signal::HUP).expect("it is there");
    let mut node = node.until_line("configuration reloaded").close();
    assert_eq!(node.exit_status(), Some(0));
}

#[test]
fn under_nohup_a_node_outlives_its_terminal_and_still_reloads() {
    // nohup leaves a stream alone that is no terminal.
    let (window, line) = terminal();
    let child = unconfigured(Command::new("setsid"))
        .args(["--ctty", "nohup"])
        .args(serve(NOBODY))
        .stdin(Stdio::from(line))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("it starts");
    let log = OwnedFd::from(child.stderr.take().expect("a pipe"));
    let node = Running::announced(child, BufReader::new(File::from(log)));
    drop(window);
    let node = node.until_line("the terminal is gone; continuing without");
    assert_eq!(get(node.listen, "/").status, 502);
    kill_process(Pid::from_child(&node.child), Signal::HUP).expect("it is there");
    let mut node = node.until_line("configuration reloaded").close();
    node.signal(Signal::TERM);
    assert_eq!(node.exit_status(), Some(0));
}

#[test]
fn a_node_in_the_background_outlives_a_shell_that_does_not_tell_it() {
    // With jobs, as an interactive shell has them; it says which process it started.
    let script = "set -m; \"$@\" & echo \"process $!\" >&2; read line";
    let (window, line) = terminal();
    let shell = unconfigured(Command::new("setsid"))
        .args(["--ctty", "sh", "-c", script, "sh"])
        .args(serve(NOBODY))
        .stdin(Stdio::from(line))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut shell = shell.expect("it starts");
    let log = OwnedFd::from(shell.stderr.take().expect("a pipe"));
    let mut log = BufReader::new(File::from(log));
    let process = line_with(&mut log, "process ");
    let process = process.trim().rsplit(' ').next().and_then(|id| id.parse().ok());
    let process = process.and_then(Pid::from_raw).expect("the id of a process");
    let node = Running::announced(shell, log);
    drop(window);
    let node = node.until_line("the terminal is gone; continuing without");
    kill_process(process, Signal::HUP).expect("it is there");
    let node = node.until_line("configuration reloaded");
    assert_eq!(get(node.listen, "/").status, 502);
    kill_process(process, Signal::TERM).expect("it is there");
    let node = node.close();
    until("its port is free", || node.is_gone(), |gone| *gone);
}

#[test]
fn a_node_serves_on_when_nobody_reads_its_log_any_more() {
    // As setsid leaves it: streams on a terminal that does not control it.
    let elsewhere = Running::in_a_session(&[&["setsid"], &*serve(NOBODY)].concat()).close();
    let mut piped = unconfigured(Command::new(env!("CARGO_BIN_EXE_weir")));
    piped.args(&serve(NOBODY)[1..]).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("it starts");
    let log = OwnedFd::from(child.stderr.take().expect("a pipe"));
    let piped = Running::announced(child, BufReader::new(File::from(log))).close();
    for mut node in [elsewhere, piped] {
        node.serves();
        node.signal(Signal::TERM);
        assert_eq!(node.exit_status(), Some(0));
    }
}

#[test]
fn a_command_that_cannot_say_what_went_wrong_exits_with_its_status() {
    let config = TextFile::new("unread.toml", "[nodes]\n");
    for (arguments, status) in [
        (&["purge", "/a", "--control", NOBODY][..], 1),
        (&["purge", "a"], 2),
        (&["check", config.path()], 1),
        (&["serve", "--origin", "http://a/?b"], 1),
        (&["serve", "--no-such-flag"], 2),
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = unconfigured(Command::new(env!("CARGO_BIN_EXE_weir")));
        command.args(arguments).stderr(writer);
        let ran = within_patience(move || command.status()).expect("it runs");
        assert_eq!(ran.code(), Some(status), "{arguments:?}");
    }
}
