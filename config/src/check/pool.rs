//! What a site says of its origins as a pool: who they are, which is asked first, how long each
//! may take, and how often another is tried.

use super::host::{ORIGIN_FORM, SITE_ORIGIN_FORM, origin, site_origin};
use crate::file::{Kind, Value};
use crate::mistakes::Mistake;
use crate::section::Section;
use crate::{Origin, Protocol, Retries, Timeouts};
use std::time::Duration;

const MOST_ORIGINS: usize = 256;
const MOST_WEIGHT: u32 = 1000;
const MOST_RETRIES: u32 = 5;

/// Further tries, where nothing else is written.
pub(super) const RETRIES: Retries = Retries { most: 1, percent: 20, per_second: 10 };

/// `retries` is a number, or a table that also says how many the pool's budget allows.
pub(super) fn retries(s: &mut Section<'_>, default: Retries) -> Retries {
    if !matches!(s.value("retries"), Some(Value { kind: Kind::Table(_), .. })) {
        return Retries { most: s.count("retries", default.most, 0..=MOST_RETRIES), ..default };
    }
    let mut s = s.section("retries");
    let retries = Retries {
        most: s.count("most", default.most, 0..=MOST_RETRIES),
        percent: s.count("percent", default.percent, 0..=100),
        per_second: s.count("per_second", default.per_second, 0..=1_000_000),
    };
    s.finish(&[]);
    retries
}

/// The origins that the list `key` names.
pub(super) fn origins(s: &mut Section<'_>, key: &'static str) -> Vec<Origin> {
    let accepted = format!("a list, each {SITE_ORIGIN_FORM}");
    let written = s.has(key);
    let Some(elements) = s.elements(key, MOST_ORIGINS, &accepted) else {
        let is_of_pools = key == "origins" && s.has("origin") && !s.is_text("origin");
        if !(written || is_of_pools) {
            s.mistake(key, format!("missing; accepted: {accepted}"));
        }
        return vec![];
    };
    let mut origins: Vec<Origin> = Vec::with_capacity(elements.len());
    for (n, element) in elements.iter().enumerate() {
        let Some(origin) = one_origin(s, key, n, element) else { continue };
        let same = |other: &Origin| {
            (other.tls, &other.host, other.port, &other.socket, &other.prefix)
                == (origin.tls, &origin.host, origin.port, &origin.socket, &origin.prefix)
        };
        if origins.iter().any(same) {
            s.mistake(key, format!("{:?} is named twice", origin.to_string()));
        }
        origins.push(origin);
    }
    if elements.is_empty() {
        s.mistake(key, format!("empty; accepted: {accepted}"));
    }
    origins
}

/// An origin is its URL, or a table with `url`, `weight` and `protocol`.
fn one_origin(s: &Section<'_>, key: &str, n: usize, element: &Value) -> Option<Origin> {
    let path = format!("{}[{n}]", s.path_of(key));
    if let Some(mut table) = Section::of(element, path.clone(), s.notes()) {
        let read = table.text("url", SITE_ORIGIN_FORM, site_origin);
        if !table.has("url") {
            table.mistake("url", format!("missing; accepted: {SITE_ORIGIN_FORM}"));
        }
        let weight = table.count("weight", 1, 1..=MOST_WEIGHT);
        let protocol = table.word("protocol", Protocol::H1);
        table.finish(&[]);
        return read.map(|origin| Origin { weight, protocol, ..origin });
    }
    read_origin(s, path, element, SITE_ORIGIN_FORM, site_origin)
}

/// An origin that is its URL alone; what is none is a mistake at `path`.
pub(super) fn plain_origin(s: &Section<'_>, path: String, element: &Value) -> Option<Origin> {
    read_origin(s, path, element, ORIGIN_FORM, origin)
}

fn read_origin(
    s: &Section<'_>,
    path: String,
    element: &Value,
    form: &str,
    parse: impl FnOnce(&str) -> Result<Origin, String>,
) -> Option<Origin> {
    let read = match &element.kind {
        Kind::Text(text) => parse(text),
        _ => Err("not a URL".into()),
    };
    let mistake = |reason| Mistake {
        path,
        place: element.place.clone(),
        value: Some(element.shown()),
        message: format!("{reason}; accepted: {form}"),
    };
    read.map_err(|reason| s.notes().add(mistake(reason))).ok()
}

/// Waits on an origin, where nothing else is written.
pub(super) const ORIGIN_TIMEOUTS: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    first_byte: Duration::from_secs(60),
    idle: Duration::from_secs(60),
    total: Duration::ZERO,
};

/// Reads waits on a member of a pool; `default` stands in for each that is not written.
pub(super) fn timeouts(mut s: Section<'_>, default: Timeouts) -> Timeouts {
    let least = Duration::from_millis(1);
    let hour = Duration::from_secs(3600);
    let timeouts = Timeouts {
        connect: s.duration("connect", default.connect, least..=hour),
        first_byte: s.duration("first_byte", default.first_byte, least..=hour),
        idle: s.duration("idle", default.idle, least..=hour),
        total: s.duration("total", default.total, Duration::ZERO..=24 * hour),
    };
    s.finish(&[]);
    timeouts
}
