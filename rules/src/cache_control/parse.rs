//! The grammar of `Cache-Control` (RFC 9111 §5.2): a list of directives, each a token with an
//! optional argument. Reads what is written wrongly in the careful way: a name keeps its effect
//! when something odd follows it, an argument that is not well-formed says so.

use super::DeltaSeconds;
use std::borrow::Cow;

/// The largest number of seconds that is told apart from more (RFC 9111 §1.2.2).
pub(crate) const MAX_DELTA: DeltaSeconds = 1 << 31;

/// One directive of a line. The name is a non-empty token, in any case.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Directive<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) argument: Argument<'a>,
}

/// What follows the name of a directive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Argument<'a> {
    /// Nothing.
    Absent,
    /// `=token` or `="quoted"`, without the quotes (§5.2: both forms are accepted).
    Value(Cow<'a, [u8]>),
    /// Anything else: white space around `=`, nothing after it, an open quote, junk.
    Malformed,
}

impl Directive<'_> {
    /// Whether this is the directive of that name (§5.2: compared without regard to case).
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl Argument<'_> {
    /// The argument as delta-seconds, at most 2^31; `None` when it is not a run of digits.
    pub(crate) fn seconds(&self) -> Option<DeltaSeconds> {
        match self {
            Self::Value(text) => delta_seconds(text),
            Self::Absent | Self::Malformed => None,
        }
    }
}

/// delta-seconds (RFC 9111 §1.2.2): digits only; what is too large is 2^31.
pub(crate) fn delta_seconds(text: &[u8]) -> Option<DeltaSeconds> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = text.iter().fold(0u32, |sum, digit| {
        sum.saturating_mul(10).saturating_add(u32::from(digit - b'0')).min(MAX_DELTA)
    });
    Some(seconds)
}

/// The directives of one field line. Elements without a name are skipped (RFC 9110 §5.6.1.2).
pub(crate) fn directives(line: &[u8]) -> impl Iterator<Item = Directive<'_>> {
    elements(line).filter_map(directive)
}

/// The elements of one field line as they are written, between the commas outside of quotes.
pub(crate) fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    Elements { rest: line, quotes: true }
}

/// A list split at the commas that are outside of quoted strings.
struct Elements<'a> {
    rest: &'a [u8],
    /// Off from a quote on that does not enclose a whole argument: it quotes nothing, so that a
    /// restriction behind it is still seen, and so that a line of open quotes is read once only.
    quotes: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let mut at = 0;
        while at < self.rest.len() {
            match self.rest[at] {
                b',' => {
                    let element = &self.rest[..at];
                    self.rest = &self.rest[at + 1..];
                    return Some(element);
                }
                b'"' if self.quotes => match quoted_argument(self.rest, at) {
                    Some(end) => at = end,
                    None => self.quotes = false,
                },
                _ => {}
            }
            at += 1;
        }
        Some(std::mem::take(&mut self.rest))
    }
}

/// The index of the closing quote when a quoted string starts at `at`, right behind `=`, and is all
/// there is of its element.
fn quoted_argument(line: &[u8], at: usize) -> Option<usize> {
    let end = at + closing_quote(&line[at..])?;
    let next = line[end + 1..].iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    (line[..at].ends_with(b"=") && next.is_none_or(|byte| *byte == b',')).then_some(end)
}

/// Where the quoted string that `text` starts with ends: the index of its closing quote.
fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// One element as a directive; `None` when it does not start with a name.
pub(crate) fn directive(element: &[u8]) -> Option<Directive<'_>> {
    let element = element.trim_ascii();
    let end = element.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(element.len());
    let (name, rest) = element.split_at(end);
    if name.is_empty() {
        return None;
    }
    let argument = match rest {
        [] => Argument::Absent,
        [b'=', value @ ..] => argument(value),
        _ => Argument::Malformed,
    };
    Some(Directive { name, argument })
}

fn argument(value: &[u8]) -> Argument<'_> {
    match value {
        [b'"', ..] if closing_quote(value) == Some(value.len() - 1) => {
            Argument::Value(unescaped(&value[1..value.len() - 1]))
        }
        [_, ..] if value.iter().all(|byte| is_token_byte(*byte)) => {
            Argument::Value(Cow::Borrowed(value))
        }
        _ => Argument::Malformed,
    }
}

/// A quoted string's content with its quoted pairs resolved (RFC 9110 §5.6.4).
fn unescaped(content: &[u8]) -> Cow<'_, [u8]> {
    if !content.contains(&b'\\') {
        return Cow::Borrowed(content);
    }
    let mut bytes = content.iter().copied();
    let mut plain = Vec::with_capacity(content.len());
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'\\' { bytes.next().unwrap_or(byte) } else { byte });
    }
    Cow::Owned(plain)
}

/// tchar (RFC 9110 §5.6.2).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Vec<(String, Option<String>)> {
        directives(line.as_bytes())
            .map(|directive| {
                let argument = match directive.argument {
                    Argument::Absent => None,
                    Argument::Value(text) => Some(String::from_utf8_lossy(&text).into_owned()),
                    Argument::Malformed => Some("?".to_owned()),
                };
                (String::from_utf8_lossy(directive.name).into_owned(), argument)
            })
            .collect()
    }

    fn expect(line: &str, expected: &[(&str, Option<&str>)]) {
        let expected: Vec<_> =
            expected.iter().map(|(n, a)| ((*n).to_owned(), a.map(str::to_owned))).collect();
        assert_eq!(read(line), expected, "{line}");
    }

    #[test]
    fn commas_inside_quotes_do_not_split() {
        expect(
            r#"private="a, b", max-age=5"#,
            &[("private", Some("a, b")), ("max-age", Some("5"))],
        );
        expect(r#"x="a\", b", y"#, &[("x", Some("a\", b")), ("y", None)]);
    }

    #[test]
    fn an_open_quote_hides_nothing() {
        for line in [r#"x="a, no-store, y=b"#, r#"x="a, no-store, y="b""#, r#"x "a, no-store, y""#]
        {
            assert!(read(line).contains(&("no-store".to_owned(), None)), "{line}");
        }
        expect(
            r#"x="a"b, private="c, d""#,
            &[("x", Some("?")), ("private", Some("?")), ("d", Some("?"))],
        );
    }

    #[test]
    fn empty_elements_are_skipped() {
        expect(",, a ,\t, b=1,", &[("a", None), ("b", Some("1"))]);
        expect("", &[]);
        expect("=5", &[]);
    }

    #[test]
    fn junk_after_a_name_makes_a_malformed_argument() {
        for line in ["max-age =5", "max-age= 5", "max-age=", "max-age=5 6", "max-age; x=5"] {
            expect(line, &[("max-age", Some("?"))]);
        }
        expect(r#"a="b"c"#, &[("a", Some("?"))]);
    }

    #[test]
    fn seconds_are_digits_and_bounded() {
        assert_eq!(delta_seconds(b"003600"), Some(3600));
        assert_eq!(delta_seconds(b"2147483647"), Some(2_147_483_647));
        assert_eq!(delta_seconds(b"2147483648"), Some(MAX_DELTA));
        assert_eq!(delta_seconds(b"99999999999999999999999"), Some(MAX_DELTA));
        for text in ["", "-1", "+1", "1.0", "1a", "a1", " 1", "'1'"] {
            assert_eq!(delta_seconds(text.as_bytes()), None, "{text}");
        }
    }
}
