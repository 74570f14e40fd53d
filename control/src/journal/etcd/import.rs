//! The log of one process on its way into etcd, below a prefix where there is no log.
//!
//! It goes in many transactions, under the same fence as any other, and until the last of them a key says that it has
//! not ended: no process opens such a log. So an import that broke off is begun again, and one that has ended is
//! not repeated.

use super::super::{Contents, JournalError};
use super::chunks::{MOST_BYTES, chunks};
use super::contents::{self, Import, buckets};
use super::{EtcdJournal, READING, failed, json};
use crate::etcd::{KeyValue, Operation};

/// What an import found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No log: the import may begin.
    Nothing,
    /// An import of the same log that has not ended.
    Begun,
    /// This log was imported before.
    Imported,
}

impl EtcdJournal {
    /// What is there, seen by who wants to import `contents`.
    ///
    /// # Errors
    /// There is another log, or this log has gone on since it was imported.
    pub(crate) async fn found(&mut self, contents: &Contents) -> Result<Found, JournalError> {
        let election = self.tenure.election();
        let layout = election.layout.clone();
        let keys = election.etcd.range(layout.begin(), &layout.end(), READING).await;
        let (keys, cluster) = keys.map_err(failed)?;
        self.cluster = cluster;
        self.life.clone_from(&contents.life);
        let find = |key: &str| keys.iter().find(|found| found.key == key);
        self.head = find(&layout.head()).map_or(0, |head| head.mod_revision);
        let remove = format!("or remove what is there: etcdctl del --prefix {}", layout.begin());
        let Some(import) = find(&layout.import()) else {
            let own = |found: &&KeyValue| found.key != layout.writer();
            return match keys.iter().find(own) {
                None => Ok(Found::Nothing),
                Some(_) => Err(JournalError::new(format!(
                    "there is a log below {} in etcd already; choose another control.etcd.prefix, {remove}",
                    layout.begin()
                ))),
            };
        };
        let import: Import = contents::parsed(import)?;
        let now = Import::of(contents, import.ended);
        match import {
            import if import == now && import.ended => Ok(Found::Imported),
            import if import.log != now.log => Err(JournalError::new(format!(
                "below {} in etcd is what was imported of another log, {}; choose another \
                 control.etcd.prefix, {remove}",
                layout.begin(),
                import.log
            ))),
            import if import.ended => Err(JournalError::new(format!(
                "it was imported when its last entry was {}, and is {} now: control was run with it, or with a \
                 copy of it, since; to import it anew, remove what is there: etcdctl del --prefix {}",
                import.seq,
                now.seq,
                layout.begin()
            ))),
            _ => Ok(Found::Begun),
        }
    }

    /// Writes `contents`, after what was [found](Self::found). Before the last transaction, the one that makes a log
    /// of it, `leave` is called: from then on nobody may use what is imported.
    ///
    /// # Errors
    /// Something was not written: the import has not ended.
    pub(crate) async fn import(
        &mut self,
        contents: &Contents,
        leave: impl FnOnce(&str) -> Result<(), JournalError>,
    ) -> Result<(), JournalError> {
        let layout = self.layout().clone();
        let there = self.cluster.clone();
        if contents.copied {
            // The writer that opens it sees that it was written elsewhere, and begins a new life.
            self.cluster = "copied".to_owned();
        }
        let begun = vec![
            Operation::Delete(layout.begin(), layout.head()),
            // Nodes and sites.
            Operation::Delete(layout.nodes(0), format!("{}\0", layout.sites())),
            Operation::Put(layout.import(), json(&Import::of(contents, false))?),
        ];
        self.append(0, begun).await?;
        let last = contents.last();
        let mut units = Vec::new();
        for (first, last, value) in contents::entries(&contents.entries, MOST_BYTES / 2)? {
            units.push((last, vec![Operation::Put(layout.entries(first), value)]));
        }
        units.push((last, vec![Operation::Put(layout.base(), json(&contents.base)?)]));
        units.push((last, vec![Operation::Put(layout.sites(), json(&contents.sites)?)]));
        let nodes =
            contents::changes(&layout, Some(&contents::Written::new()), &buckets(&contents.nodes)?);
        units.extend(nodes.into_iter().map(|node| (last, vec![node])));
        for (_, to, value) in contents::arrivals(&contents.arrivals, MOST_BYTES / 2)? {
            units.push((last, vec![Operation::Put(layout.arrivals_to(to), value)]));
        }
        for (seq, operations) in chunks(units)? {
            self.append(seq, operations).await?;
        }
        leave(&format!("etcd (cluster {there}, below {})", layout.begin()))?;
        let ended = Operation::Put(layout.import(), json(&Import::of(contents, true))?);
        self.append(last, vec![ended]).await
    }
}
