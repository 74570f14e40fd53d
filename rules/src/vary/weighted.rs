//! Weighted lists (RFC 9110 §12.4.2) in one canonical order: Accept and Accept-Language.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

/// One member of a weighted list. Weight in thousandths.
struct Member {
    weight: u16,
    text: Vec<u8>,
}

/// Appends `combined` (all lines, joined by commas) in canonical form: by weight, highest first,
/// then by bytes, as order among equal weights means nothing (RFC 9110 §12.5.1, §12.5.4). `false`,
/// with nothing appended, when a member cannot be read: the caller then keeps it as it is.
pub(super) fn append_canonical(
    out: &mut Vec<u8>,
    combined: &[u8],
    fold: fn(&mut Vec<u8>, &[u8]),
) -> bool {
    let Some(mut members) = members(combined, fold) else { return false };
    members.sort_by(|a, b| b.weight.cmp(&a.weight).then_with(|| a.text.cmp(&b.text)));
    members.dedup_by(|a, b| a.weight == b.weight && a.text == b.text);
    for (i, member) in members.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&member.text);
        if member.weight < 1000 {
            let digit = |divisor: u16| b'0' + (member.weight / divisor % 10) as u8;
            out.extend_from_slice(b";q=0.");
            out.extend_from_slice(&[digit(100), digit(10), digit(1)]);
        }
    }
    true
}

/// Folds a language range: its case means nothing (RFC 4647 §2).
pub(super) fn fold_language(out: &mut Vec<u8>, range: &[u8]) {
    out.extend(range.iter().map(u8::to_ascii_lowercase));
}

/// Folds a media range: type and subtype have no case (RFC 9110 §8.3.1); values of parameters may
/// have one, so only the white space around the semicolons goes.
pub(super) fn fold_media_range(out: &mut Vec<u8>, range: &[u8]) {
    for (i, part) in split_outside_quotes(range, b';').enumerate() {
        let part = part.trim_ascii();
        if i == 0 {
            out.extend(part.iter().map(u8::to_ascii_lowercase));
        } else {
            out.push(b';');
            out.extend_from_slice(part);
        }
    }
}

/// Whether `language` is the one language that Accept-Language wants above all others. A tie
/// answers no: many origins read an order into it.
pub(super) fn most_wanted_language_is(request: &HeaderMap, language: &str) -> bool {
    let mut combined = Vec::new();
    for line in request.get_all(ACCEPT_LANGUAGE) {
        combined.extend_from_slice(line.as_bytes());
        combined.push(b',');
    }
    let Some(members) = members(&combined, fold_language) else { return false };
    let Some(highest) = members.iter().map(|member| member.weight).max() else { return false };
    let mut best = members.iter().filter(|member| member.weight == highest);
    match (best.next(), best.next()) {
        (Some(only), None) => {
            highest > 0 && only.text.eq_ignore_ascii_case(language.trim().as_bytes())
        }
        _ => false,
    }
}

/// The parameters after a member's first `;`: its weight in thousandths, `None` when they are
/// anything but one weight of the grammar.
pub(crate) fn weight(parameters: &[u8]) -> Option<u16> {
    let parameters = parameters.trim_ascii();
    let value = parameters.strip_prefix(b"q=").or_else(|| parameters.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let mut unit = 100;
    for digit in fraction {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    (thousandths <= 1000).then_some(thousandths)
}

fn members(combined: &[u8], fold: fn(&mut Vec<u8>, &[u8])) -> Option<Vec<Member>> {
    let mut members = Vec::new();
    for member in split_outside_quotes(combined, b',') {
        let member = member.trim_ascii();
        if member.is_empty() {
            continue;
        }
        members.push(read_member(member, fold)?);
    }
    Some(members)
}

/// A weight is the last parameter; an older extension after it (RFC 7231 §5.3.2) is not read.
fn read_member(member: &[u8], fold: fn(&mut Vec<u8>, &[u8])) -> Option<Member> {
    let mut range_end = member.len();
    let mut at = 0;
    let mut member_weight = None;
    for (i, part) in split_outside_quotes(member, b';').enumerate() {
        let start = at;
        at += part.len() + 1;
        if i == 0 {
            continue;
        }
        if member_weight.is_some() {
            return None;
        }
        let name = part.trim_ascii();
        if name.len() >= 2 && name[0].eq_ignore_ascii_case(&b'q') && name[1] == b'=' {
            member_weight = Some(weight(name)?);
            range_end = start - 1;
        }
    }
    let range = member[..range_end].trim_ascii();
    if range.is_empty() {
        return None;
    }
    let mut text = Vec::with_capacity(range.len());
    fold(&mut text, range);
    Some(Member { weight: member_weight.unwrap_or(1000), text })
}

/// Splits at `separator` where it does not stand in a quoted string (RFC 9110 §5.6.4).
fn split_outside_quotes(bytes: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    bytes.split(move |&byte| {
        if escaped {
            escaped = false;
        } else if quoted && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        }
        !quoted && byte == separator
    })
}
