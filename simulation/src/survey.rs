//! A first look at all requests: what there is, and which share of the URLs is to be simulated.

use crate::Line;
use crate::sample::{DistinctUrls, Sample};

/// What all lines come to.
#[derive(Default)]
pub struct Survey {
    /// Requests for what a cache may store.
    pub requests: u64,
    /// Bytes of their answers.
    pub bytes: u64,
    /// Requests that no cache answers.
    pub passed: u64,
    /// Lines that are not understood.
    pub unknown: u64,
    /// Requests without a date.
    pub undated: u64,
    urls: DistinctUrls,
    first: Option<u64>,
    last: u64,
}

impl Survey {
    /// Counts a line.
    pub fn add(&mut self, line: Line) {
        match line {
            Line::Request(request) => {
                self.requests += 1;
                self.bytes += request.bytes;
                self.urls.add(request.url);
                match request.at {
                    Some(at) => {
                        self.first = Some(self.first.map_or(at, |first| first.min(at)));
                        self.last = self.last.max(at);
                    }
                    None => self.undated += 1,
                }
            }
            Line::Passed => self.passed += 1,
            Line::Unknown => self.unknown += 1,
            Line::Nothing => {}
        }
    }

    /// URLs of the requests that a cache may answer, within 5 %.
    pub fn urls(&self) -> u64 {
        self.urls.count()
    }

    /// Seconds between the first and the last of them, if they have dates.
    pub fn seconds(&self) -> Option<u64> {
        self.first.map(|first| self.last - first)
    }

    /// A sample of about so many URLs, or all.
    pub fn sample(&self, urls: u64) -> Sample {
        Sample::of_rate(urls as f64 / self.urls().max(1) as f64)
    }
}
