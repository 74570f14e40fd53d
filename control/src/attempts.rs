//! Callers who are refused: logged, counted and, where they show a wrong token again and again,
//! throttled by their address.
//!
//! Whoever was let in from an address before is let in while others fail there: behind a proxy all
//! callers have one address, and nobody is to lock the nodes out.

use crate::auth::Caller;
use crate::errors::ApiError;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use http::request::Parts;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one address at once, and how long it is until one more.
const BURST: u32 = 20;
const EACH: Duration = Duration::from_secs(3);

/// Addresses, and callers at addresses, that are remembered.
const MOST_SOURCES: usize = 10_000;

/// Lines of the log in a second; further ones are counted in the next.
const MOST_LINES: u32 = 100;

/// Who failed, and who did not.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    sources: Mutex<Sources>,
    lines: Mutex<Lines>,
    failed: AtomicU64,
    throttled: AtomicU64,
}

#[derive(Debug, Default)]
struct Sources {
    /// When all of a source's failures will be forgotten.
    failing: HashMap<IpAddr, Instant>,
    /// Callers that were let in, by the names of their tokens.
    let_in: HashSet<(IpAddr, String)>,
}

#[derive(Debug, Default)]
struct Lines {
    second: Option<Instant>,
    written: u32,
    others: u64,
}

impl Attempts {
    /// Judges what became of a caller's credentials at `peer`.
    ///
    /// # Errors
    /// Why it is not let in: as `judged` says, or 429 after too many failures.
    pub(crate) fn judge(
        &self,
        peer: IpAddr,
        request: &Parts,
        judged: Result<Caller, ApiError>,
        now: Instant,
    ) -> Result<Caller, ApiError> {
        let source = source(peer);
        let refused = match judged {
            // There is nothing to be guessed.
            Ok(Caller::Local) => return Ok(Caller::Local),
            Ok(caller) => match self.sources().let_in(source, caller.name(), now) {
                None => return Ok(caller),
                Some(wait) => too_many(wait),
            },
            // Nor did this caller guess anything.
            Err(error) if !shows_credentials(&request.headers) => error,
            Err(error) if error.status() != StatusCode::UNAUTHORIZED => error,
            Err(error) => match self.sources().fail(source, now) {
                None => error,
                Some(wait) => too_many(wait),
            },
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        if refused.status() == StatusCode::TOO_MANY_REQUESTS {
            self.throttled.fetch_add(1, Ordering::Relaxed);
        }
        // Other refusals stand in the log where all calls do.
        if refused.status() == StatusCode::UNAUTHORIZED
            && shows_credentials(&request.headers)
            && let Some(others) = self.line(now)
        {
            let call = format!("{} {}", request.method, request.uri);
            let (source, reason) = (peer.to_canonical(), refused.message());
            tracing::warn!(%source, call, reason, others, "failed authentication");
        }
        Err(refused)
    }

    /// Whether a line may be written now: how many were not since the last one.
    pub(crate) fn line(&self, now: Instant) -> Option<u64> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |second: Instant| now.saturating_duration_since(second).as_secs() == 0;
        if !lines.second.is_some_and(within) {
            (lines.second, lines.written) = (Some(now), 0);
        }
        if lines.written == MOST_LINES {
            lines.others += 1;
            return None;
        }
        lines.written += 1;
        Some(std::mem::take(&mut lines.others))
    }

    /// Calls whose credentials were refused.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Those of them that were refused because of earlier ones.
    pub(crate) fn throttled(&self) -> u64 {
        self.throttled.load(Ordering::Relaxed)
    }

    fn sources(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    /// A caller shows a token that is known; how long it must wait if it may not be let in now.
    fn let_in(&mut self, source: IpAddr, name: &str, now: Instant) -> Option<Duration> {
        let caller = (source, name.to_owned());
        if self.let_in.contains(&caller) {
            return None;
        }
        // Whether the token is right is not told either.
        let wait = self.failing.get(&source).and_then(|until| over(*until, now));
        if wait.is_none() {
            if self.let_in.len() >= MOST_SOURCES
                && let Some(any) = self.let_in.iter().next().cloned()
            {
                self.let_in.remove(&any);
            }
            self.let_in.insert(caller);
        }
        wait
    }

    /// Counts a failure; how long its source must wait if it is one too many.
    fn fail(&mut self, source: IpAddr, now: Instant) -> Option<Duration> {
        let until = self.failing.get(&source).copied().unwrap_or(now).max(now);
        if let Some(wait) = over(until, now) {
            return Some(wait);
        }
        if self.failing.len() >= MOST_SOURCES && !self.failing.contains_key(&source) {
            self.failing.retain(|_, until| *until > now);
            if self.failing.len() >= MOST_SOURCES {
                let first = self.failing.iter().min_by_key(|(_, until)| **until);
                let first = first.map(|(source, _)| *source);
                first.and_then(|first| self.failing.remove(&first));
            }
        }
        self.failing.insert(source, until + EACH);
        None
    }
}

/// Fields by which callers show who they are, in one API or another.
const CREDENTIALS: [HeaderName; 3] =
    [AUTHORIZATION, HeaderName::from_static("fastly-key"), HeaderName::from_static("x-auth-key")];

/// Whether a caller shows a token, or something in its place.
pub(crate) fn shows_credentials(headers: &HeaderMap) -> bool {
    CREDENTIALS.iter().any(|name| headers.contains_key(name))
}

/// How long it is until one more failure fits, if none does now.
fn over(until: Instant, now: Instant) -> Option<Duration> {
    let counted = until.saturating_duration_since(now) + EACH;
    counted.checked_sub(EACH * BURST).filter(|wait| !wait.is_zero())
}

/// An address as failures are counted: of IPv6 the network that one customer has.
fn source(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

fn too_many(wait: Duration) -> ApiError {
    ApiError::too_many("too many failed authentications from this address", wait)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use weir_config::{Scope, Token};

    fn wrong() -> Result<Caller, ApiError> {
        Err(ApiError::unauthenticated("the token is not known"))
    }

    fn right(name: &str) -> Result<Caller, ApiError> {
        Ok(Caller::Bearer(Token {
            name: name.into(),
            secret: "0123456789abcdef".into(),
            scopes: vec![Scope::Read],
            sites: Vec::new(),
            nodes: vec![],
        }))
    }

    fn status(
        attempts: &Attempts,
        peer: &str,
        judged: Result<Caller, ApiError>,
        now: Instant,
    ) -> u16 {
        let request = http::Request::get("/v1/nodes").header("authorization", "Bearer x");
        let request = request.body(()).unwrap().into_parts().0;
        let judged = attempts.judge(peer.parse().unwrap(), &request, judged, now);
        judged.map_or_else(|error| error.status().as_u16(), |_| 200)
    }

    #[test]
    fn an_address_that_fails_again_and_again_has_to_wait() {
        let (attempts, begin) = (Attempts::default(), Instant::now());
        let judge = |peer, judged, seconds| {
            status(&attempts, peer, judged, begin + Duration::from_secs(seconds))
        };
        assert_eq!(judge("192.0.2.1", right("node"), 0), 200);
        for _ in 0..BURST {
            assert_eq!(judge("192.0.2.1", wrong(), 0), 401);
        }
        assert_eq!(judge("192.0.2.1", wrong(), 0), 429);
        // A token that is right is not told from one that is not, unless it was there before.
        assert_eq!(judge("192.0.2.1", right("operator"), 0), 429);
        assert_eq!(judge("::ffff:192.0.2.1", right("node"), 0), 200);
        assert_eq!(judge("192.0.2.2", right("operator"), 0), 200);
        assert_eq!((attempts.failed(), attempts.throttled()), (u64::from(BURST) + 2, 2));
        assert_eq!((judge("192.0.2.1", wrong(), 3), judge("192.0.2.1", wrong(), 3)), (401, 429));
        assert_eq!(judge("192.0.2.1", right("operator"), 6), 200);
    }

    #[test]
    fn what_is_counted_together_is_a_network_of_ipv6() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..BURST {
            assert_eq!(status(&attempts, &format!("2001:db8::{n}"), wrong(), now), 401);
        }
        assert_eq!(status(&attempts, "2001:db8::ffff", wrong(), now), 429);
        assert_eq!(status(&attempts, "2001:db8:0:1::1", wrong(), now), 401);
    }

    #[test]
    fn callers_without_tokens_are_never_throttled() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..BURST + 5 {
            let elsewhere = Err(ApiError::forbidden("no token is configured"));
            assert_eq!(status(&attempts, "127.0.0.1", elsewhere, now), 403);
        }
        assert_eq!(status(&attempts, "127.0.0.1", Ok(Caller::Local), now), 200);
        assert_eq!((attempts.failed(), attempts.throttled()), (u64::from(BURST) + 5, 0));
        // Nor is who shows nothing, such as a page that waits for its reader's token.
        let request = http::Request::get("/v1/stats").body(()).unwrap().into_parts().0;
        for _ in 0..BURST + 5 {
            let refused =
                attempts.judge([192, 0, 2, 1].into(), &request, wrong(), now).unwrap_err();
            assert_eq!(refused.status(), 401);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for n in 0..MOST_SOURCES as u32 + 100 {
            let peer = IpAddr::V4(n.into()).to_string();
            assert_eq!(status(&attempts, &peer, wrong(), now), 401);
            assert_eq!(status(&attempts, &peer, right("a"), now), 200);
        }
        let sources = attempts.sources();
        assert_eq!((sources.failing.len(), sources.let_in.len()), (MOST_SOURCES, MOST_SOURCES));
    }

    #[test]
    fn lines_are_few_and_say_how_many_are_missing() {
        let (attempts, begin) = (Attempts::default(), Instant::now());
        let lines = (0..150).filter(|_| attempts.line(begin).is_some()).count();
        assert_eq!(lines, MOST_LINES as usize);
        assert_eq!(attempts.line(begin + Duration::from_secs(1)), Some(50));
    }
}
