//! Bytes that were read and not yet given to hyper: first those cleared, then those that wait to
//! be judged, or judged again with more after them.

/// See the module. Empty, and without an allocation that grows, on the common path.
#[derive(Debug, Default)]
pub(super) struct HeldInput {
    bytes: Vec<u8>,
    /// `bytes[..given]` are with hyper.
    given: usize,
    /// `bytes[given..cleared]` may be given.
    cleared: usize,
    /// Bytes came since the last judgement.
    fresh: bool,
}

impl HeldInput {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes may be given.
    pub(super) fn ready(&self) -> usize {
        self.cleared - self.given
    }

    /// How many bytes wait for a judgement.
    pub(super) fn waiting(&self) -> usize {
        self.bytes.len() - self.cleared
    }

    pub(super) fn judgeable(&self) -> bool {
        self.fresh && self.waiting() > 0
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.fresh = true;
    }

    /// The bytes that are not cleared.
    pub(super) fn uncleared(&self) -> &[u8] {
        &self.bytes[self.cleared..]
    }

    /// The waiting bytes mean something else now. Says whether there are any.
    pub(super) fn judge_again(&mut self) -> bool {
        self.fresh = true;
        self.judgeable()
    }

    /// What is to be judged now.
    pub(super) fn judge(&mut self) -> &[u8] {
        self.fresh = false;
        &self.bytes[self.cleared..]
    }

    /// The first `count` of the waiting bytes were judged good.
    pub(super) fn clear(&mut self, count: usize) {
        self.fresh = false;
        self.cleared += count;
    }

    /// All bytes may be given, unjudged.
    pub(super) fn clear_all(&mut self) {
        self.clear(self.waiting());
    }

    /// Others take the place of the waiting bytes, and may be given.
    pub(super) fn replace_waiting(&mut self, others: &[u8]) {
        self.bytes.truncate(self.cleared);
        self.bytes.extend_from_slice(others);
        self.clear_all();
    }

    /// Others take the place of `count` waiting bytes, `at` bytes after the first; all that wait are
    /// to be judged again.
    pub(super) fn replace(&mut self, at: usize, count: usize, others: &[u8]) {
        let from = self.cleared + at;
        self.bytes.splice(from..from + count, others.iter().copied());
        self.fresh = true;
    }

    /// Bytes that were given and not used may be given again. Nothing else is held then.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        *self = Self { bytes: bytes.to_vec(), given: 0, cleared: bytes.len(), fresh: false };
    }

    /// The next bytes to give, at most `room`; none of them comes again.
    pub(super) fn take(&mut self, room: usize) -> TakenBytes<'_> {
        let from = self.given;
        self.given += room.min(self.ready());
        TakenBytes { held: self, from }
    }
}

/// Bytes being given; dropping it forgets them.
pub(super) struct TakenBytes<'a> {
    held: &'a mut HeldInput,
    from: usize,
}

impl std::ops::Deref for TakenBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.held.bytes[self.from..self.held.given]
    }
}

impl Drop for TakenBytes<'_> {
    fn drop(&mut self) {
        let held = &mut *self.held;
        if held.given == held.bytes.len() {
            // A head of a few kilobytes need not keep its memory while the connection is idle.
            *held = HeldInput::default();
        } else if held.given == held.cleared {
            held.bytes.drain(..held.cleared);
            held.given = 0;
            held.cleared = 0;
        }
    }
}
