//! A siege: what clients that do nothing wrong see of a node, and what memory it takes, while others
//! attack it. nginx stands beside it, under the same attack, in front of the same origin.
//!
//! Each server is started anew for each attack, in a cgroup with the memory that docker-compose.yml
//! gives an edge, first weir, then nginx. What does not hold today is printed and not checked.

mod attack;
mod innocent;

use crate::Error;
use crate::check::{Checks, mib};
use crate::client;
use crate::confinement::Confinement;
use crate::nginx::{self, Nginx, Shape};
use crate::origin::OriginSim;
use crate::program::{Folder, Programs, Weir, memory};
use attack::{Attack, Attacking};
use clap::{Args, ValueEnum};
use innocent::{Asked, HIT, Innocent, Seen};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The files that say what memory an edge of docker-compose.yml has, and what it may use it for.
const COMPOSE: &str = include_str!("../../../docker-compose.yml");
const EDGE: &str = include_str!("../../../deploy/compose/edge.toml");
/// `memory.max_object`, so that bodies over it need not be larger than a disk bears for nginx, which
/// keeps them in files.
const MAX_OBJECT: &str = "4MiB";
/// Bodies, in bytes: of what is read slowly; of what is larger than can be stored; of what is sent
/// to closed windows.
const SLOW: u64 = 4 << 20;
const LARGE: u64 = 8 << 20;
const STILL: u64 = 256 << 10;
/// Open files that are worth raising the soft limit for.
const FILES: u64 = 65_536;

/// How long an attack goes on; how long a server may take afterwards to have its memory back; how
/// long a client waits for an answer. At full size, and the least.
const ATTACK: (Duration, Duration) = (Duration::from_secs(40), Duration::from_secs(2));
const AFTER: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));
const AFTER_NOTED: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(2));
const AFTER_NGINX: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(2));
const WAIT: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(2));
/// How long all who attack may take to be there.
const ARRIVAL: Duration = Duration::from_secs(60);
/// How often it is looked how far an attack is.
const SOON: Duration = Duration::from_millis(20);
/// How long clients come before an attack, so that what they alone need is there.
const CALM: Duration = Duration::from_millis(500);

/// How often a time that was too long is measured.
const ROUNDS: usize = 3;

/// Of a hundred hits 99 are answered within this, and of a hundred health checks.
const HIT_WITHIN: Duration = Duration::from_millis(10);
/// What is checked is so many times the aim: a machine that does other things too takes its time, and a
/// client that others hold up waits for seconds.
const SLACK: u32 = 5;
const HEALTH_WITHIN: Duration = Duration::from_millis(100);
/// The most RSS after an attack, of what it was before.
const AGAIN: f64 = 1.3;

/// What weir promises of an attack today.
#[derive(Clone, Copy, Debug)]
struct Promises {
    /// It is not killed for lack of memory.
    survives: bool,
    /// Hits are answered within [`HIT_WITHIN`].
    hits: bool,
    /// Health checks are answered within [`HEALTH_WITHIN`].
    healthz: bool,
    /// Its RSS returns to [`AGAIN`] times what it was.
    memory: bool,
}

/// Up to this scale times are promised. Above it, so many clients at once take the processors of a small
/// machine.
const SMALL: f64 = 0.1;

impl Promises {
    fn of(attack: Attack, scale: f64) -> Self {
        let small = scale <= SMALL;
        let most = Self { survives: true, hits: small, healthz: small, memory: false };
        match attack {
            Attack::Idle => Self { memory: true, ..most },
            Attack::SlowLarge | Attack::Admin => most,
            Attack::SlowReaders
            | Attack::SlowNoStore
            | Attack::Window0
            | Attack::Hanging
            | Attack::HangingH2 => Self { hits: false, ..most },
            Attack::Together => Self { survives: small, hits: false, healthz: false, ..most },
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct Siege {
    /// The attacks, one after another; by default each of them
    #[arg(value_name = "ATTACK")]
    attacks: Vec<Attack>,
    /// The nginx program; by default the one that is installed
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
}

/// Where a server is.
#[derive(Clone, Copy, Debug)]
struct Besieged {
    listen: SocketAddr,
    http2: SocketAddr,
    admin: SocketAddr,
}

/// A server under attack.
enum Server {
    Weir(Weir, #[expect(dead_code, reason = "its configuration lives as long")] Folder),
    Nginx(Nginx),
}

impl Server {
    fn at(&self) -> Besieged {
        match self {
            Self::Weir(weir, _) => {
                Besieged { listen: weir.listen, http2: weir.listen, admin: weir.admin }
            }
            Self::Nginx(Nginx { listen, http2, admin, .. }) => {
                Besieged { listen: *listen, http2: *http2, admin: *admin }
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Weir(..) => "weir",
            Self::Nginx(_) => "nginx",
        }
    }

    /// Whether it runs: a process that was killed has no memory.
    fn is_there(&self) -> bool {
        self.memory("VmRSS").is_ok()
    }

    /// The sum of a figure of its processes; what they share counts for each.
    fn memory(&self, field: &str) -> Result<u64, Error> {
        let ids = match self {
            Self::Weir(weir, _) => vec![weir.id()],
            Self::Nginx(nginx) => nginx.ids()?,
        };
        ids.into_iter().map(|id| memory(id, field)).sum()
    }
}

/// What an attack came to.
struct Outcome {
    seen: Seen,
    before: u64,
    /// None of a server that is gone.
    most: Option<u64>,
    after: Option<u64>,
    kills: u64,
}

impl Siege {
    pub(crate) async fn run(
        &self,
        programs: &Programs,
        scale: f64,
        checks: &mut Checks,
    ) -> Result<(), Error> {
        let nginx = nginx::find(self.nginx.as_deref())?;
        let files = raise_open_files()?;
        println!("siege: {files} open files in each process");
        let container = container()?;
        match Confinement::of(container) {
            Ok(_) => println!("siege: each server in a cgroup of {}", mib(container)),
            Err(why) => println!("siege: NOT in a cgroup, memory is only measured: {why}"),
        }
        let every = Attack::value_variants();
        let attacks = if self.attacks.is_empty() { every } else { &self.attacks };
        for attack in attacks {
            let forces = attack.forces(scale, files);
            let words: Vec<_> = forces.iter().map(ToString::to_string).collect();
            println!("siege, {}: {}", attack.name(), words.join(", "));
            println!("{}", heading());
            let scene = Scene { programs, nginx: &nginx, container, files, forces, scale };
            let promises = Promises::of(*attack, scale);
            for round in 1..=ROUNDS {
                let verdicts = scene.besiege(true, promises).await?;
                scene.besiege(false, promises).await?;
                // Another program on the machine may have had the processors.
                let only_late = verdicts
                    .iter()
                    .all(|verdict| verdict.holds || verdict.is_of_time || !verdict.is_promised);
                let all_hold = verdicts.iter().all(|verdict| verdict.holds || !verdict.is_promised);
                if all_hold || !only_late || round == ROUNDS {
                    verdicts.iter().for_each(|verdict| verdict.told(*attack, checks));
                    break;
                }
                println!("       (measured again)");
            }
        }
        Ok(())
    }
}

/// What an attack needs.
struct Scene<'a> {
    programs: &'a Programs,
    nginx: &'a Path,
    container: u64,
    files: u64,
    forces: Vec<attack::Force>,
    scale: f64,
}

impl Scene<'_> {
    /// Starts a server, attacks it, and prints what came of it.
    async fn besiege(&self, is_weir: bool, promises: Promises) -> Result<Vec<Verdict>, Error> {
        // A new origin too: what one server left there is not the other's.
        let origin = OriginSim::scripted(self.programs, &script()).await?;
        let confinement = Confinement::of(self.container).ok();
        let cgroup = confinement.as_ref().map(Confinement::folder);
        let server = match is_weir {
            true => weir(self.programs, origin.at, cgroup)?,
            false => {
                let shape = shape(self.files);
                Server::Nginx(Nginx::start(self.nginx, origin.at, shape, cgroup).await?)
            }
        };
        // What is not promised is not waited for long at a small scale.
        let after = match (is_weir, promises.memory) {
            (true, true) => AFTER,
            (true, false) => AFTER_NOTED,
            (false, _) => AFTER_NGINX,
        };
        let after = part(after, self.scale);
        let outcome =
            besiege(&server, &self.forces, self.scale, after, confinement.as_ref()).await?;
        println!("{}", line(server.name(), &outcome));
        tell(&outcome.seen);
        Ok(judge(promises, &outcome))
    }
}

/// What clients see before and during an attack, and what memory the server has before, during and
/// after it.
async fn besiege(
    server: &Server,
    forces: &[attack::Force],
    scale: f64,
    after: Duration,
    confinement: Option<&Confinement>,
) -> Result<Outcome, Error> {
    let patience = part(WAIT, scale);
    client::once(server.at().listen, "GET", HIT).await?;
    let calm = Innocent::begin(server.at(), "calm", patience);
    tokio::time::sleep(CALM).await;
    calm.end().await?;
    let before = server.memory("VmRSS")?;

    let innocent = Innocent::begin(server.at(), "attack", patience);
    let attacking = Attacking::begin(forces, server.at());
    let end = Instant::now() + ARRIVAL;
    while !attacking.is_complete() && Instant::now() < end && server.is_there() {
        tokio::time::sleep(SOON).await;
    }
    let end = Instant::now() + part(ATTACK, scale);
    while Instant::now() < end && server.is_there() {
        tokio::time::sleep(SOON).await;
    }
    let seen = innocent.end().await?;
    // Of a process that is gone there are no figures.
    let most = server.memory("VmHWM").ok();
    let (arrived, dismissed) = (attacking.arrived(), attacking.dismissed());
    println!("       ({}: {arrived} clients attacked, dismissed {dismissed} times)", server.name());
    drop(attacking);

    let end = Instant::now() + after;
    let mut after = server.memory("VmRSS").ok();
    let is_again = |after: u64| after as f64 <= before as f64 * AGAIN;
    while after.is_some_and(|after| !is_again(after)) && Instant::now() < end {
        tokio::time::sleep(SOON).await;
        after = server.memory("VmRSS").ok();
    }
    let kills = confinement.map_or(Ok(0), Confinement::kills)?;
    Ok(Outcome { seen, before, most, after, kills })
}

/// A worker for each core, as weir has, and a store as large as weir's.
fn shape(files: u64) -> Shape<'static> {
    Shape { workers: "auto", files, cache: "256m", keys: "16m", directives: "" }
}

/// A node with the configuration of a compose edge, in front of this origin.
fn weir(programs: &Programs, origin: SocketAddr, cgroup: Option<&Path>) -> Result<Server, Error> {
    let folder = Folder::new("siege")?;
    let config = folder.file("node.toml", &config(EDGE, origin, folder.path())?)?;
    Ok(Server::Weir(Weir::configured_in(programs, &config, cgroup)?, folder))
}

/// The edge's configuration, of a node alone: without control, parents and their tokens, and without a disk
/// store, which needs control's log; in front of this origin, with its files in this folder.
fn config(edge: &str, origin: SocketAddr, folder: &Path) -> Result<String, Error> {
    let mut config = String::new();
    for table in format!("\n{edge}").split("\n[").skip(1) {
        if ["control]", "parents]", "[token]]", "disk]"].iter().all(|name| !table.starts_with(name))
        {
            config += &format!("[{table}\n");
        }
    }
    for (from, to) in [
        ("[memory]\n", format!("[memory]\nmax_object = \"{MAX_OBJECT}\"\n")),
        ("[limits]\n", "[limits]\nprivate_clients = true\n".to_owned()),
        ("[log]\n", format!("[log]\nlevel = \"error\"\npath = {:?}\n", folder.join("access"))),
        ("path = \"/var/lib/weir/spool\"", format!("path = {:?}", folder.join("spool"))),
        ("state = \"/var/lib/weir/state\"", format!("state = {:?}", folder.join("state"))),
        ("http://origin:8081", format!("http://{origin}")),
    ] {
        if !config.contains(from) {
            return Err(format!("no {from:?} in edge.toml").into());
        }
        config = config.replace(from, &to);
    }
    Ok(config)
}

/// The memory of an edge's container.
fn container() -> Result<u64, Error> {
    let edge = COMPOSE.split("\nx-edge:").nth(1).and_then(|rest| rest.split("mem_limit: ").nth(1));
    let mebibytes = edge.and_then(|rest| rest.split_once('m'));
    let (mebibytes, _) = mebibytes.ok_or("no mem_limit in MiB in docker-compose.yml")?;
    Ok(mebibytes.parse::<u64>()? << 20)
}

fn script() -> serde_json::Value {
    let stored = |bytes: u64| json!({"body_bytes": bytes, "max_age": 86_400});
    let passing =
        |bytes: u64, why: &str| json!({"body_bytes": bytes, "headers": [["Cache-Control", why]]});
    json!({"routes": {
        HIT: stored(1_024),
        "/page/*": stored(1_024),
        "/slow/*": passing(SLOW, "private"),
        "/secret/*": passing(SLOW, "no-store"),
        "/large/*": stored(LARGE),
        "/still/*": passing(STILL, "private"),
        "/hanging/*": {"held": true},
    }})
}

/// Whether a promise was kept.
struct Verdict {
    name: &'static str,
    is_promised: bool,
    holds: bool,
    /// Whether a busy machine alone may be why it does not hold.
    is_of_time: bool,
    figure: String,
    bar: String,
}

impl Verdict {
    fn told(&self, attack: Attack, checks: &mut Checks) {
        let name = format!("siege, {}: {}", attack.name(), self.name);
        let Self { figure, bar, .. } = self;
        match self.is_promised {
            true => checks.check(&name, self.holds, figure, bar),
            false => checks.note(&name, format!("{figure} (not checked; the aim is {bar})")),
        }
    }
}

/// What of the promises was kept.
fn judge(promises: Promises, outcome: &Outcome) -> Vec<Verdict> {
    let timed = |is_promised, name, asked: &Asked, aim: Duration| {
        let within = if is_promised { SLACK * aim } else { aim };
        let time = asked.percentile(99);
        Verdict {
            name,
            is_promised,
            holds: time <= within && asked.errors == 0,
            is_of_time: asked.errors == 0,
            figure: format!("{}, {} errors", ms(time), asked.errors),
            bar: format!("within {}, no error", ms(within)),
        }
    };
    let again = outcome.after.map(|after| after as f64 / outcome.before as f64);
    vec![
        Verdict {
            name: "kills for lack of memory",
            is_promised: promises.survives,
            holds: outcome.kills == 0 && outcome.most.is_some(),
            is_of_time: false,
            figure: outcome.kills.to_string(),
            bar: "none".to_owned(),
        },
        timed(promises.hits, "hits, 99 in 100", &outcome.seen.hits, HIT_WITHIN),
        timed(promises.healthz, "/healthz, 99 in 100", &outcome.seen.healthz, HEALTH_WITHIN),
        Verdict {
            name: "RSS after it",
            is_promised: promises.memory,
            holds: again.is_some_and(|again| again <= AGAIN),
            is_of_time: false,
            figure: again
                .map_or("gone".to_owned(), |again| format!("{again:.2} times that before")),
            bar: format!("{AGAIN} times at most"),
        },
    ]
}

fn heading() -> String {
    let asked = |name: &str| format!("{name:>6} {:>8} {:>8} {:>5}", "p50", "p99", "err");
    let [hits, misses] = ["hits", "misses"].map(asked);
    let admin = format!("{:>8} {:>8} {:>8} {:>5}", "healthz", "readyz", "metrics", "err");
    let memory = format!("{:>10} {:>10} {:>10}", "RSS", "most", "after");
    format!("       {:<6}|{hits} |{misses} |{admin} |{memory}", "")
}

fn line(name: &str, outcome: &Outcome) -> String {
    let Seen { hits, misses, healthz, readyz, metrics } = &outcome.seen;
    let asked = |asked: &Asked| {
        let [p50, p99] = [50, 99].map(|part| ms(asked.percentile(part)));
        format!("{:>6} {p50:>8} {p99:>8} {:>5}", asked.count(), asked.errors)
    };
    let [health, ready, told] = [healthz, readyz, metrics].map(|asked| ms(asked.percentile(99)));
    let errors = healthz.errors + readyz.errors + metrics.errors;
    let gone = || match outcome.kills {
        0 => "gone".to_owned(),
        kills => format!("{kills} killed"),
    };
    let memory = |bytes: Option<u64>| bytes.map_or_else(gone, mib);
    format!(
        "       {name:<6}|{} |{} |{health:>8} {ready:>8} {told:>8} {errors:>5} |{:>10} {:>10} {:>10}",
        asked(hits),
        asked(misses),
        mib(outcome.before),
        memory(outcome.most),
        memory(outcome.after),
    )
}

/// Why some were not answered as they should.
fn tell(seen: &Seen) {
    let kinds = [
        ("hits", &seen.hits),
        ("misses", &seen.misses),
        ("/healthz", &seen.healthz),
        ("/readyz", &seen.readyz),
        ("/metrics", &seen.metrics),
    ];
    for (name, asked) in kinds {
        if let Some(why) = &asked.why {
            println!("              the first error of {name}: {why}");
        }
    }
}

/// Of a time at full size and the least, what a scale makes.
fn part((full, least): (Duration, Duration), scale: f64) -> Duration {
    full.mul_f64(scale).max(least)
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1_000.0)
}

/// Raises the soft limit of open files as far as is useful and allowed, here and for the programs
/// that are started from here. Returns what it is.
pub(crate) fn raise_open_files() -> Result<u64, Error> {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.maximum.unwrap_or(FILES).min(FILES).max(limit.current.unwrap_or(FILES));
    let raised = Rlimit { current: Some(soft), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| format!("open files: {error}"))?;
    Ok(soft)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_whole_configuration_of_a_compose_edge() {
        assert_eq!(container().unwrap() % (1 << 20), 0);
        let folder = Path::new("/folder");
        let config = config(EDGE, "127.0.0.1:1".parse().unwrap(), folder).unwrap();
        let config = weir_config::Config::from_toml(&config).unwrap();
        assert_eq!(config.spool.path, Some(folder.join("spool")));
        assert_eq!(config.log.path, Some(folder.join("access")));
        assert_eq!(config.node.state, Some(folder.join("state")));
        let shipped = weir_config::Config::from_toml(
            &EDGE.lines().filter(|line| !line.contains("_file = ")).collect::<Vec<_>>().join("\n"),
        );
        // It names tokens, whose files are not here; all else is read.
        let mistakes = shipped.unwrap_err().0;
        assert!(mistakes.iter().all(|mistake| mistake.path.starts_with("token")), "{mistakes:?}");
        let default = "[[site]]\norigins = [\"http://a\"]\n";
        let default = weir_config::Config::from_toml(default).unwrap();
        assert!(config.memory.size < container().unwrap());
        assert!(config.limits.connections < default.limits.connections);
        assert_ne!(config.log.access, default.log.access);
        assert!(super::config("[memory]\n", "127.0.0.1:1".parse().unwrap(), folder).is_err());
    }
}
