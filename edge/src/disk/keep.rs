//! What is stored in memory, on its way to the disk.

use super::body::SLICE;
use super::{DiskBody, DiskBodyWriter, DiskStore, record};
use crate::purge::Stamp;
use crate::store::{Below, BodyBelow, Kept, Selecting, SliceRef, Stored, UrlHash};
use bytes::Bytes;
use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use weir_rules::invalidation::Validity;
use weir_store::volume::{Hold, ObjectWriter, Refused};
use weir_store::{ResponseHead, Stamps};

impl Below for DiskStore {
    fn replaced(&self, url: UrlHash, stored: &Arc<Stored>) -> Kept {
        self.told(url, || self.replace(url, stored))
    }

    fn removed(&self, url: UrlHash, stored: &Stored) {
        let selecting = record::encode_selecting(stored.selecting.as_deref());
        self.told(url, || self.store.supersede(url, stored.key(), &selecting));
    }
}

impl DiskStore {
    fn replace(&self, url: UrlHash, stored: &Arc<Stored>) -> Kept {
        let selecting = record::encode_selecting(stored.selecting.as_deref());
        let supersede = || self.store.supersede(url, stored.key(), &selecting);
        let known = self.store.has_url(url);
        let Some((head, stamp)) = self.head(url, stored, selecting.clone()) else {
            supersede();
            return Kept::No;
        };
        if let Some(body) = stored.body.kept_below() {
            let body = of_disk(body);
            return match body.is_some_and(|body| self.keep_head(&body, head, stamp)) {
                true => Kept::Yes,
                false => {
                    supersede();
                    Kept::No
                }
            };
        }
        let length = stored.body.complete_length().unwrap_or(0);
        // A response that is fetched again is of use again.
        let admitted = self.admission.admits(url, false) || known;
        if !admitted || length > self.max_object {
            supersede();
            return Kept::No;
        }
        if length <= SLICE {
            let body = stored.body.slices().map(|slice| slice.bytes.clone()).collect();
            return match self.store.put(head, body, Some(Box::new(stamp))) {
                Ok(()) => Kept::Yes,
                Err(_) => Kept::Refused,
            };
        }
        let Some(writer) = self.store.begin_object(url, stored.key(), &selecting) else {
            return Kept::Refused;
        };
        let (writer, stored) = (self.body_writer(url, writer), Arc::clone(stored));
        Kept::Begun(Box::new(move || write(writer, &stored, head, length, stamp).is_ok()))
    }

    /// A body of at least so many bytes, if that is known, which memory cannot hold, is to be written
    /// while it arrives; `None`: the disk does not take it.
    pub(crate) fn begin(
        &self,
        url: UrlHash,
        key: &[u8],
        selecting: Option<&Selecting>,
    ) -> Option<DiskBodyWriter> {
        let selecting = record::encode_selecting(selecting);
        let writer = self.store.begin_object(url, key, &selecting)?;
        Some(self.body_writer(url, writer))
    }

    /// A file of so many bytes is to be stored in slices, of which none is there yet; `None`: the disk does
    /// not take it.
    pub(crate) fn begin_slices(
        &self,
        url: UrlHash,
        key: &[u8],
        selecting: Option<&Selecting>,
        length: u64,
    ) -> Option<Arc<DiskBody>> {
        let selecting = record::encode_selecting(selecting);
        let writer = self.store.begin_object(url, key, &selecting)?;
        Some(Arc::new(DiskBody::begun(&self.store, url, writer, length)))
    }

    fn body_writer(&self, url: UrlHash, writer: ObjectWriter) -> DiskBodyWriter {
        DiskBodyWriter::new(&self.store, url, writer)
    }

    /// The head of a response as it is kept, and the stamp that holds the index back until it is;
    /// `None` if it must not be.
    fn head(
        &self,
        url: UrlHash,
        stored: &Stored,
        selecting: Bytes,
    ) -> Option<(ResponseHead, Stamp)> {
        let life = self.lives.load().life(&stored.site)?;
        if !stored.body.is_complete() && stored.body.kept_below().is_none() {
            return None;
        }
        // In this order: what is applied later finds the stamp held.
        let stamp = self.purges.stamp();
        if matches!(self.purges.validity_of_new(stored), Validity::Hard(_)) {
            return None;
        }
        let head = ResponseHead {
            url,
            key: Bytes::copy_from_slice(stored.key()),
            selecting,
            site: Box::from(&*stored.site),
            tags: stored.tags.to_vec(),
            fields: record::encode(stored, life),
            stamps: Stamps {
                filled_at: stored.filled_at,
                valid_at: stamp.seq(),
                soft_at: stored.soft_at.load(Ordering::Relaxed),
            },
        };
        Some((head, stamp))
    }

    /// Hands in the head of a body whose slices were handed in, or the new head of one that is stored.
    fn keep_head(&self, body: &DiskBody, head: ResponseHead, stamp: Stamp) -> bool {
        let writer = body.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(length) = BodyBelow::length(body) else { return false };
        let told = body.written();
        let hold: Option<Hold> = Some(Box::new((stamp, told)));
        let kept = match writer {
            Some(writer) => writer.commit(head, length, hold),
            None => self.store.replace_head(head, &body.objects, length, hold),
        };
        kept.is_ok()
    }
}

/// The body of a stored response, if it is on disk.
pub(crate) fn body_on_disk(stored: &Stored) -> Option<Arc<DiskBody>> {
    of_disk(stored.body.kept_below()?)
}

fn of_disk(body: &Arc<dyn BodyBelow>) -> Option<Arc<DiskBody>> {
    let body: Arc<dyn Any + Send + Sync> = Arc::clone(body) as Arc<_>;
    body.downcast::<DiskBody>().ok()
}

fn write(
    mut writer: DiskBodyWriter,
    stored: &Stored,
    head: ResponseHead,
    length: u64,
    stamp: Stamp,
) -> Result<(), Refused> {
    for SliceRef { bytes, .. } in stored.body.slices() {
        writer.write_now(bytes.clone())?;
    }
    writer.end_now()?.commit(head, length, Some(Box::new(stamp)))
}
