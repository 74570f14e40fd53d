//! Who may have the name of a node (invariant I5: no purge is completed before every node that is
//! expected has applied it, so nobody may acknowledge for another).
//!
//! A node makes a secret of its own, keeps it durably, and shows it whenever it joins. Control
//! records the secret's digest with the name when the name first joins, before it answers. So there
//! is no moment at which one side relies on a secret that the other may have lost: a node that
//! crashed earlier has the same secret or was never recorded.
//!
//! A name may have several processes while one takes over from another. Each is expected by itself:
//! what the node has applied is what all of them have.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::time::Duration;

/// What control keeps of a node's secret: its SHA-256, in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretDigest(pub String);

/// Most processes of one node: one that serves, and those that drain.
pub const MOST_PROCESSES: usize = 8;

/// What a process shows that wants to join under a name.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The digest of the secret that it shows; `None` of a version without secrets.
    pub secret: Option<&'a SecretDigest>,
    /// Random for each process.
    pub instance: &'a str,
    /// It takes over from a process of the same node that may still serve.
    pub takes_over: bool,
    /// It has the name by another right than the secret: its token is bound to the name, or it
    /// runs in control's own process.
    pub entitled: bool,
}

/// What control has on record of the name.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The digest of the node's secret; `None` while no process of the node has shown one.
    pub secret: Option<&'a SecretDigest>,
    /// Its processes.
    pub processes: &'a [Process<'a>],
    /// The instances that its processes took over from, as they said. One of them may join after its
    /// successor, if it could not reach control before, and is no node that is started anew.
    pub predecessors: &'a [String],
}

/// A process that is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process<'a> {
    /// Its random name; empty where an older version of control recorded it.
    pub instance: &'a str,
    /// It is connected, and was heard within the lease.
    pub is_live: bool,
}

/// How a process is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nobody has the name.
    New,
    /// It is the process at this place of the list, which connects again.
    Again(usize),
    /// The node was started anew: its earlier processes are gone.
    Instead,
    /// Another process of the node may still serve, and stays expected.
    Beside,
}

/// Why a process is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It does not show the secret of the node that has the name.
    NotProven,
    /// The process at this place of the list is there.
    Taken(usize),
    /// So many processes of the node are expected already: [`MOST_PROCESSES`].
    TooManyProcesses,
}

/// Judges whether a process may have a name.
///
/// # Errors
/// Why not.
pub fn admit(claim: &Claim<'_>, holder: Option<&Holder<'_>>) -> Result<Admission, Denial> {
    let Some(holder) = holder else { return Ok(Admission::New) };
    let is_proven = holder.secret.is_none_or(|secret| claim.secret == Some(secret));
    if !is_proven && !claim.entitled {
        return Err(Denial::NotProven);
    }
    let known = holder.processes.iter().position(|known| known.instance == claim.instance);
    if let Some(known) = known {
        return Ok(Admission::Again(known));
    }
    let is_taken_over = holder.predecessors.iter().any(|known| known == claim.instance);
    if claim.takes_over || is_taken_over {
        let is_full = holder.processes.len() >= MOST_PROCESSES;
        return if is_full { Err(Denial::TooManyProcesses) } else { Ok(Admission::Beside) };
    }
    // A node that is started anew holds its directory alone, so its earlier processes have ended;
    // but two machines may have been given one directory, or one a copy of it.
    match holder.processes.iter().position(|known| known.is_live) {
        Some(live) => Err(Denial::Taken(live)),
        None => Ok(Admission::Instead),
    }
}

/// How many new names each token may join, of late.
///
/// A token may join `per_minute` names at once, and that many in each minute. Names that are known
/// do not count.
#[derive(Clone, Debug, Default)]
pub struct NewNames {
    /// What each token has used up, in names, as of a time on the caller's clock. Bounded by the
    /// tokens: one that has used up nothing any more goes.
    used: HashMap<String, (f64, Duration)>,
}

impl NewNames {
    /// Counts a new name of `token` at `now`, a time since any fixed moment; `false` if it is one
    /// too many.
    pub fn take(&mut self, token: &str, per_minute: u32, now: Duration) -> bool {
        let per_second = f64::from(per_minute) / 60.0;
        let left = |(used, at): (f64, Duration)| {
            (used - now.saturating_sub(at).as_secs_f64() * per_second).max(0.0)
        };
        self.used.retain(|_, used| left(*used) > 0.0);
        let used = self.used.get(token).map_or(0.0, |used| left(*used));
        if used + 1.0 > f64::from(per_minute) {
            return false;
        }
        self.used.insert(token.to_owned(), (used + 1.0, now));
        true
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(text: &str) -> SecretDigest {
        SecretDigest(text.to_owned())
    }

    fn claim<'a>(secret: Option<&'a SecretDigest>, instance: &'a str) -> Claim<'a> {
        Claim { secret, instance, takes_over: false, entitled: false }
    }

    #[test]
    fn a_known_name_is_for_who_shows_its_secret() {
        let (own, other) = (digest("own"), digest("other"));
        let away = [Process { instance: "1", is_live: false }];
        let holder = Holder { secret: Some(&own), processes: &away, predecessors: &[] };
        assert_eq!(admit(&claim(Some(&own), "2"), Some(&holder)), Ok(Admission::Instead));
        assert_eq!(admit(&claim(Some(&own), "1"), Some(&holder)), Ok(Admission::Again(0)));
        for shown in [None, Some(&other)] {
            for takes_over in [false, true] {
                // Not even the right instance, which is no secret.
                for instance in ["1", "2"] {
                    let claim = Claim { takes_over, ..claim(shown, instance) };
                    assert_eq!(admit(&claim, Some(&holder)), Err(Denial::NotProven));
                    let entitled = Claim { entitled: true, ..claim };
                    assert!(admit(&entitled, Some(&holder)).is_ok());
                }
            }
        }
        assert_eq!(admit(&claim(None, "2"), None), Ok(Admission::New));
    }

    #[test]
    fn a_name_without_a_secret_is_for_whoever_comes_until_one_shows_it() {
        let own = digest("own");
        let away = [Process { instance: "", is_live: false }];
        let holder = Holder { secret: None, processes: &away, predecessors: &[] };
        for shown in [None, Some(&own)] {
            assert_eq!(admit(&claim(shown, "2"), Some(&holder)), Ok(Admission::Instead));
        }
    }

    #[test]
    fn a_process_beside_another_says_so() {
        let own = digest("own");
        let there = [Process { instance: "1", is_live: true }];
        let holder = Holder { secret: Some(&own), processes: &there, predecessors: &[] };
        let second = claim(Some(&own), "2");
        assert_eq!(admit(&second, Some(&holder)), Err(Denial::Taken(0)));
        let entitled = Claim { entitled: true, ..second };
        assert_eq!(admit(&entitled, Some(&holder)), Err(Denial::Taken(0)));
        let second = Claim { takes_over: true, ..second };
        assert_eq!(admit(&second, Some(&holder)), Ok(Admission::Beside));
        // It comes later than its successor, which is away for now.
        let (away, named) = ([Process { is_live: false, ..there[0] }], ["0".to_owned()]);
        let holder = Holder { secret: Some(&own), processes: &away, predecessors: &named };
        assert_eq!(admit(&claim(Some(&own), "0"), Some(&holder)), Ok(Admission::Beside));
        assert_eq!(admit(&claim(Some(&own), "3"), Some(&holder)), Ok(Admission::Instead));
        let many = [there[0]; MOST_PROCESSES];
        let holder = Holder { secret: Some(&own), processes: &many, predecessors: &[] };
        assert_eq!(admit(&second, Some(&holder)), Err(Denial::TooManyProcesses));
        assert_eq!(admit(&claim(Some(&own), "1"), Some(&holder)), Ok(Admission::Again(0)));
    }

    #[test]
    fn new_names_are_counted_for_each_token() {
        let (mut names, start) = (NewNames::default(), Duration::from_secs(1000));
        assert!((0..200).all(|_| names.take("a", 200, start)));
        assert!(!names.take("a", 200, start) && names.take("b", 200, start));
        let second = start + Duration::from_secs(1);
        assert_eq!((0..9).filter(|_| names.take("a", 200, second)).count(), 3);
        let minute = second + Duration::from_secs(61);
        assert!((0..200).all(|_| names.take("a", 200, minute)));
        assert_eq!(names.used.len(), 1, "who used nothing of late is not kept");
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_twice_the_names_of_a_minute(
            rate in 1..50_u32, waits in prop::collection::vec(0..3000_u64, 1..300)
        ) {
            let (mut names, mut now, mut taken) = (NewNames::default(), Duration::ZERO, vec![]);
            for wait in waits {
                now += Duration::from_millis(wait);
                if names.take("a", rate, now) {
                    taken.push(now);
                }
            }
            for from in &taken {
                let within = |at: &&Duration| **at >= *from && **at < *from + Duration::from_secs(60);
                prop_assert!(taken.iter().filter(within).count() <= 2 * rate as usize);
            }
        }
    }
}
