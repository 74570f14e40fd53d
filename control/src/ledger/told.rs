//! How entries arrived, for who reads it. No entry waits for anything that is kept here.

use super::listed::Listed;
use super::nodes::{DepartedNode, ExpectedNode};
use super::progress::{Arrival, NodeProgress, Progress};
use super::published::PublishedLog;
use super::recent::Arrived;
use crate::journal::{ArrivalRecord, ArrivalsRecord, LeaseOverRecord, NodeRecord, SumRecord};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_rules::invalidation::Seq;
use weir_rules::tier::Tier;

/// Arrivals that are counted one by one; the rest of a longer run is counted as a run.
const ONE_BY_ONE: usize = 64;

/// A node that an entry is for, or was.
struct Addressee<'a> {
    name: &'a Arc<str>,
    tier: Tier,
    region: &'a Arc<str>,
    column: usize,
    state: Arrival,
}

impl PublishedLog {
    /// Notes when entries arrived in a column. Of those that were completed without the node, up to
    /// `excused`, it is not counted how long they took.
    pub(super) fn note_arrivals(
        &mut self,
        seqs: RangeInclusive<Seq>,
        column: usize,
        excused: Seq,
        now: Instant,
    ) {
        let (from, to) = (*seqs.start(), *seqs.end());
        let Self { entries, recent, unsaved, propagation, base, .. } = self;
        let at = |seq: Seq| usize::try_from(seq.saturating_sub(base.seq + 1)).unwrap_or(usize::MAX);
        let end = entries.len().min(at(to.saturating_add(1)));
        for listed in entries.range(at(from.max(recent.first())).min(end)..end) {
            recent.applied(listed.seq(), column, listed.elapsed(now));
            unsaved.arrivals.insert(listed.seq());
        }
        let begin = at(from.max(excused + 1)).min(end);
        let split = begin.max(end.saturating_sub(ONE_BY_ONE));
        propagation.record_run(begin..split, &|at| entries[at].elapsed(now));
        for listed in entries.range(split..end).filter(|listed| listed.purge().is_some()) {
            propagation.record(listed.elapsed(now));
        }
    }

    /// How far an entry has come.
    pub(super) fn progress(&self, listed: &Listed) -> Progress {
        let seq = listed.seq();
        let mut nodes = Vec::with_capacity(self.nodes.len());
        self.each(listed, |to| {
            let Arrived { applied, matched } = self.recent.get(seq, to.column);
            nodes.push(NodeProgress {
                name: to.name.clone(),
                tier: to.tier,
                region: to.region.clone(),
                state: to.state,
                applied: applied.filter(|_| to.state == Arrival::Applied),
                matched,
            });
        });
        if !self.departed.is_empty() {
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Progress { nodes, completed: listed.completed(), sum: listed.sum.get().copied() }
    }

    /// Calls with each node that the entry is told with; the expected ones by name.
    fn each<'a>(&'a self, listed: &Listed, mut call: impl FnMut(Addressee<'a>)) {
        let (seq, is_purge) = (listed.seq(), listed.purge().is_some());
        let arrived = |joined_at: Seq, counted: Seq, excused: Seq| match seq {
            _ if seq <= joined_at => None,
            _ if seq <= counted => Some(Some(Arrival::Applied)),
            _ if is_purge && seq <= excused => Some(Some(Arrival::LeaseOver)),
            _ => Some(None),
        };
        for (name, node) in &self.nodes {
            let ExpectedNode { record, region, column, .. } = &**node;
            let excused = node.excused(self.head);
            let Some(arrived) = arrived(record.joined_at, record.counted, excused) else {
                continue;
            };
            let connected = !node.sessions.is_empty();
            let waiting = if connected { Arrival::Pending } else { Arrival::Offline };
            let state = arrived.unwrap_or(waiting);
            call(Addressee { name, tier: record.tier, region, column: *column, state });
        }
        for node in &self.departed {
            let DepartedNode { name, tier, region, column, joined_at, counted, excused } = node;
            if let Some(Some(state)) = arrived(*joined_at, *counted, *excused) {
                call(Addressee { name, tier: *tier, region, column: *column, state });
            }
        }
    }

    /// Keeps of an entry's arrivals no more than the sum.
    pub(super) fn sum_up(&mut self, seq: Seq) {
        let Some(listed) = self.entry(seq) else { return };
        let (mut nodes, mut matched) = (0, Some(0_u64));
        self.each(listed, |to| {
            nodes += 1;
            let told = self.recent.get(seq, to.column).matched;
            matched = matched.zip(told).map(|(sum, told)| sum.saturating_add(told));
        });
        // Only the first sum holds.
        let _ = listed.sum.set(SumRecord { nodes, matched });
        listed.told.notify_waiters();
        self.unsaved.arrivals.insert(seq);
    }

    /// As the journal keeps them.
    pub(super) fn arrivals_record(&self, listed: &Listed) -> ArrivalsRecord {
        let completed_us = listed.completed().map(micros);
        if let Some(sum) = listed.sum.get() {
            return ArrivalsRecord { completed_us, sum: Some(*sum), ..ArrivalsRecord::default() };
        }
        let Progress { nodes, .. } = self.progress(listed);
        let applied = nodes.iter().filter(|node| node.state == Arrival::Applied);
        let over = nodes.iter().filter(|node| node.state == Arrival::LeaseOver);
        ArrivalsRecord {
            completed_us,
            nodes: applied
                .map(|node| ArrivalRecord {
                    name: node.name.to_string(),
                    tier: node.tier,
                    applied_us: node.applied.map(micros),
                    matched: node.matched,
                })
                .collect(),
            lease_over: over
                .map(|node| LeaseOverRecord { name: node.name.to_string(), tier: node.tier })
                .collect(),
            sum: None,
        }
    }

    /// Takes back what a journal holds: who applied what, and how it arrived. An older version
    /// noted of each entry alone who had applied it, and of every entry one by one.
    pub(super) fn recall(&mut self, mut arrivals: BTreeMap<Seq, ArrivalsRecord>, now: Instant) {
        arrivals.retain(|seq, _| *seq > self.base.seq && *seq <= self.head);
        let mut departed = BTreeMap::<String, DepartedNode>::new();
        for (seq, record) in &arrivals {
            for ArrivalRecord { name, tier, .. } in &record.nodes {
                match self.expected_at(name, *seq) {
                    Some(node) => node.counted += Seq::from(node.counted + 1 == *seq),
                    None => self.recall_departed(&mut departed, name, *tier, *seq).counted = *seq,
                }
            }
            for LeaseOverRecord { name, tier } in &record.lease_over {
                match self.expected_at(name, *seq) {
                    Some(node) if node.counted.max(node.excused) + 1 == *seq => node.excused = *seq,
                    Some(_) => {}
                    None => self.recall_departed(&mut departed, name, *tier, *seq).excused = *seq,
                }
            }
        }
        for node in self.nodes.values_mut() {
            // No node is ahead of the log, whatever the journal says.
            node.record.counted = node.record.counted.min(self.head);
            node.record.excused = node.record.excused.min(self.head);
            self.applied.add(node.record.counted);
            if !node.lease_over {
                self.settled.add(node.settled());
            }
        }
        departed.into_values().for_each(|node| self.depart(node));
        let names: Vec<_> = self.nodes.keys().cloned().collect();
        names.iter().for_each(|name| self.watch(name));
        self.recall_entries(arrivals, now);
    }

    /// The node of this name, if it is expected and the entry expects it.
    fn expected_at(&mut self, name: &str, seq: Seq) -> Option<&mut NodeRecord> {
        let record = &mut self.nodes.get_mut(name)?.record;
        (record.joined_at < seq).then_some(record)
    }

    /// The node of this name that is not expected any more, as far as the entries up to `seq` tell.
    fn recall_departed<'a>(
        &mut self,
        departed: &'a mut BTreeMap<String, DepartedNode>,
        name: &str,
        tier: Tier,
        seq: Seq,
    ) -> &'a mut DepartedNode {
        let is_next = |node: &DepartedNode| node.counted.max(node.excused) + 1 == seq;
        if !departed.get(name).is_some_and(is_next) {
            let node = DepartedNode {
                name: name.into(),
                tier,
                region: "".into(),
                column: self.columns.take(),
                joined_at: seq - 1,
                counted: 0,
                excused: 0,
            };
            if let Some(earlier) = departed.insert(name.to_owned(), node) {
                self.depart(earlier);
            }
        }
        departed.get_mut(name).unwrap_or_else(|| unreachable!("it was just added"))
    }

    /// Which entries are completed, and how the last of them arrived.
    fn recall_entries(&mut self, arrivals: BTreeMap<Seq, ArrivalsRecord>, now: Instant) {
        let columns = self.columns.count();
        let rows = (self.bounds.arrivals / columns.max(1)).max(1);
        let is_told = |seq: &Seq| arrivals.get(seq).is_none_or(|record| record.sum.is_none());
        let told = (self.base.seq + 1..=self.head).rev().take(rows).take_while(is_told).count();
        let first = self.head + 1 - told as Seq;
        let by_name: BTreeMap<Arc<str>, usize> =
            self.nodes.iter().map(|(name, node)| (name.clone(), node.column)).collect();
        let (settled, applied) = (self.settled.all(), self.applied.all());
        for listed in self.entries.iter().cloned().collect::<Vec<_>>() {
            let seq = listed.seq();
            let record = arrivals.get(&seq);
            let known = record.and_then(|record| record.completed_us).map(Duration::from_micros);
            let all = if listed.purge().is_some() { settled } else { applied };
            match known.or_else(|| (seq <= all).then(|| listed.elapsed(now))) {
                Some(took) => listed.complete(took),
                None if listed.purge().is_some() => {
                    self.open_purges.insert(seq, listed.clone());
                }
                None => {
                    self.open_releases.insert(seq, listed.clone());
                }
            }
            let nodes = record.map(|record| &record.nodes[..]).unwrap_or_default();
            if seq < first {
                let over = record.map_or(0, |record| record.lease_over.len());
                let matched = nodes.iter().map(|node| node.matched).sum();
                let count = u32::try_from(nodes.len() + over).unwrap_or(u32::MAX);
                let sum = record.and_then(|record| record.sum);
                let sum = sum.unwrap_or(SumRecord { nodes: count, matched });
                // Nobody else has set it.
                let _ = listed.sum.set(sum);
                if !nodes.is_empty() {
                    self.unsaved.arrivals.insert(seq);
                }
                continue;
            }
            self.recent.push(seq, columns);
            for ArrivalRecord { name, applied_us, matched, .. } in nodes {
                let gone = || {
                    let of = |node: &&DepartedNode| {
                        *node.name == **name && node.joined_at < seq && seq <= node.counted
                    };
                    self.departed.iter().find(of).map(|node| node.column)
                };
                let live = by_name.get(name.as_str()).copied();
                let live = live.filter(|_| {
                    self.nodes.get(name.as_str()).is_some_and(|node| node.record.joined_at < seq)
                });
                let Some(column) = live.or_else(gone) else { continue };
                if let Some(us) = applied_us {
                    self.recent.applied(seq, column, Duration::from_micros(*us));
                }
                if let Some(matched) = matched {
                    self.recent.matched(seq, column, *matched);
                }
            }
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
