//! W-TinyLFU (Einziger et al., 2017) as Caffeine has it, with its window at a fixed size: what is new is in a
//! window; what leaves that enters a segmented LRU if it was asked for more often than what it would displace.

use super::Policy;
use super::recency::Recency;
use super::sketch::Sketch;
use super::traces::Asked;

/// The window has this part of the bytes.
const WINDOW: u64 = 100;
/// Tenths of the rest for what was asked for again.
const PROTECTED: u64 = 8;
/// Bytes of a response, for the number of them that the sketch is for.
const USUAL: u64 = 4_096;

pub(crate) struct WTinyLfu {
    window_size: u64,
    main_size: u64,
    window: Recency,
    probation: Recency,
    protected: Recency,
    sketch: Sketch,
}

impl WTinyLfu {
    pub(crate) fn new(size: u64) -> Self {
        let window_size = size / WINDOW;
        Self {
            window_size,
            main_size: size - window_size,
            window: Recency::default(),
            probation: Recency::default(),
            protected: Recency::default(),
            sketch: Sketch::new(usize::try_from(size / USUAL).unwrap_or(usize::MAX)),
        }
    }

    /// What left the window enters the main part, or not.
    fn offer(&mut self, url: u64, weight: u64) {
        if weight > self.main_size {
            return;
        }
        let used = self.probation.bytes() + self.protected.bytes();
        let wanted = (used + weight).saturating_sub(self.main_size);
        let frequency = self.sketch.frequency(url);
        let (mut freed, mut victims) = (0, Vec::new());
        for (victim, bytes) in self.probation.oldest().chain(self.protected.oldest()) {
            if freed >= wanted {
                break;
            }
            if self.sketch.frequency(victim) >= frequency {
                return;
            }
            freed += bytes;
            victims.push(victim);
        }
        for victim in victims {
            let _ = self.probation.remove(victim).or_else(|| self.protected.remove(victim));
        }
        self.probation.insert(url, weight);
    }
}

impl Policy for WTinyLfu {
    fn request(&mut self, asked: Asked) -> bool {
        let (url, weight) = (asked.url, asked.usage().bytes());
        self.sketch.count(url);
        if self.window.has(url) {
            self.window.insert(url, weight);
            return true;
        }
        if let Some(weight) = self.protected.remove(url).or_else(|| self.probation.remove(url)) {
            self.protected.insert(url, weight);
            while self.protected.bytes() > self.main_size * PROTECTED / 10 {
                if let Some((url, weight)) = self.protected.pop() {
                    self.probation.insert(url, weight);
                }
            }
            return true;
        }
        self.window.insert(url, weight);
        while self.window.bytes() > self.window_size {
            if let Some((url, weight)) = self.window.pop() {
                self.offer(url, weight);
            }
        }
        false
    }
}
