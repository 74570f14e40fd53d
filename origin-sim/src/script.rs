//! Routes written as JSON, with the names and meanings of the builder methods.
//!
//! ```json
//! {
//!   "routes": {
//!     "/a": {"body": "hello", "max_age": 60, "etag": "\"v1\""},
//!     "/b": [{"status": 503, "times": 2}, {"body_bytes": 1048576, "pace": [65536, "5ms"]}],
//!     "/img/*": {"headers": [["Content-Type", "image/png"]], "truncate_after": 10}
//!   },
//!   "default": {"status": 404}
//! }
//! ```

use crate::parse_duration;
use crate::reply::{Reply, reply};
use crate::route::{Route, sequence};
use crate::routes::Routes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A set of routes.
#[derive(Clone, Debug)]
pub struct Script {
    routes: Vec<(String, Route)>,
    default: Option<Route>,
}

/// Why a script cannot be used: where in it, and what is accepted there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptError(String);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// Malformed JSON, an unknown key, a value of the wrong kind.
    pub fn from_json(json: &[u8]) -> Result<Script, ScriptError> {
        let file: ScriptFile =
            serde_json::from_slice(json).map_err(|e| ScriptError(e.to_string()))?;
        let named = |(name, value)| match route_from(value) {
            Ok(route) => Ok((name, route)),
            Err(ScriptError(error)) => Err(ScriptError(format!("route {name:?}: {error}"))),
        };
        let routes = file.routes.into_iter().map(named).collect::<Result<_, _>>()?;
        let default = file.default.map(route_from).transpose();
        let default = default.map_err(|ScriptError(e)| ScriptError(format!("default: {e}")))?;
        Ok(Script { routes, default })
    }

    pub(crate) fn set(self, routes: &mut Routes) {
        for (name, route) in self.routes {
            routes.set(&name, route);
        }
        if let Some(default) = self.default {
            routes.set_default(default);
        }
    }
}

/// Reads one route: an object, or a list of them for a sequence.
pub(crate) fn route_from_json(json: &[u8]) -> Result<Route, ScriptError> {
    route_from(serde_json::from_slice(json).map_err(|e| ScriptError(e.to_string()))?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptFile {
    #[serde(default)]
    routes: BTreeMap<String, serde_json::Value>,
    default: Option<serde_json::Value>,
}

fn route_from(value: serde_json::Value) -> Result<Route, ScriptError> {
    let wrong = |e: serde_json::Error| ScriptError(e.to_string());
    if value.is_array() {
        let replies: Vec<ReplyScript> = serde_json::from_value(value).map_err(wrong)?;
        return Ok(sequence(replies.into_iter().map(ReplyScript::reply)));
    }
    let script: ReplyScript = serde_json::from_value(value).map_err(wrong)?;
    Ok(script.reply().into())
}

/// One reply: each key is the builder method of that name.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReplyScript {
    status: Option<u16>,
    reason: Option<String>,
    headers: Vec<(String, String)>,
    max_age: Option<u64>,
    content_type: Option<String>,
    vary: Option<String>,
    set_cookie: Option<String>,
    etag: Option<String>,
    last_modified_secs_ago: Option<u64>,
    no_date: bool,
    body: String,
    body_bytes: Option<u64>,
    body_pattern: Option<(u64, u64)>,
    echo: bool,
    chunked: bool,
    until_close: bool,
    trailers: Vec<(String, String)>,
    interim: Vec<(u16, Vec<(String, String)>)>,
    delay: DurationText,
    delay_body: DurationText,
    pace: Option<(usize, DurationText)>,
    held: bool,
    held_after: Option<u64>,
    ranges: bool,
    conditional: bool,
    upgrade_echo: bool,
    early: bool,
    close: bool,
    times: Option<u64>,
    fail_first: Option<(u64, u16)>,
    reset_before_head: bool,
    reset_after: Option<u64>,
    truncate_after: Option<u64>,
    content_length: Option<u64>,
    two_lengths: Option<(u64, u64)>,
    raw: Option<String>,
    endless_head: bool,
    huge_head: Option<usize>,
    endless_body: bool,
    slow_head: Option<DurationText>,
    no_answer: bool,
}

/// A duration with its unit.
#[derive(Clone, Copy, Default)]
struct DurationText(Duration);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DurationText, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(DurationText).map_err(D::Error::custom)
    }
}

/// Applies a builder method for a value that was given, or a flag that was set.
fn with<T>(reply: Reply, value: Option<T>, method: impl FnOnce(Reply, T) -> Reply) -> Reply {
    match value {
        Some(value) => method(reply, value),
        None => reply,
    }
}

fn when(reply: Reply, flag: bool, method: impl FnOnce(Reply) -> Reply) -> Reply {
    if flag { method(reply) } else { reply }
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

impl ReplyScript {
    fn reply(mut self) -> Reply {
        let faults = self.faults();
        let mut made = reply(self.body).delay(self.delay.0).delay_body(self.delay_body.0);
        made = with(made, self.status, Reply::status);
        made = with(made, self.reason, Reply::reason);
        made = with(made, self.content_type, Reply::content_type);
        made = with(made, self.max_age, Reply::max_age);
        made = with(made, self.vary, Reply::vary);
        made = with(made, self.set_cookie, Reply::set_cookie);
        made = with(made, self.etag, Reply::etag);
        made = with(made, self.last_modified_secs_ago, Reply::last_modified_secs_ago);
        for (name, value) in self.headers {
            made = made.header(name, value);
        }
        made = when(made, self.no_date, Reply::no_date);
        made = with(made, self.body_bytes, Reply::body_bytes);
        made = with(made, self.body_pattern, |r, (seed, len)| r.body_pattern(seed, len));
        made = when(made, self.echo, Reply::echo);
        made = when(made, self.endless_body, Reply::endless_body);
        made = when(made, self.chunked, Reply::chunked);
        made = when(made, self.until_close, Reply::until_close);
        made = when(made, !self.trailers.is_empty(), |r| r.trailers(&borrowed(&self.trailers)));
        for (status, fields) in &self.interim {
            made = made.interim(*status, &borrowed(fields));
        }
        made = with(made, self.pace, |r, (bytes, every)| r.pace(bytes, every.0));
        made = when(made, self.held, Reply::held);
        made = with(made, self.held_after, Reply::held_after);
        made = made.ranges(self.ranges).conditional(self.conditional);
        made = when(made, self.upgrade_echo, Reply::upgrade_echo);
        made = when(made, self.early, Reply::early);
        made = when(made, self.close, Reply::close);
        made = with(made, self.times, Reply::times);
        made = with(made, self.fail_first, |r, (times, status)| r.fail_first(times, status));
        faults(made)
    }

    /// What adds the scripted fault.
    fn faults(&mut self) -> impl FnOnce(Reply) -> Reply + use<> {
        let (reset_before_head, endless_head, no_answer) =
            (self.reset_before_head, self.endless_head, self.no_answer);
        let (reset_after, truncate_after) = (self.reset_after, self.truncate_after);
        let (content_length, two_lengths) = (self.content_length, self.two_lengths);
        let (raw, huge_head, slow_head) = (self.raw.take(), self.huge_head, self.slow_head);
        move |reply| {
            let mut made = when(reply, reset_before_head, Reply::reset_before_head);
            made = with(made, reset_after, Reply::reset_after);
            made = with(made, truncate_after, Reply::truncate_after);
            made = with(made, content_length, Reply::content_length);
            made = with(made, two_lengths, |r, (one, other)| r.two_lengths(one, other));
            made = with(made, raw, Reply::raw);
            made = when(made, endless_head, Reply::endless_head);
            made = with(made, huge_head, Reply::huge_head);
            made = with(made, slow_head, |r, interval| r.slow_head(interval.0));
            when(made, no_answer, Reply::no_answer)
        }
    }
}
