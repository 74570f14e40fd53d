//! What may be kept for a target.

use super::Seq;
use std::collections::HashMap;

/// What is kept for a target: nothing at first, then something of each purge that names it.
pub(super) trait Kept: Default {
    /// The last seq in it; 0 while there is none.
    fn last(&self) -> Seq;
}

/// By the text of a target.
pub(super) type ByText<V> = HashMap<Box<str>, V>;

/// Changes what is kept for `text`; returns how many entries that added (0 or 1).
pub(super) fn change<V: Kept>(
    map: &mut ByText<V>,
    text: &str,
    change: impl FnOnce(&mut V),
) -> usize {
    if let Some(known) = map.get_mut(text) {
        change(known);
        return 0;
    }
    let mut new = V::default();
    change(&mut new);
    map.insert(text.into(), new);
    1
}

/// Tells `found` what is kept for `text`, which most maps, being empty, need not be asked for.
pub(super) fn find<V>(map: &ByText<V>, text: &str, found: &mut impl FnMut(&V)) {
    if let Some(kept) = map.get(text) {
        found(kept);
    }
}
