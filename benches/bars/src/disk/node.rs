//! A node with a disk store, behind control. It may be down while control runs.

use super::page::{Origin, Page};
use crate::Error;
use crate::client::{self, Answer, Client};
use crate::program::{Programs, Weir};
use crate::topology::{HOST, Topology};
use bytes::Bytes;
use http_body_util::BodyExt;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long a state is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// A disk that wrote nothing for so long has written all.
const STALLED: Duration = Duration::from_secs(5);
/// How often all is asked for until it is on disk.
const ROUNDS: usize = 5;
/// Connections that fill; each may have a body under way to the disk.
const FILLING: u64 = 8;

/// A node that can be started again.
pub(super) struct Node<'a> {
    programs: &'a Programs,
    topology: Topology,
    config: PathBuf,
}

/// How a node is set up.
pub(super) struct Setup {
    /// MiB of `memory.size`.
    pub(super) memory: u64,
    /// Bytes of `disk.size`.
    pub(super) disk: u64,
    /// Bytes of `disk.max_object`.
    pub(super) max_object: u64,
    /// MiB of `disk.queue`.
    pub(super) queue: u64,
    /// Whether what is hit on disk comes into memory.
    pub(super) promote: bool,
}

impl<'a> Node<'a> {
    /// A node that does not run yet. Its disk may be slow to sync: other programs write to it, too.
    pub(super) fn new(
        programs: &'a Programs,
        origin: &Origin,
        setup: &Setup,
    ) -> Result<Self, Error> {
        let topology = Topology::alone(programs)?;
        let folder = topology.folder();
        let (disk, state) = (folder.join("disk"), folder.join("state"));
        let Setup { memory, disk: size, max_object, queue, promote } = setup;
        let mut text = String::new();
        write!(
            text,
            "[node]\nname = \"edge\"\nworkers = 1\nstate = {state:?}\n\
             [control]\nurl = \"http://{}\"\n\
             [memory]\nsize = \"{memory}MiB\"\n\
             [disk]\npath = {disk:?}\nsize = {size}\nmax_object = {max_object}\nadmit = \"all\"\n\
             promote = {promote}\nqueue = \"{queue}MiB\"\n\
             commit_wait = \"60s\"\nhang = \"120s\"\n\
             [log]\nlevel = \"warn\"\n\
             [[site]]\nid = \"site\"\norigins = [\"http://{}\"]\n",
            topology.control_at(),
            origin.at
        )?;
        let config = folder.join("edge.toml");
        std::fs::write(&config, text)?;
        Ok(Self { programs, topology, config })
    }

    /// A connection to control.
    pub(super) async fn control(&self) -> Result<Client, Error> {
        self.topology.control().await
    }

    /// Starts it; it may not be ready when this returns.
    pub(super) fn start(&self, cgroup: Option<&Path>) -> Result<Weir, Error> {
        Weir::configured_in(self.programs, &self.config, cgroup)
    }

    /// Starts it, and waits until it is ready.
    pub(super) async fn started(&self) -> Result<Weir, Error> {
        let weir = self.start(None)?;
        let end = Instant::now() + PATIENCE;
        while client::once(weir.admin, "GET", "/readyz").await?.status != 200 {
            if Instant::now() > end {
                return Err("the node does not become ready".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(weir)
    }
}

/// Pages with so many bytes, so many of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) bytes: u64,
    pub(super) count: u64,
}

impl Kind {
    pub(super) fn pages(self) -> impl Iterator<Item = Page> {
        (0..self.count).map(move |number| Page { bytes: self.bytes, number })
    }
}

/// Has the node store these on disk.
///
/// # Errors
/// Some are not there after they were asked for several times.
pub(super) async fn fill(weir: &Weir, kinds: &[Kind]) -> Result<(), Error> {
    let expected: u64 = kinds.iter().map(|kind| kind.count).sum();
    let before = client::metric(weir.admin, "weir_disk_responses").await?;
    for _ in 0..ROUNDS {
        for kind in kinds {
            for_each(weir, *kind, FILLING, |_| true).await?;
        }
        let held = until_written(weir, before + expected).await? - before;
        if held == expected {
            return Ok(());
        }
        println!("       (on disk: {held} of {expected}; asked for again)");
    }
    Err("not all could be stored on disk".into())
}

/// Waits until so many responses are on disk; how many there are, if no more are written.
async fn until_written(weir: &Weir, expected: u64) -> Result<u64, Error> {
    let mut last = (0, Instant::now());
    loop {
        let held = client::metric(weir.admin, "weir_disk_responses").await?;
        if held != last.0 {
            last = (held, Instant::now());
        }
        if held == expected || last.1.elapsed() > STALLED {
            return Ok(held);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What came of asking for some pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) all: u64,
    pub(super) hits: u64,
    /// Those with a body that is not theirs.
    pub(super) wrong: u64,
}

/// Asks for those of the pages that are `wanted`, each once, by so many connections, and compares every
/// byte.
pub(super) async fn for_each(
    weir: &Weir,
    kind: Kind,
    connections: u64,
    wanted: fn(u64) -> bool,
) -> Result<Asked, Error> {
    let (mut set, mut asked) = (JoinSet::new(), Asked::default());
    for lane in 0..connections {
        let to = weir.listen;
        set.spawn(async move {
            let mut client = Client::connect(to).await?.for_host(HOST);
            let mut asked = Asked::default();
            let pages = kind.pages().skip(lane as usize).step_by(connections as usize);
            for page in pages.filter(|page| wanted(page.number)) {
                let (is_hit, is_right) = read(&mut client, page).await?;
                asked.all += 1;
                asked.hits += u64::from(is_hit);
                asked.wrong += u64::from(!is_right);
            }
            Ok::<_, Error>(asked)
        });
    }
    while let Some(ended) = set.join_next().await {
        let Asked { all, hits, wrong } = ended??;
        asked.all += all;
        asked.hits += hits;
        asked.wrong += wrong;
    }
    Ok(asked)
}

/// Asks for a page; whether it is a hit, and whether its body is right.
async fn read(client: &mut Client, page: Page) -> Result<(bool, bool), Error> {
    let (head, mut body) = client.send("GET", &page.path()).await?.into_parts();
    let head = Answer { status: head.status.as_u16(), fields: head.headers, body: Bytes::new() };
    if head.status != 200 {
        return Err(format!("{}: status {}", page.path(), head.status).into());
    }
    let (mut at, mut is_right) = (0, true);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        is_right &= page.has_at(at, &data);
        at += data.len() as u64;
    }
    Ok((head.is_hit(), is_right && at == page.bytes))
}
