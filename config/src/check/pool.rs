//! What a site says of its origins as a pool: who they are, which is asked first, how long each
//! may take, and how often another is tried.

use super::host::{ORIGIN_FORM, origin};
use crate::file::{Kind, Value};
use crate::mistakes::Mistake;
use crate::section::Section;
use crate::{Origin, Protocol, Retries, Timeouts};
use std::time::Duration;

const MOST_ORIGINS: usize = 256;
const MOST_WEIGHT: u32 = 1000;
const MOST_RETRIES: u32 = 5;

/// `retries` is a number, or a table that also says how many the site's budget allows.
pub(super) fn retries(s: &mut Section<'_>) -> Retries {
    let default = Retries { most: 1, percent: 20, per_second: 10 };
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

pub(super) fn origins(s: &mut Section<'_>) -> Vec<Origin> {
    let accepted = format!("a list, each {ORIGIN_FORM}");
    let written = s.has("origins");
    let Some(elements) = s.elements("origins", MOST_ORIGINS, &accepted) else {
        if !written {
            s.mistake("origins", format!("missing; accepted: {accepted}"));
        }
        return vec![];
    };
    let mut origins: Vec<Origin> = Vec::with_capacity(elements.len());
    for (n, element) in elements.iter().enumerate() {
        let Some(origin) = one_origin(s, n, element) else { continue };
        let same = |other: &Origin| {
            (other.tls, &other.host, other.port) == (origin.tls, &origin.host, origin.port)
        };
        if origins.iter().any(same) {
            s.mistake("origins", format!("{:?} is named twice", origin.authority));
        }
        origins.push(origin);
    }
    if elements.is_empty() {
        s.mistake("origins", format!("empty; accepted: {accepted}"));
    }
    origins
}

/// An origin is its URL, or a table with `url`, `weight` and `protocol`.
fn one_origin(s: &Section<'_>, n: usize, element: &Value) -> Option<Origin> {
    let path = format!("{}[{n}]", s.path_of("origins"));
    if let Some(mut table) = Section::of(element, path.clone(), s.notes()) {
        let read = table.text("url", ORIGIN_FORM, origin);
        if !table.has("url") {
            table.mistake("url", format!("missing; accepted: {ORIGIN_FORM}"));
        }
        let weight = table.count("weight", 1, 1..=MOST_WEIGHT);
        let protocol = table.word("protocol", Protocol::H1);
        table.finish(&[]);
        return read.map(|origin| Origin { weight, protocol, ..origin });
    }
    plain_origin(s, path, element)
}

/// An origin that is its URL alone; what is none is a mistake at `path`.
pub(super) fn plain_origin(s: &Section<'_>, path: String, element: &Value) -> Option<Origin> {
    let read = match &element.kind {
        Kind::Text(text) => origin(text),
        _ => Err("not a URL".into()),
    };
    let mistake = |reason| Mistake {
        path,
        place: element.place.clone(),
        value: Some(element.shown()),
        message: format!("{reason}; accepted: {ORIGIN_FORM}"),
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
