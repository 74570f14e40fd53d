//! A note in `node.state` of URLs that were removed while the disk did not take the removal: its device
//! has failed, or another process has it, which takes over. They are removed once it takes it, at the next
//! start at the latest.

use crate::store::UrlHash;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The name of the note.
const NAME: &str = "disk-removals";

/// How long an answer waits for the note: it may lie on the device that failed.
const WAIT: Duration = Duration::from_secs(2);

/// URLs in a note, at most. Beyond that it says that everything is to be removed.
const MOST: usize = 10_000;

/// The line for everything.
const ALL: &str = "everything-------";

/// The note, if there is a place for it.
#[derive(Clone)]
pub(super) struct RiskNote {
    path: Option<PathBuf>,
    noted: Arc<Mutex<Noted>>,
}

/// What is in a note.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Noted {
    /// The URLs.
    pub(super) urls: BTreeSet<UrlHash>,
    /// Everything is to be removed.
    pub(super) all: bool,
}

impl Noted {
    /// Whether it says nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.urls.is_empty() && !self.all
    }

    fn parse(text: &str) -> Self {
        let mut noted = Self::default();
        // Of a last line that is not whole nobody was told.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match u64::from_str_radix(line, 16) {
                Ok(url) => drop(noted.urls.insert(url)),
                Err(_) => noted.all = true,
            }
        }
        noted
    }
}

impl RiskNote {
    /// The note in the directory `node.state`.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(state: Option<&Path>) -> io::Result<Self> {
        let note = Self { path: state.map(|state| state.join(NAME)), noted: Arc::default() };
        note.read()?;
        Ok(note)
    }

    /// What is in it now, whoever wrote it.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(&self) -> io::Result<Noted> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match self.path.as_ref().map(std::fs::read_to_string).transpose() {
            Ok(text) => text.unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        *noted = Noted::parse(&text);
        Ok(noted.clone())
    }

    /// Notes these URLs; whether that is durable. Nothing is written for those that are noted.
    pub(super) async fn note(&self, urls: Vec<UrlHash>) -> bool {
        let note = self.clone();
        let written = tokio::task::spawn_blocking(move || note.append(&urls));
        matches!(tokio::time::timeout(WAIT, written).await, Ok(Ok(Ok(()))))
    }

    fn append(&self, urls: &[UrlHash]) -> io::Result<()> {
        let Some(path) = &self.path else { return Err(io::ErrorKind::NotFound.into()) };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = urls.iter().filter(|url| !noted.urls.contains(url)).collect();
        if noted.all || new.is_empty() {
            return Ok(());
        }
        let all = noted.urls.len() + new.len() > MOST;
        let lines: String = match all {
            true => format!("{ALL}\n"),
            false => new.iter().map(|url| format!("{url:016x}\n")).collect(),
        };
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        if noted.is_empty() {
            File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        }
        noted.all |= all;
        noted.urls.extend(urls);
        Ok(())
    }

    /// What was in the note has been removed durably.
    ///
    /// # Errors
    /// The note cannot be removed: that is done again at the next start.
    pub(super) fn clear(&self, done: &Noted) -> io::Result<()> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = self.path.as_ref().filter(|_| *noted == *done && !done.is_empty()) {
            std::fs::remove_file(path)?;
            *noted = Noted::default();
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_noted_is_known_to_the_next_process_until_it_is_cleared() {
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let random = u64::from_le_bytes(random);
        let state = std::env::temp_dir().join(format!("weir-risk-{random:016x}"));
        std::fs::create_dir_all(&state).unwrap();
        let note = RiskNote::open(Some(&state)).unwrap();
        assert!(note.read().unwrap().is_empty());
        assert!(note.note(vec![7]).await && note.note(vec![u64::MAX, 7]).await);
        let next = RiskNote::open(Some(&state)).unwrap();
        let noted = next.read().unwrap();
        assert_eq!(noted, Noted { urls: BTreeSet::from([7, u64::MAX]), all: false });
        // What came meanwhile is not cleared with it.
        assert!(next.note(vec![8]).await);
        next.clear(&noted).unwrap();
        assert_eq!(note.read().unwrap().urls.len(), 3);
        assert!(next.note((100..100 + MOST as u64).collect()).await);
        let noted = note.read().unwrap();
        assert!(noted.all, "more than are kept");
        note.clear(&noted).unwrap();
        assert!(RiskNote::open(Some(&state)).unwrap().read().unwrap().is_empty());
        // A line that was cut off by a crash was no answer's.
        std::fs::write(state.join(NAME), format!("{:016x}\n0123", 9)).unwrap();
        let noted = note.read().unwrap();
        assert_eq!(noted, Noted { urls: BTreeSet::from([9]), all: false });
        std::fs::remove_dir_all(&state).unwrap();
        assert!(!note.note(vec![1]).await, "the directory is gone");
        assert!(!RiskNote::open(None).unwrap().note(vec![1]).await, "there is no place for it");
    }
}
