//! A note in `node.state` that directories of the disk store are to be emptied at the next start: they
//! hold what was removed, and their device did not take the removal.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The name of the note.
const NAME: &str = "disk-to-empty";

/// How long an answer waits for the note: it may lie on the device that failed.
const WAIT: Duration = Duration::from_secs(2);

/// The note, if there is a place for it.
pub(super) struct RiskNote {
    path: Option<PathBuf>,
    noted: Arc<Mutex<BTreeSet<String>>>,
}

impl RiskNote {
    /// The note in the directory `node.state`, and the names in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(state: Option<&Path>) -> io::Result<(Self, BTreeSet<String>)> {
        let path = state.map(|state| state.join(NAME));
        let text = match path.as_ref().map(std::fs::read_to_string).transpose() {
            Ok(text) => text.unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let names: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        Ok((Self { path, noted: Arc::new(Mutex::new(names.clone())) }, names))
    }

    /// Notes these directories; whether that is durable. Nothing is written for those that are noted.
    pub(super) async fn note(&self, names: Vec<String>) -> bool {
        let Some(path) = self.path.clone() else { return false };
        let noted = Arc::clone(&self.noted);
        let written = tokio::task::spawn_blocking(move || {
            // One after the other: each writes all that are noted.
            let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
            if names.iter().all(|name| noted.contains(name)) {
                return Ok(());
            }
            let all: BTreeSet<_> = noted.iter().cloned().chain(names).collect();
            replace(&path, &all)?;
            *noted = all;
            Ok::<(), io::Error>(())
        });
        matches!(tokio::time::timeout(WAIT, written).await, Ok(Ok(Ok(()))))
    }

    /// The directories that were noted were emptied.
    ///
    /// # Errors
    /// The note cannot be removed: they are emptied again at the next start.
    pub(super) fn clear(&self) -> io::Result<()> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.path.as_ref().filter(|_| !noted.is_empty()) {
            std::fs::remove_file(path)?;
            noted.clear();
        }
        Ok(())
    }
}

fn replace(path: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    for name in names {
        writeln!(file, "{name}")?;
    }
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_noted_is_known_to_the_next_process_until_it_is_cleared() {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let state =
            std::env::temp_dir().join(format!("weir-risk-{:016x}", u64::from_le_bytes(random)));
        std::fs::create_dir_all(&state).unwrap();
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (note, noted) = RiskNote::open(Some(&state)).unwrap();
        assert!(noted.is_empty());
        assert!(note.note(names(&["/b"])).await);
        assert!(note.note(names(&["/a", "/b"])).await);
        let (note, noted) = RiskNote::open(Some(&state)).unwrap();
        assert_eq!(noted.into_iter().collect::<Vec<_>>(), names(&["/a", "/b"]));
        note.clear().unwrap();
        assert!(RiskNote::open(Some(&state)).unwrap().1.is_empty());
        std::fs::remove_dir_all(&state).unwrap();
        assert!(!note.note(names(&["/a"])).await, "the directory is gone");
        let (nowhere, _) = RiskNote::open(None).unwrap();
        assert!(!nowhere.note(names(&["/a"])).await, "there is no place for it");
    }
}
