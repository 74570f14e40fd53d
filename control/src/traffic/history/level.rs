//! Counts of steps of one length.

use super::super::counters::{Counters, Packed};
use super::super::numbers;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Which series a count is of ([`Series`](super::series::Series)).
pub(super) type SeriesId = u64;

/// Counts by series. Packed: of thousands of nodes there are some seconds of them.
pub(super) type Rows = BTreeMap<SeriesId, Packed>;

/// What a step takes beside its rows, at most.
const STEP_BYTES: usize = 64;

/// Seconds by which steps may lie ahead of the clock: what lies further ahead is of a clock that was wrong.
const AHEAD: u64 = 3600;

/// The steps of one length, oldest first; at most so many, in at most so many bytes.
#[derive(Debug)]
pub(super) struct Level {
    /// Seconds.
    pub(super) step: u64,
    most: usize,
    bytes: usize,
    steps: VecDeque<Step>,
}

/// What was counted in a step.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// Steps since 1970.
    pub(super) number: u64,
    /// Whether it has nodes told apart.
    pub(super) by_node: bool,
    /// [`pack`]ed.
    pub(super) rows: Arc<[u8]>,
}

impl Level {
    pub(super) fn new(step: u64, most: usize) -> Self {
        Self { step, most, bytes: 0, steps: VecDeque::new() }
    }

    /// Adds what was counted in a step to what is there of it.
    pub(super) fn add(&mut self, number: u64, rows: Rows) {
        let at = self.steps.partition_point(|step| step.number < number);
        let known = self.steps.get(at).filter(|step| step.number == number);
        let rows = match known {
            None => rows,
            Some(known) => {
                let mut sum = unpack(&known.rows).unwrap_or_default();
                add(&mut sum, rows);
                sum
            }
        };
        let step = Step { number, by_node: true, rows: pack(&rows).into() };
        self.insert(at, step);
    }

    /// Puts a step back that was written down.
    pub(super) fn put(&mut self, step: Step) {
        let at = self.steps.partition_point(|known| known.number < step.number);
        self.insert(at, step);
    }

    fn insert(&mut self, at: usize, step: Step) {
        self.bytes += cost(&step);
        match self.steps.get_mut(at).filter(|known| known.number == step.number) {
            Some(known) => self.bytes -= cost(&std::mem::replace(known, step)),
            None => self.steps.insert(at, step),
        }
    }

    /// Keeps the bounds: forgets steps far ahead of `now`, in seconds, and the oldest of too many. Where they take
    /// more than `bytes`, the oldest are kept without their nodes, whose rows are then those of `whole`; where that
    /// is not enough, they are forgotten.
    pub(super) fn bound(
        &mut self,
        now: u64,
        bytes: usize,
        mut whole: impl FnMut(SeriesId) -> SeriesId,
    ) {
        let last = (now + AHEAD) / self.step;
        while self.steps.back().is_some_and(|step| step.number > last) {
            self.bytes -= self.steps.pop_back().as_ref().map_or(0, cost);
        }
        while self.steps.len() > self.most {
            self.forget_oldest();
        }
        while self.bytes > bytes {
            let Some(at) = self.steps.iter().position(|step| step.by_node) else {
                self.forget_oldest();
                continue;
            };
            let mut rows = Rows::new();
            for (series, counters) in unpack(&self.steps[at].rows).unwrap_or_default() {
                add(&mut rows, [(whole(series), counters)]);
            }
            let number = self.steps[at].number;
            self.insert(at, Step { number, by_node: false, rows: pack(&rows).into() });
        }
    }

    fn forget_oldest(&mut self) {
        self.bytes -= self.steps.pop_front().as_ref().map_or(0, cost);
    }

    /// All steps, oldest first.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// Bytes that they take, at most.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn cost(step: &Step) -> usize {
    STEP_BYTES + step.rows.len()
}

/// Adds counts to those of the same series.
pub(super) fn add(sum: &mut Rows, more: impl IntoIterator<Item = (SeriesId, Packed)>) {
    for (series, counted) in more {
        match sum.entry(series) {
            Entry::Vacant(place) => {
                place.insert(counted);
            }
            Entry::Occupied(mut known) => {
                let all = Counters::from(known.get()).plus(&(&counted).into());
                known.insert((&all).into());
            }
        }
    }
}

/// Rows in few bytes: of each the series and its counts.
pub(super) fn pack(rows: &Rows) -> Vec<u8> {
    let mut packed = Vec::new();
    for (series, counted) in rows {
        numbers::write(*series, &mut packed);
        counted.write(&mut packed);
    }
    packed
}

/// The rows of packed ones; `None` where they are none.
pub(super) fn unpack(mut packed: &[u8]) -> Option<Rows> {
    let mut rows = Rows::new();
    while !packed.is_empty() {
        let series = numbers::read(&mut packed)?;
        rows.insert(series, (&Counters::read(&mut packed)?).into());
    }
    Some(rows)
}
