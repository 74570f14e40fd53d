//! `compress` of a site: what is compressed, and how.

use crate::section::Section;
use std::collections::HashSet;
use weir_rules::coding::{Coding, CodingRules, DEFAULT_TYPES, WhichTypes};

/// Media types in one list.
const MOST_TYPES: usize = 200;

/// The longest body that may be compressed: a copy in each coding is made in memory.
const LONGEST: u64 = 64 << 20;

const TYPE_FORM: &str = "a media type in lower case, such as text/css, or text/*";

const CODING_FORM: &str = "zstd, br or gzip";

/// Each level is that beyond which the pages of a large documentation become hardly smaller, at much more time:
/// docs/compression.md has the figures.
const LEVELS: [(&str, Coding, u32); 3] =
    [("gzip", Coding::Gzip, 6), ("br", Coding::Br, 5), ("zstd", Coding::Zstd, 9)];

/// Reads the table, or `true` in its place. `None` if nothing is compressed.
pub(super) fn compress(s: &mut Section<'_>) -> Option<CodingRules> {
    let (on, mut s) = s.section_or_switch("compress");
    let types = s.list("types", MOST_TYPES, TYPE_FORM, media_type);
    if types.as_ref().is_some_and(Vec::is_empty) {
        s.mistake("types", "a list of nothing; leave it out for the types that are compressed by default, or write compress = false");
    }
    let (min, max) = (s.size("min", 1024, 1..=LONGEST), s.size("max", 8 << 20, 1..=LONGEST));
    if min > max {
        s.mistake("min", "larger than max; accepted: at most max");
    }
    let order = s.list("order", Coding::ALL.len(), CODING_FORM, |name| {
        name.parse::<Coding>().map_err(|()| "no coding that weir makes".into())
    });
    if let Some(order) = &order {
        let different: HashSet<_> = order.iter().collect();
        if different.len() < order.len() || order.is_empty() {
            s.mistake("order", format!("accepted: one or more codings ({CODING_FORM}), each once"));
        }
    }
    let mut levels = [0; Coding::ALL.len()];
    let mut table = s.section("levels");
    for (name, coding, level) in LEVELS {
        levels[coding.index()] = table.count(name, level, coding.levels());
    }
    table.finish(&[]);
    s.finish(&[]);
    let rules = CodingRules {
        types: match &types {
            Some(types) => WhichTypes::new(types.iter().map(String::as_str)),
            None => WhichTypes::new(DEFAULT_TYPES),
        },
        min,
        max,
        order: order.unwrap_or_else(|| vec![Coding::Br, Coding::Zstd, Coding::Gzip]),
        levels,
    };
    on.then_some(rules)
}

/// A type and a subtype (RFC 9110 §8.3.1), or all subtypes of a type.
fn media_type(text: &str) -> Result<String, String> {
    let is_token = |part: &str| {
        let ok = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$&^_.+-".contains(&b);
        !part.is_empty() && part.len() <= 127 && part.bytes().all(ok)
    };
    let Some((kind, subtype)) = text.split_once('/') else { return Err("not a media type".into()) };
    match is_token(kind) && (subtype == "*" || is_token(subtype)) {
        true => Ok(text.to_owned()),
        false => Err("not a media type".into()),
    }
}
