//! The allocator of the program.

use libmimalloc_sys::{mi_collect, mi_free, mi_malloc, mi_realloc, mi_zalloc};
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// mimalloc, told an alignment only where its blocks do not have that by themselves. Told one, it has for many sizes
/// nothing but a block that is larger, found on a way that costs several times as much.
struct Allocator;

/// The alignment of every block that is as large.
const OF_BLOCKS: usize = 16;

/// Whether a block of this size has this alignment by itself.
const fn is_aligned(size: usize, alignment: usize) -> bool {
    alignment <= OF_BLOCKS && alignment <= size
}

// SAFETY: all memory is mimalloc's, and it is asked for as much as the layout says. What it is not told of the
// alignment holds for any block: like that of malloc, it is aligned for all types of its size (`MI_MAX_ALIGN_SIZE`,
// 16 bytes). A block stays in place when it is made larger or smaller, with the alignment that it had, or another one
// is taken likewise.
#[allow(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_aligned(layout.size(), layout.align()) {
            true => unsafe { mi_malloc(layout.size()).cast() },
            false => unsafe { MiMalloc.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_aligned(layout.size(), layout.align()) {
            true => unsafe { mi_zalloc(layout.size()).cast() },
            false => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        unsafe { mi_free(block.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        match is_aligned(size, layout.align()) {
            true => unsafe { mi_realloc(block.cast(), size).cast() },
            false => unsafe { MiMalloc.realloc(block, layout, size) },
        }
    }
}

/// Has the system give the program pages of 4 KiB alone. The allocator asks for transparent huge pages, which are
/// there as a whole once one byte of them was used: buffers that nobody has filled would take memory, and most of
/// what a client holds while it waits is such buffers. Where the system does not know this, all stays as it is.
pub(crate) fn use_small_pages() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Gives free memory of the calling thread back to the system: what was freed a moment ago stays for the next
/// who needs it.
#[allow(unsafe_code, reason = "the crate has no safe function for it")]
pub(crate) fn release_memory() {
    // SAFETY: it may be called at any time, from any thread, and touches nothing that is in use.
    unsafe { mi_collect(false) };
}

/// How often a thread gives free memory back.
pub(crate) const RELEASE_EVERY: Duration = Duration::from_secs(2);

thread_local! {
    /// When this thread last did.
    static RELEASED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The same, if it is [`RELEASE_EVERY`] or longer ago that the calling thread did: for a thread that is about to
/// wait, which may be often.
pub(crate) fn release_memory_now_and_then() {
    let now = Instant::now();
    if is_due(RELEASED.get(), now) {
        RELEASED.set(Some(now));
        release_memory();
    }
}

fn is_due(released: Option<Instant>, now: Instant) -> bool {
    released.is_none_or(|released| now.duration_since(released) >= RELEASE_EVERY)
}

#[cfg(test)]
mod tests {
    use super::{RELEASE_EVERY, is_due};
    use std::time::{Duration, Instant};

    #[test]
    fn a_thread_that_waits_often_gives_memory_back_now_and_then() {
        let released = Instant::now();
        assert!(is_due(None, released));
        assert!(!is_due(Some(released), released + RELEASE_EVERY - Duration::from_millis(1)));
        assert!(is_due(Some(released), released + RELEASE_EVERY));
    }

    #[repr(align(64))]
    #[derive(Clone)]
    struct Line([u8; 8]);

    /// Lists of items that grow one by one: where their items lie, at each size.
    fn grown<T: Clone>(item: &T) -> impl Iterator<Item = usize> {
        let mut lists: Vec<Vec<T>> = vec![Vec::new(); 64];
        (0..64 * 300).map(move |at| {
            let list = &mut lists[at % 64];
            list.reserve_exact(1);
            list.push(item.clone());
            list.as_ptr() as usize
        })
    }

    #[test]
    fn what_is_allocated_has_its_alignment_at_every_size() {
        assert!(grown(&0u128).all(|at| at % align_of::<u128>() == 0));
        assert!(grown(&0u64).all(|at| at % align_of::<u64>() == 0));
        assert!(grown(&(0u64, 0u8)).all(|at| at % align_of::<u64>() == 0));
        let line = Line([7; 8]);
        assert!(grown(&line).all(|at| at % 64 == 0) && line.0 == [7; 8]);
        assert!(grown(&[0u64; 5]).all(|at| at % align_of::<u64>() == 0));
        assert!(vec![0u128; 5000].iter().all(|zero| *zero == 0));
    }
}
