//! A disk in memory that can do what real ones do at the wrong moment. For tests, of this crate and
//! of others.
//!
//! Writes that were not synced are known to the process that wrote them and may be lost with the
//! power: any of their sectors, in any order. Names are lost in order. A process that is killed
//! loses nothing: the test drops the store and opens it again.

use super::{Disk, DiskFile};
use crate::format::SECTOR;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Told when the disk no longer hangs.
    released: Condvar,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    /// Names as of the last sync, and those of each moment since.
    durable_names: Vec<BTreeMap<String, usize>>,
    contents: Vec<Content>,
    faults: Faults,
    /// Bytes written and syncs done, by name of the file.
    written: HashMap<String, u64>,
    syncs: HashMap<String, u64>,
    reads: u64,
}

/// What fails from now on.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Reads fail with this.
    pub reads: Option<io::ErrorKind>,
    /// Writes fail with this, after the first part was written.
    pub writes: Option<io::ErrorKind>,
    /// Syncs fail with this.
    pub syncs: Option<io::ErrorKind>,
    /// Everything waits.
    pub hangs: bool,
    /// Everything that waits for the device takes so long.
    pub slow: Option<Duration>,
    /// Nothing can be read without waiting.
    pub cold: bool,
    /// Syncs of the file of this name succeed and do nothing. `/` is the directory.
    pub omitted: Option<&'static str>,
}

#[derive(Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// What was done since the last sync.
    since: Vec<Op>,
}

enum Op {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

impl Op {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => {
                let end = offset + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(written);
            }
            Self::Length(length) => bytes.resize(*length, 0),
        }
    }

    /// The same in pieces that devices write at once or not at all.
    fn sectors(self) -> Vec<Self> {
        let Self::Write { mut offset, bytes } = self else { return vec![self] };
        let (mut rest, mut sectors) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let room = SECTOR - offset % SECTOR;
            let (piece, after) = rest.split_at(room.min(rest.len()));
            sectors.push(Self::Write { offset, bytes: piece.to_vec() });
            offset += piece.len();
            rest = after;
        }
        sectors
    }
}

impl SimulatedDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the disk hangs.
    fn ready(&self) -> MutexGuard<'_, State> {
        let hangs = |state: &mut State| state.faults.hangs;
        let slow = self.lock().faults.slow;
        if let Some(slow) = slow {
            std::thread::sleep(slow);
        }
        self.0.released.wait_while(self.lock(), hangs).unwrap_or_else(PoisonError::into_inner)
    }

    /// What fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
        self.0.released.notify_all();
    }

    /// The power is lost. `keeps` is asked for each sector, and for each change of a name, that was
    /// not synced, whether it is on the disk nevertheless.
    pub fn lose_power(&self, mut keeps: impl FnMut() -> bool) {
        let mut state = self.lock();
        for content in &mut state.contents {
            let mut bytes = std::mem::take(&mut content.durable);
            for op in std::mem::take(&mut content.since).into_iter().flat_map(Op::sectors) {
                if keeps() {
                    op.apply(&mut bytes);
                }
            }
            content.durable = bytes.clone();
            content.bytes = bytes;
        }
        let mut kept = 0;
        while kept + 1 < state.durable_names.len() && keeps() {
            kept += 1;
        }
        let names = state.durable_names.get(kept).cloned().unwrap_or_default();
        state.durable_names = vec![names.clone()];
        state.names = names;
    }

    /// A copy of the disk as it is now, with everything that is not synced.
    pub fn copy(&self) -> Self {
        let state = self.lock();
        let contents = state.contents.iter().map(|content| Content {
            bytes: content.bytes.clone(),
            durable: content.bytes.clone(),
            since: Vec::new(),
        });
        let copied = State {
            names: state.names.clone(),
            durable_names: vec![state.names.clone()],
            contents: contents.collect(),
            ..State::default()
        };
        Self(Arc::new(Shared { state: Mutex::new(copied), released: Condvar::new() }))
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// Changes the bytes of a file behind the store's back.
    pub fn damage(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let Some(number) = state.names.get(name).copied() else { return };
        let content = &mut state.contents[number];
        change(&mut content.bytes);
        content.durable = content.bytes.clone();
        content.since.clear();
    }

    /// Bytes written to a file so far.
    pub fn written(&self, name: &str) -> u64 {
        self.lock().written.get(name).copied().unwrap_or_default()
    }

    /// Syncs of a file so far; of the names, by `/`.
    pub fn syncs(&self, name: &str) -> u64 {
        self.lock().syncs.get(name).copied().unwrap_or_default()
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.lock().reads
    }
}

fn failed<T>(kind: Option<io::ErrorKind>) -> io::Result<Option<T>> {
    kind.map_or(Ok(None), |kind| Err(kind.into()))
}

impl State {
    fn note_names(&mut self) {
        if self.durable_names.is_empty() {
            self.durable_names.push(BTreeMap::new());
        }
        let names = self.names.clone();
        self.durable_names.push(names);
    }
}

impl Disk for SimulatedDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.ready();
        let number = match state.names.get(name) {
            Some(number) => *number,
            None => {
                failed::<()>(state.faults.writes)?;
                let number = state.contents.len();
                state.contents.push(Content::default());
                state.names.insert(name.to_owned(), number);
                state.note_names();
                number
            }
        };
        Ok(Arc::new(SimulatedFile { disk: self.clone(), number, name: name.to_owned() }))
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.ready().names.contains_key(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.ready();
        failed::<()>(state.faults.writes)?;
        let number = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), number);
        state.note_names();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.ready();
        failed::<()>(state.faults.writes)?;
        if state.names.remove(name).is_some() {
            state.note_names();
        }
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.ready();
        failed::<()>(state.faults.syncs)?;
        *state.syncs.entry("/".into()).or_default() += 1;
        if state.faults.omitted != Some("/") {
            state.durable_names = vec![state.names.clone()];
        }
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    number: usize,
    /// The name under which it was opened.
    name: String,
}

impl SimulatedFile {
    fn read(&self, state: &mut State, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        failed::<()>(state.faults.reads)?;
        state.reads += 1;
        let bytes = &state.contents[self.number].bytes;
        let begin = usize::try_from(offset).map_err(io::Error::other)?.min(bytes.len());
        let read = buffer.len().min(bytes.len() - begin);
        buffer[..read].copy_from_slice(&bytes[begin..begin + read]);
        Ok(read)
    }

    fn apply(&self, state: &mut State, op: Op) {
        let content = &mut state.contents[self.number];
        op.apply(&mut content.bytes);
        content.since.push(op);
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read(&mut self.disk.ready(), buffer, offset)
    }

    fn read_ready(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.lock();
        if state.faults.cold || state.faults.hangs || state.faults.slow.is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read(&mut state, buffer, offset)
    }

    fn can_send(&self) -> bool {
        true
    }

    fn is_cached(&self, _: u64, _: u64) -> bool {
        false
    }

    fn send(&self, _: BorrowedFd<'_>, _: u64, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn detach(&self, offset: u64, length: u64) -> io::Result<()> {
        let mut state = self.disk.ready();
        failed::<()>(state.faults.writes)?;
        let held = state.contents[self.number].bytes.len() as u64;
        let end = (offset + length).min(held);
        if offset < end {
            let bytes = vec![0; usize::try_from(end - offset).map_err(io::Error::other)?];
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            self.apply(&mut state, Op::Write { offset, bytes });
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.ready();
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let fault = state.faults.writes;
        let bytes = if fault.is_some() { &bytes[..bytes.len() / 2] } else { bytes };
        self.apply(&mut state, Op::Write { offset, bytes: bytes.to_vec() });
        *state.written.entry(self.name.clone()).or_default() += bytes.len() as u64;
        failed::<()>(fault).map(|_| ())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.ready();
        failed::<()>(state.faults.syncs)?;
        *state.syncs.entry(self.name.clone()).or_default() += 1;
        if state.faults.omitted != Some(&self.name) {
            let content = &mut state.contents[self.number];
            for op in std::mem::take(&mut content.since) {
                op.apply(&mut content.durable);
            }
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.ready().contents[self.number].bytes.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.ready();
        failed::<()>(state.faults.writes)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.apply(&mut state, Op::Length(length));
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn content(disk: &SimulatedDisk, name: &str) -> Vec<u8> {
        super::super::read_all(&*disk.open(name).unwrap()).unwrap()
    }

    #[test]
    fn what_was_synced_survives_and_the_rest_is_lost_by_sectors() {
        let disk = SimulatedDisk::default();
        let file = disk.open("a").unwrap();
        file.write_at(b"synced", 0).unwrap();
        file.sync().unwrap();
        disk.sync_names().unwrap();
        file.write_at(&[1; 1000], 6).unwrap();
        assert_eq!(content(&disk, "a").len(), 1006);
        let mut asked = 0;
        disk.lose_power(|| {
            asked += 1;
            asked == 2
        });
        // The second sector of the write is there, the first is not.
        let mut expected = vec![0; 1006];
        expected[..6].copy_from_slice(b"synced");
        expected[512..].fill(1);
        assert_eq!(content(&disk, "a"), expected);
    }

    #[test]
    fn names_are_lost_in_order_until_they_are_synced() {
        let disk = SimulatedDisk::default();
        disk.open("a").unwrap();
        disk.sync_names().unwrap();
        disk.rename("a", "b").unwrap();
        disk.open("c").unwrap();
        let mut kept = [true, false].into_iter();
        disk.lose_power(|| kept.next().unwrap_or_default());
        assert_eq!(disk.names(), ["b"]);
        disk.rename("b", "d").unwrap();
        disk.set_faults(Faults { omitted: Some("/"), ..Faults::default() });
        disk.sync_names().unwrap();
        disk.lose_power(|| false);
        assert_eq!(disk.names(), ["b"], "the sync did nothing");
    }

    #[test]
    fn faults_are_reported_as_what_they_are() {
        let disk = SimulatedDisk::default();
        let file = disk.open("a").unwrap();
        file.write_at(b"0123", 0).unwrap();
        let full = Some(io::ErrorKind::StorageFull);
        disk.set_faults(Faults { writes: full, reads: full, syncs: full, ..Faults::default() });
        let mut buffer = [0; 4];
        for error in [
            file.write_at(b"abcd", 0).unwrap_err(),
            file.read_at(&mut buffer, 0).unwrap_err(),
            file.sync().unwrap_err(),
            disk.sync_names().unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        disk.set_faults(Faults { cold: true, ..Faults::default() });
        let error = file.read_ready(&mut buffer, 0).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        file.read_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer, b"ab23", "a write that fails leaves a part");
    }
}
