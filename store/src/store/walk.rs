//! Walks over all directories. A directory is visited by one of its readers, segment by segment.

use super::{Status, Store};
use crate::response::Seq;
use crate::volume::{Judged, Verdict, Walk};
use std::sync::Arc;
use tokio::sync::oneshot;

/// A walk over everything stored.
#[derive(Debug)]
pub struct StoreWalk {
    upto: Seq,
    /// The directory that is visited.
    device: usize,
    devices: usize,
    /// The walk in it, and the life that it began in.
    within: Option<(u64, Walk)>,
    removed: u64,
}

impl StoreWalk {
    /// Whether everything that was stored when it began was visited.
    pub fn is_over(&self) -> bool {
        self.device >= self.devices
    }

    /// The seq up to which everything is judged once it is over.
    pub fn upto(&self) -> Seq {
        self.upto
    }

    /// Responses that it removed.
    pub fn removed(&self) -> u64 {
        self.removed + self.within.as_ref().map_or(0, |(_, walk)| walk.removed())
    }

    fn next_device(&mut self) {
        self.removed = self.removed();
        self.within = None;
        self.device += 1;
    }
}

impl Store {
    /// Begins a walk that judges by all purges up to `upto` ([`crate::Volume::walk`]).
    pub fn walk(&self, upto: Seq) -> StoreWalk {
        StoreWalk { upto, device: 0, devices: self.devices.len(), within: None, removed: 0 }
    }

    /// Visits one segment, of the directory whose turn it is. What a directory holds that is set aside
    /// needs no visit: it will be empty. Returns whether something was visited; if not, the readers of
    /// the directory have too much to do, or it does not answer: the caller tries again later.
    pub async fn step(
        &self,
        walk: &mut StoreWalk,
        judge: &Arc<dyn Fn(&Judged<'_>) -> Verdict + Send + Sync>,
    ) -> bool {
        let Some(device) = self.devices.get(walk.device) else { return false };
        let Some(life) = device.life() else {
            // One that is opened only now may hold something.
            let is_empty = device.status() != Status::Opening || device.lives() > 1;
            if is_empty {
                walk.next_device();
            }
            return is_empty;
        };
        let within = match walk.within.take() {
            // It was emptied since the walk began.
            Some((number, _)) if number != life.number() => {
                walk.next_device();
                return true;
            }
            Some((_, within)) => within,
            None => life.volume().walk(walk.upto),
        };
        let (done, answer) = oneshot::channel();
        let (judge, mut stepped) = (Arc::clone(judge), within.clone());
        let job = Box::new(move |life: &super::life::Life| {
            life.volume().step(&mut stepped, |judged| judge(judged));
            // Whoever asked may have left.
            drop(done.send(stepped));
        });
        walk.within = Some((life.number(), within));
        if !life.ask_reader(job) {
            return false;
        }
        let Ok(Ok(stepped)) = tokio::time::timeout(self.options.hang, answer).await else {
            return false;
        };
        let is_over = stepped.is_over();
        walk.within = Some((life.number(), stepped));
        if is_over {
            walk.next_device();
        }
        true
    }
}
