//! A batch in transactions: etcd takes so many operations and so many bytes in one.

use super::super::JournalError;
use crate::etcd::Operation;
use weir_rules::invalidation::Seq;

/// Most operations of a transaction: etcd takes 128 (`--max-txn-ops`), of which the head is one.
const MOST_OPERATIONS: usize = 100;

/// Most bytes of a transaction that has several operations.
pub(super) const MOST_BYTES: usize = 1 << 20;

/// Largest operation: etcd takes 1.5 MiB (`--max-request-bytes`) with all around it.
const LARGEST: usize = 1_400_000;

/// Operations that belong together, and the last entry once they are done.
type Unit = (Seq, Vec<Operation>);

/// The units in their order, as many as fit into each transaction.
///
/// # Errors
/// One of them fits into none.
pub(super) fn chunks(units: Vec<Unit>) -> Result<Vec<Unit>, JournalError> {
    let mut chunks: Vec<Unit> = Vec::new();
    let mut room = 0;
    for (seq, operations) in units {
        let bytes = operations.iter().map(Operation::bytes).sum::<usize>();
        if bytes > LARGEST {
            return Err(JournalError::new(format!(
                "{bytes} bytes for one key; etcd takes at most 1.5 MiB in a request"
            )));
        }
        match chunks.last_mut() {
            Some((last, chunk))
                if bytes <= room && chunk.len() + operations.len() <= MOST_OPERATIONS =>
            {
                room -= bytes;
                *last = seq;
                chunk.extend(operations);
            }
            _ => {
                room = MOST_BYTES.saturating_sub(bytes);
                chunks.push((seq, operations));
            }
        }
    }
    Ok(chunks)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn unit(seq: Seq, bytes: usize) -> Unit {
        (seq, vec![Operation::Put(String::new(), vec![0; bytes])])
    }

    #[test]
    fn a_batch_is_taken_apart_where_etcd_takes_no_more() {
        let sizes = |units: Vec<Unit>| -> Vec<(Seq, usize)> {
            chunks(units).unwrap().iter().map(|(seq, chunk)| (*seq, chunk.len())).collect()
        };
        assert_eq!(sizes(vec![unit(1, 10), unit(2, 10)]), [(2, 2)]);
        assert_eq!(sizes(vec![unit(1, MOST_BYTES), unit(2, 1)]), [(1, 1), (2, 1)]);
        assert_eq!(sizes((1..=101).map(|seq| unit(seq, 1)).collect()), [(100, 100), (101, 1)]);
        assert_eq!(sizes(vec![unit(1, MOST_BYTES + 1), unit(2, 0)]), [(2, 2)]);
        let error = chunks(vec![unit(1, LARGEST + 1)]).unwrap_err();
        assert!(error.to_string().contains("1400001 bytes"), "{error}");
    }
}
