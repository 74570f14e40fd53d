//! Room in the file that nothing needs: redb uses it again, but never gives it back unasked.

use super::fault::Fault;
use redb::{CompactionError, Database};

/// A file of fewer pages is left as it is: 1 MiB at 4 KiB a page.
const SMALL: u64 = 256;

/// More than so many times the pages in use, and the file is made smaller. What is written over and
/// over needs some room beside: at twice it would be made smaller all the time.
const MOST: u64 = 2;

/// Makes the file smaller, if most of it is not needed. Nobody may read or write meanwhile.
pub(super) fn give_back(database: &mut Database) -> Result<(), Fault> {
    let transaction = database.begin_write()?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    let needed = stats.stored_bytes() + stats.metadata_bytes();
    let needed = needed.div_ceil(stats.page_size() as u64).max(1);
    let pages = stats.allocated_pages();
    if pages < SMALL || pages / MOST < needed {
        return Ok(());
    }
    match database.compact() {
        Ok(_) => Ok(()),
        Err(CompactionError::Storage(error)) => Err(error.into()),
        // There is neither a transaction nor a savepoint: the database is this thread's alone.
        Err(error) => Err(Fault::Content(error.to_string())),
    }
}
