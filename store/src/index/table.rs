//! An open-addressing table of packed records with linear probing. It may hold many records with
//! one fingerprint; they lie in one run.

use super::entry::{Kind, Location, Record, fingerprint, pack, unpack};

/// Places of the smallest table.
const LEAST: usize = 8;

/// The fullest that a table may be, and the emptiest, in hundredths. A table that is outside is made
/// anew with [`AFTER`].
const FULLEST: usize = 85;
const EMPTIEST: usize = 45;
const AFTER: usize = 62;

/// Records by fingerprint. 0 is a free place.
#[derive(Default)]
pub(super) struct Table {
    places: Box<[u128]>,
    len: usize,
    /// Of them, those that are slices.
    slices: usize,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn slices(&self) -> usize {
        self.slices
    }

    fn home(&self, fingerprint: u32) -> usize {
        ((u64::from(fingerprint) * self.places.len() as u64) >> 32) as usize
    }

    fn next(&self, place: usize) -> usize {
        if place + 1 == self.places.len() { 0 } else { place + 1 }
    }

    /// The places from the home of a fingerprint to the first free one.
    fn run(&self, print: u32) -> impl Iterator<Item = usize> + '_ {
        let mut place = self.home(print);
        let count = self.places.len();
        (0..count)
            .map(move |_| {
                let this = place;
                place = if place + 1 == count { 0 } else { place + 1 };
                this
            })
            .take_while(|place| self.places[*place] != 0)
    }

    /// All records with this fingerprint.
    pub(super) fn with(&self, print: u32) -> impl Iterator<Item = Record> + '_ {
        self.run(print)
            .map(|place| self.places[place])
            .filter(move |packed| fingerprint(*packed) == print)
            .map(unpack)
    }

    fn place_of(&self, print: u32, at: Location) -> Option<usize> {
        self.run(print).find(|place| {
            let packed = self.places[*place];
            let found = unpack(packed).at;
            fingerprint(packed) == print && (found.slot, found.offset) == (at.slot, at.offset)
        })
    }

    pub(super) fn insert(&mut self, print: u32, record: Record) {
        if (self.len + 1) * 100 > self.places.len() * FULLEST {
            self.resize(self.len + 1);
        }
        self.put(pack(print, &record));
        self.len += 1;
        self.slices += usize::from(record.kind == Kind::Slice);
    }

    fn put(&mut self, packed: u128) {
        let mut place = self.home(fingerprint(packed));
        while self.places[place] != 0 {
            place = self.next(place);
        }
        self.places[place] = packed;
    }

    /// Changes the record with this fingerprint at this place; whether there is one.
    pub(super) fn update(
        &mut self,
        print: u32,
        at: Location,
        change: impl FnOnce(&mut Record),
    ) -> bool {
        let Some(place) = self.place_of(print, at) else { return false };
        let mut record = unpack(self.places[place]);
        change(&mut record);
        self.places[place] = pack(print, &record);
        true
    }

    /// Removes the record with this fingerprint at this place, if there is one.
    pub(super) fn remove(&mut self, print: u32, at: Location) {
        let Some(mut hole) = self.place_of(print, at) else { return };
        self.len -= 1;
        self.slices -= usize::from(unpack(self.places[hole]).kind == Kind::Slice);
        // Whatever behind the hole would not be found past it moves into it.
        let mut place = hole;
        loop {
            place = self.next(place);
            let packed = self.places[place];
            if packed == 0 || place == hole {
                break;
            }
            let home = self.home(fingerprint(packed));
            let is_between = match hole <= place {
                true => home > hole && home <= place,
                false => home > hole || home <= place,
            };
            if !is_between {
                self.places[hole] = packed;
                hole = place;
            }
        }
        self.places[hole] = 0;
        if self.places.len() > LEAST && self.len * 100 < self.places.len() * EMPTIEST {
            self.resize(self.len);
        }
    }

    /// Removes all records that `is_wanted` accepts; returns how many.
    pub(super) fn remove_where(&mut self, is_wanted: impl Fn(&Record) -> bool) -> usize {
        let packed = self.places.iter().filter(|packed| **packed != 0);
        let removed: Vec<_> = packed
            .map(|packed| (fingerprint(*packed), unpack(*packed)))
            .filter(|(_, record)| is_wanted(record))
            .collect();
        removed.iter().for_each(|(print, record)| self.remove(*print, record.at));
        removed.len()
    }

    fn resize(&mut self, len: usize) {
        let places = if len == 0 { 0 } else { (len * 100).div_ceil(AFTER).max(LEAST) };
        let old = std::mem::replace(&mut self.places, vec![0; places].into_boxed_slice());
        old.into_iter().filter(|packed| *packed != 0).for_each(|packed| self.put(packed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn record(number: u32) -> Record {
        let at = Location { slot: number % 7, offset: number * 16, length: 16 };
        Record { variant: number % 9, at, kind: Kind::Response, is_hit: false, is_soft: false }
    }

    /// Against a list: many records with few fingerprints, so that runs wrap and merge.
    #[test]
    fn a_table_holds_what_a_list_holds() {
        let mut random = 1u64;
        let mut next = |bound: u64| {
            random = crate::format::mixed(random);
            random % bound
        };
        for prints in [1, 3, 50, u64::from(u32::MAX)] {
            let (mut table, mut list) = (Table::default(), BTreeSet::new());
            for step in 0..4000u32 {
                if next(100) < (if step % 1000 < 600 { 80 } else { 20 }) {
                    let print = u32::MAX - next(prints) as u32;
                    table.insert(print, record(step));
                    list.insert((print, step));
                } else if let Some(any) = list.iter().nth(next(list.len().max(1) as u64) as usize) {
                    let (print, number) = *any;
                    table.remove(print, record(number).at);
                    list.remove(&(print, number));
                }
                if step % 50 == 0 {
                    assert_eq!(table.len(), list.len());
                    for (print, number) in &list {
                        let found = table.with(*print).filter(|found| *found == record(*number));
                        assert_eq!(found.count(), 1, "{print} {number}");
                    }
                }
            }
            let gone = table.remove_where(|record| record.at.slot == 3);
            let before = list.len();
            list.retain(|(_, number)| record(*number).at.slot != 3);
            assert_eq!((gone, table.len()), (before - list.len(), list.len()));
        }
    }

    #[test]
    fn a_table_is_neither_too_full_nor_too_empty() {
        let mut table = Table::default();
        for number in 0..10_000 {
            table.insert(number * 400_000, record(number));
        }
        let places = |table: &Table| table.places.len() as f64 / table.len() as f64;
        assert!(places(&table) < 1.7, "{}", places(&table));
        for number in 0..9_000 {
            table.remove(number * 400_000, record(number).at);
            assert!(places(&table) < 2.3, "{}", places(&table));
        }
        for number in 9_000..10_000 {
            table.remove(number * 400_000, record(number).at);
        }
        assert!(table.places.len() <= LEAST);
    }
}
