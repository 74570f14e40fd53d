//! A body in slices on disk: written slice by slice as it arrives, and read slice by slice as a client
//! takes it, while it grows too.

use super::record;
use crate::error::StoreError;
use crate::store::{BodyBelow, ReadingBelow, Selecting};
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};
use weir_rules::range::Span;
use weir_store::volume::{Body, CachedBytes, ObjectWriter, Refused};
use weir_store::{Geometry, Store, StoreFound};

/// Bytes of a slice.
pub(crate) const SLICE: u64 = Geometry::SLICE as u64;

/// How long a body that arrives faster than the disk takes it waits for room in the queue. Its own clients
/// wait with it, no others.
const ROOM: Duration = Duration::from_secs(1);

/// How long a reader waits for a slice that was handed in and is not written yet.
const WRITTEN: Duration = Duration::from_secs(2);

/// How often it is looked whether there is room, and whether a slice is written.
const LOOK: Duration = Duration::from_millis(2);

/// How much of a body there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// So many slices were handed in; more come.
    Growing(u32),
    /// All of it, of so many bytes.
    Whole(u64),
}

/// A body on disk.
pub(crate) struct DiskBody {
    store: Arc<Store>,
    url: u64,
    /// The objects that have slices of it.
    pub(super) objects: Vec<u64>,
    growth: watch::Receiver<Growth>,
    /// Whether this process has written it: what was handed in may not be found yet.
    is_new: bool,
    /// What its head must be handed to, once its slices were handed in.
    pub(super) writer: Mutex<Option<ObjectWriter>>,
    /// Told when it is decided whether its head is found.
    written: Mutex<Option<oneshot::Receiver<()>>>,
}

impl fmt::Debug for DiskBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskBody({:?} in {:?})", *self.growth.borrow(), self.objects)
    }
}

impl DiskBody {
    /// A body that is stored.
    pub(super) fn stored(store: &Arc<Store>, url: u64, objects: Vec<u64>, length: u64) -> Self {
        let (_, growth) = watch::channel(Growth::Whole(length));
        Self::of(store, url, objects, growth)
    }

    /// A body of which no slice is there yet, with the writer that its head is to be handed to.
    pub(super) fn begun(store: &Arc<Store>, url: u64, writer: ObjectWriter, length: u64) -> Self {
        let body = Self::stored(store, url, writer.objects().to_vec(), length);
        *body.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        body
    }

    /// What tells it apart from other bodies of its URL, also once it has more objects.
    pub(crate) fn first_object(&self) -> u64 {
        self.objects.first().copied().unwrap_or_default()
    }

    /// Whether a slice is there.
    pub(crate) fn has_slice(&self, number: u64) -> bool {
        u32::try_from(number)
            .is_ok_and(|number| self.store.has_slice(self.url, &self.objects, number))
    }

    /// Adds a slice that the stored head covers ([`weir_store::Volume::add_slice`]), where the queue of the
    /// store is full after a bounded wait. The receiver is told when it is found.
    ///
    /// # Errors
    /// The store does not take it.
    pub(crate) async fn add(
        &self,
        number: u64,
        bytes: &Bytes,
    ) -> Result<oneshot::Receiver<()>, Refused> {
        let number = u32::try_from(number).map_err(|_| Refused::TooLarge)?;
        let object = self.objects.last().copied().ok_or(Refused::Failed)?;
        let until = Instant::now() + ROOM;
        loop {
            let (told, found) = oneshot::channel::<()>();
            let hold = Some(Box::new(told) as Box<_>);
            match self.store.add_slice(self.url, object, number, bytes.clone(), hold) {
                Ok(()) => return Ok(found),
                Err(Refused::NoRoom) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                Err(refused) => return Err(refused),
            }
        }
    }

    /// The body with one more slice, which is found with the head that is stored next.
    ///
    /// # Errors
    /// The store does not take it.
    pub(crate) fn extended(
        &self,
        key: &[u8],
        selecting: Option<&Selecting>,
        number: u64,
        bytes: Bytes,
    ) -> Result<Self, Refused> {
        let number = u32::try_from(number).map_err(|_| Refused::TooLarge)?;
        let length = BodyBelow::length(self).ok_or(Refused::Running)?;
        let selecting = record::encode_selecting(selecting);
        let writer = self.store.extend_object(self.url, key, &selecting, &self.objects)?;
        writer.slice(number, bytes)?;
        Ok(Self::begun(&self.store, self.url, writer, length))
    }

    fn of(
        store: &Arc<Store>,
        url: u64,
        objects: Vec<u64>,
        growth: watch::Receiver<Growth>,
    ) -> Self {
        let is_new = matches!(*growth.borrow(), Growth::Growing(_));
        Self {
            store: Arc::clone(store),
            url,
            objects,
            growth,
            is_new,
            writer: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// What is told of the end of its writing.
    pub(super) fn written(&self) -> oneshot::Sender<()> {
        let (told, written) = oneshot::channel();
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = Some(written);
        told
    }

    /// Waits until its head is found, or will never be.
    pub(crate) async fn until_written(&self) {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(written) = written {
            // The sender is dropped when it is decided.
            let _decided = written.await;
        }
    }

    /// Waits until the slice with the byte `at` was handed in; `false` if that is past the end.
    async fn until_there(&self, at: u64) -> Result<bool, StoreError> {
        let is_there = |growth: &Growth| match *growth {
            Growth::Growing(slices) => at / SLICE < u64::from(slices),
            Growth::Whole(_) => true,
        };
        let mut growth = self.growth.clone();
        let reached = growth.wait_for(is_there).await.map(|growth| *growth);
        match reached {
            Ok(Growth::Whole(length)) => Ok(at < length),
            Ok(Growth::Growing(_)) => Ok(true),
            // Nobody writes it any more.
            Err(_) => Err(StoreError::new("its body did not come to its end".to_owned())),
        }
    }

    async fn slice(&self, number: u32) -> Result<Bytes, StoreError> {
        let until = Instant::now() + WRITTEN;
        loop {
            let slice = self.store.get_slice(self.url, &self.objects, number).await;
            match slice {
                Ok(Some(slice)) => return Ok(slice),
                Ok(None) if self.is_new && Instant::now() < until => tokio::time::sleep(LOOK).await,
                Ok(None) => return Err(missing(number.into())),
                Err(why) => return Err(StoreError::new(format!("slice {number}: {why}"))),
            }
        }
    }
}

impl BodyBelow for DiskBody {
    fn length(&self) -> Option<u64> {
        match *self.growth.borrow() {
            Growth::Growing(_) => None,
            Growth::Whole(length) => Some(length),
        }
    }

    fn covers(&self, span: Span) -> bool {
        let mut slices = span.start / SLICE..=(span.end.max(1) - 1) / SLICE;
        self.length().is_some_and(|length| span.end <= length)
            && slices.all(|number| self.has_slice(number))
    }

    fn cached(&self, at: u64, end: Option<u64>) -> Option<CachedBytes> {
        let number = at / SLICE;
        let slice =
            self.store.cached_slice(self.url, &self.objects, u32::try_from(number).ok()?)?;
        let part = slice.part(part(at - number * SLICE, end.map(|end| end - number * SLICE))?);
        (!part.is_empty()).then_some(part)
    }

    fn read(self: Arc<Self>, at: u64, end: Option<u64>) -> ReadingBelow {
        Box::pin(async move {
            if !self.until_there(at).await? {
                return Ok(Bytes::new());
            }
            let number = at / SLICE;
            let slice = self.slice(u32::try_from(number).map_err(|_| missing(number))?).await?;
            let begin = number * SLICE;
            let from = usize::try_from(at - begin).unwrap_or(usize::MAX);
            let to = end.map_or(slice.len(), |end| {
                usize::try_from(end - begin).unwrap_or(usize::MAX).min(slice.len())
            });
            if from >= to {
                return Err(missing(number));
            }
            Ok(slice.slice(from..to))
        })
    }
}

/// From where on and up to where, within a slice or within any other bytes; `None` ends where they end.
fn part(at: u64, end: Option<u64>) -> Option<Range<usize>> {
    let end = end.map_or(usize::MAX, |end| usize::try_from(end).unwrap_or(usize::MAX));
    Some(usize::try_from(at).ok()?..end)
}

/// A body that lies with its head in one record on disk, for one request that found it in the page cache.
pub(super) struct CachedBody {
    pub(super) bytes: CachedBytes,
    /// Where its record is, and the key of that.
    pub(super) place: StoreFound,
    pub(super) key: Bytes,
}

impl fmt::Debug for CachedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CachedBody({:?})", self.bytes)
    }
}

impl BodyBelow for CachedBody {
    fn length(&self) -> Option<u64> {
        Some(self.bytes.len() as u64)
    }

    fn covers(&self, span: Span) -> bool {
        span.end <= self.bytes.len() as u64
    }

    fn cached(&self, at: u64, end: Option<u64>) -> Option<CachedBytes> {
        let part = self.bytes.part(part(at, end)?);
        (!part.is_empty()).then_some(part)
    }

    fn read(self: Arc<Self>, at: u64, end: Option<u64>) -> ReadingBelow {
        Box::pin(async move {
            let gone = |why: String| StoreError::new(format!("the body on disk: {why}"));
            let read = self.place.read(&self.key).await.map_err(|why| gone(why.to_string()))?;
            let (Body::Whole(body), Some(part)) = (read.body, part(at, end)) else {
                return Err(gone("it is another one".to_owned()));
            };
            Ok(body.slice(part.start.min(body.len())..part.end.min(body.len())))
        })
    }
}

fn missing(number: u64) -> StoreError {
    StoreError::new(format!("slice {number} is not on the disk any more"))
}

/// A body on its way to the disk. If it is dropped before its end, its readers are told, and what was
/// written is reclaimed.
pub(crate) struct DiskBodyWriter {
    /// As its readers have it.
    body: Arc<DiskBody>,
    writer: ObjectWriter,
    growth: watch::Sender<Growth>,
    /// What was not handed in yet: at most a slice.
    rest: BytesMut,
    slices: u32,
    length: u64,
}

impl DiskBodyWriter {
    pub(super) fn new(store: &Arc<Store>, url: u64, writer: ObjectWriter) -> Self {
        let (growth, grows) = watch::channel(Growth::Growing(0));
        let body = Arc::new(DiskBody::of(store, url, writer.objects().to_vec(), grows));
        Self { body, writer, growth, rest: BytesMut::new(), slices: 0, length: 0 }
    }

    /// The body, to be read while it grows.
    pub(crate) fn body(&self) -> &Arc<DiskBody> {
        &self.body
    }

    /// Takes the next bytes. Where the queue of the store is full it waits for room, for a bounded time.
    ///
    /// # Errors
    /// The store does not take them.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), Refused> {
        while !bytes.is_empty() {
            self.put(&mut bytes);
            if self.rest.len() == SLICE as usize {
                self.hand_in_soon().await?;
            }
        }
        Ok(())
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// The store does not take them.
    pub(super) fn write_now(&mut self, mut bytes: Bytes) -> Result<(), Refused> {
        while !bytes.is_empty() {
            self.put(&mut bytes);
            if self.rest.len() == SLICE as usize {
                self.hand_in()?;
            }
        }
        Ok(())
    }

    fn put(&mut self, bytes: &mut Bytes) {
        let room = SLICE as usize - self.rest.len();
        let taken = bytes.split_to(room.min(bytes.len()));
        self.rest.extend_from_slice(&taken);
        self.length += taken.len() as u64;
    }

    async fn hand_in_soon(&mut self) -> Result<(), Refused> {
        let until = Instant::now() + ROOM;
        loop {
            match self.hand_in() {
                Err(Refused::NoRoom) if Instant::now() < until => tokio::time::sleep(LOOK).await,
                handed => return handed,
            }
        }
    }

    /// Hands in what is there as a slice. What is not taken stays.
    fn hand_in(&mut self) -> Result<(), Refused> {
        let slice = std::mem::take(&mut self.rest).freeze();
        if let Err(refused) = self.writer.slice(self.slices, slice.clone()) {
            self.rest = BytesMut::from(slice);
            return Err(refused);
        }
        self.slices += 1;
        self.growth.send_replace(Growth::Growing(self.slices));
        Ok(())
    }

    /// All of it came. It is found once the response with this body is stored.
    ///
    /// # Errors
    /// The store does not take it.
    pub(crate) async fn end(mut self) -> Result<Arc<DiskBody>, Refused> {
        if !self.rest.is_empty() {
            self.hand_in_soon().await?;
        }
        Ok(self.whole())
    }

    /// The same without waiting; returns what the head is to be handed to.
    ///
    /// # Errors
    /// The store does not take it.
    pub(super) fn end_now(mut self) -> Result<ObjectWriter, Refused> {
        if !self.rest.is_empty() {
            self.hand_in()?;
        }
        Ok(self.writer)
    }

    fn whole(self) -> Arc<DiskBody> {
        let Self { body, writer, growth, length, .. } = self;
        *body.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        growth.send_replace(Growth::Whole(length));
        body
    }
}
