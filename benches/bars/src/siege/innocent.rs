//! Clients that do nothing wrong while others attack: what they are answered, and how soon.

use crate::Error;
use crate::client::{self, Answer};
use crate::siege::Besieged;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// A stored response, asked for by everyone.
pub(super) const HIT: &str = "/hit";

/// How often each is asked for. They do not wait for each other: who comes while others wait is a
/// client too.
const HITS: Duration = Duration::from_millis(10);
const MISSES: Duration = Duration::from_millis(100);
const ADMIN: Duration = Duration::from_millis(100);

/// What one kind of client saw.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Sorted; one that was given up counts with what it had waited.
    times: Vec<Duration>,
    /// Those that were not answered as they should, and the first reason.
    pub(super) errors: usize,
    pub(super) why: Option<String>,
}

impl Asked {
    pub(super) fn count(&self) -> usize {
        self.times.len()
    }

    /// The time within which so many of a hundred had their answer.
    pub(super) fn percentile(&self, part: usize) -> Duration {
        let at = (self.times.len() * part).div_ceil(100).saturating_sub(1);
        self.times.get(at).copied().unwrap_or_default()
    }
}

/// What all of them saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) hits: Asked,
    pub(super) misses: Asked,
    pub(super) healthz: Asked,
    pub(super) readyz: Asked,
    pub(super) metrics: Asked,
}

/// Clients at work, on a thread of their own: the attackers' work is not what they wait for.
pub(super) struct Innocent {
    leave: Arc<AtomicBool>,
    thread: JoinHandle<Result<Seen, Error>>,
}

impl Innocent {
    /// Begins. `patience` is how long one waits for an answer; `name` is part of the URLs of misses.
    pub(super) fn begin(at: Besieged, name: &str, patience: Duration) -> Self {
        let leave = Arc::new(AtomicBool::new(false));
        let (left, name) = (Arc::clone(&leave), name.to_owned());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let seen = runtime.block_on(async {
                let admin = |path: &'static str| {
                    let target = move |_| path.to_owned();
                    ask(at.admin, ADMIN, patience, &left, target, |answer| answer.status == 200)
                };
                let hit = |answer: &Answer| answer.status == 200 && answer.is_hit();
                let miss = |answer: &Answer| answer.status == 200 && !answer.is_hit();
                let cold = move |number| format!("/page/{name}/{number}");
                let (hits, misses, healthz, readyz, metrics) = tokio::join!(
                    ask(at.listen, HITS, patience, &left, |_| HIT.to_owned(), hit),
                    ask(at.listen, MISSES, patience, &left, cold, miss),
                    admin("/healthz"),
                    admin("/readyz"),
                    admin("/metrics"),
                );
                Seen { hits, misses, healthz, readyz, metrics }
            });
            Ok(seen)
        });
        Self { leave, thread }
    }

    /// Asks for nothing more, and waits for what was asked.
    pub(super) async fn end(self) -> Result<Seen, Error> {
        self.leave.store(true, Ordering::Relaxed);
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join()).await?;
        ended.map_err(|_| "the thread of clients panicked")?
    }
}

/// Asks once every `every` until told to leave, each time on a new connection.
async fn ask(
    to: SocketAddr,
    every: Duration,
    patience: Duration,
    leave: &AtomicBool,
    target: impl Fn(u64) -> String,
    right: impl Fn(&Answer) -> bool,
) -> Asked {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asking = JoinSet::new();
    for number in 0.. {
        ticks.tick().await;
        if leave.load(Ordering::Relaxed) {
            break;
        }
        let target = target(number);
        asking.spawn(async move {
            let begun = Instant::now();
            let answer = tokio::time::timeout(patience, client::once(to, "GET", &target)).await;
            (begun.elapsed(), answer)
        });
    }
    let mut asked = Asked::default();
    while let Some(ended) = asking.join_next().await {
        let why = match ended {
            Ok((took, answer)) => {
                asked.times.push(took);
                match answer {
                    Ok(Ok(answer)) if right(&answer) => continue,
                    Ok(Ok(answer)) => format!("{} {}", answer.status, answer.cache_status()),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("no answer within {patience:.0?}"),
                }
            }
            Err(error) => error.to_string(),
        };
        asked.errors += 1;
        asked.why.get_or_insert(why);
    }
    asked.times.sort_unstable();
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_slowest() {
        let times = (1..=200).map(Duration::from_millis).collect();
        let asked = Asked { times, ..Asked::default() };
        assert_eq!(asked.percentile(50), Duration::from_millis(100));
        assert_eq!(asked.percentile(99), Duration::from_millis(198));
        assert_eq!(Asked::default().percentile(99), Duration::ZERO);
    }
}
