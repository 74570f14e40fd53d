//! A service manager that holds the listening sockets and is told how the service is doing, as systemd
//! does: sd_listen_fds(3), sd_notify(3).

mod program;

use program::{Folder, PATIENCE, TextFile, Weir, unconfigured, until};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use weir_origin_sim::{Origin, reply};

/// Has the descriptors that a service manager passes, which the test gives as standard input and output.
const PASSED: &str = "exec 3<&0 4>&1 0</dev/null 1>/dev/null; LISTEN_PID=$$; LISTEN_FDS=2; \
                      export LISTEN_PID LISTEN_FDS; exec \"$@\"";

/// Two sockets that a service manager holds.
struct Held {
    clients: TcpListener,
    admin: TcpListener,
}

impl Held {
    fn new() -> Self {
        let bound = || TcpListener::bind("127.0.0.1:0").expect("a port");
        Self { clients: bound(), admin: bound() }
    }

    /// `weir serve` on them.
    fn begin_to_serve(&self, listen: SocketAddr, origin: &str) -> Weir {
        let fd = |socket: &TcpListener| OwnedFd::from(socket.try_clone().expect("a descriptor"));
        let (listen, admin) = (listen.to_string(), at(&self.admin).to_string());
        let mut command = unconfigured(Command::new("sh"));
        command.args(["-c", PASSED, "sh", env!("CARGO_BIN_EXE_weir"), "serve"]);
        command.args(["--listen", &listen, "--admin", &admin, "--origin", origin]);
        command.stdin(fd(&self.clients)).stdout(fd(&self.admin));
        Weir::run_by(command)
    }
}

fn at(socket: &TcpListener) -> SocketAddr {
    socket.local_addr().expect("it listens")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_wait_in_the_sockets_of_the_service_manager_over_a_restart() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    let held = Held::new();
    let listen = at(&held.clients);
    let first = held.begin_to_serve(listen, &origin.url()).serving();
    assert_eq!((first.listen, first.admin), (listen, at(&held.admin)));
    assert_eq!(first.get("/a").body, "hello");
    first.signal(Signal::TERM);
    assert_eq!(first.exit_status(), Some(0));
    let mut client = TcpStream::connect(listen).expect("it is not refused");
    client.set_read_timeout(Some(PATIENCE)).expect("it can be bounded");
    let request = "GET /a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).expect("it is sent");
    let _second = held.begin_to_serve(listen, &origin.url()).serving();
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
}

/// A client in a socket of systemd's, which starts the program for it.
#[tokio::test(flavor = "multi_thread")]
async fn systemd_itself_passes_its_sockets() {
    let activate = || unconfigured(Command::new("systemd-socket-activate"));
    if activate().arg("--version").output().is_err() {
        eprintln!("skipped: there is no systemd-socket-activate (package systemd)");
        return;
    }
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    // It binds its sockets itself: ports that were free a moment ago.
    let (listen, admin) = {
        let held = Held::new();
        (at(&held.clients), at(&held.admin))
    };
    let mut command = activate();
    command.args(["--listen", &listen.to_string(), "--listen", &admin.to_string()]);
    command.args([env!("CARGO_BIN_EXE_weir"), "serve", "--origin", &origin.url()]);
    command.args(["--listen", &listen.to_string(), "--admin", &admin.to_string()]);
    let weir = Weir::run_by(command);
    let connected = || TcpStream::connect(listen).ok();
    let mut client = until("systemd listens", connected, Option::is_some).expect("it does");
    client.set_read_timeout(Some(PATIENCE)).expect("it can be bounded");
    let request = "GET /a HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n";
    client.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert_eq!(program::get(admin, "/healthz").status, 200);
    weir.signal(Signal::TERM);
    assert_eq!(weir.exit_status(), Some(0));
}

#[test]
fn a_socket_that_no_key_has_is_refused_by_its_address() {
    let held = Held::new();
    let other = SocketAddr::from(([127, 0, 0, 1], 0));
    let weir = held.begin_to_serve(other, "http://127.0.0.1:9");
    let line = weir.until_line("the service manager passed a socket that listens at");
    assert!(line.contains(&at(&held.clients).to_string()), "{line}");
    assert_eq!(weir.exit_status(), Some(1));
}

/// What the service manager is told, in order.
struct Told {
    socket: UnixDatagram,
    path: String,
    _folder: Folder,
}

impl Told {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let path = format!("{}/notify", folder.path());
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("it can be bounded");
        Self { socket, path, _folder: folder }
    }

    fn next(&self) -> String {
        let mut message = [0; 1024];
        let length = self.socket.recv(&mut message).expect("it is told something");
        String::from_utf8_lossy(&message[..length]).trim_end().replace('\n', " ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_of_starts_reloads_takeovers_and_ends() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(600));
    let (told, state) = (Told::new("notify"), Folder::new("notify-state"));
    let config =
        format!("[node]\nstate = {:?}\n[[site]]\norigins = [{:?}]\n", state.path(), origin.url());
    let config = TextFile::new("notify.toml", &config);
    let mut command = unconfigured(Command::new(env!("CARGO_BIN_EXE_weir")));
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.args(["--config", config.path()]).env("NOTIFY_SOCKET", &told.path);
    let weir = Weir::run_by(command).serving();
    let listen = weir.listen;
    assert_eq!(told.next(), "READY=1");
    weir.signal(Signal::HUP);
    let reloading = told.next();
    assert!(reloading.starts_with("RELOADING=1 MONOTONIC_USEC="), "{reloading}");
    assert_eq!(told.next(), "READY=1");
    weir.signal(Signal::USR2);
    let main = told.next();
    let pid = main.strip_prefix("MAINPID=").and_then(|pid| pid.parse().ok());
    let pid = pid.unwrap_or_else(|| panic!("no main process: {main}"));
    assert_ne!(pid, weir.id() as i32);
    assert_eq!(told.next(), "READY=1", "the new process says so, and the old one nothing more");
    assert_eq!(weir.exit_status(), Some(0));
    assert_eq!(program::get(listen, "/a").body, "hello");
    let new = rustix::process::Pid::from_raw(pid).expect("not 0");
    rustix::process::kill_process(new, Signal::TERM).expect("it runs");
    assert_eq!(told.next(), "STOPPING=1");
    until("it is gone", || TcpStream::connect(listen).is_err(), |gone| *gone);
}
