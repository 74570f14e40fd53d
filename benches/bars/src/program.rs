//! The programs under measurement, as processes of their own.

use crate::Error;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a node may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    weir: PathBuf,
    pub(crate) origin_sim: PathBuf,
}

impl Programs {
    /// Finds what was not named beside this program.
    pub(crate) fn find(weir: Option<PathBuf>, origin_sim: Option<PathBuf>) -> Result<Self, String> {
        let here = std::env::current_exe().map_err(|error| error.to_string())?;
        let beside = |name: &str| here.with_file_name(name);
        let programs = Self {
            weir: weir.unwrap_or_else(|| beside("weir")),
            origin_sim: origin_sim.unwrap_or_else(|| beside("weir-origin-sim")),
        };
        for (program, option) in
            [(&programs.weir, "--weir"), (&programs.origin_sim, "--origin-sim")]
        {
            if !program.is_file() {
                return Err(format!("{}: no such program; build it, or give {option}", {
                    program.display()
                }));
            }
        }
        Ok(programs)
    }

    /// The weir program, with nothing of the surroundings that would configure it.
    fn weir(&self) -> Command {
        self.weir_in(None)
    }

    /// The same, in a cgroup.
    fn weir_in(&self, cgroup: Option<&Path>) -> Command {
        let mut command = started_in(cgroup, &self.weir);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("WEIR_") {
                command.env_remove(name);
            }
        }
        command
    }
}

/// A command that starts `program`, in a cgroup from its first instruction on if one is given: what a
/// process has before it moves there is not counted.
pub(crate) fn started_in(cgroup: Option<&Path>, program: &Path) -> Command {
    match cgroup {
        None => Command::new(program),
        Some(folder) => {
            let mut command = Command::new("sh");
            command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]);
            command.arg(folder.join("cgroup.procs")).arg(program);
            command
        }
    }
}

/// Time of processors that a node's threads have used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// Those that answer requests.
    pub(crate) by_workers: Duration,
    /// Those that follow control, sweep and the like.
    pub(crate) by_others: Duration,
}

/// A running `weir serve`; it is killed when this is dropped.
pub(crate) struct Weir {
    child: Child,
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// Where control listens.
    pub(crate) admin: SocketAddr,
}

impl Weir {
    /// A node with the defaults that users get, except `memory.size`, in front of `origin`.
    pub(crate) fn start(
        programs: &Programs,
        origin: SocketAddr,
        memory: &str,
    ) -> Result<Self, Error> {
        let mut command = programs.weir();
        command.args(["serve", "--origin", &format!("http://{origin}")]);
        Self::launch(command.env("WEIR_MEMORY__SIZE", memory))
    }

    /// A node as a configuration file has it, except its addresses.
    pub(crate) fn configured(programs: &Programs, config: &Path) -> Result<Self, Error> {
        Self::launch(programs.weir().args(["serve", "--config"]).arg(config))
    }

    /// The same, in a cgroup if one is given.
    pub(crate) fn configured_in(
        programs: &Programs,
        config: &Path,
        cgroup: Option<&Path>,
    ) -> Result<Self, Error> {
        Self::launch(programs.weir_in(cgroup).args(["serve", "--config"]).arg(config))
    }

    /// The same, under valgrind, which counts its instructions and dumps them into files beside `dump`.
    pub(crate) fn counted(programs: &Programs, config: &Path, dump: &Path) -> Result<Self, Error> {
        let weir = programs.weir();
        let mut command = Command::new("valgrind");
        let dump = format!("--callgrind-out-file={}", dump.display());
        command.args(["-q", "--tool=callgrind", &dump]).arg(weir.get_program());
        for (name, value) in weir.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let weir = Self::launch(command.args(["serve", "--config"]).arg(config));
        weir.map_err(|error| format!("weir under valgrind: {error}").into())
    }

    fn launch(command: &mut Command) -> Result<Self, Error> {
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let (child, [listen, admin]) = launched(command, ["listen", "admin"])?;
        Ok(Self { child, listen, admin })
    }

    /// Time of processors that its threads have used so far.
    pub(crate) fn processor_time(&self) -> Result<Used, Error> {
        let mut used = Used::default();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let task = task?.path();
            let spent = spent(&task)?;
            match fs::read_to_string(task.join("comm"))?.starts_with("weir-worker-") {
                true => used.by_workers += spent,
                false => used.by_others += spent,
            }
        }
        Ok(used)
    }

    /// Ends it as an operator does, and waits until it has ended.
    ///
    /// # Errors
    /// It takes too long, or it says that it failed.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        let id = i32::try_from(self.id()).ok().and_then(Pid::from_raw).ok_or("no process")?;
        kill_process(id, Signal::TERM)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("weir ended with {status}").into()),
                None if Instant::now() > end => return Err("weir does not end".into()),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// The process, for signals.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory it has now.
    pub(crate) fn rss(&self) -> Result<u64, Error> {
        memory(self.id(), "VmRSS")
    }

    /// The most memory it ever had.
    pub(crate) fn most_rss(&self) -> Result<u64, Error> {
        memory(self.id(), "VmHWM")
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A running `weir control`; it is killed when this is dropped.
pub(crate) struct Control {
    child: Child,
    /// Where it listens.
    pub(crate) at: SocketAddr,
}

impl Control {
    /// Control as a configuration file has it, except its address.
    pub(crate) fn configured(programs: &Programs, config: &Path) -> Result<Self, Error> {
        let mut command = programs.weir();
        command.args(["control", "--listen", "127.0.0.1:0", "--config"]).arg(config);
        let (child, [at]) = launched(&mut command, ["control"])?;
        Ok(Self { child, at })
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Bytes of memory it has now.
    pub(crate) fn rss(&self) -> Result<u64, Error> {
        memory(self.id(), "VmRSS")
    }

    /// Time of processors that its threads have used so far.
    pub(crate) fn processor_time(&self) -> Result<Duration, Error> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()))?;
        tasks.map(|task| spent(&task?.path())).sum()
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// Starts weir, and reads where it is from the lines that begin with `words`.
fn launched<const N: usize>(
    command: &mut Command,
    words: [&str; N],
) -> Result<(Child, [SocketAddr; N]), Error> {
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().ok_or("standard error is not piped")?;
    let mut lines = BufReader::new(stderr).lines();
    let mut at = [SocketAddr::from(([0, 0, 0, 0], 0)); N];
    for (at, word) in at.iter_mut().zip(words) {
        match announced(&mut lines, word) {
            Ok(address) => *at = address,
            Err(error) => {
                end(&mut child);
                return Err(error);
            }
        }
    }
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            eprintln!("weir: {line}");
        }
    });
    Ok((child, at))
}

/// The address in the line of a start that begins with `word`.
fn announced(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    word: &str,
) -> Result<SocketAddr, Error> {
    for line in lines {
        let line = line?;
        match line.split_once("http://") {
            Some((before, address)) if before.contains(word) => {
                return Ok(address.trim().parse()?);
            }
            _ => eprintln!("weir: {line}"),
        }
    }
    Err(format!("weir ended before it said where it is ({word})").into())
}

/// Time of processors that all threads of a process have used so far.
pub(crate) fn processor_time(process: u32) -> Result<Duration, Error> {
    fs::read_dir(format!("/proc/{process}/task"))?.map(|task| spent(&task?.path())).sum()
}

/// Time of processors that a thread has used so far.
fn spent(task: &Path) -> Result<Duration, Error> {
    // In nanoseconds; the ticks of stat are too coarse for short windows.
    let spent = fs::read_to_string(task.join("schedstat"))?;
    let spent = spent.split_whitespace().next().ok_or("no time in schedstat")?;
    Ok(Duration::from_nanos(spent.parse()?))
}

/// A field of `/proc/PID/status`, in bytes.
pub(crate) fn memory(process: u32, field: &str) -> Result<u64, Error> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)).ok_or("no such field")?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// A process that ends with this value.
pub(crate) struct Running(Child);

impl Running {
    /// Starts `program` with its output thrown away.
    pub(crate) fn start(program: &Path, arguments: &[&str]) -> Result<Self, Error> {
        let mut command = Command::new(program);
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(Self(quiet.args(arguments).spawn()?))
    }

    /// Kills it where it stands.
    pub(crate) fn kill(mut self) {
        end(&mut self.0);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

fn end(child: &mut Child) {
    // Fails only when it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// An address that nothing listens on now; for a program that has to come back to it.
pub(crate) fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A folder of its own among the temporary files, removed when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// One that nobody else has.
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let name = format!("{name}-{}", MADE.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("weir-bars-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// Writes a file there.
    pub(crate) fn file(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left there is in nobody's way.
        let _ = fs::remove_dir_all(&self.0);
    }
}
