//! What of a file lies in the page cache.

use std::ffi::c_long;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// The number of `cachestat`, the same on all platforms but one that is of no account here. Linux has it
/// since 6.5.
const CACHESTAT: c_long = 451;
/// Bytes that the page cache counts in.
const PAGE: u64 = 4096;

#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

#[repr(C)]
#[derive(Default)]
struct Pages {
    cached: u64,
    dirty: u64,
    in_writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// How many pages of a range are in the page cache.
///
/// # Errors
/// The system cannot tell.
#[allow(unsafe_code, reason = "no crate has a safe function for it")]
pub(super) fn cached_pages(file: &File, offset: u64, length: u64) -> io::Result<u64> {
    let (range, mut pages) = (Range { offset, length }, Pages::default());
    let (from, into) = (&raw const range, &raw mut pages);
    // SAFETY: both structures are those of the system call, and live until it returns.
    match unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), from, into, 0) } {
        0 => Ok(pages.cached),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether all of a range is in the page cache; `false` if the system cannot tell.
pub(super) fn is_cached(file: &File, offset: u64, length: u64) -> bool {
    let (first, end) = (offset / PAGE, (offset + length).div_ceil(PAGE));
    let cached = cached_pages(file, first * PAGE, (end - first) * PAGE);
    cached.is_ok_and(|cached| cached >= end - first)
}
