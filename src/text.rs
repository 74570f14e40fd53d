//! Aligned words for a terminal, coloured only there.

use std::io::IsTerminal;
use weir_rules::shown::shown;

/// Whether and how words are coloured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Colours where standard output is a terminal and `NO_COLOR` is not set.
    pub(crate) fn for_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self(wanted && std::io::stdout().is_terminal())
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self(false)
    }

    /// Whether words are coloured at all.
    pub(crate) fn is_coloured(self) -> bool {
        self.0
    }

    /// What is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// What needs a look.
    pub(crate) fn warn(self, text: &str) -> String {
        self.with("33", text)
    }

    /// What is bad.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// What can be overread.
    pub(crate) fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Names and values in two columns, one line each. What came over the network is made harmless
/// before.
pub(crate) fn columns(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// Which side of its column a word is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table under a head; each cell is its plain text and, where it is coloured, that too, because
/// colours have no width.
pub(crate) fn table(
    head: &[&str],
    rows: &[Vec<(String, Option<String>)>],
    align: impl Fn(usize) -> Align,
) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|(plain, _)| plain.chars().count()).max().unwrap_or_default();
        widest.max(head[column].chars().count())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = (&str, &str)>| {
        let mut line = String::new();
        for (column, (plain, shown)) in cells.enumerate() {
            let gap = " ".repeat(widths[column].saturating_sub(plain.chars().count()));
            if column > 0 {
                line.push_str("  ");
            }
            match align(column) {
                Align::Left => line.extend([shown, gap.as_str()]),
                Align::Right => line.extend([gap.as_str(), shown]),
            }
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut table = line(&mut head.iter().map(|word| (*word, *word)));
    for row in rows {
        let cells = row
            .iter()
            .map(|(plain, shown)| (plain.as_str(), shown.as_deref().unwrap_or(plain.as_str())));
        table.push_str(&line(&mut cells.take(widths.len())));
    }
    table
}

/// A text of others as it is shown, on one line.
pub(crate) fn harmless(text: &str) -> String {
    shown(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [("id", "a".to_owned()), ("status", "b".to_owned())];
        assert_eq!(columns(&rows), "id      a\nstatus  b\n");
    }

    #[test]
    fn colour_is_left_out_and_what_is_hidden_is_escaped() {
        assert_eq!(Paint(false).bad("x"), "x");
        assert_eq!(Paint(true).bad("x"), "\x1b[31mx\x1b[0m");
        assert_eq!(harmless("a\x1b[31m\n\u{202e}"), "a\\u{1b}[31m\\u{a}\\u{202e}");
    }
}
