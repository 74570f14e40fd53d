//! Buffers of large reads. One that is new costs about as much as the read: it is zeroed, and its pages
//! come from the system. So some are kept for the next read of the same size, in the caches of the
//! processor at best.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A read of fewer bytes gets a new buffer, which costs little.
const LEAST: usize = 256 << 10;
/// Buffers of large reads have a multiple of these bytes: those of similar reads are the same, and little
/// is in vain.
const STEP: usize = 16 << 10;
/// Bytes of buffers that are kept.
const KEPT: usize = 8 << 20;

/// The buffers that nobody uses.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The one that was used last comes last.
    free: Mutex<Vec<Box<[u8]>>>,
}

impl Buffers {
    /// A buffer for so many bytes; what is in it is of no meaning.
    pub(crate) fn take(self: &Arc<Self>, length: usize) -> Buffer {
        let whole = if length < LEAST { length } else { length.next_multiple_of(STEP) };
        let kept = (length >= LEAST).then(|| self.kept(whole)).flatten();
        let bytes = kept.unwrap_or_else(|| vec![0; whole].into());
        Buffer { bytes, length, buffers: Arc::clone(self) }
    }

    fn kept(&self, whole: usize) -> Option<Box<[u8]>> {
        let mut free = self.free();
        let at = free.iter().rposition(|bytes| bytes.len() == whole)?;
        Some(free.remove(at))
    }

    fn free(&self) -> MutexGuard<'_, Vec<Box<[u8]>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, bytes: Box<[u8]>) {
        let mut free = self.free();
        free.push(bytes);
        let mut sum: usize = free.iter().map(|bytes| bytes.len()).sum();
        let mut dropped = 0;
        while sum > KEPT {
            sum -= free[dropped].len();
            dropped += 1;
        }
        let dropped: Vec<_> = free.drain(..dropped).collect();
        // The system takes them back without the lock.
        drop(free);
        drop(dropped);
    }
}

/// A buffer in use.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    length: usize,
    buffers: Arc<Buffers>,
}

impl Buffer {
    /// The bytes that were asked for.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Leaves the first so many of its bytes.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() >= LEAST {
            self.buffers.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_buffer_is_used_again_for_a_read_of_its_size_and_a_small_one_is_not() {
        let buffers = Arc::new(Buffers::default());
        let mut first = buffers.take(1 << 20);
        first.bytes().fill(7);
        assert_eq!(first.length(), 1 << 20);
        drop(first);
        drop(buffers.take(LEAST - 1));
        assert_eq!(buffers.take(LEAST - 1).as_ref(), vec![0; LEAST - 1]);
        let mut again = buffers.take((1 << 20) - 9);
        assert_eq!(again.as_ref(), vec![7; (1 << 20) - 9]);
        again.truncate(5);
        assert_eq!(again.as_ref(), [7; 5]);
        assert_eq!(buffers.take(1 << 20).as_ref(), vec![0; 1 << 20], "that one is in use");
        assert_eq!(buffers.take(LEAST).as_ref(), vec![0; LEAST], "those are larger");
    }

    #[test]
    fn no_more_are_kept_than_the_bound() {
        let buffers = Arc::new(Buffers::default());
        let used: Vec<_> = (0..20).map(|more| buffers.take((1 << 20) + more * STEP)).collect();
        drop(used);
        let kept =
            |buffers: &Buffers| buffers.free().iter().map(|bytes| bytes.len()).sum::<usize>();
        assert!(kept(&buffers) <= KEPT && kept(&buffers) > KEPT / 2);
        drop(buffers.take(2 * KEPT));
        assert!(kept(&buffers) <= KEPT);
    }
}
