//! How often URLs were asked for lately, about: a count-min sketch whose counts are halved now and then.

use super::traces::mix;

/// Counters for each URL, of which the least counts.
const ROWS: usize = 4;
const MOST: u8 = 15;

pub(crate) struct Sketch {
    rows: [Vec<u8>; ROWS],
    counted: usize,
    period: usize,
}

impl Sketch {
    /// For about so many URLs at a time.
    pub(crate) fn new(urls: usize) -> Self {
        let width = urls.max(64).next_power_of_two();
        let rows = std::array::from_fn(|_| vec![0; width]);
        Self { rows, counted: 0, period: 10 * width }
    }

    pub(crate) fn count(&mut self, url: u64) {
        for (number, row) in self.rows.iter_mut().enumerate() {
            let place = place(number, row.len(), url);
            row[place] = (row[place] + 1).min(MOST);
        }
        self.counted += 1;
        if self.counted == self.period {
            self.counted /= 2;
            self.rows.iter_mut().flatten().for_each(|count| *count /= 2);
        }
    }

    pub(crate) fn frequency(&self, url: u64) -> u8 {
        let counts = self.rows.iter().enumerate();
        let counts = counts.map(|(number, row)| row[place(number, row.len(), url)]);
        counts.min().unwrap_or(0)
    }
}

fn place(row: usize, width: usize, url: u64) -> usize {
    // Truncation is meant: any bits of a hash will do.
    mix(url ^ mix(row as u64 + 1)) as usize & (width - 1)
}
