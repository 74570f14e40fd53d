//! A table that fits where it is shown: columns that matter less give way.

use super::words::fitted;
use crate::text::{Align, Paint, harmless, table};

/// What a pane shows.
#[derive(Debug)]
pub(super) struct Listing {
    /// In a few words.
    pub(super) title: String,
    /// A line of its own above the table.
    pub(super) summary: Option<Summary>,
    pub(super) columns: Vec<Column>,
    /// A cell for each column.
    pub(super) rows: Vec<Vec<Cell>>,
    /// What stands there when there is no row.
    pub(super) empty: &'static str,
}

/// Groups of entries in one line, the most important of each first.
#[derive(Debug)]
pub(super) struct Summary(Vec<Group>);

#[derive(Debug)]
struct Group {
    name: &'static str,
    entries: Vec<String>,
}

impl Summary {
    /// The groups with their names. Control characters of entries are replaced.
    pub(super) fn new(groups: impl IntoIterator<Item = (&'static str, Vec<String>)>) -> Self {
        let group = |(name, entries): (_, Vec<String>)| Group {
            name,
            entries: entries.iter().map(|entry| harmless(entry)).collect(),
        };
        Self(groups.into_iter().map(group).collect())
    }

    /// All entries.
    pub(super) fn full(&self) -> String {
        let shown: Vec<_> = self.0.iter().map(|group| group.entries.len()).collect();
        self.showing(&shown)
    }

    /// The entries that fit into `width`, each as a whole, and how many there are more.
    pub(super) fn fitted(&self, width: usize) -> String {
        let mut shown: Vec<_> = self.0.iter().map(|group| group.entries.len()).collect();
        loop {
            let line = self.showing(&shown);
            if line.chars().count() <= width {
                return line;
            }
            // The longest group gives way; of two, the later.
            match shown.iter_mut().max() {
                Some(most) if *most > 0 => *most -= 1,
                _ => break,
            }
        }
        // Not even the counts of all groups fit: that of the last, or nothing.
        let least = self.0.last().map(|group| group.showing(0)).unwrap_or_default();
        if least.chars().count() <= width { least } else { String::new() }
    }

    fn showing(&self, shown: &[usize]) -> String {
        let groups = self.0.iter().zip(shown).map(|(group, shown)| group.showing(*shown));
        groups.collect::<Vec<_>>().join("; ")
    }
}

impl Group {
    fn showing(&self, shown: usize) -> String {
        let Self { name, entries } = self;
        let mut words = entries[..shown].to_vec();
        match entries.len() - shown {
            0 if entries.is_empty() => words.push("none".to_owned()),
            0 => {}
            more => words.push(format!("+{more} more")),
        }
        format!("{name}: {}", words.join(", "))
    }
}

/// A column of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    head: &'static str,
    align: Align,
    /// Widest that it gets.
    most: usize,
    /// The larger, the sooner it is left out; none at 0.
    rank: u8,
    /// It takes the room that is left; others give way until that is so much, if it needs it.
    rest: Option<usize>,
}

/// A cell, without control characters: URLs and names come from elsewhere, and must not rewrite
/// the terminal.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

/// How a cell strikes the eye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warn,
    Bad,
}

impl Column {
    pub(super) fn left(head: &'static str, rank: u8) -> Self {
        Self { head, align: Align::Left, most: usize::MAX, rank, rest: None }
    }

    pub(super) fn right(head: &'static str, rank: u8) -> Self {
        Self { align: Align::Right, ..Self::left(head, rank) }
    }

    /// The one that takes the room that is left, for whose `least` others give way.
    pub(super) fn rest(head: &'static str, least: usize) -> Self {
        Self { rest: Some(least), ..Self::left(head, 0) }
    }

    /// With a bound to its width.
    pub(super) fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }
}

impl Cell {
    pub(super) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: harmless(text.as_ref()), tone }
    }

    pub(super) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, Tone::Plain)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn painted(&self, paint: Paint) -> (String, Option<String>) {
        let shown = match self.tone {
            Tone::Plain | Tone::Strong => None,
            Tone::Faint => Some(paint.faint(&self.text)),
            Tone::Good => Some(paint.good(&self.text)),
            Tone::Warn => Some(paint.warn(&self.text)),
            Tone::Bad => Some(paint.bad(&self.text)),
        };
        (self.text.clone(), shown)
    }
}

impl Listing {
    /// Its table in full, as text.
    pub(super) fn printed(&self, paint: Paint) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let head: Vec<_> = self.columns.iter().map(|column| column.head).collect();
        let rows: Vec<Vec<_>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| cell.painted(paint)).collect())
            .collect();
        table(&head, &rows, |column| self.columns[column].align)
    }

    /// Its head and these rows as they fit into `width`: padded texts, each with its tone.
    pub(super) fn lines(
        &self,
        width: usize,
        rows: std::ops::Range<usize>,
    ) -> (String, Vec<Vec<(String, Tone)>>) {
        let Fit { gap, columns } = self.fit(width);
        let padded = |at: usize, text: &str, first: bool| {
            let (column, width) = (&self.columns[columns[at].0], columns[at].1);
            let text = fitted(text, width);
            let space = " ".repeat(width.saturating_sub(text.chars().count()));
            let gap = if first { "" } else { &"  "[..gap] };
            match column.align {
                Align::Left => format!("{gap}{text}{space}"),
                Align::Right => format!("{gap}{space}{text}"),
            }
        };
        let head = |at: usize| padded(at, self.columns[columns[at].0].head, at == 0);
        let line = |row: &Vec<Cell>| {
            let cell = |at: usize| (&row[columns[at].0], at);
            let padded = |(cell, at): (&Cell, usize)| (padded(at, &cell.text, at == 0), cell.tone);
            (0..columns.len()).map(cell).map(padded).collect()
        };
        let rows = self.rows.get(rows).unwrap_or_default();
        ((0..columns.len()).map(head).collect(), rows.iter().map(line).collect())
    }

    /// Which columns there is room for. Gaps narrow before a column is left out.
    fn fit(&self, width: usize) -> Fit {
        let natural = |at: usize, column: &Column| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            let widest = cells.map(Cell::width).max().unwrap_or_default();
            widest.min(column.most).max(column.head.len())
        };
        let natural: Vec<_> =
            self.columns.iter().enumerate().map(|(at, column)| natural(at, column)).collect();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        loop {
            let fixed = shown.iter().filter(|at| self.columns[**at].rest.is_none());
            let fixed: usize = fixed.map(|at| natural[*at]).sum();
            let rest = shown.iter().find_map(|at| Some((natural[*at], self.columns[*at].rest?)));
            let (wanted, least) = rest.unwrap_or_default();
            let gaps = shown.len().saturating_sub(1);
            let expendable = shown.iter().copied().max_by_key(|at| self.columns[*at].rank);
            let expendable = expendable.filter(|at| self.columns[*at].rank > 0);
            let fits = |gap: usize| fixed + gaps * gap + wanted.min(least) <= width;
            let gap = if fits(2) { 2 } else { 1 };
            match expendable.filter(|_| !fits(gap)) {
                Some(expendable) => shown.retain(|at| *at != expendable),
                None => {
                    // A narrower gap where the rest is short of room.
                    let gap = if fixed + gaps * 2 + wanted <= width { 2 } else { 1 };
                    let left = width.saturating_sub(fixed + gaps * gap);
                    let taken = |at: usize| match self.columns[at].rest {
                        Some(_) => wanted.min(left),
                        None => natural[at],
                    };
                    let columns = shown.into_iter().map(|at| (at, taken(at))).collect();
                    return Fit { gap, columns };
                }
            }
        }
    }
}

/// The columns that are shown, with their widths.
struct Fit {
    gap: usize,
    columns: Vec<(usize, usize)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let row = |url: &str, hits: &str| {
            vec![Cell::plain(hits), Cell::plain(url), Cell::plain("news sport"), Cell::plain("3 s")]
        };
        Listing {
            title: "a title".into(),
            summary: None,
            columns: vec![
                Column::right("HITS", 0),
                Column::rest("URL", 14),
                Column::left("TAGS", 2),
                Column::right("AGE", 1),
            ],
            rows: vec![row("http://example.com/articles/1", "7"), row("http://h/", "12345")],
            empty: "nothing",
        }
    }

    fn text(width: usize) -> Vec<String> {
        let (head, rows) = listing().lines(width, 0..2);
        let line = |row: Vec<(String, Tone)>| row.into_iter().map(|(text, _)| text).collect();
        [head].into_iter().chain(rows.into_iter().map(line)).collect()
    }

    #[test]
    fn what_fits_is_shown_with_room() {
        let expected = [
            "HITS   URL                            TAGS        AGE",
            "    7  http://example.com/articles/1  news sport  3 s",
            "12345  http://h/                      news sport  3 s",
        ];
        let shown = text(60);
        assert_eq!(shown[1..], expected[1..]);
        assert_eq!(shown[0].len(), shown[1].len());
        assert_eq!(listing().printed(Paint::plain()).lines().nth(1), Some(expected[1]));
    }

    #[test]
    fn what_matters_less_gives_way() {
        assert!(text(40)[0].contains("TAGS"), "its gaps narrowed first");
        assert_eq!(text(28)[1], "    7 http:/\u{2026}/articles/1 3 s");
        assert_eq!(text(12)[1], "    7 ht\u{2026}s/1");
        for width in 0..80 {
            for line in text(width) {
                // Of the smallest there is what matters most, and the frame cuts it off.
                assert!(line.chars().count() <= width.max(6), "{width}: {line:?}");
            }
        }
    }

    #[test]
    fn a_summary_shows_whole_entries_and_counts_the_others() {
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let summary = Summary::new([
            ("now", own(&["uri-miss 7.9/s", "stale 0.5/s"])),
            ("not stored", own(&["no-store 1234", "set-cookie 45", "private 3"])),
        ]);
        let full = "now: uri-miss 7.9/s, stale 0.5/s; not stored: no-store 1234, set-cookie 45, \
                    private 3";
        for (width, expected) in [
            (200, full),
            (full.len(), full),
            (
                full.len() - 1,
                "now: uri-miss 7.9/s, stale 0.5/s; not stored: no-store 1234, set-cookie 45, +1 more",
            ),
            (74, "now: uri-miss 7.9/s, stale 0.5/s; not stored: no-store 1234, +2 more"),
            (64, "now: uri-miss 7.9/s, +1 more; not stored: no-store 1234, +2 more"),
            (63, "now: uri-miss 7.9/s, +1 more; not stored: +3 more"),
            (33, "now: +2 more; not stored: +3 more"),
            (32, "not stored: +3 more"),
            (18, ""),
        ] {
            let shown = summary.fitted(width);
            assert!(shown.len() <= width, "{width}: {shown}");
            assert_eq!(shown, expected, "{width}");
        }
        assert_eq!(summary.full(), full);
        let none = Summary::new([("now", vec![])]);
        assert_eq!((none.full().as_str(), none.fitted(5).as_str()), ("now: none", ""));
        let harmful = Summary::new([("now", own(&["\u{1b}[2J"]))]);
        assert!(!harmful.full().chars().any(char::is_control));
    }

    #[test]
    fn control_characters_end_at_the_cell() {
        let cell = Cell::plain("http://h/\x1b[2J\u{9b}31m\r");
        assert!(!cell.text.chars().any(char::is_control), "{cell:?}");
    }
}
