//! What nodes tell of their traffic, as rates: over the last seconds, and as points of the last
//! ten minutes. Pure: the clock is an argument.
//!
//! Bounded: of a node are kept the counters of the last [`WINDOW`] (at most [`SAMPLES`] times 360
//! bytes) and 300 points of 36 bytes, about 15 KiB together; of a tier its points. That is
//! 60 MiB at the most nodes that can be expected; and as much for each list of sites that tokens are limited to
//! ([`views`]), of the nodes that have one of them.

mod counters;
mod points;
mod rates;
mod views;

#[cfg(test)]
use points::POINTS;
pub(super) use rates::Rates;
pub(super) use views::TrafficViews;

use counters::Counters;
use points::Points;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use weir_protocol::stats::Stats;
use weir_rules::tier::Tier;

/// Rates are over the last so long, at most.
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// From one point to the next.
pub(super) const STEP: Duration = Duration::from_secs(2);

/// Counters kept of a node, at most and at least so far apart.
const SAMPLES: usize = 11;
const APART: Duration = Duration::from_millis(900);

/// What nodes told.
#[derive(Debug)]
pub(super) struct Traffic {
    begun: (Instant, SystemTime),
    told: Mutex<NodesTraffic>,
}

#[derive(Debug, Default)]
struct NodesTraffic {
    nodes: HashMap<String, NodeTraffic>,
    edges: Points,
    parents: Points,
}

/// What one node told.
#[derive(Debug)]
struct NodeTraffic {
    tier: Tier,
    uptime_ms: u64,
    /// As the node counts.
    last: Counters,
    /// The same, but that it never goes back.
    total: Counters,
    at: Instant,
    /// Totals of the last while, oldest first.
    window: VecDeque<(Instant, Counters)>,
    /// The total at the last point.
    pointed: (Instant, Counters),
    points: Points,
}

impl Traffic {
    fn new(now: Instant, wall: SystemTime) -> Self {
        Self { begun: (now, wall), told: Mutex::default() }
    }

    /// A node told what it counts.
    fn hear(&self, name: &str, tier: Tier, stats: &Stats, now: Instant) {
        let mut told = self.told();
        match told.nodes.get_mut(name).filter(|node| node.tier == tier) {
            Some(node) => node.hear(stats, now),
            None => {
                told.nodes.insert(name.to_owned(), NodeTraffic::new(tier, stats, now));
            }
        }
    }

    /// Makes a point of what nodes told since the last one, and forgets those that are not among
    /// the `expected`. To be called every [`STEP`].
    fn point(&self, now: Instant, expected: impl Fn(&str) -> bool) {
        let passed = now.saturating_duration_since(self.begun.0).as_millis() / STEP.as_millis();
        let number = u32::try_from(passed).unwrap_or(u32::MAX);
        let mut told = self.told();
        let told = &mut *told;
        told.nodes.retain(|name, _| expected(name));
        for (tier, points) in [(Tier::Edge, &mut told.edges), (Tier::Parent, &mut told.parents)] {
            let of_tier = told.nodes.values_mut().filter(|node| node.tier == tier);
            let rates: Vec<Rates> = of_tier.filter_map(|node| node.point(number)).collect();
            if !rates.is_empty() {
                points.push(number, &rates.iter().sum::<Rates>());
            }
        }
    }

    /// The rates of a node over the last while; `None` where it told too little for that.
    pub(super) fn rates(&self, name: &str) -> Option<Rates> {
        self.told().nodes.get(name)?.rates()
    }

    /// The points of a node, oldest first.
    pub(super) fn points_of(&self, name: &str) -> Vec<serde_json::Value> {
        let told = self.told();
        told.nodes.get(name).map_or_else(Vec::new, |node| node.points.told(self.begun.1, STEP))
    }

    /// The points of a tier, oldest first.
    pub(super) fn points(&self, tier: Tier) -> Vec<serde_json::Value> {
        let told = self.told();
        let points = match tier {
            Tier::Edge => &told.edges,
            Tier::Parent => &told.parents,
        };
        points.told(self.begun.1, STEP)
    }

    fn told(&self) -> MutexGuard<'_, NodesTraffic> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeTraffic {
    /// One that is heard for the first time.
    fn new(tier: Tier, stats: &Stats, now: Instant) -> Self {
        let total = Counters::of(stats);
        let begin = begin(stats, &total, now);
        Self {
            tier,
            uptime_ms: stats.uptime_ms,
            last: total,
            total,
            at: now,
            window: VecDeque::from([begin]),
            pointed: begin,
            points: Points::default(),
        }
    }

    fn hear(&mut self, stats: &Stats, now: Instant) {
        let counters = Counters::of(stats);
        let restarted = stats.uptime_ms < self.uptime_ms;
        let more = if restarted { counters } else { counters.since(&self.last) };
        self.total = self.total.plus(&more);
        (self.uptime_ms, self.last) = (stats.uptime_ms, counters);
        let silence = now.saturating_duration_since(self.at);
        self.at = now;
        if silence > WINDOW {
            // When it counted what it did meanwhile is not known.
            let gone = if restarted { more } else { Counters::default() };
            let (began, before) = begin(stats, &gone, now);
            let begin = (began, self.total.less(&gone).plus(&before));
            self.window.clear();
            self.window.push_back(begin);
            self.pointed = begin;
            return;
        }
        let is_old = |(at, _): &(Instant, Counters)| now.saturating_duration_since(*at) > WINDOW;
        while self.window.len() > 1 && self.window.front().is_some_and(is_old) {
            self.window.pop_front();
        }
        let last = self.window.back().map(|(at, _)| *at);
        if last.is_none_or(|last| now.saturating_duration_since(last) >= APART) {
            if self.window.len() == SAMPLES {
                self.window.pop_front();
            }
            self.window.push_back((now, self.total));
        }
    }

    fn rates(&self) -> Option<Rates> {
        let (begin, before) = self.window.front()?;
        Rates::between(before, &self.total, self.at.checked_duration_since(*begin)?)
    }

    /// Its rates since the last point, if it told anything.
    fn point(&mut self, number: u32) -> Option<Rates> {
        let (begin, before) = self.pointed;
        let rates = Rates::between(&before, &self.total, self.at.checked_duration_since(begin)?)?;
        self.pointed = (self.at, self.total);
        self.points.push(number, &rates);
        Some(rates)
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
