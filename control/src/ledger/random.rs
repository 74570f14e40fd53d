//! Names, keys and marks that nobody can foresee.

use crate::journal::{JournalError, Life};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use weir_rules::log::LogId;

/// A new life of the log.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn life() -> Result<Life, JournalError> {
    Ok(Life {
        log: LogId(hexadecimal::<8>()?),
        tier_key: hexadecimal::<32>()?,
        mark_key: hexadecimal::<32>()?,
    })
}

/// A new membership.
///
/// # Errors
/// The system gives no random bytes.
pub(super) fn member() -> Result<String, JournalError> {
    hexadecimal::<8>()
}

/// What tells the mark of the entry `seq` from that of another entry `seq` of the same life. Each
/// `RandomState` is seeded from the system's randomness; that is enough for what is no secret.
pub(super) fn half_mark(seq: u64) -> u32 {
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(seq);
    (hasher.finish() >> 32) as u32
}

fn hexadecimal<const BYTES: usize>() -> Result<String, JournalError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        JournalError::new(format!("the system returned no random bytes: {error}"))
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
