//! One answer of a script: its head, body, timing and, in `faults`, what is wrong with it.

use crate::body::Body;
use crate::faults::Fault;
use crate::route::Route;
use bytes::Bytes;
use std::time::Duration;

/// Answers 200 with `body`.
pub fn reply(body: impl Into<Bytes>) -> Reply {
    Reply::new(Body::Bytes(body.into()))
}

/// Answers 200 with `body`, but sends nothing before [`Origin::release`](crate::Origin::release).
pub fn held(body: impl Into<Bytes>) -> Reply {
    let mut held = reply(body);
    held.hold = Hold::BeforeHead;
    held
}

/// One answer: its head, body, timing and faults. Methods return it changed, so that an answer
/// reads as a sentence: `reply("hello").max_age(60).etag("\"v1\"")`.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) date: bool,
    pub(crate) body: Body,
    pub(crate) framing: Framing,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) interim: Vec<Interim>,
    pub(crate) hold: Hold,
    pub(crate) delay: Duration,
    pub(crate) delay_body: Duration,
    pub(crate) pace: Option<Pace>,
    pub(crate) last_modified_secs_ago: Option<u64>,
    pub(crate) ranges: bool,
    pub(crate) conditional: bool,
    pub(crate) echo: bool,
    pub(crate) upgrade_echo: bool,
    pub(crate) early: bool,
    pub(crate) close: bool,
    pub(crate) fault: Option<Fault>,
    pub(crate) fail_first: Option<(u64, u16)>,
    pub(crate) times: u64,
}

/// How the end of a body is told (RFC 9112 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    Chunked,
    UntilClose,
}

/// Where an answer waits for its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Never,
    BeforeHead,
    AfterBodyBytes(u64),
}

/// `bytes` of body, then a wait of `every`, and so on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) bytes: usize,
    pub(crate) every: Duration,
}

/// An interim response (RFC 9110 §15.2).
#[derive(Clone, Debug)]
pub(crate) struct Interim {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Reply {
    pub(crate) fn new(body: Body) -> Reply {
        Reply {
            status: 200,
            reason: None,
            headers: Vec::new(),
            date: true,
            body,
            framing: Framing::Length,
            trailers: Vec::new(),
            interim: Vec::new(),
            hold: Hold::Never,
            delay: Duration::ZERO,
            delay_body: Duration::ZERO,
            pace: None,
            last_modified_secs_ago: None,
            ranges: false,
            conditional: false,
            echo: false,
            upgrade_echo: false,
            early: false,
            close: false,
            fault: None,
            fail_first: None,
            times: 1,
        }
    }

    /// The status code; written as given, also when no such status exists.
    pub fn status(mut self, status: u16) -> Reply {
        self.status = status;
        self
    }

    /// The reason phrase; the registered one by default.
    pub fn reason(mut self, reason: impl Into<String>) -> Reply {
        self.reason = Some(reason.into());
        self
    }

    /// Appends a field, name and value byte for byte as given; repeats are kept.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Reply {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// `Cache-Control: max-age=seconds`.
    pub fn max_age(self, seconds: u64) -> Reply {
        self.header("Cache-Control", format!("max-age={seconds}"))
    }

    /// `Content-Type`; there is none by default.
    pub fn content_type(self, value: impl Into<Vec<u8>>) -> Reply {
        self.header("Content-Type", value)
    }

    /// `Vary`.
    pub fn vary(self, fields: impl Into<Vec<u8>>) -> Reply {
        self.header("Vary", fields)
    }

    /// `Set-Cookie`.
    pub fn set_cookie(self, cookie: impl Into<Vec<u8>>) -> Reply {
        self.header("Set-Cookie", cookie)
    }

    /// `ETag`, quotes included.
    pub fn etag(self, etag: impl Into<Vec<u8>>) -> Reply {
        self.header("ETag", etag)
    }

    /// `Last-Modified`, so many seconds before the answer.
    pub fn last_modified_secs_ago(mut self, seconds: u64) -> Reply {
        self.last_modified_secs_ago = Some(seconds);
        self
    }

    /// No `Date` field (one is written by default unless the script gives one).
    pub fn no_date(mut self) -> Reply {
        self.date = false;
        self
    }

    /// A body of `len` bytes of [`pattern`](crate::pattern) with seed 0, never held in memory.
    pub fn body_bytes(self, len: u64) -> Reply {
        self.body_pattern(0, len)
    }

    /// A body of `len` bytes of [`pattern`](crate::pattern) with `seed`, never held in memory.
    pub fn body_pattern(mut self, seed: u64, len: u64) -> Reply {
        self.body = Body::Pattern { seed, len };
        self
    }

    /// The body is JSON that tells the request back: `method`, `target`, `version`, `headers`
    /// (pairs, in order, names as sent), `body` (its beginning as text) and `body_len`.
    pub fn echo(mut self) -> Reply {
        self.echo = true;
        self
    }

    /// `Transfer-Encoding: chunked`; each piece written is one chunk.
    pub fn chunked(mut self) -> Reply {
        self.framing = Framing::Chunked;
        self
    }

    /// Neither length nor chunks: the end of the connection ends the body.
    pub fn until_close(mut self) -> Reply {
        self.framing = Framing::UntilClose;
        self
    }

    /// Trailer fields; makes the answer chunked.
    pub fn trailers(mut self, fields: &[(&str, &str)]) -> Reply {
        self.trailers = owned(fields);
        self.chunked()
    }

    /// An interim response, sent at once, before any delay or hold. May be given several times.
    pub fn interim(mut self, status: u16, fields: &[(&str, &str)]) -> Reply {
        self.interim.push(Interim { status, headers: owned(fields) });
        self
    }

    /// Waits before the head.
    pub fn delay(mut self, delay: Duration) -> Reply {
        self.delay = delay;
        self
    }

    /// Waits between head and body.
    pub fn delay_body(mut self, delay: Duration) -> Reply {
        self.delay_body = delay;
        self
    }

    /// Sends the body in pieces of `bytes` (at least 1), waiting `every` between them.
    pub fn pace(mut self, bytes: usize, every: Duration) -> Reply {
        self.pace = Some(Pace { bytes: bytes.max(1), every });
        self
    }

    /// Sends nothing before [`Origin::release`](crate::Origin::release).
    pub fn held(mut self) -> Reply {
        self.hold = Hold::BeforeHead;
        self
    }

    /// Sends the head and `bytes` of the body, the rest after
    /// [`Origin::release`](crate::Origin::release).
    pub fn held_after(mut self, bytes: u64) -> Reply {
        self.hold = Hold::AfterBodyBytes(bytes);
        self
    }

    /// Whether Range and If-Range are answered, with 206 or 416 (RFC 9110 §14). Several ranges
    /// at once get the whole, as §14.2 allows.
    pub fn ranges(mut self, ranges: bool) -> Reply {
        self.ranges = ranges;
        self
    }

    /// Whether If-None-Match and If-Modified-Since are answered, with 304 (RFC 9110 §13).
    pub fn conditional(mut self, conditional: bool) -> Reply {
        self.conditional = conditional;
        self
    }

    /// Answers 101 to a request with Upgrade and sends every byte back from then on; 426 to one
    /// without.
    pub fn upgrade_echo(mut self) -> Reply {
        self.upgrade_echo = true;
        self
    }

    /// Answers before the request body is read, and closes instead of reading it.
    pub fn early(mut self) -> Reply {
        self.early = true;
        self
    }

    /// `Connection: close`, and does so.
    pub fn close(mut self) -> Reply {
        self.close = true;
        self
    }

    /// This answer is given to `times` requests before the next one of a sequence.
    pub fn times(mut self, times: u64) -> Reply {
        self.times = times;
        self
    }

    /// The first `times` requests get `status` instead.
    pub fn fail_first(mut self, times: u64, status: u16) -> Reply {
        self.fail_first = Some((times, status));
        self
    }

    /// Goes on with `next` after this answer was given (once, or [`times`](Reply::times)).
    pub fn then(self, next: impl Into<Route>) -> Route {
        Route::from(self).then(next)
    }
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}
