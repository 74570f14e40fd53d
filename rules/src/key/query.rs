//! Which parameters of a query count, and in what order the key has them. Values are never decoded
//! and never changed.

use super::{QueryKeep, QueryRules};
use std::borrow::Cow;

/// The query sent to the origin: as the client wrote it, less what does not count. `None` when
/// there was none or nothing is left.
pub fn origin_query<'a>(query: Option<&'a str>, rules: &QueryRules) -> Option<Cow<'a, str>> {
    let query = query?;
    match &rules.keep {
        QueryKeep::All => return Some(Cow::Borrowed(query)),
        QueryKeep::Nothing => return None,
        QueryKeep::Except(_) | QueryKeep::Only(_) => {}
    }
    if query.split('&').all(|parameter| counts(parameter, &rules.keep)) {
        return Some(Cow::Borrowed(query));
    }
    let kept: Vec<_> = query.split('&').filter(|p| counts(p, &rules.keep)).collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join("&")))
}

/// The query as the key has it, without `?`: what the origin is sent, sorted where the rules say so.
pub fn keyed_query<'a>(query: Option<&'a str>, rules: &QueryRules) -> Option<Cow<'a, str>> {
    let query = origin_query(query, rules)?;
    if !rules.sort {
        return Some(query);
    }
    let mut parameters: Vec<_> = query.split('&').collect();
    let in_order = |a: &&str, b: &&str| decoded(name(a)).le(decoded(name(b)));
    if parameters.is_sorted_by(in_order) {
        return Some(query);
    }
    // Stable, and by the decoded name: two ways to write one name must not change places, as their
    // order can mean something.
    parameters.sort_by(|a, b| decoded(name(a)).cmp(decoded(name(b))));
    Some(Cow::Owned(parameters.join("&")))
}

/// Appends `?` and the keyed query.
pub(super) fn append(out: &mut Vec<u8>, query: Option<&str>, rules: &QueryRules) {
    // A site without rules is the common case; nothing else may cost it anything.
    let plain = !rules.sort && rules.keep == QueryKeep::All;
    let query = if plain { query.map(Cow::Borrowed) } else { keyed_query(query, rules) };
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
}

fn counts(parameter: &str, keep: &QueryKeep) -> bool {
    match keep {
        QueryKeep::All => true,
        QueryKeep::Nothing => false,
        QueryKeep::Except(rules) => !rules.iter().any(|rule| names(rule, parameter)),
        QueryKeep::Only(rules) => rules.iter().any(|rule| names(rule, parameter)),
    }
}

/// Whether a parameter of a query has this name or, for `prefix*`, a name that begins so.
pub(crate) fn names(rule: &str, parameter: &str) -> bool {
    let mut name = decoded(name(parameter));
    match rule.strip_suffix('*') {
        Some(prefix) => prefix.bytes().all(|byte| name.next() == Some(byte)),
        None => name.eq(rule.bytes()),
    }
}

fn name(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

/// The bytes of a name as an origin reads it: percent-decoded, `+` for a space. What is no valid
/// escape stands for itself.
pub(crate) fn decoded(name: &str) -> impl Iterator<Item = u8> {
    let mut rest = name.as_bytes();
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        let byte = match (first, after) {
            (b'+', _) => b' ',
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = tail;
                    return Some(high << 4 | low);
                }
                _ => first,
            },
            _ => first,
        };
        rest = after;
        Some(byte)
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
