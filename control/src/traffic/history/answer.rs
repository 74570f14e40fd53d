//! What the history answers, as JSON and as CSV.

use super::super::counters::{
    BY_RESULT, BYTES, BYTES_SAVED, Counters, ERRORS, HITS, ORIGIN, REQUESTS, STATUS, UPSTREAM,
    UPSTREAM_ERRORS,
};
use super::super::rates::{Rates, rounded};
use crate::timestamp::rfc3339;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use weir_rules::tier::Tier;

/// What was counted in a range of time.
pub(crate) struct Answer {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) step: u64,
    /// When the first step of this length, or of one that it is made of, begins that is kept.
    pub(super) begins: Option<u64>,
    pub(super) points: Vec<Point>,
    pub(super) total: Counters,
    pub(super) groups: Option<Vec<Group>>,
}

/// A step in which nodes were heard.
pub(super) struct Point {
    pub(super) begin: u64,
    /// So much of it is over.
    pub(super) seconds: u64,
    pub(super) counters: Counters,
}

/// Totals of a node, a tier or a site.
pub(super) struct Group {
    names: Names,
    pub(super) counters: Counters,
    /// Whether something is told of it in the range.
    pub(super) was_heard: bool,
}

/// What a group is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Names {
    pub(super) tier: Option<Tier>,
    pub(super) node: Option<Arc<str>>,
    pub(super) site: Option<Arc<str>>,
}

impl Group {
    /// Nothing yet.
    pub(super) fn of(names: Names) -> Self {
        Self { names, counters: Counters::default(), was_heard: false }
    }

    fn names(&self) -> Vec<(&'static str, String)> {
        let Names { tier, node, site } = &self.names;
        let tier = tier.map(|tier| <&str>::from(tier).to_owned());
        let text = |name: &Option<Arc<str>>| name.as_deref().map(str::to_owned);
        let names = [("node", text(node)), ("tier", tier), ("site", text(site))];
        names.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl Answer {
    /// As JSON.
    pub(crate) fn told(&self) -> Value {
        let mut told = json!({
            "from": at(self.from),
            "to": at(self.to),
            "step_seconds": self.step,
            "begins": self.begins.map(at),
            "totals": counted(&self.total),
            "points": self.points.iter().map(Point::told).collect::<Vec<_>>(),
        });
        if let Some(groups) = &self.groups {
            let told_of = |group: &Group| {
                let names =
                    group.names().into_iter().map(|(name, value)| (name.to_owned(), value.into()));
                Value::Object(names.chain(counted(&group.counters)).collect())
            };
            told["groups"] = groups.iter().filter(|group| group.was_heard).map(told_of).collect();
        }
        told
    }

    /// As CSV (RFC 4180): a line for each group, or else for each point.
    pub(crate) fn csv(&self) -> String {
        let mut text = String::new();
        let lines: Vec<_> = match &self.groups {
            Some(groups) => {
                let heard = groups.iter().filter(|group| group.was_heard);
                heard.map(|group| (group.names(), &group.counters)).collect()
            }
            None => {
                let points = self.points.iter();
                points.map(|point| (vec![("at", at(point.begin))], &point.counters)).collect()
            }
        };
        // Where there are none, the columns of points.
        let first = lines
            .first()
            .map_or_else(|| vec!["at"], |(names, _)| names.iter().map(|(name, _)| *name).collect());
        let columns = columns(&Counters::default()).into_iter().map(|(name, _)| name);
        let header: Vec<_> = first.into_iter().map(str::to_owned).chain(columns).collect();
        text.push_str(&header.join(","));
        text.push_str("\r\n");
        for (names, counters) in lines {
            let names = names.into_iter().map(|(_, value)| quoted(&value));
            let values = columns_of(counters).map(|(_, value)| match value {
                Value::Null => String::new(),
                value => value.to_string(),
            });
            // Writing to a String cannot fail.
            let _ = write!(text, "{}\r\n", names.chain(values).collect::<Vec<_>>().join(","));
        }
        text
    }
}

impl Point {
    fn told(&self) -> Value {
        let time = Duration::from_secs(self.seconds);
        let rates = Rates::between(&Counters::default(), &self.counters, time);
        let rates = Rates::members(rates.as_ref()).into_iter();
        let rates = rates.filter(|(name, _)| name.ends_with("_per_second"));
        let begin = [("at".to_owned(), Value::from(at(self.begin)))].into_iter();
        Value::Object(begin.chain(rates).chain(counted(&self.counters)).collect())
    }
}

fn at(seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    rfc3339(time.unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Counts as members of a JSON object.
fn counted(counters: &Counters) -> Map<String, Value> {
    let (statuses, rest): (Vec<_>, Vec<_>) =
        columns_of(counters).partition(|(name, _)| name.starts_with(STATUS_COLUMN));
    let class = |(name, count): (String, Value)| (name.replace(STATUS_COLUMN, ""), count);
    let statuses = statuses.into_iter().map(class).collect::<Map<_, _>>();
    rest.into_iter().chain([("status".to_owned(), Value::Object(statuses))]).collect()
}

const STATUS_COLUMN: &str = "status_";

fn columns_of(counters: &Counters) -> impl Iterator<Item = (String, Value)> {
    columns(counters).into_iter()
}

/// What is told of counts: their names and values.
fn columns(counters: &Counters) -> Vec<(String, Value)> {
    let Counters(counts) = counters;
    let (requests, hits) = (counts[REQUESTS], counts[HITS]);
    let hit_ratio = (requests > 0).then(|| rounded(hits as f64 / requests as f64));
    let rates = Rates::between(&Counters::default(), counters, Duration::from_secs(1));
    let quantile = |share| rates.and_then(|rates| rates.quantile(share)).map(rounded);
    let mut columns = vec![
        ("requests".to_owned(), json!(requests)),
        ("hits".to_owned(), json!(hits)),
        ("hit_ratio".to_owned(), json!(hit_ratio)),
        ("errors".to_owned(), json!(counts[ERRORS])),
        ("bytes".to_owned(), json!(counts[BYTES])),
        ("bytes_saved".to_owned(), json!(counts[BYTES_SAVED])),
        ("upstream_requests".to_owned(), json!(counts[UPSTREAM])),
        ("upstream_errors".to_owned(), json!(counts[UPSTREAM_ERRORS])),
        ("origin_requests".to_owned(), json!(counts[ORIGIN])),
    ];
    let classes = (1..).zip(&counts[STATUS..BY_RESULT]);
    columns
        .extend(classes.map(|(class, count)| (format!("{STATUS_COLUMN}{class}xx"), json!(count))));
    columns.push(("p50_ms".to_owned(), json!(quantile(0.5))));
    columns.push(("p99_ms".to_owned(), json!(quantile(0.99))));
    columns
}

/// A field of CSV.
fn quoted(text: &str) -> String {
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
