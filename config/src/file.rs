//! What the user wrote: a tree of values, each with the place it came from. Nothing is judged
//! here but syntax; [`super::check`] does the rest.

use super::mistakes::{Location, Mistake, Mistakes};
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// Longest configuration text, bytes.
const LONGEST_TEXT: usize = 4 << 20;

/// Most faults of syntax that are told: one fault often causes others.
const MOST_SYNTAX_FAULTS: usize = 10;

/// The configuration as written: the file, then the environment, then flags over it.
#[derive(Clone, Debug, Default)]
pub struct FileConfig {
    pub(super) root: Table,
}

/// A table: values by key.
pub(super) type Table = BTreeMap<String, Value>;

/// One value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) place: Location,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Value>),
    Table(Table),
    /// A number with a fraction or beyond 64 bits, or a date: no key takes one.
    Other(String),
}

impl FileConfig {
    /// Reads TOML.
    ///
    /// # Errors
    /// The faults of syntax, each with its line.
    pub fn parse(text: &str) -> Result<Self, Mistakes> {
        if text.len() > LONGEST_TEXT {
            let size = text.len();
            return Err(Mistakes::of(format!("{size} bytes; at most {LONGEST_TEXT} are read")));
        }
        let lines = Lines::of(text);
        let (document, faults) = DeTable::parse_recoverable(text);
        if faults.is_empty() {
            return Ok(Self { root: table(document.get_ref(), &lines) });
        }
        let mut mistakes = Mistakes::default();
        for fault in faults.iter().take(MOST_SYNTAX_FAULTS) {
            let place = fault.span().map_or(Location::Nowhere, |span| lines.place(span.start));
            let message = format!("not TOML: {}", fault.message().replace('\n', "; "));
            mistakes.0.push(Mistake { path: String::new(), place, value: None, message });
        }
        mistakes.sort();
        mistakes.0.dedup_by(|later, earlier| later.place == earlier.place);
        Err(mistakes)
    }

    /// Whether the file, the environment or a flag sets this key.
    pub fn sets(&self, table: &str, key: &str) -> bool {
        let table = self.root.get(table).map(|value| &value.kind);
        matches!(table, Some(Kind::Table(table)) if table.contains_key(key))
    }

    /// Lays variables named `WEIR_TABLE__KEY` over the file; other names are left alone. What
    /// they name is judged like the file's keys, so an unknown one is a mistake.
    pub fn override_with(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in variables {
            let Some((table, key)) =
                name.strip_prefix("WEIR_").and_then(|path| path.split_once("__"))
            else {
                continue;
            };
            let (table, key) = (table.to_lowercase(), key.to_lowercase());
            self.insert(&table, &key, Location::Environment(name), text);
        }
    }

    /// Lays a flag of the command line over `table.key`.
    pub fn set(&mut self, flag: &'static str, table: &str, key: &str, text: impl Into<String>) {
        self.insert(table, key, Location::Flag(flag), text.into());
    }

    /// Fronts `url`: makes the site `default` for every host when the file has no site, and
    /// replaces the origins of the only site when it has one.
    ///
    /// # Errors
    /// With several sites it is not known which is meant.
    pub fn front(&mut self, flag: &'static str, url: &str) -> Result<(), Mistakes> {
        let place = Location::Flag(flag);
        let value = |kind| Value { place: place.clone(), kind };
        let origins = value(Kind::Array(vec![value(Kind::Text(url.to_owned()))]));
        let sites = self
            .root
            .entry("site".to_owned())
            .or_insert_with(|| value(Kind::Array(vec![value(Kind::Table(Table::new()))])));
        match &mut sites.kind {
            Kind::Array(sites) if sites.len() == 1 => {
                if let Kind::Table(site) = &mut sites[0].kind {
                    site.insert("origins".to_owned(), origins);
                }
                Ok(())
            }
            Kind::Array(sites) if sites.len() > 1 => Err(Mistakes(vec![Mistake {
                path: "site".to_owned(),
                place,
                value: None,
                message: format!(
                    "the file has {} sites, so it is unknown which one's origin is meant; \
                     write it in the file",
                    sites.len()
                ),
            }])),
            // `site` of another kind is a mistake that the check tells.
            _ => Ok(()),
        }
    }

    /// Has the only site, which there must be, serve `hosts` by https, with certificates that are ordered.
    ///
    /// # Errors
    /// With several sites, or none, it is not known which is meant.
    pub fn secure(&mut self, flag: &'static str, hosts: &[String]) -> Result<(), Mistakes> {
        let place = Location::Flag(flag);
        let value = |kind| Value { place: place.clone(), kind };
        let text = |text: &str| value(Kind::Text(text.to_owned()));
        let sites = match self.root.get_mut("site").map(|sites| &mut sites.kind) {
            Some(Kind::Array(sites)) => sites.as_mut_slice(),
            // `site` of another kind is a mistake that the check tells.
            Some(_) => return Ok(()),
            None => &mut [],
        };
        let [Value { kind: Kind::Table(site), .. }] = sites else {
            let message = format!(
                "there are {} sites, so it is unknown whose host is meant; write hosts and tls = \"auto\" in \
                 the file, or use --origin without a file",
                sites.len()
            );
            let path = "site".to_owned();
            return Err(Mistakes(vec![Mistake { path, place, value: None, message }]));
        };
        let hosts = hosts.iter().map(|host| text(host)).collect();
        site.insert("hosts".to_owned(), value(Kind::Array(hosts)));
        site.insert("tls".to_owned(), text("auto"));
        let empty = || value(Kind::Table(Table::new()));
        let tls = self.root.entry("tls".to_owned()).or_insert_with(empty);
        if let Kind::Table(tls) = &mut tls.kind {
            tls.entry("acme".to_owned()).or_insert_with(empty);
        }
        Ok(())
    }

    /// Lays a flag of the command line over `tls.acme.key`.
    pub fn set_acme(&mut self, flag: &'static str, key: &str, text: impl Into<String>) {
        let value = Value { place: Location::Flag(flag), kind: Kind::Text(text.into()) };
        let tls = self.root.get_mut("tls").map(|tls| &mut tls.kind);
        if let Some(Kind::Table(tls)) = tls
            && let Some(Kind::Table(acme)) = tls.get_mut("acme").map(|acme| &mut acme.kind)
        {
            acme.insert(key.to_owned(), value);
        }
    }

    fn insert(&mut self, table: &str, key: &str, place: Location, text: String) {
        let value = Value { place: place.clone(), kind: Kind::Text(text) };
        let entry = self
            .root
            .entry(table.to_owned())
            .or_insert_with(|| Value { place: place.clone(), kind: Kind::Table(Table::new()) });
        match &mut entry.kind {
            Kind::Table(table) => insert_below(table, key, value),
            // `site` and `token` are lists: a variable cannot say which one it means. Told as an
            // unknown top-level key, with the variable's name.
            _ => {
                self.root.insert(format!("{table}.{key}"), value);
            }
        }
    }
}

/// Lays `value` over `key`, which has `__` between the names of the tables below `table` and its own.
fn insert_below(table: &mut Table, key: &str, value: Value) {
    if let Some((inner, rest)) = key.split_once("__") {
        let place = value.place.clone();
        let entry = table
            .entry(inner.to_owned())
            .or_insert_with(|| Value { place, kind: Kind::Table(Table::new()) });
        if let Kind::Table(inner) = &mut entry.kind {
            return insert_below(inner, rest, value);
        }
    }
    // What is no table has no keys: told as an unknown key, with the variable's name.
    table.insert(key.to_owned(), value);
}

impl Value {
    /// The value as it stands in the file, shortened to what fits a message.
    pub(super) fn shown(&self) -> String {
        const LONGEST_SHOWN: usize = 80;
        let full = match &self.kind {
            Kind::Text(text) => format!("{text:?}"),
            Kind::Integer(number) => number.to_string(),
            Kind::Boolean(value) => value.to_string(),
            Kind::Array(values) if values.is_empty() => "[]".into(),
            Kind::Array(_) => "[…]".into(),
            Kind::Table(_) => "{…}".into(),
            Kind::Other(text) => text.clone(),
        };
        if full.chars().count() <= LONGEST_SHOWN {
            return full;
        }
        full.chars().take(LONGEST_SHOWN).chain(std::iter::once('…')).collect()
    }

    /// Whether it was given as bare text, outside of TOML: its type is then what the key takes.
    pub(super) fn is_bare(&self) -> bool {
        matches!(self.place, Location::Environment(_) | Location::Flag(_))
    }
}

/// Begins of lines, to tell an offset's line.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect())
    }

    fn place(&self, offset: usize) -> Location {
        Location::Line(self.0.partition_point(|end| *end < offset) + 1)
    }
}

/// Recursion is bounded by the TOML parser's own limit on nesting.
fn table(written: &DeTable<'_>, lines: &Lines) -> Table {
    let entry = |(key, entry): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<_>)| {
        let place = lines.place(key.span().start);
        let kind = kind(entry.get_ref(), lines);
        (key.get_ref().to_string(), Value { place, kind })
    };
    written.iter().map(entry).collect()
}

fn kind(written: &DeValue<'_>, lines: &Lines) -> Kind {
    match written {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Integer(number),
            Err(_) => Kind::Other(number.to_string()),
        },
        DeValue::Float(number) => Kind::Other(number.to_string()),
        DeValue::Boolean(value) => Kind::Boolean(*value),
        DeValue::Datetime(date) => Kind::Other(date.to_string()),
        DeValue::Array(values) => Kind::Array(
            values
                .iter()
                .map(|value| Value {
                    place: lines.place(value.span().start),
                    kind: kind(value.get_ref(), lines),
                })
                .collect(),
        ),
        DeValue::Table(entries) => Kind::Table(table(entries, lines)),
    }
}
