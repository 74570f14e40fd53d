//! The members of a pool, and in which order a request tries them: healthy ones near by, healthy
//! ones farther off, then, as nobody is ever given up for good, the rest.

use super::balance::{self, Balance, Choices, For};
use super::health::{Attempt, Availability};
use super::member::{Address, Member, Standing};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;
use weir_config as config;

/// The members of a pool.
pub(crate) struct Pool {
    members: Vec<Arc<Member>>,
    balance: Box<dyn Balance>,
    /// Every distance that a member has, the smallest first.
    distances: Vec<u8>,
}

/// How a pool chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choosing {
    /// Which member first.
    pub(crate) balance: config::Balance,
    /// Points of each on the ring of `consistent_hash`.
    pub(crate) virtual_nodes: u32,
    /// What ejects one.
    pub(crate) ejection: config::Ejection,
    /// Connections to each at once.
    pub(crate) connections: usize,
}

/// The most members of one pool.
pub(super) const MOST_MEMBERS: usize = 256;

impl Pool {
    /// A pool of these members.
    pub(crate) fn new(members: Vec<Arc<Member>>, choosing: &Choosing) -> Self {
        let shares: Vec<_> = members.iter().map(|member| member.share()).collect();
        let balance = balance::of(choosing.balance, &shares, choosing.virtual_nodes);
        let mut distances: Vec<u8> = members.iter().map(|m| m.address.distance).collect();
        distances.sort_unstable();
        distances.dedup();
        Self { members, balance, distances }
    }

    /// Its members, in the order of the configuration.
    pub(crate) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// The members in the order in which a request tries them, each once. Those before the last
    /// resort are healthy, or due for a trial; only what can be tried elsewhere afterwards
    /// (`may_try`) is sent on one.
    pub(crate) fn candidates(&self, request: For, may_try: bool) -> Candidates<'_> {
        Candidates {
            pool: self,
            request,
            may_try,
            tried: Tried::default(),
            stage: 0,
            distance: 0,
            now: Now::default(),
        }
    }

    /// What is known of the member at an address, whatever else is said of it.
    pub(super) fn standing(&self, address: &Address) -> Option<Arc<Standing>> {
        let place = |address: &Address| {
            let Address { scheme, authority, at, prefix, .. } = address;
            (scheme.clone(), authority.clone(), at.clone(), Arc::clone(prefix))
        };
        let same = |member: &&Arc<Member>| place(&member.address) == place(address);
        self.members.iter().find(same).map(|member| Arc::clone(&member.standing))
    }

    /// The member that is just so.
    pub(super) fn member(&self, address: &Address) -> Option<Arc<Member>> {
        self.members.iter().find(|member| member.address == *address).cloned()
    }
}

/// A member to be tried.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// The member.
    pub(crate) member: &'a Arc<Member>,
    /// Why it is tried.
    pub(crate) attempt: Attempt,
    /// Held while the trial of a member that may be back is out.
    pub(crate) _trial: Option<Trial>,
}

impl Candidate<'_> {
    /// The same member, to be tried once more.
    pub(super) fn again(&self) -> Self {
        Self { member: self.member, attempt: self.attempt, _trial: None }
    }
}

/// The one trial of a member; another may begin once it is dropped.
#[derive(Debug)]
pub(crate) struct Trial(Arc<Standing>);

impl Drop for Trial {
    fn drop(&mut self) {
        self.0.health.end_trial();
    }
}

/// The members in the order in which one request tries them.
pub(crate) struct Candidates<'a> {
    pool: &'a Pool,
    request: For,
    may_try: bool,
    tried: Tried,
    /// 0 is members to be asked, 1 the last resort, 2 the end.
    stage: u8,
    /// Index of the distance that is looked at.
    distance: usize,
    now: Now,
}

/// The time, read when first needed: while all members are healthy it is not.
#[derive(Default)]
struct Now(Cell<Option<Instant>>);

impl Now {
    fn get(&self) -> Instant {
        let now = self.0.get().unwrap_or_else(Instant::now);
        self.0.set(Some(now));
        now
    }
}

impl<'a> Iterator for Candidates<'a> {
    type Item = Candidate<'a>;

    fn next(&mut self) -> Option<Candidate<'a>> {
        while self.stage < 2 {
            while let Some(distance) = self.pool.distances.get(self.distance) {
                if let Some(candidate) = self.at(*distance) {
                    return Some(candidate);
                }
                self.distance += 1;
            }
            self.stage += 1;
            self.distance = 0;
        }
        None
    }
}

impl<'a> Candidates<'a> {
    /// The next of this stage at a distance.
    fn at(&mut self, distance: u8) -> Option<Candidate<'a>> {
        let pool = self.pool;
        loop {
            let eligible = Eligible {
                members: &pool.members,
                tried: &self.tried,
                distance,
                last_resort: self.stage == 1,
                may_try: self.may_try,
                now: &self.now,
            };
            let chosen = pool.balance.choose(self.request, &eligible)?;
            let member = &pool.members[chosen];
            let health = &member.standing.health;
            let (attempt, trial) = match (self.stage, health.availability(|| self.now.get())) {
                (0, Availability::Healthy) => (Attempt::Ordinary, None),
                (0, Availability::Due) if health.begin_trial() => {
                    (Attempt::Trial, Some(Trial(Arc::clone(&member.standing))))
                }
                // Another request was faster.
                (0, _) => continue,
                _ => (Attempt::LastResort, None),
            };
            self.tried.insert(chosen);
            return Some(Candidate { member, attempt, _trial: trial });
        }
    }
}

/// The members that may be chosen now.
struct Eligible<'a> {
    members: &'a [Arc<Member>],
    tried: &'a Tried,
    distance: u8,
    last_resort: bool,
    may_try: bool,
    now: &'a Now,
}

impl Choices for Eligible<'_> {
    fn count(&self) -> usize {
        self.members.len()
    }

    fn eligible(&self, member: usize) -> bool {
        let candidate = &self.members[member];
        if candidate.address.distance != self.distance || self.tried.contains(member) {
            return false;
        }
        self.last_resort
            || match candidate.standing.health.availability(|| self.now.get()) {
                Availability::Healthy => true,
                Availability::Due => self.may_try,
                Availability::Ejected => false,
            }
    }

    fn again(&self) -> bool {
        self.tried.any()
    }

    fn running(&self, member: usize) -> usize {
        self.members[member].running()
    }
}

/// Numbers of members.
#[derive(Debug, Default)]
struct Tried([u64; MOST_MEMBERS / 64]);

impl Tried {
    fn insert(&mut self, member: usize) {
        self.0[member / 64] |= 1 << (member % 64);
    }

    fn any(&self) -> bool {
        self.0.iter().any(|part| *part != 0)
    }

    fn contains(&self, member: usize) -> bool {
        self.0[member / 64] & (1 << (member % 64)) != 0
    }
}

#[cfg(test)]
mod tests;
