//! `/v1/traffic`: what nodes counted, over time.

use super::nodes::no_such_node;
use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::control::Control;
use crate::errors::ApiError;
use crate::extract::{Parameters, number, one, only, word};
use crate::fields::{shorten, word as word_of};
use crate::operation::Operation;
use crate::timestamp::parse_rfc3339;
use crate::traffic::history::{By, Question};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::json;
use std::time::{Instant, SystemTime};
use tokio::task::spawn_blocking;
use weir_config::Scope;

/// Seconds of the range, where none is asked for.
const RANGE: u64 = 600;

/// Points that an answer has by default, and at most.
const POINTS: u64 = 300;
const MOST_POINTS: u64 = 3000;

/// The seconds of a step that are chosen by default; each with the age up to which history has steps as short.
const STEPS: [(u64, &[u64]); 3] = [
    (RANGE, &[1, 2, 5, 10]),
    (86_400, &[60, 120, 300, 600]),
    (u64::MAX, &[3600, 7200, 14_400, 21_600, 43_200, 86_400]),
];

pub(super) fn calls() -> Vec<Call> {
    let operation = Operation::new("Traffic over time")
        .described(
            "Steps of a second are kept for ten minutes, of a minute for a day, of an hour for thirty days, within \
             control.history. Without node or tier, points and totals are the client traffic of all edges, and \
             origin_requests those of all tiers. What a node counted while it was not connected is counted when it \
             is back. The last second or two are not told yet. A token that is limited to some sites gets the \
             traffic of these together.",
        )
        .query(
            "from",
            "Begin of the first step: a time of RFC 3339, seconds since 1970, or with a minus seconds before to; \
             default: -600.",
        )
        .query("to", "End of the range: a time of RFC 3339, or seconds since 1970; default: now.")
        .query(
            "step",
            "Seconds of a step: 1 to 59, a multiple of 60 below 3600, or a multiple of 3600; by default so that \
             there are about 300 at most.",
        )
        .query("site", "Of this site.")
        .query("node", "Of this node.")
        .query("tier", "Of this tier, edge or parent.")
        .query("by", "Totals of each node, tier or site, too, as groups.")
        .query("format", "json (default), or csv: a line for each group, or else for each point.")
        .answer_as("200", "Oldest first. Steps in which no node was heard are left out.", "Traffic")
        .also_in("200", "text/csv", json!({"type": "string"}))
        .answer_as("404", "No such node or site is known.", "Error");
    vec![Call::new("get", "/v1/traffic", get(traffic), operation)]
}

async fn traffic(
    State(control): State<SharedControl>,
    caller: Caller,
    Parameters(parameters): Parameters,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Read)?;
    only(&parameters, &["from", "to", "step", "site", "node", "tier", "by", "format"])?;
    let is_csv = word(&parameters, "format", &["json", "csv"])? == Some("csv");
    let history = control.history.clone();
    let complete = history.complete();
    // It is added up beside the calls.
    let answer = spawn_blocking(move || {
        let question = question(&control, &caller, &parameters, complete)?;
        Ok::<_, ApiError>(history.answer(&question))
    });
    let answer = answer.await.map_err(|_| ApiError::internal())??;
    if !is_csv {
        return Ok(Json(answer.told()).into_response());
    }
    let fields = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"traffic.csv\""),
    ];
    Ok((fields, answer.csv()).into_response())
}

/// What is asked, and whether this caller may.
fn question<'a>(
    control: &Control,
    caller: &'a Caller,
    parameters: &'a [(String, String)],
    complete: u64,
) -> Result<Question<'a>, ApiError> {
    let (site, node) = (one(parameters, "site")?, one(parameters, "node")?);
    let tier = one(parameters, "tier")?.map(|tier| word_of("tier", tier)).transpose()?;
    let by = match word(parameters, "by", &["node", "tier", "site"])? {
        Some("node") => Some(By::Node),
        Some("tier") => Some(By::Tier),
        Some(_) => Some(By::Site),
        None => None,
    };
    if node.is_some() && tier.is_some() {
        let message = "node and tier exclude each other; accepted: one of the two";
        return Err(ApiError::invalid("tier", message));
    }
    if let Some(site) = site {
        caller.needs_site(Some(site), "this site")?;
        if !control.history.has_site(site) {
            control.sites().check(site, caller.may_touch(None))?;
        }
    }
    if let Some(name) = node {
        let nodes = control.ledger.nodes(Instant::now());
        if !nodes.iter().any(|node| node.name == name) && !control.history.has_node(name) {
            return Err(no_such_node());
        }
    }
    let to = match one(parameters, "to")? {
        None => complete,
        Some(text) => time(text).ok_or_else(|| refused("to", text, TIMES))?,
    };
    let to = to.min(complete.max(1));
    let from = match one(parameters, "from")? {
        None => to.saturating_sub(RANGE),
        Some(text) => {
            let before = text.strip_prefix('-').and_then(|seconds| seconds.parse().ok());
            let before = before.map(|seconds: u64| to.saturating_sub(seconds));
            let accepted = format!("{TIMES}, or with a minus seconds before to");
            before.or_else(|| time(text)).ok_or_else(|| refused("from", text, &accepted))?
        }
    };
    if from >= to && one(parameters, "from")?.is_some() {
        let message = "not before the end of the range; accepted: an earlier time";
        return Err(ApiError::invalid("from", message));
    }
    let step = match one(parameters, "step")? {
        None => default_step(complete.saturating_sub(from), to.saturating_sub(from)),
        Some(_) => step(parameters, to.saturating_sub(from))?,
    };
    let from = from / step * step;
    Ok(Question { from, to, step, sites: caller.sites(), site, node, tier, by })
}

/// A step of a range that begins `age` seconds ago and is `length` seconds long.
fn default_step(age: u64, length: u64) -> u64 {
    let longest = STEPS.last().and_then(|(_, steps)| steps.last()).copied().unwrap_or(1);
    let level = STEPS.into_iter().find(|(oldest, _)| age <= *oldest);
    let mut steps = level.into_iter().flat_map(|(_, steps)| steps.iter().copied());
    steps.find(|step| length / step <= POINTS).unwrap_or(longest)
}

/// The step that is asked for.
fn step(parameters: &[(String, String)], length: u64) -> Result<u64, ApiError> {
    let step = number(parameters, "step", 1, 1..=86_400 * 31)?;
    let is_whole = match step {
        0..60 => true,
        60..3600 => step.is_multiple_of(60),
        _ => step.is_multiple_of(3600),
    };
    if !is_whole {
        let accepted = "1 to 59, a multiple of 60 below 3600, or a multiple of 3600";
        return Err(ApiError::invalid("step", format!("{step}; accepted: {accepted}")));
    }
    if length / step > MOST_POINTS {
        let message =
            format!("{step} gives more than {MOST_POINTS} points; accepted: a longer step");
        return Err(ApiError::invalid("step", message));
    }
    Ok(step)
}

const TIMES: &str = "a time of RFC 3339, such as 2026-11-21T20:15:00Z, or seconds since 1970";

/// A point in time, in seconds since 1970.
fn time(text: &str) -> Option<u64> {
    let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let parsed = text.parse().ok().or_else(|| Some(since(parse_rfc3339(text)?).as_secs()));
    // Beyond, nothing could be added.
    parsed.filter(|seconds| *seconds < u64::from(u32::MAX) * 4)
}

fn refused(name: &str, text: &str, accepted: &str) -> ApiError {
    ApiError::invalid(name, format!("{:?}; accepted: {accepted}", shorten(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_short_as_the_history_has_them_and_no_more_than_fit() {
        let minutes = 60;
        let (hours, days) = (60 * minutes, 1440 * minutes);
        for (age, length, step) in [
            (10 * minutes, 10 * minutes, 2),
            (5 * minutes, 5 * minutes, 1),
            (hours, hours, 60),
            (hours, 5 * minutes, 60),
            (days, days, 300),
            (7 * days, 7 * days, 3600),
            (30 * days, 30 * days, 14_400),
            (400 * days, 400 * days, 86_400),
        ] {
            assert_eq!(default_step(age, length), step, "{age} {length}");
        }
    }

    #[test]
    fn a_step_is_one_that_can_be_added_up() {
        let asked = |step: &str| vec![("step".to_owned(), step.to_owned())];
        for taken in ["1", "59", "60", "300", "3600", "86400"] {
            assert!(step(&asked(taken), 600).is_ok(), "{taken}");
        }
        for refused in ["0", "61", "5400", "x", "-1"] {
            assert!(step(&asked(refused), 600).is_err(), "{refused}");
        }
        assert!(step(&asked("1"), 3001).is_err());
    }
}
