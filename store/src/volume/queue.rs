//! What was handed in and is not written yet: bounded in bytes.

use super::Volume;
use crate::format::footer::{Entry, EntryWhat, FOOTER_BOUND, entry_bound};
use crate::format::record::{BodyForm, SLICE_BOUND, SliceName, response_bound};
use crate::index::{Pending, variant};
use crate::response::ResponseHead;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Whatever must live until it is decided whether a response is stored: the stamp that keeps the
/// invalidation index from forgetting what the response must still be judged by.
pub type Hold = Box<dyn Send>;

/// Why a response is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much waits to be written.
    NoRoom,
    /// It is larger than a segment can hold.
    TooLarge,
    /// The volume has failed.
    Failed,
    /// It was removed or replaced while it was written.
    Revoked,
    /// It is being written or extended already.
    Running,
    /// It was extended as often as a body may be: it must be written anew.
    TooManyObjects,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "too much waits to be written",
            Self::TooLarge => "it is larger than a segment can hold",
            Self::Failed => "the disk has failed",
            Self::Running => "it is being written already",
            Self::TooManyObjects => "it was extended too often",
            Self::Revoked => "it was removed or replaced while it was written",
        })
    }
}

impl std::error::Error for Refused {}

/// Something to be written.
pub(super) struct Item {
    pub(super) write_seq: u64,
    pub(super) what: Written,
}

pub(super) enum Written {
    Response {
        head: ResponseHead,
        form: BodyForm,
        body: Vec<Bytes>,
        pending: Arc<Pending>,
    },
    Slice {
        url: u64,
        name: SliceName,
        body: Bytes,
        /// Of the response that it belongs to; `None` where that is stored already.
        pending: Option<Arc<Pending>>,
        /// Kept until it is found, or will never be.
        hold: Option<Hold>,
    },
}

impl Item {
    /// Whether nobody will find it: what it is of was removed or replaced meanwhile.
    pub(super) fn is_revoked(&self) -> bool {
        match &self.what {
            Written::Response { pending, .. } => pending.is_revoked(),
            Written::Slice { pending, .. } => {
                pending.as_ref().is_some_and(|pending| pending.is_revoked())
            }
        }
    }

    /// Bytes that its record takes, at most.
    pub(super) fn bound(&self) -> usize {
        match &self.what {
            Written::Response { head, form, body, .. } => {
                response_bound(head, form) + body.iter().map(Bytes::len).sum::<usize>()
            }
            Written::Slice { body, .. } => SLICE_BOUND + body.len(),
        }
    }

    /// Bytes that were handed in.
    pub(super) fn handed_in(&self) -> usize {
        match &self.what {
            Written::Response { head, body, .. } => {
                head.bytes() + body.iter().map(Bytes::len).sum::<usize>()
            }
            Written::Slice { body, .. } => body.len(),
        }
    }

    /// What the footer says of it, at a place that is not known yet.
    pub(super) fn entry(&self) -> Entry {
        let (url, what) = match &self.what {
            Written::Response { head, form, .. } => (head.url, entry_of(head, form)),
            Written::Slice { url, name, .. } => (*url, EntryWhat::Slice(*name)),
        };
        Entry { offset: 0, length: 0, write_seq: self.write_seq, url, what }
    }
}

/// What the footer says of a response.
pub(super) fn entry_of(head: &ResponseHead, form: &BodyForm) -> EntryWhat {
    EntryWhat::Response {
        variant: variant(&head.key, &head.selecting),
        objects: match form {
            BodyForm::Inline => Vec::new(),
            BodyForm::Sliced { objects, .. } => objects.clone(),
        },
        site: head.site.clone(),
        key: head.key.as_ref().into(),
        tags: head.tags.clone(),
        stamps: head.stamps,
    }
}

/// Items, in the order in which they came.
pub(super) struct Queue {
    items: Mutex<VecDeque<Item>>,
    bytes: AtomicUsize,
    bound: usize,
}

impl Queue {
    pub(super) fn new(bound: usize) -> Self {
        Self { items: Mutex::default(), bytes: AtomicUsize::new(0), bound }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether there is room for so many bytes more: they are counted from now on. What was revoked
    /// gives its room back first.
    fn reserve(&self, bytes: usize) -> bool {
        self.try_reserve(bytes) || (self.forget(Item::is_revoked) > 0 && self.try_reserve(bytes))
    }

    /// Drops items; returns how many.
    fn forget(&self, is_wanted: impl Fn(&Item) -> bool) -> usize {
        let mut dropped = Vec::new();
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *items);
        for item in all {
            match is_wanted(&item) {
                true => dropped.push(item),
                false => items.push_back(item),
            }
        }
        drop(items);
        let bytes = dropped.iter().map(Item::bound).sum();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        dropped.len()
    }

    fn try_reserve(&self, bytes: usize) -> bool {
        let is_free = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.bound;
        if !is_free {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_free
    }

    fn push(&self, item: Item) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).push_back(item);
    }

    pub(super) fn pop(&self) -> Option<Item> {
        let item = self.items.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        self.bytes.fetch_sub(item.bound(), Ordering::Relaxed);
        Some(item)
    }
}

impl Volume {
    /// Hands in a response with its whole body, of at most a slice, to be written. From now on no
    /// older response of the same variant is found, whether this one is taken or not. It is found
    /// itself once it is written, unless it was removed or replaced before.
    ///
    /// `hold` is dropped when that is decided.
    ///
    /// # Errors
    /// It is not taken.
    pub fn put(
        &self,
        head: ResponseHead,
        body: Vec<Bytes>,
        hold: Option<Hold>,
    ) -> Result<(), Refused> {
        let pending = self.expect(head.url, &head.key, &head.selecting);
        let write_seq = self.next_write_seq();
        let form = BodyForm::Inline;
        pending.keep(hold);
        let what = Written::Response { head, form, body, pending };
        self.enqueue(Item { write_seq, what })
    }

    /// Nothing is found, taken or written any more.
    pub(crate) fn set_aside(&self) {
        self.has_failed.store(true, Ordering::Release);
        self.index.each_part(|part| part.clear());
        self.queue.forget(|_| true);
    }

    pub(super) fn enqueue(&self, item: Item) -> Result<(), Refused> {
        let length: usize = match &item.what {
            Written::Response { form: BodyForm::Inline, body, .. } => {
                body.iter().map(Bytes::len).sum()
            }
            Written::Response { .. } => 0,
            Written::Slice { body, .. } => body.len(),
        };
        let needed = item.bound() + entry_bound(&item.entry()) + FOOTER_BOUND + 64;
        let is_too_large = length > self.geometry.slice as usize || needed > self.geometry.room();
        let refused = match () {
            () if self.has_failed() => Refused::Failed,
            () if is_too_large => Refused::TooLarge,
            () if !self.queue.reserve(item.bound()) => Refused::NoRoom,
            () => {
                self.queue.push(item);
                return Ok(());
            }
        };
        if let Written::Response { head, pending, .. } = &item.what {
            self.index.part(head.url).arrived(pending);
        }
        self.counters.refused.add(1);
        Err(refused)
    }
}
