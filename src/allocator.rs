//! The allocator of the program.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives free memory of the calling thread back to the system: what was freed a moment ago stays for the next
/// who needs it.
#[allow(unsafe_code, reason = "the crate has no safe function for it")]
pub(crate) fn release_memory() {
    // SAFETY: it may be called at any time, from any thread, and touches nothing that is in use.
    unsafe { libmimalloc_sys::mi_collect(false) };
}
