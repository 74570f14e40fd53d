//! Finding the end of a line, and the control bytes before it, in one pass.

use super::head::bad;
use crate::error::ClientError;

/// What is known of the line that some bytes begin with.
pub(super) enum Line {
    /// Its CR is at this index, its LF after it; in between are no control bytes but tabs.
    Whole(usize),
    /// It is wrong, which is certain as soon as more than `after` of its bytes are there.
    Bad { after: usize, error: ClientError },
    /// Its end is not there yet; the first `searched` bytes need not be looked at again.
    Open { searched: usize },
}

/// Looks at the first line of `bytes`, of which the first `searched` were looked at before.
#[inline]
pub(super) fn line(bytes: &[u8], searched: usize) -> Line {
    let mut from = searched;
    loop {
        let Some(at) = control(&bytes[from..]).map(|at| at + from) else {
            return Line::Open { searched: bytes.len() };
        };
        match (bytes[at], bytes.get(at + 1)) {
            (b'\r', Some(b'\n')) => return Line::Whole(at),
            (b'\r', None) => return Line::Open { searched: at },
            (b'\t', _) => from = at + 1,
            (b'\r', Some(_)) => return Line::Bad { after: at + 1, error: bare() },
            (b'\n', _) => return Line::Bad { after: at, error: bare() },
            _ => {
                let error = bad(
                    "control-byte",
                    "A head or trailer must not contain control bytes other than tabs.",
                );
                return Line::Bad { after: at, error };
            }
        }
    }
}

#[cold]
fn bare() -> ClientError {
    bad("bare-cr-lf", "CR and LF come together, at line ends.")
}

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// The index of the first control byte (below 0x20, or 0x7f). Eight bytes at a time: the bits that
/// mark them are exact up to the first, and those above it are not looked at.
#[inline]
fn control(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word;
        let delete = word ^ (ONES * 0x7f);
        let is_delete = delete.wrapping_sub(ONES) & !delete;
        let found = (below_space | is_delete) & HIGH;
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|&byte| byte < b' ' || byte == 0x7f)?;
    Some(words.len() * 8 + at)
}
