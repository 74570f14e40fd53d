//! Reading one table of a [`FileConfig`](super::file::FileConfig): each key is asked for once,
//! with its default and what is accepted beside it, and every mistake is noted instead of ending
//! the reading. A key that nobody asked for is unknown.

use super::file::{Kind, Table, Value};
use super::mistakes::{Location, Mistake, Mistakes};
use super::nearest::{did_you_mean, nearest};
use super::units::{
    DURATION_FORM, SIZE_FORM, format_duration, format_size, parse_duration, parse_size,
};
use super::words::{Word, hinted};
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The mistakes so far, and every key that was asked for.
#[derive(Default)]
pub(super) struct Notes {
    mistakes: RefCell<Mistakes>,
    known: RefCell<std::collections::BTreeSet<String>>,
}

impl Notes {
    pub(super) fn add(&self, mistake: Mistake) {
        self.mistakes.borrow_mut().0.push(mistake);
    }

    /// All mistakes in the order of the file.
    pub(super) fn into_mistakes(self) -> Mistakes {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort();
        mistakes
    }

    /// Paths of the keys asked for, list positions left out: `site.timeouts.connect`.
    #[cfg(test)]
    pub(super) fn known(&self) -> Vec<String> {
        self.known.borrow().iter().cloned().collect()
    }
}

/// One table being read. Absent tables are read like empty ones, which gives the defaults.
pub(super) struct Section<'a> {
    path: String,
    place: Location,
    table: Option<&'a Table>,
    asked: Vec<&'static str>,
    notes: &'a Notes,
}

impl<'a> Section<'a> {
    pub(super) fn root(table: &'a Table, notes: &'a Notes) -> Self {
        Self {
            path: String::new(),
            place: Location::Nowhere,
            table: Some(table),
            asked: vec![],
            notes,
        }
    }

    /// Whether the file has this table at all.
    pub(super) fn is_written(&self) -> bool {
        self.table.is_some()
    }

    /// Whether `name` is written, without counting as asking for it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(name))
    }

    /// Whether `name` is written as a list of nothing, without counting as asking for it.
    pub(super) fn has_empty_list(&self, name: &str) -> bool {
        let kind = self.table.and_then(|table| table.get(name)).map(|value| &value.kind);
        matches!(kind, Some(Kind::Array(values)) if values.is_empty())
    }

    /// Whether `name` is written as a text that is no list, without counting as asking for it.
    pub(super) fn is_text(&self, name: &str) -> bool {
        let value = self.table.and_then(|table| table.get(name));
        value.is_some_and(|value| match &value.kind {
            Kind::Text(text) => !value.is_bare() || !text.contains(','),
            _ => false,
        })
    }

    /// The path of a key of this table.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Notes a mistake about `name`, which need not be written.
    pub(super) fn mistake(&self, name: &str, message: impl Into<String>) {
        let value = self.table.and_then(|table| table.get(name));
        self.notes.add(Mistake {
            path: self.path_of(name),
            place: value.map_or_else(|| self.place.clone(), |value| value.place.clone()),
            value: value.map(Value::shown),
            message: message.into(),
        });
    }

    /// Like [`Section::mistake`], with the value kept out of the message: it may be a secret.
    pub(super) fn hidden_mistake(&self, name: &str, message: impl Into<String>) {
        let value = self.table.and_then(|table| table.get(name));
        self.notes.add(Mistake {
            path: self.path_of(name),
            place: value.map_or_else(|| self.place.clone(), |value| value.place.clone()),
            value: None,
            message: message.into(),
        });
    }

    /// Asks for a key; `None` when it is not written.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        if !self.asked.contains(&name) {
            self.asked.push(name);
        }
        let path = self.path_of(name);
        self.notes.known.borrow_mut().insert(without_positions(&path));
        self.table.and_then(|table| table.get(name))
    }

    /// Asks for a key and judges it; the message of a refusal is noted.
    fn judge<T>(
        &mut self,
        name: &'static str,
        judge: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        match judge(self.value(name)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.mistake(name, message);
                None
            }
        }
    }

    /// Asks for a key and reads it; a reason for refusal is noted together with what is accepted.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        accepted: &str,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        self.judge(name, |value| read(value).map_err(|reason| refusal(&reason, accepted)))
    }

    /// A text judged by `parse`.
    pub(super) fn text<T>(
        &mut self,
        name: &'static str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(name, accepted, |value| match &value.kind {
            Kind::Text(text) => parse(text),
            _ => Err("not a text".into()),
        })
    }

    /// One of a few words.
    pub(super) fn word<T: Word>(&mut self, name: &'static str, default: T) -> T {
        self.judge(name, |value| a_word(value, UNKNOWN_WORD, T::accepted())).unwrap_or(default)
    }

    /// One of a few words, where the key takes `other` too, which was looked for before.
    pub(super) fn word_or<T: Word>(&mut self, name: &'static str, other: &str) -> Option<T> {
        let accepted = format!("{}, or {other}", T::accepted());
        self.judge(name, |value| a_word(value, UNKNOWN_WORD, accepted))
    }

    /// A list of words out of a few, at most `most`; of an unknown one `unknown` is said. `None`
    /// when the key is not written.
    pub(super) fn words<T: Word>(
        &mut self,
        name: &'static str,
        most: usize,
        unknown: &str,
    ) -> Option<Vec<T>> {
        let accepted = T::accepted();
        self.each(name, most, &accepted, |element| a_word(element, unknown, accepted.clone()))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, name: &'static str, default: bool) -> bool {
        self.read(name, "true or false", |value| match &value.kind {
            Kind::Boolean(value) => Ok(*value),
            Kind::Text(text) if value.is_bare() => {
                text.parse().map_err(|_| "not a yes or no".into())
            }
            _ => Err("not a yes or no".into()),
        })
        .unwrap_or(default)
    }

    /// A whole number within bounds.
    pub(super) fn count<N>(
        &mut self,
        name: &'static str,
        default: N,
        bounds: RangeInclusive<N>,
    ) -> N
    where
        N: Copy + PartialOrd + Display + TryFrom<i64>,
    {
        let accepted = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.read(name, &accepted, |value| {
            let number = match &value.kind {
                Kind::Integer(number) => *number,
                Kind::Text(text) if value.is_bare() => {
                    text.parse::<i64>().map_err(|_| "not a whole number".to_string())?
                }
                _ => return Err("not a whole number".into()),
            };
            let number = N::try_from(number).ok().filter(|number| bounds.contains(number));
            number.ok_or_else(|| "out of bounds".into())
        })
        .unwrap_or(default)
    }

    /// A size in bytes within bounds, as text or as a number of bytes.
    pub(super) fn size<N>(
        &mut self,
        name: &'static str,
        default: N,
        bounds: RangeInclusive<u64>,
    ) -> N
    where
        N: TryFrom<u64>,
    {
        self.optional_size(name, bounds).unwrap_or(default)
    }

    /// The same, without a default.
    pub(super) fn optional_size<N>(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<N>
    where
        N: TryFrom<u64>,
    {
        let (least, most) = (format_size(*bounds.start()), format_size(*bounds.end()));
        let accepted = format!("{SIZE_FORM} from {least} to {most}");
        self.read(name, &accepted, |value| {
            let bytes = match &value.kind {
                Kind::Text(text) => parse_size(text)?,
                Kind::Integer(number) => u64::try_from(*number).map_err(|_| "negative")?,
                _ => return Err("not a size".into()),
            };
            let bytes = Some(bytes).filter(|bytes| bounds.contains(bytes));
            bytes.and_then(|bytes| N::try_from(bytes).ok()).ok_or_else(|| "out of bounds".into())
        })
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        name: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let (least, most) = (format_duration(*bounds.start()), format_duration(*bounds.end()));
        let accepted = format!("{DURATION_FORM} from {least} to {most}");
        self.read(name, &accepted, |value| {
            let duration = match &value.kind {
                Kind::Text(text) => parse_duration(text)?,
                Kind::Integer(0) => Duration::ZERO,
                Kind::Integer(_) => return Err("a number without a unit".into()),
                _ => return Err("not a duration".into()),
            };
            Some(duration).filter(|d| bounds.contains(d)).ok_or_else(|| "out of bounds".into())
        })
        .unwrap_or(default)
    }

    /// A duration in whole seconds, from none to `most`.
    pub(super) fn seconds(&mut self, name: &'static str, default: u32, most: u32) -> u32 {
        let seconds = |n: u32| Duration::from_secs(n.into());
        let duration = self.duration(name, seconds(default), Duration::ZERO..=seconds(most));
        if duration.subsec_millis() != 0 {
            self.mistake(
                name,
                "whole seconds only: freshness is counted in them (RFC 9111 §1.2.2)",
            );
        }
        u32::try_from(duration.as_secs()).unwrap_or(most)
    }

    /// A list of texts, each judged by `parse`; refused elements are noted one by one. `None`
    /// when the key is not written.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        accepted: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        self.each(name, most, accepted, |element| {
            let parsed = match &element.kind {
                Kind::Text(text) => parse(text),
                _ => Err("not a text".into()),
            };
            parsed.map_err(|reason| refusal(&reason, accepted))
        })
    }

    /// A list, each element of which `judge` judges; messages of refusals are noted one by one. `None` when the key is
    /// not written.
    pub(super) fn each<T>(
        &mut self,
        name: &'static str,
        most: usize,
        accepted: &str,
        judge: impl Fn(&Value) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let elements = self.elements(name, most, &format!("a list, each {accepted}"))?;
        let mut read = Vec::with_capacity(elements.len());
        for (n, element) in elements.iter().enumerate() {
            match judge(element) {
                Ok(value) => read.push(value),
                Err(message) => self.notes.add(Mistake {
                    path: format!("{}[{n}]", self.path_of(name)),
                    place: element.place.clone(),
                    value: Some(element.shown()),
                    message,
                }),
            }
        }
        Some(read)
    }

    /// A list of whole numbers within bounds. `None` when the key is not written.
    pub(super) fn numbers(
        &mut self,
        name: &'static str,
        most: usize,
        accepted: &str,
        bounds: RangeInclusive<u16>,
    ) -> Option<Vec<u16>> {
        self.each(name, most, accepted, |element| {
            let number = match &element.kind {
                Kind::Integer(number) => u16::try_from(*number).ok(),
                _ => return Err(refusal("not a whole number", accepted)),
            };
            let number = number.filter(|number| bounds.contains(number));
            number.ok_or_else(|| refusal("out of bounds", accepted))
        })
    }

    /// A table whose keys are names of the user's choice, each with a text or a list of texts that `parse` judges.
    pub(super) fn free_texts<T>(
        &self,
        most: usize,
        accepted: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<(String, Vec<T>)> {
        let mut read = Vec::new();
        for (name, value) in self.table.into_iter().flatten().take(most) {
            let one = std::slice::from_ref(value);
            let (values, is_list) = match &value.kind {
                Kind::Array(values) => (values.as_slice(), true),
                _ => (one, false),
            };
            if values.is_empty() {
                self.mistake(name, refusal("empty", accepted));
            }
            let mut parsed = Vec::with_capacity(values.len());
            for (n, value) in values.iter().enumerate() {
                let judged = match &value.kind {
                    Kind::Text(text) => parse(text),
                    _ => Err("not a text".into()),
                };
                let path = self.path_of(name);
                match judged {
                    Ok(value) => parsed.push(value),
                    Err(reason) => self.notes.add(Mistake {
                        path: if is_list { format!("{path}[{n}]") } else { path },
                        place: value.place.clone(),
                        value: Some(value.shown()),
                        message: refusal(&reason, accepted),
                    }),
                }
            }
            read.push((name.clone(), parsed));
        }
        if self.table.is_some_and(|table| table.len() > most) {
            self.notes.add(Mistake {
                path: self.path.clone(),
                place: self.place.clone(),
                value: None,
                message: format!("more than {most} names"),
            });
        }
        read
    }

    /// The elements of a list, at most `most`. Bare text is split at commas.
    pub(super) fn elements(
        &mut self,
        name: &'static str,
        most: usize,
        accepted: &str,
    ) -> Option<Vec<Value>> {
        let elements = self.read(name, accepted, |value| match &value.kind {
            Kind::Array(values) => Ok(values.clone()),
            Kind::Text(text) if value.is_bare() => Ok(text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(|part| Value { place: value.place.clone(), kind: Kind::Text(part.into()) })
                .collect()),
            _ => Err("not a list".into()),
        })?;
        if elements.len() > most {
            self.mistake(name, format!("{} elements; at most {most} are taken", elements.len()));
            return None;
        }
        Some(elements)
    }

    /// A table within this one.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'a> {
        let value = self.value(name);
        let table = value.and_then(|value| match &value.kind {
            Kind::Table(table) => Some(table),
            _ => None,
        });
        if value.is_some() && table.is_none() {
            let path = self.path_of(name);
            self.mistake(name, format!("not a table; accepted: keys under [{path}]"));
        }
        let place = value.map_or(Location::Nowhere, |value| value.place.clone());
        Section { path: self.path_of(name), place, table, asked: vec![], notes: self.notes }
    }

    /// A table within this one, or a boolean in its place: whether there is a table or `true`, and the table, which
    /// has nothing in it where there is none.
    pub(super) fn section_or_switch(&mut self, name: &'static str) -> (bool, Section<'a>) {
        let value = self.value(name);
        let (on, table) = match value.map(|value| &value.kind) {
            None | Some(Kind::Boolean(false)) => (false, None),
            Some(Kind::Boolean(true)) => (true, None),
            Some(Kind::Table(table)) => (true, Some(table)),
            Some(_) => {
                let path = self.path_of(name);
                self.mistake(
                    name,
                    format!("not a table; accepted: true, false, or keys under [{path}]"),
                );
                (false, None)
            }
        };
        let place = value.map_or(Location::Nowhere, |value| value.place.clone());
        let section =
            Section { path: self.path_of(name), place, table, asked: vec![], notes: self.notes };
        (on, section)
    }

    /// A list of tables within this one, at most `most`.
    pub(super) fn sections(&mut self, name: &'static str, most: usize) -> Vec<Section<'a>> {
        let Some(value) = self.value(name) else { return vec![] };
        let path = self.path_of(name);
        let accepted = format!("accepted: at most {most} tables, each under [[{path}]]");
        let Kind::Array(values) = &value.kind else {
            self.mistake(name, format!("not a list of tables; {accepted}"));
            return vec![];
        };
        if values.len() > most {
            self.mistake(name, format!("{} tables; {accepted}", values.len()));
            return vec![];
        }
        let mut sections = Vec::with_capacity(values.len());
        for (n, value) in values.iter().enumerate() {
            let path = format!("{path}[{n}]");
            match Section::of(value, path.clone(), self.notes) {
                Some(section) => sections.push(section),
                None => self.notes.add(Mistake {
                    path,
                    place: value.place.clone(),
                    value: Some(value.shown()),
                    message: format!("not a table; {accepted}"),
                }),
            }
        }
        sections
    }

    /// `value` as a section of its own, if it is a table.
    pub(super) fn of(value: &'a Value, path: String, notes: &'a Notes) -> Option<Section<'a>> {
        let Kind::Table(table) = &value.kind else { return None };
        Some(Section { path, place: value.place.clone(), table: Some(table), asked: vec![], notes })
    }

    /// Where mistakes are noted.
    pub(super) fn notes(&self) -> &'a Notes {
        self.notes
    }

    /// Ends the reading: what was not asked for is unknown. `later` are keys of versions to come.
    pub(super) fn finish(self, later: &'static [&'static str]) {
        for key in self.table.into_iter().flat_map(Table::keys) {
            if self.asked.contains(&key.as_str()) {
                continue;
            }
            if later.contains(&key.as_str()) {
                self.hidden_mistake(key, "this version of weir has no such key yet");
                continue;
            }
            let hint = match nearest(key, self.asked.iter().chain(later).copied()) {
                Some(meant) if later.contains(&meant) => {
                    format!("the nearest is {meant}, which this version of weir does not have yet")
                }
                Some(meant) => did_you_mean(meant),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            self.hidden_mistake(key, format!("unknown key; {hint}"));
        }
    }
}

/// What is said of a word that is not one of the few that its key takes.
const UNKNOWN_WORD: &str = "not one of the known words";

/// A word out of a few; of an unknown one `unknown` is said.
fn a_word<T: Word>(value: &Value, unknown: &str, accepted: String) -> Result<T, String> {
    match &value.kind {
        Kind::Text(text) => {
            T::find(text).ok_or_else(|| refusal(unknown, &hinted(accepted, text, T::words())))
        }
        _ => Err(refusal("not a text", &accepted)),
    }
}

/// What is said of a value for this reason.
pub(super) fn refusal(reason: &str, accepted: &str) -> String {
    format!("{reason}; accepted: {accepted}")
}

fn without_positions(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => {}
            _ => out.push(c),
        }
    }
    out
}
