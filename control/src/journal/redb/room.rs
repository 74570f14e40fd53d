//! Room in the file that nothing needs: redb uses it again, but never gives it back unasked.

use super::fault::Fault;
use redb::{CompactionError, Database};

/// A smaller file is left as it is, bytes.
const SMALL: u64 = 1 << 20;

/// So many times as large as what is in it, and the file is made smaller. What is written over and
/// over needs some room beside, so at less it would be made smaller all the time.
const MOST: u64 = 3;

/// Makes the file smaller, if most of it is not needed. Nobody may read or write meanwhile.
pub(super) fn give_back(database: &mut Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    let needed = stats.stored_bytes() + stats.metadata_bytes();
    let file = needed + stats.fragmented_bytes();
    if file < SMALL || file / MOST < needed {
        return Ok(());
    }
    match database.compact() {
        Ok(_) => Ok(()),
        Err(CompactionError::Storage(error)) => Err(error.into()),
        // There is neither a transaction nor a savepoint: the database is this thread's alone.
        Err(error) => Err(Fault::Content(error.to_string())),
    }
}
