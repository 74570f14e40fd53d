//! Reads: at once what is ready, the rest by a reader of the directory, within a bounded wait.

use super::Store;
use super::life::Life;
use crate::volume::{Found, Read, StoredResponse, Unread};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

impl Store {
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
