//! What nodes tell of their traffic: as rates over the last seconds, and over time ([`history`]). Pure: the clock is
//! an argument.
//!
//! Bounded: of a node are kept the counters of the last [`WINDOW`], at most [`SAMPLES`] times, mostly in 50 to
//! 150 bytes each. As much is kept for each list of sites that tokens are limited to ([`views`]), of the nodes that
//! have one of them.

mod counters;
pub(crate) mod history;
mod numbers;
mod rates;
mod views;

pub(super) use rates::{Rates, quantile};
pub(super) use views::TrafficViews;

use counters::{Counters, Packed};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_protocol::stats::Stats;
use weir_rules::tier::Tier;

/// Rates are over the last so long, at most.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// Counters kept of a node, at most and at least so far apart.
const SAMPLES: usize = 11;
const APART: Duration = Duration::from_millis(900);

/// What nodes told.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    told: Mutex<HashMap<String, NodeTraffic>>,
}

/// What one node told.
#[derive(Debug)]
struct NodeTraffic {
    tier: Tier,
    uptime_ms: u64,
    /// As the node counts.
    last: Packed,
    /// The same, but that it never goes back.
    total: Packed,
    at: Instant,
    /// Totals of the last while, oldest first.
    window: VecDeque<(Instant, Packed)>,
}

impl Traffic {
    /// A node told what it counts.
    fn hear(&self, name: &str, tier: Tier, stats: &Stats, now: Instant) {
        let mut told = self.told();
        match told.get_mut(name).filter(|node| node.tier == tier) {
            Some(node) => node.hear(stats, now),
            None => {
                told.insert(name.to_owned(), NodeTraffic::new(tier, stats, now));
            }
        }
    }

    /// Forgets nodes that are not among the `expected`.
    fn retain(&self, expected: impl Fn(&str) -> bool) {
        self.told().retain(|name, _| expected(name));
    }

    /// The rates of a node over the last while; `None` where it told too little for that.
    pub(super) fn rates(&self, name: &str) -> Option<Rates> {
        self.told().get(name)?.rates()
    }

    fn told(&self) -> MutexGuard<'_, HashMap<String, NodeTraffic>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeTraffic {
    /// One that is heard for the first time.
    fn new(tier: Tier, stats: &Stats, now: Instant) -> Self {
        let total = Counters::of(stats);
        let (began, before) = begin(stats, &total, now);
        let total = Packed::from(&total);
        Self {
            tier,
            uptime_ms: stats.uptime_ms,
            last: total.clone(),
            total,
            at: now,
            window: VecDeque::from([(began, Packed::from(&before))]),
        }
    }

    fn hear(&mut self, stats: &Stats, now: Instant) {
        let counters = Counters::of(stats);
        let restarted = stats.uptime_ms < self.uptime_ms;
        let more = if restarted { counters } else { counters.since(&(&self.last).into()) };
        let total = Counters::from(&self.total).plus(&more);
        self.total = (&total).into();
        (self.uptime_ms, self.last) = (stats.uptime_ms, (&counters).into());
        let silence = now.saturating_duration_since(self.at);
        self.at = now;
        if silence > WINDOW {
            // When it counted what it did meanwhile is not known.
            let gone = if restarted { more } else { Counters::default() };
            let (began, before) = begin(stats, &gone, now);
            let before = Packed::from(&total.less(&gone).plus(&before));
            self.window.clear();
            self.window.push_back((began, before));
            return;
        }
        let is_old = |(at, _): &(Instant, Packed)| now.saturating_duration_since(*at) > WINDOW;
        while self.window.len() > 1 && self.window.front().is_some_and(is_old) {
            self.window.pop_front();
        }
        let last = self.window.back().map(|(at, _)| *at);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= APART) {
            if self.window.len() == SAMPLES {
                self.window.pop_front();
            }
            self.window.push_back((now, self.total.clone()));
        }
    }

    fn rates(&self) -> Option<Rates> {
        let (begin, before) = self.window.front()?;
        let time = self.at.checked_duration_since(*begin)?;
        Rates::between(&before.into(), &(&self.total).into(), time)
    }
}

/// From when on a node that told `counted` is looked at: its start where that is within the
/// window, else now.
fn begin(stats: &Stats, counted: &Counters, now: Instant) -> (Instant, Counters) {
    let uptime = Duration::from_millis(stats.uptime_ms);
    let start = now.checked_sub(uptime).filter(|_| !uptime.is_zero() && uptime <= WINDOW);
    start.map_or((now, *counted), |start| (start, Counters::default()))
}

#[cfg(test)]
mod tests;
