//! The figures of a directory of the disk store, in words and as JSON.

use crate::text::columns;
use serde_json::{Value, json};
use std::path::Path;
use weir_config::units::format_size;
use weir_store::{Checkpoint, FORMAT_VERSION, Stat, Verified};

/// What is in a directory, and what reading all of it showed, if it was read.
pub(super) struct Figures {
    stat: Stat,
    read: Option<Read>,
}

struct Read {
    whole: u64,
    bytes: u64,
    damaged: u64,
}

impl From<Stat> for Figures {
    fn from(stat: Stat) -> Self {
        Self { stat, read: None }
    }
}

impl From<Verified> for Figures {
    fn from(Verified { stat, whole, bytes, damaged }: Verified) -> Self {
        Self { stat, read: Some(Read { whole, bytes, damaged }) }
    }
}

impl Figures {
    /// Whether what was read is not all whole.
    pub(super) fn is_damaged(&self) -> bool {
        self.read.as_ref().is_some_and(|read| read.damaged > 0)
    }

    /// All figures under the names that programs read.
    pub(super) fn as_json(&self, path: &Path) -> Value {
        let Stat { id, geometry, place, checkpoint, segments, unreadable, responses, slices } =
            &self.stat;
        let mut figures = json!({
            "path": path.display().to_string(),
            "format": FORMAT_VERSION,
            "id": hexadecimal(&id.0),
            "directory": place.0 + 1,
            "directories": place.1,
            "segment_bytes": geometry.segment,
            "segments_max": geometry.slots,
            "segments": segments,
            "segments_unreadable": unreadable,
            "responses": responses,
            "slices": slices,
            "log": checkpoint.as_ref().and_then(|checkpoint| checkpoint.log.as_ref()),
            "applied_seq": checkpoint.as_ref().map(|checkpoint| checkpoint.applied),
            "checked_seq": checkpoint.as_ref().map(|checkpoint| checkpoint.checked),
        });
        if let Some(Read { whole, bytes, damaged }) = &self.read {
            figures["records"] = json!(whole);
            figures["record_bytes"] = json!(bytes);
            figures["records_damaged"] = json!(damaged);
        }
        figures
    }
}

/// A line for each figure.
pub(super) fn told(path: &Path, figures: &Figures) -> String {
    let Stat { id, geometry, place, checkpoint, segments, unreadable, responses, slices } =
        &figures.stat;
    let size = format_size(geometry.segment.into());
    let mut rows = vec![
        ("path", path.display().to_string()),
        ("format", FORMAT_VERSION.to_string()),
        ("id", hexadecimal(&id.0)),
        ("directory", format!("{} of {}", place.0 + 1, place.1)),
        ("segments", format!("{segments} of {} in use, {size} each", geometry.slots)),
        ("unreadable", format!("{unreadable} segments")),
        ("responses", responses.to_string()),
        ("slices", slices.to_string()),
    ];
    let log = |of: &dyn Fn(&Checkpoint) -> String| {
        checkpoint.as_ref().map_or_else(|| "none".to_owned(), of)
    };
    rows.push(("log", log(&|found| found.log.clone().unwrap_or_else(|| "none".to_owned()))));
    rows.push(("applied", log(&|found| found.applied.to_string())));
    rows.push(("checked", log(&|found| found.checked.to_string())));
    if let Some(Read { whole, bytes, damaged }) = &figures.read {
        rows.push(("whole", format!("{whole} records, {bytes} bytes")));
        rows.push(("damaged", format!("{damaged} records")));
    }
    columns(&rows)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
