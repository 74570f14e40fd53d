//! Traffic Server with a cache, in front of the same origin.

use crate::Error;
use crate::program::{Folder, free_address, started_in};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who it runs as where it may not run as root: the user that Debian's package makes.
const USER: &str = "trafficserver";

/// The Traffic Server program, where it is installed.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("traffic_server"))
        .find(|file| file.is_file())
}

/// In what one differs from another one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// Bytes of its cache on disk, all of which it takes when it starts.
    pub(crate) disk: u64,
    /// Bytes of its cache in memory above that.
    pub(crate) memory: u64,
}

/// A running Traffic Server; it is killed when this is dropped.
pub(crate) struct TrafficServer {
    child: Child,
    /// Where HTTP/1.1 is spoken.
    pub(crate) listen: SocketAddr,
    folder: Folder,
}

impl TrafficServer {
    /// In front of `origin`, in a cgroup if one is given: one thread for requests, no log, and what is not said
    /// here is its default.
    pub(crate) async fn start(
        program: &Path,
        origin: SocketAddr,
        sizes: Sizes,
        cgroup: Option<&Path>,
    ) -> Result<Self, Error> {
        let folder = Folder::new("traffic-server")?;
        let listen = free_address()?;
        let at = folder.path();
        for name in ["config", "cache", "log", "run", "data"] {
            fs::create_dir(at.join(name))?;
        }
        let modules = modules(program)?;
        let layout = folder.file("runroot.yaml", &layout(at, program, &modules))?;
        let files = [
            ("records.config", records(listen.port(), sizes.memory)),
            ("remap.config", format!("map / http://{origin}/\n")),
            ("storage.config", format!("{}/cache {}\n", at.display(), sizes.disk)),
            ("ip_allow.yaml", ADMITTED.to_owned()),
            ("status.config", STATUS.to_owned()),
            ("plugin.config", "header_rewrite.so status.config\n".to_owned()),
        ];
        for (name, text) in files {
            fs::write(at.join("config").join(name), text)?;
        }
        fs::set_permissions(at, fs::Permissions::from_mode(0o755))?;
        // Started by root it becomes that user; started by another, it stays who it is.
        if rustix::process::getuid().is_root() {
            let changed = Command::new("chown").args(["-R", USER]).arg(at).status()?;
            if !changed.success() {
                return Err(format!("there is no user {USER} for Traffic Server").into());
            }
        }
        let mut command = started_in(cgroup, program);
        command.arg(format!("--run-root={}", layout.display()));
        let silent = fs::File::create(at.join("output"))?;
        command.stdin(Stdio::null()).stdout(silent.try_clone()?).stderr(silent);
        let mut server = Self { child: command.spawn()?, listen, folder };
        let end = Instant::now() + PATIENCE;
        // It listens before its cache is there, and answers without it then.
        while !server.is_ready().await {
            if Instant::now() > end || server.child.try_wait()?.is_some() {
                return Err("Traffic Server does not start".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    async fn is_ready(&self) -> bool {
        let log = fs::read_to_string(self.folder.path().join("log/diags.log"));
        log.is_ok_and(|log| log.contains("cache enabled"))
            && TcpStream::connect(self.listen).await.is_ok()
    }
}

impl Drop for TrafficServer {
    fn drop(&mut self) {
        // Nothing of it is used again; fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where its modules are, from where the program is.
fn modules(program: &Path) -> Result<PathBuf, Error> {
    let prefix = program.parent().and_then(Path::parent).ok_or("Traffic Server has no prefix")?;
    ["lib/trafficserver/modules", "libexec/trafficserver"]
        .map(|place| prefix.join(place))
        .into_iter()
        .find(|folder| folder.join("header_rewrite.so").is_file())
        .ok_or_else(|| format!("no header_rewrite.so below {}", prefix.display()).into())
}

/// Which folder is for what.
fn layout(at: &Path, program: &Path, modules: &Path) -> String {
    let (at, modules) = (at.display(), modules.display());
    let programs = program.parent().unwrap_or(program).display();
    format!(
        "prefix: {at}
exec_prefix: {at}
bindir: {programs}
sbindir: {programs}
sysconfdir: {at}/config
datadir: {at}/data
includedir: {at}/data
libdir: {modules}
libexecdir: {modules}
localstatedir: {at}/run
runtimedir: {at}/run
logdir: {at}/log
cachedir: {at}/cache
"
    )
}

fn records(port: u16, memory: u64) -> String {
    format!(
        "CONFIG proxy.config.http.server_ports STRING {port}
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT 1
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.task_threads INT 1
CONFIG proxy.config.cache.ram_cache.size INT {memory}
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.admin.user_id STRING {USER}
CONFIG proxy.config.crash_log_helper STRING NULL
"
    )
}

/// Who may ask.
const ADMITTED: &str = "ip_allow:
  - apply: in
    ip_addrs: 127.0.0.1
    action: allow
    methods: ALL
";

/// Tells of hits as weir does.
const STATUS: &str = "cond %{SEND_RESPONSE_HDR_HOOK} [AND]
cond %{CACHE} =hit-fresh
set-header Cache-Status \"traffic-server; hit\"
";
