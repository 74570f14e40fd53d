//! The log that one process of control keeps for itself, moved into etcd, where several share it.
//!
//! It goes with its id, its marks, and the nodes that it expects, so that nodes go on with what they have stored. While
//! it goes, the import is the writer of the log in etcd; once it is there, what it was imported from is not opened any
//! more, since two logs that go on from the same entries would be told apart by nobody.

use crate::etcd::{Election, Etcd, Layout, Tenure, WriterKey};
use crate::journal::etcd::{EtcdJournal, Found};
use crate::journal::redb::Redb;
use crate::journal::{Contents, Journal};
use crate::replica::random;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long the lease of a writer that is gone is waited for.
const GONE: Duration = Duration::from_secs(6);
const LOOK: Duration = Duration::from_millis(200);

/// What the other processes see as the writer's URL meanwhile: they pass nothing on to it.
const NAME: &str = "weir control import";

/// What was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The log's id.
    pub log: String,
    /// The last entry; 0 without any.
    pub head: u64,
    /// Entries that it holds.
    pub entries: usize,
    /// Nodes that are expected.
    pub nodes: usize,
    /// It was there: an earlier import has ended.
    pub already: bool,
    /// What was imported is a copy of a log, which may have gone on: the log gets a new id in etcd.
    pub copied: bool,
}

/// Moves the log in the directory `data` to etcd, which `http` reaches.
///
/// # Errors
/// What is wrong, in words. If something was written, the import can be run again; until it has ended no process of
/// control opens what is there.
pub async fn import(
    config: &weir_config::Etcd,
    http: reqwest::Client,
    data: &Path,
) -> Result<Imported, String> {
    let (mut from, moved) = Redb::open_to_move(data).map_err(|error| error.to_string())?;
    let contents = from.load().map_err(|error| error.to_string())?;
    let path = from.path().display().to_string();
    let Some(life) = &contents.life else {
        return Err(format!("{path}: it holds no log yet"));
    };
    let election = Election {
        etcd: Arc::new(Etcd::new(http, config)),
        layout: Layout::new(&config.prefix),
        own: WriterKey { instance: random()?, url: NAME.to_owned(), pass: random()? },
        seen: Mutex::default(),
    };
    let tenure = elected(&Arc::new(election), &config.prefix).await?;
    let keeping = tokio::spawn(tenure.clone().keep());
    let imported = move_over(&mut from, moved, &contents, &tenure).await;
    tenure.resign().await;
    keeping.abort();
    let already = imported.map_err(|reason| format!("{path}: {reason}"))?;
    let (entries, nodes) = (contents.entries.len(), contents.nodes.len());
    let (log, head, copied) = (life.log.0.clone(), contents.last(), contents.copied);
    Ok(Imported { log, head, entries, nodes, already, copied })
}

/// The import as the writer; an earlier one may have left a lease.
async fn elected(election: &Arc<Election>, prefix: &str) -> Result<Arc<Tenure>, String> {
    let end = Instant::now() + GONE;
    loop {
        if let Some(tenure) = election.stand().await.map_err(|failure| failure.to_string())? {
            return Ok(tenure);
        }
        let view = election.look().await.map_err(|failure| failure.to_string())?;
        if let Some((writer, _)) = view.writer
            && Instant::now() >= end
        {
            return Err(match &*writer.url {
                NAME => format!("another import to {prefix} in etcd runs"),
                url => format!(
                    "{url} is the writer of the log below {prefix} in etcd: stop all processes of control that \
                     share it"
                ),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether it was there already.
async fn move_over(
    from: &mut Redb,
    moved: Option<String>,
    contents: &Contents,
    tenure: &Arc<Tenure>,
) -> Result<bool, String> {
    let mut to = EtcdJournal::new(tenure.clone(), Handle::current());
    let found = to.found(contents).await.map_err(|error| error.to_string())?;
    match (found, moved) {
        (Found::Imported, _) => return Ok(true),
        (Found::Nothing, Some(place)) => {
            return Err(format!(
                "its log was moved to {place}, and has gone on there; here there is nothing of it"
            ));
        }
        (Found::Nothing | Found::Begun, _) => {}
    }
    let imported = to.import(contents, |place| from.leave(place)).await;
    imported.map_err(|error| format!("the import has not ended, and can be run again: {error}"))?;
    Ok(false)
}
