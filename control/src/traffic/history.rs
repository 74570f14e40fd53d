//! What nodes counted, over time: by node, tier and site, in steps of a second for ten minutes, of a minute
//! for a day, of an hour for thirty days.
//!
//! Pure: both clocks are arguments. Bounded by `control.history`: a quarter of it for each of the three lengths of
//! step ([`Level`]), the rest for what each series is told by ([`Table`]) and where each process was heard last.
//! What finds no room there is left out, and that is said.
//!
//! **Nothing is counted twice, and nothing is taken back.** Nodes tell counters since their start. What is counted is
//! how far each went up since the same process ([`Hello::instance`](weir_protocol::frame::Hello)) told it last, at
//! the time when it is told: so a process that was away is counted in full when it is back. What each process told last
//! is written down together with what was counted of it ([`saved`]). Of a process that was never heard all is counted,
//! unless it is older than the history by more than [`BEFORE`].
//!
//! Steps are those of the system's clock. Where that goes back, counts are added to what the step has.

mod answer;
mod level;
mod question;
pub(crate) mod saved;
mod series;
#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use question::{By, Question};

use super::counters::{Counters, Packed, REQUESTS};
use level::{Level, Rows, add};
use series::{Series, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use weir_protocol::stats::Stats;
use weir_rules::tier::Tier;

/// Seconds of a step, and how many are kept: a few more than ten minutes, a day and thirty days have, so that a range
/// that begins within a step finds all of it.
const LEVELS: [(u64, usize); 3] = [(1, 610), (60, 1450), (3600, 730)];

/// Bytes that a series, and what a process told of it last, take at most.
const SERIES_BYTES: usize = 2048;

/// A process that was not heard for so long may be forgotten where there is no room, and of one that is older not
/// all is counted when it is first heard.
const DAY: Duration = Duration::from_secs(86_400);

/// A process may be older than the history by so much, and is counted from its start: one in which both begin, and
/// those that begin with it.
const BEFORE: Duration = Duration::from_secs(60);

/// Seconds are closed so long after they began, when nodes told what they counted in them.
const CLOSED_AFTER: u64 = 2;

/// From so many requests on, what was told is divided between the second in which it is told and the one before.
const DIVIDED: u64 = 32;

/// What nodes counted, over time.
#[derive(Debug)]
pub(crate) struct History {
    kept: Mutex<Kept>,
}

/// Who tells what it counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Teller<'a> {
    /// The process.
    pub(crate) instance: &'a str,
    /// The node's name.
    pub(crate) node: &'a str,
    pub(crate) tier: Tier,
}

/// Now, by two clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// Which never goes back.
    pub(crate) instant: Instant,
    /// Milliseconds since 1970.
    pub(crate) wall: u64,
}

impl Now {
    pub(crate) fn read() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wall = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Self { instant: Instant::now(), wall }
    }
}

#[derive(Debug)]
struct Kept {
    /// `control.history`.
    bound: usize,
    /// When it began, in milliseconds.
    since: u64,
    /// Since when it is in this process.
    opened: Instant,
    table: Table,
    processes: BTreeMap<Arc<str>, Process>,
    /// Counters of processes, all together.
    known: usize,
    /// Seconds that are still counted into.
    open: BTreeMap<u64, Rows>,
    levels: [Level; 3],
    /// Seconds up to this one are closed.
    complete: u64,
    /// The hour in which unused series were looked for last.
    cleaned: u64,
    /// Something found no room.
    left_out: bool,
}

/// A process of a node.
#[derive(Debug)]
struct Process {
    heard: Instant,
    /// In milliseconds.
    heard_wall: u64,
    /// What it told last, by site.
    told: BTreeMap<Arc<str>, Packed>,
}

impl History {
    /// An empty one in at most so many bytes.
    pub(crate) fn new(bound: usize, now: Now) -> Self {
        Self { kept: Mutex::new(Kept::new(bound, now)) }
    }

    /// Another bound.
    pub(crate) fn set_bound(&self, bound: usize) {
        self.kept().bound = bound;
    }

    /// A process told what it counts.
    pub(crate) fn hear(&self, who: Teller<'_>, stats: &Stats, now: Now) {
        self.kept().hear(who, stats, now);
    }

    /// Closes the seconds in which everybody has told what it counted. To be called every second.
    pub(crate) fn close(&self, now: Now) {
        self.kept().close(now.wall / 1000);
    }

    /// Whether something found no room in `control.history` since this was asked last.
    pub(crate) fn left_out(&self) -> bool {
        std::mem::take(&mut self.kept().left_out)
    }

    /// Bytes that it takes, at most.
    pub(crate) fn bytes(&self) -> usize {
        let kept = self.kept();
        let steps: usize = kept.levels.iter().map(Level::bytes).sum();
        steps + SERIES_BYTES * kept.known.max(kept.table.all().count())
    }

    /// The seconds since 1970 up to which it is complete.
    pub(crate) fn complete(&self) -> u64 {
        self.kept().complete
    }

    /// Whether it has counts of a node of this name.
    pub(crate) fn has_node(&self, name: &str) -> bool {
        self.kept().table.all().any(|(_, series)| series.node.as_deref() == Some(name))
    }

    /// Whether it has counts of a site of this id.
    pub(crate) fn has_site(&self, id: &str) -> bool {
        !id.is_empty() && self.kept().table.all().any(|(_, series)| *series.site == *id)
    }

    /// Answers a question. What is needed is taken out at once, and added up afterwards.
    pub(crate) fn answer(&self, question: &Question<'_>) -> Answer {
        let gathered = question::Gathered::of(&self.kept(), question);
        gathered.answer(question)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn new(bound: usize, now: Now) -> Self {
        Self {
            bound,
            since: now.wall,
            opened: now.instant,
            table: Table::default(),
            processes: BTreeMap::new(),
            known: 0,
            open: BTreeMap::new(),
            levels: LEVELS.map(|(step, most)| Level::new(step, most)),
            complete: now.wall / 1000,
            cleaned: now.wall / 1000 / 3600,
            left_out: false,
        }
    }

    /// Series, and counters of processes, that there is room for.
    fn most(&self) -> usize {
        self.bound / 4 / SERIES_BYTES
    }

    fn hear(&mut self, who: Teller<'_>, stats: &Stats, now: Now) {
        let counted = by_site(stats);
        let known = self.processes.remove_entry(who.instance);
        let uptime = Duration::from_millis(stats.uptime_ms);
        let is_younger = now.instant.saturating_duration_since(self.opened) + BEFORE >= uptime
            || now.wall.saturating_sub(stats.uptime_ms) >= self.since;
        let since_start = uptime <= DAY && is_younger;
        let is_new = known.is_none();
        if is_new && !self.has_room(counted.len(), now.instant) {
            self.left_out = true;
            return;
        }
        let (instance, mut process) = known.unwrap_or_else(|| {
            let (heard, heard_wall) = (now.instant, now.wall);
            (who.instance.into(), Process { heard, heard_wall, told: BTreeMap::new() })
        });
        let second = now.wall / 1000;
        let before = Before::of(process.heard_wall, now.wall);
        for (site, counters) in counted {
            let last = process.told.get(site).map_or_else(Counters::default, Counters::from);
            let more = match is_new && !since_start {
                true => Counters::default(),
                false => counters.less(&last),
            };
            let is_marker = site.is_empty();
            if counters.is_zero() && !is_marker {
                continue;
            }
            let told = (&counters.most(&last)).into();
            match process.told.get_mut(site) {
                Some(known) => *known = told,
                None if self.known >= self.most() => {
                    self.left_out = true;
                    continue;
                }
                None => {
                    self.known += 1;
                    process.told.insert(site.into(), told);
                }
            }
            if more.is_zero() && !is_marker {
                continue;
            }
            let series = Series { node: Some(who.node.into()), tier: who.tier, site: site.into() };
            let Some(id) = self.table.id(&series, self.most()) else {
                self.left_out = true;
                continue;
            };
            let earlier = before.share_of(&more);
            if !earlier.is_zero() {
                add(self.open.entry(second - 1).or_default(), [(id, (&earlier).into())]);
            }
            let more = more.less(&earlier);
            add(self.open.entry(second).or_default(), [(id, (&more).into())]);
        }
        (process.heard, process.heard_wall) = (now.instant, now.wall);
        self.processes.insert(instance, process);
    }

    /// Whether a process that tells of so many sites finds room; those that were not heard for long make some.
    fn has_room(&mut self, sites: usize, now: Instant) -> bool {
        if self.known + sites > self.most() {
            self.processes.retain(|_, process| now.saturating_duration_since(process.heard) <= DAY);
            self.known = self.processes.values().map(|process| process.told.len()).sum();
        }
        self.known + sites <= self.most()
    }

    fn close(&mut self, now: u64) {
        let is_due = |second: u64| second + CLOSED_AFTER <= now || second > now;
        let due: Vec<u64> = self.open.keys().copied().filter(|second| is_due(*second)).collect();
        for second in due {
            let rows = self.open.remove(&second).unwrap_or_default();
            for level in &mut self.levels {
                level.add(second / level.step, rows.clone());
            }
        }
        let (bytes, table) = (self.bound / 4, &mut self.table);
        for level in &mut self.levels {
            level.bound(now, bytes, |id| table.whole(id));
        }
        self.complete = (now + 1).saturating_sub(CLOSED_AFTER);
        let hour = now / 3600;
        if std::mem::replace(&mut self.cleaned, hour) != hour {
            self.forget_unused();
        }
    }

    fn forget_unused(&mut self) {
        let steps = self.levels.iter().flat_map(Level::steps);
        let closed = steps.filter_map(|step| level::unpack(&step.rows));
        let used: BTreeSet<_> =
            closed.chain(self.open.values().cloned()).flat_map(BTreeMap::into_keys).collect();
        self.table.retain(&used);
    }
}

/// What a node tells, by site; first of all what belongs to none that it counts by itself.
fn by_site(stats: &Stats) -> Vec<(&str, Counters)> {
    let other = match (&stats.other, &stats.sites) {
        (Some(other), _) => Counters::of_site(other),
        // An older node, which does not tell it apart.
        (None, Some(_)) => Counters::default(),
        (None, None) => Counters::of(stats),
    };
    let sites = stats.sites.iter().flatten();
    let own = sites.filter(|(id, _)| !id.is_empty());
    let own = own.filter_map(|(id, site)| Some((&**id, Counters::of_site(site.as_ref()?))));
    std::iter::once(("", other)).chain(own).collect()
}

/// Which part of what is told was counted in the second before.
struct Before {
    /// Milliseconds of that second, of so many since it was heard last.
    part: u64,
    all: u64,
}

impl Before {
    /// Between two times in milliseconds.
    fn of(heard: u64, now: u64) -> Self {
        let begin = now / 1000 * 1000;
        // After a longer silence it is not known when it was counted: then all of it is counted now.
        let follows = heard < begin && heard + 1000 >= begin;
        Self {
            part: if follows { begin - heard } else { 0 },
            all: now.saturating_sub(heard).max(1),
        }
    }

    /// Its part of some counts. Few are not divided: a request and its bytes stay together.
    fn share_of(&self, counters: &Counters) -> Counters {
        match counters.0[REQUESTS] < DIVIDED {
            true => Counters::default(),
            false => counters.part(self.part, self.all),
        }
    }
}
