//! What is wrong with a configuration: where, which value, and what would be accepted.

use std::fmt;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A line of the file, from 1.
    Line(usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nowhere: what is missing, or concerns the whole.
    Nowhere,
}

/// One mistake. `Display` is one line: place, key path, value, reason and what is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key's path, such as `site[0].timeouts.connect`; empty for faults of syntax.
    pub path: String,
    /// Where it stands.
    pub place: Location,
    /// The value as written, shortened; `None` when it is missing or secret.
    pub value: Option<String>,
    /// What is wrong with it, and what is accepted.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Location::Line(line) => write!(f, "line {line}: ")?,
            Location::Environment(name) => write!(f, "{name}: ")?,
            Location::Flag(name) => write!(f, "{name}: ")?,
            Location::Nowhere => {}
        }
        f.write_str(&self.path)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.message)
    }
}

/// All mistakes of a configuration, in the order of the file; never empty as an error.
/// `Display` writes one line for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// The single mistake `message` about the whole configuration.
    pub fn of(message: impl Into<String>) -> Self {
        let message = message.into();
        Self(vec![Mistake { path: String::new(), place: Location::Nowhere, value: None, message }])
    }

    /// Puts them in the order of the file; those without a line come last.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|mistake| match mistake.place {
            Location::Line(line) => line,
            _ => usize::MAX,
        });
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if n == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
