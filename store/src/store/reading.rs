//! Reads: at once what is ready, the rest by a reader of the directory, within a bounded wait.

use super::Store;
use super::life::Life;
use crate::volume::{CachedBytes, Found, Read, StoredResponse, Unread};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A response that a directory's index has.
#[derive(Clone)]
pub struct StoreFound {
    life: Arc<Life>,
    found: Found,
    read_wait: Duration,
}

impl StoreFound {
    /// The response with a body that the kernel can send from the page cache. `None` if it is to be read: it
    /// is short, was not checked before, or is not in the page cache.
    pub fn cached(&self, key: &[u8]) -> Option<StoredResponse> {
        self.life.volume().cached_response(&self.found, key)
    }

    /// Reads it if all of it lies in the page cache; `None` if the device must be waited for.
    ///
    /// # Errors
    /// It is a miss.
    pub fn read_ready(&self, key: &[u8]) -> Option<Result<StoredResponse, Unread>> {
        let mut read = self.life.volume().read(&self.found);
        match noted(&self.life, read.ready()) {
            Ok(false) => None,
            Ok(true) => Some(self.life.volume().response(&self.found, &read, key)),
            Err(error) => Some(Err(Unread::Disk(error))),
        }
    }

    /// Reads it, by a reader of the directory where the device must be waited for, for at most
    /// [`super::StoreOptions::read_wait`].
    ///
    /// # Errors
    /// It is a miss.
    pub async fn read(&self, key: &[u8]) -> Result<StoredResponse, Unread> {
        let read = read(&self.life, &self.found, Instant::now() + self.read_wait).await?;
        self.life.volume().response(&self.found, &read, key)
    }

    /// Reads it for who only looks at it: it counts as requested no more than before. Waits in this thread,
    /// for at most [`super::StoreOptions::read_wait`].
    ///
    /// # Errors
    /// It is a miss.
    pub fn peek_blocking(&self, key: &[u8]) -> Result<StoredResponse, Unread> {
        let volume = self.life.volume();
        let mut read = volume.read(&self.found);
        if noted(&self.life, read.ready()).map_err(Unread::Disk)? {
            return volume.peek(&self.found, &read, key);
        }
        let (done, answer) = mpsc::sync_channel(1);
        let job = Box::new(move |life: &Life| {
            let waited = noted(life, read.wait()).map(|()| read);
            // Whoever asked may have left.
            drop(done.send(waited));
        });
        if !self.life.ask_reader(job) {
            return Err(Unread::Busy);
        }
        let read = answer.recv_timeout(self.read_wait).map_err(|why| match why {
            RecvTimeoutError::Timeout => Unread::Late,
            RecvTimeoutError::Disconnected => Unread::Gone,
        })?;
        volume.peek(&self.found, &read.map_err(Unread::Disk)?, key)
    }

    /// Whether the index has it still. Once it was removed or replaced it is not.
    pub fn is_current(&self) -> bool {
        self.life.volume().is_current(&self.found)
    }

    /// Removes it, if it is still there.
    pub fn remove(&self) {
        self.life.volume().remove(&self.found);
    }
}

impl Store {
    /// The responses under a cache key: several with Vary. Does not read.
    pub fn find(&self, url: u64, key: &[u8]) -> Vec<StoreFound> {
        let Some(life) = self.device(url).life() else { return Vec::new() };
        let read_wait = self.options.read_wait;
        let found = life.volume().find(url, key).into_iter();
        found.map(|found| StoreFound { life: Arc::clone(&life), found, read_wait }).collect()
    }

    /// Whether a slice of a body can be found.
    pub fn has_slice(&self, url: u64, objects: &[u64], number: u32) -> bool {
        let volume = self.device(url).volume();
        volume.is_some_and(|volume| volume.has_slice(url, objects, number))
    }

    /// Finds and reads the first response under a key. What lies in the page cache is read here;
    /// otherwise a reader does it, for at most [`super::StoreOptions::read_wait`].
    ///
    /// # Errors
    /// It is a miss.
    pub async fn get(&self, url: u64, key: &[u8]) -> Result<Option<StoredResponse>, Unread> {
        let Some(life) = self.device(url).life() else { return Ok(None) };
        let until = Instant::now() + self.options.read_wait;
        for found in life.volume().find(url, key) {
            let read = read(&life, &found, until).await?;
            match life.volume().response(&found, &read, key) {
                Err(Unread::Other) => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    }

    /// A slice of a body that the kernel can send from the page cache; `None` if it is to be read.
    pub fn cached_slice(&self, url: u64, objects: &[u64], number: u32) -> Option<CachedBytes> {
        self.device(url).life()?.volume().cached_slice(url, objects, number)
    }

    /// Finds and reads a slice of a body, as [`Store::get`].
    ///
    /// # Errors
    /// It is a miss.
    pub async fn get_slice(
        &self,
        url: u64,
        objects: &[u64],
        number: u32,
    ) -> Result<Option<Bytes>, Unread> {
        let Some(life) = self.device(url).life() else { return Ok(None) };
        let until = Instant::now() + self.options.read_wait;
        let Some(found) = life.volume().find_slice(url, objects, number) else { return Ok(None) };
        let read = read(&life, &found, until).await?;
        life.volume().slice(&found, &read, objects, number).map(Some)
    }
}

async fn read(life: &Arc<Life>, found: &Found, until: Instant) -> Result<Read, Unread> {
    let mut read = life.volume().read(found);
    if noted(life, read.ready()).map_err(Unread::Disk)? {
        return Ok(read);
    }
    let (done, answer) = oneshot::channel();
    let job = Box::new(move |life: &Life| {
        if done.is_closed() {
            return;
        }
        let waited = noted(life, read.wait()).map(|()| read);
        // Whoever asked may have left.
        drop(done.send(waited));
    });
    if !life.ask_reader(job) {
        return Err(Unread::Busy);
    }
    match tokio::time::timeout_at(until.into(), answer).await {
        Ok(Ok(read)) => read.map_err(Unread::Disk),
        Ok(Err(_)) => Err(Unread::Gone),
        Err(_) => Err(Unread::Late),
    }
}

fn noted<T>(life: &Life, read: io::Result<T>) -> io::Result<T> {
    if read.is_err() {
        life.volume().note_error();
    }
    life.note_read(read.is_err());
    read
}
