//! A body in slices on disk: read slice by slice as a client takes it, and written slice by slice as it
//! arrives.

use crate::error::StoreError;
use crate::store::{BodyBelow, ReadingBelow};
use bytes::{Bytes, BytesMut};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use weir_rules::range::Span;
use weir_store::volume::{ObjectWriter, Refused};
use weir_store::{Geometry, Store};

/// Bytes of a slice.
pub(super) const SLICE: u64 = Geometry::SLICE as u64;

/// A body on disk.
pub(crate) struct DiskBody {
    store: Arc<Store>,
    url: u64,
    /// The objects that have slices of it.
    pub(super) objects: Vec<u64>,
    length: u64,
    /// What its head must be handed to, once its slices were handed in.
    pub(super) writer: Mutex<Option<ObjectWriter>>,
    /// Told when it is decided whether its head is found.
    written: Mutex<Option<oneshot::Receiver<()>>>,
}

impl fmt::Debug for DiskBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskBody({} bytes in {:?})", self.length, self.objects)
    }
}

impl DiskBody {
    /// A body that is stored.
    pub(super) fn stored(store: &Arc<Store>, url: u64, objects: Vec<u64>, length: u64) -> Self {
        Self {
            store: Arc::clone(store),
            url,
            objects,
            length,
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
}

impl BodyBelow for DiskBody {
    fn length(&self) -> u64 {
        self.length
    }

    fn covers(&self, span: Span) -> bool {
        let mut slices = span.start / SLICE..=(span.end.max(1) - 1) / SLICE;
        span.end <= self.length
            && slices.all(|number| {
                u32::try_from(number)
                    .is_ok_and(|number| self.store.has_slice(self.url, &self.objects, number))
            })
    }

    fn read(self: Arc<Self>, at: u64, end: u64) -> ReadingBelow {
        Box::pin(async move {
            let number = at / SLICE;
            let narrow = u32::try_from(number).map_err(|_| missing(number))?;
            let slice = self.store.get_slice(self.url, &self.objects, narrow).await;
            let slice = slice.map_err(|why| StoreError::new(format!("slice {number}: {why}")))?;
            let slice = slice.ok_or_else(|| missing(number))?;
            let begin = number * SLICE;
            let from = usize::try_from(at - begin).unwrap_or(usize::MAX);
            let to = usize::try_from(end - begin).unwrap_or(usize::MAX).min(slice.len());
            if from >= to {
                return Err(missing(number));
            }
            Ok(slice.slice(from..to))
        })
    }
}

fn missing(number: u64) -> StoreError {
    StoreError::new(format!("slice {number} is not on the disk any more"))
}

/// A body on its way to the disk.
pub(crate) struct DiskBodyWriter {
    store: Arc<Store>,
    url: u64,
    writer: ObjectWriter,
    /// What was not handed in yet: less than a slice.
    rest: BytesMut,
    slices: u32,
    length: u64,
}

impl DiskBodyWriter {
    pub(super) fn new(store: &Arc<Store>, url: u64, writer: ObjectWriter) -> Self {
        let rest = BytesMut::new();
        Self { store: Arc::clone(store), url, writer, rest, slices: 0, length: 0 }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The store does not take them.
    pub(crate) fn write(&mut self, mut bytes: Bytes) -> Result<(), Refused> {
        self.length += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = SLICE as usize - self.rest.len();
            let taken = bytes.split_to(room.min(bytes.len()));
            self.rest.extend_from_slice(&taken);
            if self.rest.len() == SLICE as usize {
                self.hand_in()?;
            }
        }
        Ok(())
    }

    fn hand_in(&mut self) -> Result<(), Refused> {
        let slice = std::mem::take(&mut self.rest).freeze();
        self.writer.slice(self.slices, slice)?;
        self.slices += 1;
        Ok(())
    }

    /// All of it came. It is found once the response with this body is stored.
    ///
    /// # Errors
    /// The store does not take it.
    pub(crate) fn end(mut self) -> Result<DiskBody, Refused> {
        if !self.rest.is_empty() {
            self.hand_in()?;
        }
        let objects = self.writer.objects().to_vec();
        let body = DiskBody::stored(&self.store, self.url, objects, self.length);
        *body.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.writer);
        Ok(body)
    }
}
