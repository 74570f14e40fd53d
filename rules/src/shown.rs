//! Text of others, as it is shown to people: on a terminal, in a log, on the page. Characters that
//! are not seen, or that change what others look like, are written as escapes: a tag, a URL or a
//! name cannot pass for another one, end a line, or rewrite the terminal.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character is shown as an escape: controls (Unicode category Cc), what reorders text (the
/// Bidi_Control property), what is invisible (Default_Ignorable_Code_Point, annotations, the blank
/// Braille pattern), and the line and paragraph separators.
pub fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
        _ if c.is_control() => true,
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}

/// A text with `\u{202e}` and the like for what is hidden.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden, |out, c| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{}", c.escape_unicode());
    })
}

/// JSON that means the same, with the escapes of RFC 8259 §7 for what is hidden. Its own line breaks
/// stay.
pub fn shown_json(json: &str) -> Cow<'_, str> {
    escaped(
        json,
        |c| c != '\n' && is_hidden(c),
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        },
    )
}

/// A line of a log whose writer has escaped controls, except those that it colours by.
pub fn shown_line(line: &str) -> Cow<'_, str> {
    escaped(
        line,
        |c| !c.is_ascii_control() && is_hidden(c),
        |out, c| {
            let _ = write!(out, "{}", c.escape_unicode());
        },
    )
}

fn escaped(
    text: &str,
    is_hidden: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.chars().any(&is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_hidden(c) {
            true => escape(&mut out, c),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_shown() {
        for (text, expected) in [
            ("plain ~ \u{e9} \u{65e5}\u{672c} e\u{301} \u{1f600}", None),
            ("\u{939}\u{93f}\u{928}\u{94d}", None),
            ("a\u{202e}gpj.b", Some("a\\u{202e}gpj.b")),
            ("a\r\n\u{1b}[2J", Some("a\\u{d}\\u{a}\\u{1b}[2J")),
            ("\u{200b}\u{feff}\u{2066}\u{85}", Some("\\u{200b}\\u{feff}\\u{2066}\\u{85}")),
            ("\u{e0041}\u{fe0f}\u{3164}", Some("\\u{e0041}\\u{fe0f}\\u{3164}")),
        ] {
            assert_eq!(shown(text), expected.unwrap_or(text));
        }
    }

    #[test]
    fn json_stays_what_it_is() {
        let text = "{\n  \"tag\": \"a\u{202e}b\u{e0041}\u{7f}\\n\"\n}";
        let expected = "{\n  \"tag\": \"a\\u202eb\\udb40\\udc41\\u007f\\n\"\n}";
        assert_eq!(shown_json(text), expected);
    }

    #[test]
    fn a_line_keeps_its_colours_and_its_end() {
        let line = "\u{1b}[33m WARN\u{1b}[0m tag=\"a\u{202e}b\"\n";
        assert_eq!(shown_line(line), "\u{1b}[33m WARN\u{1b}[0m tag=\"a\\u{202e}b\"\n");
    }
}
