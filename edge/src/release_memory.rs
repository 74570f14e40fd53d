//! Memory that is free is given back to the system. Allocators keep what was freed for a while, and each
//! thread what it freed itself; who runs only now and then keeps it for ever. So the program says how the
//! calling thread gives free memory back, and each worker does so now and then.

use std::sync::OnceLock;

static GIVE_BACK: OnceLock<fn()> = OnceLock::new();

/// Says how the calling thread gives free memory back to the system. Only the first call counts.
pub fn release_memory_with(give_back: fn()) {
    let _ = GIVE_BACK.set(give_back);
}

/// Gives free memory of this thread back, if the program has said how.
pub(crate) fn release_memory() {
    if let Some(give_back) = GIVE_BACK.get() {
        give_back();
    }
}
