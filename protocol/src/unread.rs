//! Lines that a relay passes on unread.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A line as it was written: JSON, of which nothing else is known. It is no longer than the line in which
/// it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Unread(Box<RawValue>);

impl Unread {
    /// A value, as it is written.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn of(line: &impl Serialize) -> Result<Self, serde_json::Error> {
        serde_json::value::to_raw_value(line).map(Self)
    }

    /// The text, without the end of the line.
    pub fn text(&self) -> &str {
        self.0.get()
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is not what is asked for.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.text())
    }
}

impl PartialEq for Unread {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Unread {}
