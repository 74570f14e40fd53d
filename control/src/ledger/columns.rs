//! Which column of the arrivals a node has: a number from 0, used again once its node is gone.

/// The columns that nodes have.
#[derive(Debug, Default)]
pub(super) struct Columns {
    count: usize,
    free: Vec<usize>,
}

impl Columns {
    /// A column that no node has.
    pub(super) fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }

    /// The node is gone.
    pub(super) fn give_back(&mut self, column: usize) {
        self.free.push(column);
    }

    /// Above every column that a node has.
    pub(super) fn count(&self) -> usize {
        self.count
    }
}
