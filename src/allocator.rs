//! The allocator of the program.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    unsafe { libmimalloc_sys::mi_collect(false) };
}
