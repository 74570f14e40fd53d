//! Finding and reading. Finding is a look into memory. A read is tried without waiting first, and
//! may be continued where waiting is allowed.

use super::Volume;
use super::buffers::Buffer;
use super::cached::CachedBytes;
use super::checked::LONG;
use crate::disk::DiskFile;
use crate::format::record::{self, BodyForm, Decoded, SliceName, What};
use crate::index::{Kind, Record, is_of_key, key_bits, slice_bits, slice_digest};
use crate::response::ResponseHead;
use bytes::Bytes;
use std::fmt;
use std::io;
use std::sync::Arc;

/// A record that the index has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub(super) digest: u64,
    pub(super) record: Record,
    pub(super) generation: u64,
}

/// A read of a record, which may take several steps.
pub struct Read {
    file: Arc<dyn DiskFile>,
    offset: u64,
    /// None once it is done.
    buffer: Option<Buffer>,
    read: usize,
    bytes: Bytes,
}

/// Why a record could not be read. In each case the request is a miss.
#[derive(Debug)]
pub enum Unread {
    /// It was removed, replaced or evicted meanwhile.
    Gone,
    /// Its checksum is wrong. It is not found any more.
    Damaged,
    /// It has another key, or is another slice, with the same digest.
    Other,
    /// The disk failed.
    Disk(io::Error),
    /// Too many reads wait for the disk.
    Busy,
    /// The disk took too long.
    Late,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("it was removed meanwhile"),
            Self::Damaged => f.write_str("its checksum is wrong"),
            Self::Other => f.write_str("another record has the same digest"),
            Self::Busy => f.write_str("too many reads wait for the disk"),
            Self::Late => f.write_str("the disk took too long"),
            Self::Disk(error) => write!(f, "the disk failed: {error}"),
        }
    }
}

impl std::error::Error for Unread {}

/// A response as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// As it was handed in, with the stamps as of now.
    pub head: ResponseHead,
    /// The order of the store's writes: of two responses the later one has the higher number.
    pub write_seq: u64,
    /// Whether it was stored before the volume was opened.
    pub survived: bool,
    /// Its body, or where that is.
    pub body: Body,
}

/// The body of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Whole(Bytes),
    /// All of it, in the page cache.
    Cached(CachedBytes),
    /// In slices, to be found by [`Volume::find_slice`]. Some may be missing.
    Sliced {
        /// The objects that have slices of it.
        objects: Vec<u64>,
        /// Bytes of the whole body.
        length: u64,
    },
}

impl Read {
    /// Reads what can be read without waiting for the device; whether that is all.
    ///
    /// # Errors
    /// The disk failed.
    pub fn ready(&mut self) -> io::Result<bool> {
        let Some(buffer) = &mut self.buffer else { return Ok(true) };
        while self.read < buffer.length() {
            let rest = &mut buffer.bytes()[self.read..];
            match self.file.read_ready(rest, self.offset + self.read as u64) {
                Ok(0) => break,
                Ok(read) => self.read += read,
                Err(error) => {
                    return match error.kind() {
                        io::ErrorKind::WouldBlock | io::ErrorKind::Unsupported => Ok(false),
                        io::ErrorKind::Interrupted => continue,
                        _ => Err(error),
                    };
                }
            }
        }
        self.end();
        Ok(true)
    }

    /// Reads the rest, and waits for the device.
    ///
    /// # Errors
    /// The disk failed.
    pub fn wait(&mut self) -> io::Result<()> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        if self.read < buffer.length() {
            let rest = &mut buffer.bytes()[self.read..];
            self.read += self.file.read_at(rest, self.offset + self.read as u64)?;
        }
        self.end();
        Ok(())
    }

    fn end(&mut self) {
        if let Some(mut buffer) = self.buffer.take() {
            buffer.truncate(self.read);
            self.bytes = Bytes::from_owner(buffer);
        }
    }

    pub(super) fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

impl Volume {
    /// The responses that are stored under a cache key: several with Vary. The digest of the key is
    /// short: [`Volume::response`] compares the whole of it.
    pub fn find(&self, url: u64, key: &[u8]) -> Vec<Found> {
        let bits = key_bits(key);
        self.found(url, |record| record.kind == Kind::Response && is_of_key(record.variant, bits))
    }

    /// A slice of a body, of the last of its objects that has it.
    pub fn find_slice(&self, url: u64, objects: &[u64], number: u32) -> Option<Found> {
        let mut names = objects.iter().rev().map(|object| SliceName { object: *object, number });
        names.find_map(|name| self.find_named(url, name))
    }

    fn find_named(&self, url: u64, name: SliceName) -> Option<Found> {
        let bits = slice_bits(name);
        let is_it = |record: &Record| record.kind == Kind::Slice && record.variant == bits;
        self.found(slice_digest(url, name), is_it).pop()
    }

    fn found(&self, digest: u64, is_wanted: impl Fn(&Record) -> bool) -> Vec<Found> {
        let part = self.index.part(digest);
        let records = part.find(digest, is_wanted).into_iter();
        // Slots end only after everything in them left the index.
        let found = records.map(|record| {
            let generation = self.slot(record.at.slot).generation();
            Found { digest, record, generation }
        });
        found.collect()
    }

    /// Whether a slice of a body can be found.
    pub fn has_slice(&self, url: u64, objects: &[u64], number: u32) -> bool {
        objects.iter().rev().any(|object| {
            let name = SliceName { object: *object, number };
            let (digest, bits) = (slice_digest(url, name), slice_bits(name));
            let is_it = |record: &Record| record.kind == Kind::Slice && record.variant == bits;
            self.index.part(digest).has(digest, is_it)
        })
    }

    /// Whether what was found is still there, as it was.
    pub fn is_current(&self, found: &Found) -> bool {
        let at = found.record.at;
        self.index.part(found.digest).has(found.digest, |record| record.at == at)
            && self.slot(at.slot).generation() == found.generation
    }

    /// Whether anything of a URL is stored, or on its way.
    pub fn has_url(&self, url: u64) -> bool {
        let part = self.index.part(url);
        part.has(url, |record| record.kind == Kind::Response) || part.expects(url)
    }

    /// A read of what was found.
    pub fn read(&self, found: &Found) -> Read {
        let at = found.record.at;
        let offset = self.geometry.begin(at.slot) + u64::from(at.offset);
        let buffer = Some(self.buffers.take(at.length as usize));
        let file = Arc::clone(&self.segments);
        Read { file, offset, buffer, read: 0, bytes: Bytes::new() }
    }

    /// The response that a finished read brought, if it has this key.
    ///
    /// # Errors
    /// It is a miss.
    pub fn response(
        &self,
        found: &Found,
        read: &Read,
        key: &[u8],
    ) -> Result<StoredResponse, Unread> {
        self.response_of(found, read, key, true)
    }

    /// As [`Volume::response`], for who only looks at it: it counts as requested no more than before.
    ///
    /// # Errors
    /// It is a miss.
    pub fn peek(&self, found: &Found, read: &Read, key: &[u8]) -> Result<StoredResponse, Unread> {
        self.response_of(found, read, key, false)
    }

    fn response_of(
        &self,
        found: &Found,
        read: &Read,
        key: &[u8],
        is_hit: bool,
    ) -> Result<StoredResponse, Unread> {
        let Decoded { what, body, write_seq, .. } = self.decoded(found, read, is_hit)?;
        self.response_with(found, what, write_seq, key, || Body::Whole(body))
    }

    /// The response of a record, if it has this key; `inline` is its body, if that is in the record.
    pub(super) fn response_with(
        &self,
        found: &Found,
        what: What,
        write_seq: u64,
        key: &[u8],
        inline: impl FnOnce() -> Body,
    ) -> Result<StoredResponse, Unread> {
        let What::Response { mut head, form } = what else { return Err(Unread::Other) };
        if head.key != key {
            return Err(Unread::Other);
        }
        self.update(&mut head, &found.record);
        // What it was judged by was of another segment otherwise.
        if self.slot(found.record.at.slot).generation() != found.generation {
            return Err(Unread::Gone);
        }
        let body = match form {
            BodyForm::Inline => inline(),
            BodyForm::Sliced { objects, length } => Body::Sliced { objects, length },
        };
        let survived = write_seq < self.opened_at;
        Ok(StoredResponse { head, write_seq, survived, body })
    }

    /// The slice that a finished read brought.
    ///
    /// # Errors
    /// It is a miss.
    pub fn slice(
        &self,
        found: &Found,
        read: &Read,
        objects: &[u64],
        number: u32,
    ) -> Result<Bytes, Unread> {
        let Decoded { url, what, body, .. } = self.decoded(found, read, true)?;
        match what {
            What::Slice(name) if objects.contains(&name.object) && name.number == number => {
                self.note_use(url);
                Ok(body)
            }
            _ => Err(Unread::Other),
        }
    }

    /// Slices of a URL are in use: its heads are, too, although whoever keeps one in memory does not
    /// look it up. Without them the slices are lost.
    fn note_use(&self, url: u64) {
        let mut part = self.index.part(url);
        let is_new = |record: &Record| record.kind == Kind::Response && !record.is_hit;
        for record in part.find(url, is_new) {
            part.update(url, record.at, |record| record.is_hit = true);
        }
    }

    fn decoded(&self, found: &Found, read: &Read, is_hit: bool) -> Result<Decoded, Unread> {
        let at = found.record.at;
        self.counters.reads.add(1);
        self.counters.bytes_read.add(read.bytes.len() as u64);
        let decoded = record::decode(&read.bytes, self.place(found.generation, at.offset));
        let mut part = self.index.part(found.digest);
        let is_there = self.slot(at.slot).generation() == found.generation
            && part.update(found.digest, at, |record| record.is_hit |= is_hit);
        match decoded {
            _ if !is_there => Err(Unread::Gone),
            Some(decoded) => {
                drop(part);
                if at.length >= LONG {
                    let is_there = || self.slot(at.slot).generation() == found.generation;
                    self.checked.note(found.generation, at.offset, is_there);
                }
                Ok(decoded)
            }
            None => {
                for record in part.remove(found.digest, |record| record.at == at) {
                    self.forget(&mut part, found.digest, record.at);
                }
                self.counters.damaged.add(1);
                Err(Unread::Damaged)
            }
        }
    }

    /// Notes that a read failed.
    pub fn note_error(&self) {
        self.counters.errors.add(1);
    }

    /// Finds and reads the first response under a key, and waits for the disk.
    ///
    /// # Errors
    /// It is a miss.
    pub fn get(&self, url: u64, key: &[u8]) -> Result<Option<StoredResponse>, Unread> {
        for found in self.find(url, key) {
            match self.response(&found, &self.read_whole(&found)?, key) {
                Err(Unread::Other) => {}
                other => return other.map(Some),
            }
        }
        Ok(None)
    }

    /// Finds and reads a slice, and waits for the disk.
    ///
    /// # Errors
    /// It is a miss.
    pub fn get_slice(
        &self,
        url: u64,
        objects: &[u64],
        number: u32,
    ) -> Result<Option<Bytes>, Unread> {
        let Some(found) = self.find_slice(url, objects, number) else { return Ok(None) };
        self.slice(&found, &self.read_whole(&found)?, objects, number).map(Some)
    }

    fn read_whole(&self, found: &Found) -> Result<Read, Unread> {
        let mut read = self.read(found);
        let done = read.ready().and_then(|done| if done { Ok(()) } else { read.wait() });
        match done {
            Ok(()) => Ok(read),
            Err(error) => {
                self.note_error();
                Err(Unread::Disk(error))
            }
        }
    }
}
