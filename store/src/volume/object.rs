//! A body that is longer than a slice: written slice by slice while it arrives.

use super::Volume;
use super::queue::{Hold, Item, Refused, Written};
use crate::format::record::{BodyForm, MOST_OBJECTS, SliceName};
use crate::index::{Pending, variant};
use crate::response::ResponseHead;
use bytes::Bytes;
use std::sync::Arc;

/// A body on its way. Its slices are found only through the response that is handed in at the end;
/// without that, their room is reclaimed like that of anything else.
pub struct ObjectWriter {
    volume: Arc<Volume>,
    url: u64,
    /// Those of the body so far, then its own.
    objects: Vec<u64>,
    pending: Option<Arc<Pending>>,
}

impl Volume {
    /// Begins a body in slices. From now on no older response of the same variant is found.
    pub fn begin_object(self: &Arc<Self>, url: u64, key: &[u8], selecting: &[u8]) -> ObjectWriter {
        let pending = Some(self.expect(url, key, selecting));
        let objects = vec![self.next_write_seq()];
        ObjectWriter { volume: Arc::clone(self), url, objects, pending }
    }

    /// Hands in a slice of a body that is stored, for this object of it. Its fetch must be covered by the
    /// stored head: no lower stamp, no other tag, the same strong validator and length. It is found once
    /// it is written, and as long as that head or one that extends it is.
    ///
    /// `hold` is dropped when it is found, or will never be.
    ///
    /// # Errors
    /// It is not taken.
    pub fn add_slice(
        &self,
        url: u64,
        object: u64,
        number: u32,
        body: Bytes,
        hold: Option<Hold>,
    ) -> Result<(), Refused> {
        let name = SliceName { object, number };
        let what = Written::Slice { url, name, body, pending: None, hold };
        self.enqueue(Item { write_seq: self.next_write_seq(), what })
    }

    /// Begins further slices of a body that is stored, of these objects. The response stays found as it
    /// is; the new slices are found with the head that [`ObjectWriter::commit`] takes. That one has the
    /// same strong validator and length, the lowest stamps of the stored head and of all new slices, and
    /// the tags of both.
    ///
    /// # Errors
    /// The variant is being written or extended already, or it was extended too often.
    pub fn extend_object(
        self: &Arc<Self>,
        url: u64,
        key: &[u8],
        selecting: &[u8],
        objects: &[u64],
    ) -> Result<ObjectWriter, Refused> {
        if objects.len() >= MOST_OBJECTS {
            return Err(Refused::TooManyObjects);
        }
        let variant = variant(key, selecting);
        let mut part = self.index.part(url);
        if part.expects_variant(url, variant) {
            return Err(Refused::Running);
        }
        let pending = Some(part.expect(url, variant));
        drop(part);
        let mut objects = objects.to_vec();
        objects.push(self.next_write_seq());
        Ok(ObjectWriter { volume: Arc::clone(self), url, objects, pending })
    }

    /// Hands in a newer head of a body that is stored, of these objects. The older one is found until this
    /// one is written. What is on its way for the variant is not stored any more: the caller says that
    /// this is the newest.
    ///
    /// # Errors
    /// It is not taken.
    pub fn replace_head(
        &self,
        head: ResponseHead,
        objects: &[u64],
        length: u64,
        hold: Option<Hold>,
    ) -> Result<(), Refused> {
        let variant = variant(&head.key, &head.selecting);
        let pending = self.index.part(head.url).expect(head.url, variant);
        let form = BodyForm::Sliced { objects: objects.to_vec(), length };
        pending.keep(hold);
        let what = Written::Response { head, form, body: Vec::new(), pending };
        self.enqueue(Item { write_seq: self.next_write_seq(), what })
    }
}

impl ObjectWriter {
    /// The objects of the body: those that were stored, then the one that is written.
    pub fn objects(&self) -> &[u64] {
        &self.objects
    }

    /// Hands in a slice: all have [`crate::Geometry::slice`] bytes but the last one. They may come in any
    /// order, and some may be missing.
    ///
    /// # Errors
    /// It is not taken.
    pub fn slice(&self, number: u32, body: Bytes) -> Result<(), Refused> {
        if self.pending.as_ref().is_some_and(|pending| pending.is_revoked()) {
            return Err(Refused::Revoked);
        }
        let Some(object) = self.objects.last().copied() else { return Err(Refused::Revoked) };
        let name = SliceName { object, number };
        let pending = self.pending.clone();
        let what = Written::Slice { url: self.url, name, body, pending, hold: None };
        self.volume.enqueue(Item { write_seq: self.volume.next_write_seq(), what })
    }

    /// Hands in the response itself, with the length of its whole body. From when it is written it is
    /// found, and its slices with it.
    ///
    /// # Errors
    /// It is not taken.
    pub fn commit(
        mut self,
        head: ResponseHead,
        length: u64,
        hold: Option<Hold>,
    ) -> Result<(), Refused> {
        let Some(pending) = self.pending.take() else { return Err(Refused::Revoked) };
        let form = BodyForm::Sliced { objects: std::mem::take(&mut self.objects), length };
        pending.keep(hold);
        let what = Written::Response { head, form, body: Vec::new(), pending };
        self.volume.enqueue(Item { write_seq: self.volume.next_write_seq(), what })
    }
}

impl Drop for ObjectWriter {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.volume.index.part(self.url).arrived(&pending);
        }
    }
}
