//! What keeps responses below the memory store: larger, slower, and longer than the process.
//!
//! INVARIANT: whatever memory learns of a variant, it says below in the same step, under the lock of the
//! key. So nothing below is ever older than what memory held: a response that was replaced, updated or
//! removed in memory is not found below any more, whether its successor is kept there or not.

use super::{Stored, UrlHash};
use crate::error::StoreError;
use bytes::Bytes;
use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use weir_rules::range::Span;
use weir_store::volume::CachedBytes;

/// A store below the memory store. Nothing here waits: all is called under the lock of a key.
pub(crate) trait Below: Send + Sync {
    /// `stored` is the response of its variant from now on. An older one is not found any more.
    fn replaced(&self, url: UrlHash, stored: &Arc<Stored>) -> Kept;

    /// The response of this variant is not to be found any more.
    fn removed(&self, url: UrlHash, stored: &Stored);
}

/// Whether a response is kept below.
pub(crate) enum Kept {
    /// It is not.
    No,
    /// It is not, because there is no room for it now.
    Refused,
    /// It is on its way there.
    Yes,
    /// Its body is to be handed in by this, without the lock; whether all of it was taken.
    Begun(Box<dyn FnOnce() -> bool + Send>),
}

/// A body that is kept below, and read from there piece by piece.
pub(crate) trait BodyBelow: Any + fmt::Debug + Send + Sync {
    /// Bytes of the whole representation; `None` while it grows.
    fn length(&self) -> Option<u64>;

    /// Whether all bytes of a span are there now.
    fn covers(&self, span: Span) -> bool;

    /// The bytes from `at` on, up to `end` or less, if the kernel can send them from the page cache. `None` if
    /// they are to be read.
    fn cached(&self, at: u64, end: Option<u64>) -> Option<CachedBytes>;

    /// Reads from `at` on, up to `end` or less: no bytes at the end of the body. Waits for what has yet to
    /// arrive.
    fn read(self: Arc<Self>, at: u64, end: Option<u64>) -> ReadingBelow;
}

/// A read at work.
pub(crate) type ReadingBelow = Pin<Box<dyn Future<Output = Result<Bytes, StoreError>> + Send>>;
