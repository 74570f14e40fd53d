//! The bytes of a stored response, in slices: a large body is never one allocation, and a part of
//! a representation is stored like a whole one (RFC 9111 §3.3).

use super::BodyBelow;
use crate::error::StoreError;
use bytes::Bytes;
use http::HeaderValue;
use std::sync::Arc;
use weir_rules::range::Span;

/// Most bytes of one slice of a stored body.
pub(crate) const SLICE: usize = 256 * 1024;

/// A Range as it was asked, and the bytes with which the origin answered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    /// The field's value.
    pub(crate) range: HeaderValue,
    /// The bytes.
    pub(crate) span: Span,
}

/// A run of bytes of a representation.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    /// Offset of the first byte.
    pub(crate) start: u64,
    /// The bytes; never empty.
    pub(crate) bytes: Bytes,
}

impl Slice {
    /// One past the last byte's offset.
    pub(crate) fn end(&self) -> u64 {
        self.borrowed().end()
    }

    fn borrowed(&self) -> SliceRef<'_> {
        SliceRef { start: self.start, bytes: &self.bytes }
    }
}

/// A slice of a stored body, borrowed: cloning `Bytes` that were never shared costs an allocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SliceRef<'a> {
    /// Offset of the first byte.
    pub(crate) start: u64,
    /// The bytes; never empty.
    pub(crate) bytes: &'a Bytes,
}

impl SliceRef<'_> {
    /// One past the last byte's offset.
    pub(crate) fn end(self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// The slice, which shares the bytes.
    pub(crate) fn to_slice(self) -> Slice {
        Slice { start: self.start, bytes: self.bytes.clone() }
    }
}

/// The bytes held of a representation.
#[derive(Clone, Debug)]
pub(crate) struct StoredBody(Layout);

/// Most bodies are complete and in one slice: they need no list, no offset and no length.
#[derive(Clone, Debug)]
enum Layout {
    /// All of the representation.
    Whole(Bytes),
    /// Boxed, so that the common case stays small.
    Other(Box<OtherLayout>),
}

#[derive(Clone, Debug)]
enum OtherLayout {
    /// Slices, which are sorted and do not overlap.
    Slices {
        slices: Box<[Slice]>,
        /// Length of the whole representation; `None` when a part came without it.
        complete_length: Option<u64>,
        /// The Range that a stored part last answered, and with which bytes.
        answered: Option<Answered>,
    },
    /// All of it, below the memory store.
    Below(Arc<dyn BodyBelow>),
}

impl StoredBody {
    /// A body from its slices, which must be sorted and must not overlap.
    pub(crate) fn new(mut slices: Vec<Slice>, complete_length: Option<u64>) -> Self {
        debug_assert!(slices.windows(2).all(|pair| pair[0].end() <= pair[1].start));
        if let [only] = &mut *slices
            && only.start == 0
            && complete_length == Some(only.end())
        {
            return Self(Layout::Whole(std::mem::take(&mut only.bytes)));
        }
        if slices.is_empty() && complete_length == Some(0) {
            return Self(Layout::Whole(Bytes::new()));
        }
        let slices = slices.into_boxed_slice();
        Self(Layout::Other(Box::new(OtherLayout::Slices {
            slices,
            complete_length,
            answered: None,
        })))
    }

    /// A whole body.
    pub(crate) fn whole_of(bytes: Bytes) -> Self {
        Self(Layout::Whole(bytes))
    }

    /// A body that is kept below the memory store.
    pub(crate) fn below(body: Arc<dyn BodyBelow>) -> Self {
        Self(Layout::Other(Box::new(OtherLayout::Below(body))))
    }

    /// Where it is read, if it is kept below the memory store.
    pub(crate) fn kept_below(&self) -> Option<&Arc<dyn BodyBelow>> {
        match self.other() {
            Some(OtherLayout::Below(body)) => Some(body),
            Some(OtherLayout::Slices { .. }) | None => None,
        }
    }

    /// This body as the answer to that Range; a whole one answers any.
    pub(crate) fn answering(mut self, range: Option<Answered>) -> Self {
        if let Layout::Other(other) = &mut self.0
            && let OtherLayout::Slices { answered, .. } = &mut **other
        {
            *answered = range;
        }
        self
    }

    /// The Range that a stored part last answered, and with which bytes; `None` of a whole one.
    pub(crate) fn answered(&self) -> Option<&Answered> {
        match self.other() {
            Some(OtherLayout::Slices { answered, .. }) => answered.as_ref(),
            Some(OtherLayout::Below(_)) | None => None,
        }
    }

    fn other(&self) -> Option<&OtherLayout> {
        match &self.0 {
            Layout::Whole(_) => None,
            Layout::Other(other) => Some(other),
        }
    }

    /// All slices in memory, by offset.
    pub(crate) fn slices(&self) -> impl Iterator<Item = SliceRef<'_>> {
        let (whole, slices) = match &self.0 {
            // A slice is never empty.
            Layout::Whole(bytes) if bytes.is_empty() => (None, &[][..]),
            Layout::Whole(bytes) => (Some(SliceRef { start: 0, bytes }), &[][..]),
            Layout::Other(other) => match &**other {
                OtherLayout::Slices { slices, .. } => (None, &slices[..]),
                OtherLayout::Below(_) => (None, &[][..]),
            },
        };
        whole.into_iter().chain(slices.iter().map(|slice| slice.borrowed()))
    }

    /// The whole representation's length, if known.
    pub(crate) fn complete_length(&self) -> Option<u64> {
        match &self.0 {
            Layout::Whole(bytes) => Some(bytes.len() as u64),
            Layout::Other(other) => match &**other {
                OtherLayout::Slices { complete_length, .. } => *complete_length,
                OtherLayout::Below(body) => body.length(),
            },
        }
    }

    /// Whether every byte of the representation is held.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete_length()
            .is_some_and(|length| length == 0 || self.covers(Span { start: 0, end: length }))
    }

    /// Whether all bytes of a span are held.
    pub(crate) fn covers(&self, span: Span) -> bool {
        if let Some(body) = self.kept_below() {
            return body.covers(span);
        }
        let mut at = span.start;
        for slice in self.slices() {
            if slice.start > at {
                break;
            }
            at = at.max(slice.end());
            if at >= span.end {
                return true;
            }
        }
        false
    }

    /// How many bytes are held in memory without a gap from the first on.
    pub(crate) fn prefix(&self) -> u64 {
        let mut at = 0;
        for slice in self.slices() {
            if slice.start != at {
                break;
            }
            at = slice.end();
        }
        at
    }

    /// Bytes held in memory.
    pub(crate) fn held(&self) -> u64 {
        self.slices().map(|slice| slice.bytes.len() as u64).sum()
    }

    /// The bytes from `at` up to the end of their slice or `end`, whichever comes first; `None` at
    /// `end`.
    ///
    /// # Errors
    /// The byte at `at` is not held.
    pub(crate) fn read(&self, at: u64, end: u64) -> Result<Option<Bytes>, StoreError> {
        if at >= end {
            return Ok(None);
        }
        let slice = match &self.0 {
            Layout::Whole(bytes) => Some(SliceRef { start: 0, bytes }),
            Layout::Other(other) => match &**other {
                OtherLayout::Slices { slices, .. } => {
                    let index = slices.partition_point(|slice| slice.end() <= at);
                    slices.get(index).map(Slice::borrowed)
                }
                OtherLayout::Below(_) => None,
            },
        };
        let run = slice.filter(|slice| slice.start <= at && at < slice.end()).and_then(|slice| {
            let from = usize::try_from(at - slice.start).ok()?;
            let to = usize::try_from(end.min(slice.end()) - slice.start).ok()?;
            Some(slice.bytes.slice(from..to))
        });
        let missing = || StoreError::new(format!("the byte at {at} is not held"));
        run.map(Some).ok_or_else(missing)
    }

    /// The only slice of a complete one-slice body: the common case, without arithmetic.
    pub(crate) fn whole(&self) -> Option<&Bytes> {
        match &self.0 {
            Layout::Whole(bytes) => Some(bytes),
            Layout::Other(_) => None,
        }
    }

    /// This body with the bytes of another of the same representation added. Both must be parts of
    /// equal bytes (one strong validator, RFC 9110 §15.3.7.3). The newer bytes replace older ones
    /// at the same offset. Both are in memory.
    pub(crate) fn combined(&self, newer: &StoredBody) -> StoredBody {
        let mut slices: Vec<Slice> = newer.slices().map(SliceRef::to_slice).collect();
        for old in self.slices() {
            let mut at = old.start;
            let overlapping =
                newer.slices().filter(|new| new.end() > old.start && new.start < old.end());
            for new in overlapping {
                slices.extend(piece(old, at, new.start));
                at = at.max(new.end());
            }
            slices.extend(piece(old, at, old.end()));
        }
        slices.sort_by_key(|slice| slice.start);
        StoredBody::new(slices, newer.complete_length().or(self.complete_length()))
    }
}

/// The part of a slice from offset `start` up to `end`, if there is any. Less than the whole is
/// copied: a few bytes must not keep a whole buffer allocated that is no longer counted.
fn piece(slice: SliceRef<'_>, start: u64, end: u64) -> Option<Slice> {
    let end = end.min(slice.end());
    if start >= end {
        return None;
    }
    let from = usize::try_from(start - slice.start).ok()?;
    let to = usize::try_from(end - slice.start).ok()?;
    let bytes = match to - from == slice.bytes.len() {
        true => slice.bytes.clone(),
        false => Bytes::copy_from_slice(&slice.bytes[from..to]),
    };
    Some(Slice { start, bytes })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(parts: &[(u64, &[u8])], length: Option<u64>) -> StoredBody {
        let slices = parts
            .iter()
            .map(|(start, bytes)| Slice { start: *start, bytes: Bytes::copy_from_slice(bytes) })
            .collect();
        StoredBody::new(slices, length)
    }

    #[test]
    fn a_whole_body_is_complete_and_readable_anywhere() {
        let whole = body(&[(0, b"hello"), (5, b" world")], Some(11));
        assert!(whole.is_complete());
        assert_eq!(whole.read(3, 11).unwrap().unwrap(), "lo");
        assert_eq!(whole.read(5, 8).unwrap().unwrap(), " wo");
        assert_eq!(whole.read(11, 11), Ok(None));
    }

    #[test]
    fn a_part_covers_only_its_own_bytes() {
        let part = body(&[(4, b"456")], Some(10));
        assert!(!part.is_complete());
        assert!(part.covers(Span { start: 5, end: 7 }));
        assert!(!part.covers(Span { start: 3, end: 5 }));
        assert!(!part.covers(Span { start: 6, end: 8 }));
        assert_eq!(part.prefix(), 0);
        assert_eq!(part.read(6, 8).unwrap().unwrap(), "6");
        assert!(part.read(7, 8).is_err(), "the end of what is held is not the end of the body");
        assert!(part.read(3, 5).is_err());
    }

    #[test]
    fn what_is_left_of_a_slice_does_not_keep_the_rest() {
        let large = Bytes::from(vec![0; SLICE]);
        let held = Slice { start: 0, bytes: large.clone() };
        let held = StoredBody::new(vec![held], Some(2 * SLICE as u64));
        let combined = held.combined(&body(&[(1, &[0; SLICE])], Some(2 * SLICE as u64)));
        drop(held);
        assert_eq!(combined.held(), SLICE as u64 + 1);
        assert!(large.is_unique(), "one byte keeps {SLICE}");
    }

    proptest! {
        /// What is combined, against a plain array of optional bytes.
        #[test]
        fn combining_parts_equals_writing_them_over_one_another(
            parts in proptest::collection::vec((0u64..60, 1usize..20), 1..8)
        ) {
            let mut model = [None::<u8>; 100];
            let mut combined: Option<StoredBody> = None;
            for (number, (start, length)) in parts.iter().enumerate() {
                let byte = u8::try_from(number).unwrap();
                let one = body(&[(*start, &vec![byte; *length])], Some(100));
                for cell in &mut model[usize::try_from(*start).unwrap()..][..*length] {
                    *cell = Some(byte);
                }
                combined = Some(match combined {
                    Some(held) => held.combined(&one),
                    None => one,
                });
            }
            let combined = combined.unwrap();
            for (at, cell) in model.iter().enumerate() {
                let at = at as u64;
                let read = combined.read(at, at + 1).ok().flatten().map(|bytes| bytes[0]);
                prop_assert_eq!(read, *cell);
                prop_assert_eq!(combined.covers(Span { start: at, end: at + 1 }), cell.is_some());
            }
            prop_assert_eq!(combined.held(), model.iter().flatten().count() as u64);
        }
    }
}
