//! What is to outlive a crash, over several directories.

use super::{SetAside, Store};
use crate::journal::Moment;
use crate::volume::{Removed, Volume};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// A moment of a directory's journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreMoment {
    pub(super) device: usize,
    pub(super) life: u64,
    pub(super) moment: Moment,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreRemoved {
    /// Responses in the index, and on their way to it.
    pub responses: usize,
    /// What must be committed before the removal outlives a crash; `None` where nothing would come
    /// back, or `is_at_risk`.
    pub moment: Option<StoreMoment>,
    /// The directory is set aside: what it holds of the URL may come back after a crash, unless the
    /// node gets a new membership, which voids it.
    pub is_at_risk: bool,
}

/// A moment is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDurable {
    /// The directory was set aside since.
    SetAside,
    /// It took too long: the directory is set aside now.
    Late,
}

impl fmt::Display for NotDurable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SetAside => "the directory was set aside",
            Self::Late => "the directory did not answer in time",
        })
    }
}

impl std::error::Error for NotDurable {}

impl Store {
    /// Removes all responses of a URL ([`Volume::remove_url`]). Never waits.
    pub fn remove_url(&self, url: u64) -> StoreRemoved {
        self.removed(url, |volume| volume.remove_url(url))
    }

    /// Removes all responses under a cache key. Never waits.
    pub fn remove_key(&self, url: u64, key: &[u8]) -> StoreRemoved {
        self.removed(url, |volume| volume.remove_key(url, key))
    }

    /// Removes the response of a variant: a newer one is known ([`Volume::supersede`]). Never waits.
    pub fn supersede(&self, url: u64, key: &[u8], selecting: &[u8]) -> StoreRemoved {
        self.removed(url, |volume| volume.supersede(url, key, selecting))
    }

    fn removed(&self, url: u64, remove: impl FnOnce(&Volume) -> Removed) -> StoreRemoved {
        let device = self.device(url);
        let number = self.devices.iter().position(|other| Arc::ptr_eq(other, device));
        let (Some(life), Some(number)) = (device.life(), number) else {
            return StoreRemoved { is_at_risk: true, ..StoreRemoved::default() };
        };
        let Removed { responses, moment } = remove(life.volume());
        let moment =
            moment.map(|moment| StoreMoment { device: number, life: life.number(), moment });
        // A volume that has failed meanwhile says nothing of what its disk holds.
        StoreRemoved { responses, moment, is_at_risk: life.volume().has_failed() }
    }

    /// Waits until all moments are durable: each directory writes and syncs once for all that wait. At
    /// most [`super::StoreOptions::commit_wait`]: a directory that takes longer is set aside.
    ///
    /// # Errors
    /// Some moment is not durable, the first one that failed tells why. The others were waited for.
    pub async fn commit(&self, moments: &[StoreMoment]) -> Result<(), NotDurable> {
        let asked: Vec<_> = moments
            .iter()
            .map(|at| {
                let life = self.devices[at.device].life().filter(|life| life.number() == at.life);
                (*at, life.map(|life| life.ask_commit(at.moment)))
            })
            .collect();
        let until = tokio::time::Instant::from(Instant::now() + self.options.commit_wait);
        let mut all = Ok(());
        for (at, receiver) in asked {
            let done = match receiver {
                None => Err(NotDurable::SetAside),
                Some(receiver) => match tokio::time::timeout_at(until, receiver).await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(NotDurable::SetAside),
                    Err(_) => {
                        self.devices[at.device].set_aside(at.life, SetAside::Hangs);
                        Err(NotDurable::Late)
                    }
                },
            };
            all = all.and(done);
        }
        all
    }
}
