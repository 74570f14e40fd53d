//! How the last entries arrived at each node: what people read, and no node needs. Of older entries
//! only the sum is kept.
//!
//! A node has a column, an entry a row. A column may be used again once its node is gone: an entry
//! is never asked for a node that joined after it.

use std::collections::VecDeque;
use std::time::Duration;
use weir_rules::invalidation::Seq;

/// Bytes of one arrival.
const ARRIVAL: usize = size_of::<Cell>();

/// An arrival, in 8 bytes.
#[derive(Clone, Copy, Debug)]
struct Cell {
    /// Whole microseconds, as far as 24 bits tell them; not a number where that is not known.
    applied_us: f32,
    /// [`UNTOLD`] where that is not known.
    matched: u32,
}

const UNTOLD: u32 = u32::MAX;
const UNKNOWN: Cell = Cell { applied_us: f32::NAN, matched: UNTOLD };

/// An arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Arrived {
    /// From acceptance until it was applied.
    pub(super) applied: Option<Duration>,
    /// How many stored responses it took.
    pub(super) matched: Option<u64>,
}

/// How the last entries arrived.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The seq of the first row.
    first: Seq,
    rows: VecDeque<Box<[Cell]>>,
    cells: usize,
}

impl Recent {
    /// The first seq that has a row; above all of them where none has.
    pub(super) fn first(&self) -> Seq {
        self.first
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.cells * ARRIVAL
    }

    /// Adds a row for the next entry.
    pub(super) fn push(&mut self, seq: Seq, columns: usize) {
        if self.rows.is_empty() {
            self.first = seq;
        }
        self.rows.push_back(vec![UNKNOWN; columns].into());
        self.cells += columns;
    }

    /// Whether the oldest row has to go for there to be at most so many arrivals.
    pub(super) fn is_over(&self, most: usize) -> bool {
        self.rows.len() > 1 && self.cells > most
    }

    /// Forgets the oldest row.
    pub(super) fn pop(&mut self) {
        if let Some(row) = self.rows.pop_front() {
            self.cells -= row.len();
            self.first += 1;
        }
    }

    /// Whether the entry has a row.
    pub(super) fn has(&self, seq: Seq) -> bool {
        self.row(seq).is_some()
    }

    /// What is known of an entry's arrival in a column.
    pub(super) fn get(&self, seq: Seq, column: usize) -> Arrived {
        let row = self.row(seq).and_then(|at| self.rows.get(at));
        let Some(cell) = row.and_then(|row| row.get(column)) else { return Arrived::default() };
        Arrived {
            applied: (!cell.applied_us.is_nan())
                .then(|| Duration::from_micros(cell.applied_us as u64)),
            matched: (cell.matched != UNTOLD).then_some(u64::from(cell.matched)),
        }
    }

    /// Notes when it was applied.
    pub(super) fn applied(&mut self, seq: Seq, column: usize, took: Duration) {
        if let Some(cell) = self.cell(seq, column) {
            cell.applied_us = took.as_micros() as f32;
        }
    }

    /// Notes how many it took; whether that is news.
    pub(super) fn matched(&mut self, seq: Seq, column: usize, count: u64) -> bool {
        let Some(cell) = self.cell(seq, column) else { return false };
        let count = u32::try_from(count).unwrap_or(UNTOLD - 1).min(UNTOLD - 1);
        std::mem::replace(&mut cell.matched, count) != count
    }

    fn row(&self, seq: Seq) -> Option<usize> {
        let at = usize::try_from(seq.checked_sub(self.first)?).ok()?;
        (at < self.rows.len()).then_some(at)
    }

    fn cell(&mut self, seq: Seq, column: usize) -> Option<&mut Cell> {
        let at = self.row(seq)?;
        self.rows.get_mut(at)?.get_mut(column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rows_are_kept_and_a_column_that_a_row_has_not_is_unknown() {
        let mut recent = Recent::default();
        for seq in 5..=7 {
            recent.push(seq, 2);
            recent.applied(seq, 1, Duration::from_micros(16_000_001));
        }
        assert_eq!((recent.first(), recent.bytes()), (5, 6 * ARRIVAL));
        while recent.is_over(4) {
            recent.pop();
        }
        assert_eq!((recent.first(), recent.bytes()), (6, 4 * ARRIVAL));
        let took = |seq, column| recent.get(seq, column).applied;
        assert_eq!(took(6, 1), Some(Duration::from_micros(16_000_001)));
        assert_eq!([took(5, 1), took(6, 0), took(6, 2), took(8, 0)], [None; 4]);
        while recent.is_over(1) {
            recent.pop();
        }
        // The newest is kept however many nodes there are.
        assert_eq!(recent.first(), 7);
        assert!(recent.matched(7, 0, u64::MAX) && !recent.matched(7, 0, u64::MAX));
        assert!(!recent.matched(6, 0, 1) && !recent.matched(7, 2, 1));
        assert_eq!(recent.get(7, 0).matched, Some(u64::from(u32::MAX - 1)));
    }
}
