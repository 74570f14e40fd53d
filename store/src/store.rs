//! A store in several directories, each a [`Volume`] of its own with its own threads. The digest of a
//! URL says which directory it belongs to.
//!
//! Nothing here waits for a device without a bound. A directory whose device hangs or fails is set
//! aside: what it held is a miss, and it is opened anew, empty, after a pause.

mod device;
mod durable;
mod life;
mod objects;
mod opening;
mod reading;
mod walk;
mod watch;

pub use durable::{NotDurable, StoreMoment, StoreRemoved};
pub use opening::{Began, StoreError};
pub use reading::StoreFound;
pub use walk::StoreWalk;

use crate::checkpoint::Checkpoint;
use crate::counters::Counts;
use crate::disk::Disk;
use crate::format::mixed;
use crate::geometry::Geometry;
use crate::latency::Latencies;
use crate::response::ResponseHead;
use crate::volume::{Hold, Refused};
use bytes::Bytes;
use device::Device;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A directory of a store.
pub struct StoreDirectory {
    /// How messages call it.
    pub name: String,
    /// Its sizes.
    pub geometry: Geometry,
    /// Opens it. Called again whenever it was set aside; may wait for the device.
    pub open: Box<dyn Fn() -> io::Result<Arc<dyn Disk>> + Send + Sync>,
}

/// The bounds of a store. All but the durations are for each directory.
#[derive(Clone, Copy, Debug)]
pub struct StoreOptions {
    /// Bytes that may wait to be written.
    pub queue: usize,
    /// Threads that read what is not ready.
    pub readers: usize,
    /// Reads that may wait for one of them.
    pub reads: usize,
    /// How long a read may take. Then it is a miss.
    pub read_wait: Duration,
    /// How long a commit may take. Then the directory is set aside.
    pub commit_wait: Duration,
    /// How long the device may take for anything. Then the directory is set aside.
    pub hang: Duration,
    /// How long a directory that was set aside is left alone.
    pub retry: Duration,
    /// How often what was written is made recoverable.
    pub settle: Duration,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            queue: 64 << 20,
            readers: 4,
            reads: 256,
            read_wait: Duration::from_secs(1),
            commit_wait: Duration::from_secs(5),
            hang: Duration::from_secs(20),
            retry: Duration::from_secs(30),
            settle: Duration::from_secs(1),
        }
    }
}

/// What a directory does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is being opened.
    Opening,
    /// It stores and finds responses.
    Working,
    /// It is set aside, for this reason.
    SetAside(SetAside),
    /// The store was closed.
    Closed,
}

impl Status {
    /// Whether it stores and finds responses.
    pub fn is_working(&self) -> bool {
        *self == Self::Working
    }
}

/// Why a directory is set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// Its device does not answer in time.
    Hangs,
    /// [`Store::clear`] was called. It is opened anew at once.
    Cleared,
    /// Its device or its file system failed with this error.
    Failed(String),
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opening => f.write_str("is being opened"),
            Self::Working => f.write_str("works"),
            Self::SetAside(SetAside::Cleared) => f.write_str("is being emptied"),
            Self::SetAside(SetAside::Hangs) => f.write_str("does not answer in time"),
            Self::SetAside(SetAside::Failed(error)) => write!(f, "failed: {error}"),
            Self::Closed => f.write_str("is closed"),
        }
    }
}

/// Told of each change of a directory's status, by one of the store's threads: the name, and the new
/// status. Must not wait, and must not call the store.
pub type Observer = Arc<dyn Fn(&str, &Status) + Send + Sync>;

/// A store in several directories.
pub struct Store {
    devices: Arc<[Arc<Device>]>,
    secret: [u8; 16],
    options: StoreOptions,
}

impl Store {
    /// The secret that URLs are to be digested with.
    pub fn secret(&self) -> [u8; 16] {
        self.secret
    }

    /// The directory that a URL belongs to. Its index takes other bits of the digest.
    fn device(&self, url: u64) -> &Arc<Device> {
        let share = u128::from(mixed(url)) * self.devices.len() as u128;
        &self.devices[(share >> 64) as usize]
    }

    /// The directories and what they do.
    pub fn statuses(&self) -> Vec<(String, Status)> {
        self.devices.iter().map(|device| (device.name().to_owned(), device.status())).collect()
    }

    /// Whether the directory of a URL stores and finds responses.
    pub fn works_for(&self, url: u64) -> bool {
        self.device(url).life().is_some()
    }

    /// What was counted, over all directories and since the store was opened.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.devices.iter().for_each(|device| counts += device.counts());
        counts
    }

    /// How long the devices took, over all directories and since the store was opened.
    pub fn latencies(&self) -> Latencies {
        let mut latencies = Latencies::default();
        self.devices.iter().for_each(|device| latencies += device.latencies());
        latencies
    }

    /// Responses that can be found, and slices of bodies.
    pub fn held(&self) -> (usize, usize) {
        let held = self.devices.iter().filter_map(|device| Some(device.volume()?.held()));
        held.fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1))
    }

    /// Bytes of segments in use, and of journals.
    pub fn bytes(&self) -> u64 {
        self.devices.iter().filter_map(|device| Some(device.volume()?.bytes())).sum()
    }

    /// Hands in a response with its whole body ([`crate::Volume::put`]). Never waits.
    ///
    /// # Errors
    /// It is not taken.
    pub fn put(
        &self,
        head: ResponseHead,
        body: Vec<Bytes>,
        hold: Option<Hold>,
    ) -> Result<(), Refused> {
        let life = self.device(head.url).life().ok_or(Refused::Failed)?;
        let put = life.volume().put(head, body, hold);
        life.ring();
        put
    }

    /// Whether anything of a URL is stored, or on its way.
    pub fn has_url(&self, url: u64) -> bool {
        self.device(url).volume().is_some_and(|volume| volume.has_url(url))
    }

    /// Appends a checkpoint in each directory that works. To be committed by [`Store::commit`].
    ///
    /// A directory that was opened anew has none: until the next checkpoint nothing in it is
    /// recoverable.
    pub fn checkpoint(&self, checkpoint: &Checkpoint) -> Vec<StoreMoment> {
        let of = |(number, device): (usize, &Arc<Device>)| {
            let life = device.life()?;
            let moment = life.volume().checkpoint(checkpoint);
            Some(StoreMoment { device: number, life: life.number(), moment })
        };
        self.devices.iter().enumerate().filter_map(of).collect()
    }

    /// Empties a directory: what it holds cannot be trusted. Nothing of it is found from now on; it is
    /// opened anew by a thread of the store.
    pub fn clear(&self, name: &str) {
        for device in self.devices.iter().filter(|device| device.name() == name) {
            device.clear();
        }
    }

    /// Writes everything that waits and makes it durable, for an orderly end. Waits at most so long for
    /// all directories; returns the names of those that are not done then.
    pub fn close(&self, wait: Duration) -> Vec<String> {
        let until = std::time::Instant::now() + wait;
        self.devices.iter().for_each(|device| device.begin_close());
        let left = self.devices.iter().filter(|device| !device.closed_until(until));
        left.map(|device| device.name().to_owned()).collect()
    }
}

impl Drop for Store {
    /// Threads that wait for a device are left to themselves.
    fn drop(&mut self) {
        self.devices.iter().for_each(|device| device.end());
    }
}
