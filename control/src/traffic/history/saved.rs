//! The history on disk: `history` in `control.data`, beside the log.
//!
//! One file, which is replaced as a whole: [`MAGIC`], the version of the form, the SHA-256 of what follows, and
//! that. What was counted and what each process told last are of one moment: after a crash the history goes on from
//! there, and nothing is counted twice. A file that is damaged, or of another version, is set aside.

use super::level::{Level, Step, unpack};
use super::series::Series;
use super::{History, Kept, Now, Process};
use crate::traffic::counters::{Counters, Packed};
use crate::traffic::numbers::{read, read_bytes, read_text, write, write_bytes};
use ring::digest::{SHA256, digest};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, rename};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use weir_rules::tier::Tier;

/// The file in `control.data`.
const FILE: &str = "history";

/// A file that could not be used, kept for whoever looks into it.
const SET_ASIDE: &str = "history.set-aside";

/// What a new file is called until it is complete.
const NEW: &str = "history.new";

const MAGIC: &[u8; 8] = b"weirhist";

/// The version of the form.
const VERSION: u32 = 1;

/// Before the contents.
const HEAD: usize = MAGIC.len() + size_of::<u32>() + 32;

/// Where a history is kept. Nothing is written after [`HistoryFile::close`]: the directory may then be another
/// process's.
#[derive(Debug)]
pub(crate) struct HistoryFile {
    directory: PathBuf,
    is_open: Mutex<bool>,
}

impl HistoryFile {
    /// The file in this directory, and the history that it has; an empty one where there is no file, or none that can
    /// be used.
    pub(crate) fn open(directory: &Path, bound: usize, now: Now) -> (Self, History) {
        let file = Self { directory: directory.to_owned(), is_open: Mutex::new(true) };
        let path = directory.join(FILE);
        let kept = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => Some(Err(error.to_string())),
            Ok(bytes) => Some(kept(&bytes, bound, now)),
        };
        let kept = match kept {
            None => Kept::new(bound, now),
            Some(Ok(kept)) => kept,
            Some(Err(reason)) => {
                let aside = directory.join(SET_ASIDE);
                tracing::warn!(
                    file = %path.display(), aside = %aside.display(), reason,
                    "the traffic history cannot be used; it is set aside, and begins anew"
                );
                if let Err(error) = rename(&path, &aside) {
                    tracing::error!(file = %path.display(), %error, "it cannot be set aside");
                }
                Kept::new(bound, now)
            }
        };
        (file, History { kept: kept.into() })
    }

    /// Writes the history down; how many bytes that took. It blocks.
    ///
    /// # Errors
    /// It cannot be written; the file is as it was.
    pub(crate) fn save(&self, history: &History) -> Result<usize, String> {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        match *is_open {
            true => self.write(history),
            false => Ok(0),
        }
    }

    /// Writes it down for the last time.
    ///
    /// # Errors
    /// As [`HistoryFile::save`].
    pub(crate) fn close(&self, history: &History) -> Result<(), String> {
        let mut is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::take(&mut *is_open) {
            true => self.write(history).map(drop),
            false => Ok(()),
        }
    }

    fn write(&self, history: &History) -> Result<usize, String> {
        let path = self.directory.join(FILE);
        let bytes = bytes(&history.kept());
        replace(&self.directory, &path, &bytes)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(bytes.len())
    }
}

fn replace(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = directory.join(NEW);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// As the file has it.
fn bytes(kept: &Kept) -> Vec<u8> {
    let contents = contents(kept);
    let mut bytes = Vec::with_capacity(HEAD + contents.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(digest(&SHA256, &contents).as_ref());
    bytes.extend_from_slice(&contents);
    bytes
}

/// What the file has; why that cannot be used.
fn kept(bytes: &[u8], bound: usize, now: Now) -> Result<Kept, String> {
    let (head, contents) = bytes.split_at_checked(HEAD).ok_or("it is too short")?;
    let (magic, head) = head.split_at(MAGIC.len());
    let (version, sum) = head.split_at(size_of::<u32>());
    if magic != MAGIC {
        return Err("it is no history of weir".to_owned());
    }
    if version != VERSION.to_be_bytes() {
        let version = version.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        return Err(format!("its form has version {version}; known: {VERSION}"));
    }
    if digest(&SHA256, contents).as_ref() != sum {
        return Err("its checksum is wrong".to_owned());
    }
    read_contents(contents, bound, now).ok_or_else(|| "its contents are damaged".to_owned())
}

fn contents(kept: &Kept) -> Vec<u8> {
    let mut out = Vec::new();
    write(kept.since, &mut out);
    write(kept.complete, &mut out);
    write(kept.table.all().count() as u64, &mut out);
    for (id, series) in kept.table.all() {
        write(id, &mut out);
        write(u64::from(series.tier == Tier::Parent), &mut out);
        write_bytes(series.site.as_bytes(), &mut out);
        write_bytes(series.node.as_deref().unwrap_or_default().as_bytes(), &mut out);
    }
    write(kept.processes.len() as u64, &mut out);
    for (instance, process) in &kept.processes {
        write_bytes(instance.as_bytes(), &mut out);
        write(process.heard_wall, &mut out);
        write(process.told.len() as u64, &mut out);
        for (site, told) in &process.told {
            write_bytes(site.as_bytes(), &mut out);
            told.write(&mut out);
        }
    }
    write(kept.open.len() as u64, &mut out);
    for (second, rows) in &kept.open {
        write(*second, &mut out);
        write_bytes(&super::level::pack(rows), &mut out);
    }
    for level in &kept.levels {
        write(level.steps().count() as u64, &mut out);
        for step in level.steps() {
            write(step.number, &mut out);
            write(u64::from(step.by_node), &mut out);
            write_bytes(&step.rows, &mut out);
        }
    }
    out
}

fn read_contents(mut rest: &[u8], bound: usize, now: Now) -> Option<Kept> {
    let rest = &mut rest;
    let mut kept = Kept::new(bound, now);
    (kept.since, kept.complete) = (read(rest)?, read(rest)?);
    for _ in 0..read(rest)? {
        // As many ids are not used up.
        let id = read(rest).filter(|id| *id < u64::MAX / 2)?;
        let tier = if read(rest)? == 0 { Tier::Edge } else { Tier::Parent };
        let site = read_text(rest)?.into();
        let node = Some(read_text(rest)?).filter(|node| !node.is_empty()).map(Into::into);
        kept.table.put(id, Series { node, tier, site });
    }
    for _ in 0..read(rest)? {
        let (instance, heard_wall) = (read_text(rest)?, read(rest)?);
        let mut told = BTreeMap::new();
        for _ in 0..read(rest)? {
            told.insert(read_text(rest)?.into(), Packed::from(&Counters::read(rest)?));
        }
        kept.known += told.len();
        kept.processes.insert(instance.into(), Process { heard: now.instant, heard_wall, told });
    }
    for _ in 0..read(rest)? {
        let (second, rows) = (read(rest)?, unpack(read_bytes(rest)?)?);
        rows.keys().all(|id| kept.table.has(*id)).then_some(())?;
        kept.open.insert(second, rows);
    }
    for at in 0..kept.levels.len() {
        read_level(rest, &mut kept, at)?;
    }
    rest.is_empty().then_some(kept)
}

fn read_level(rest: &mut &[u8], kept: &mut Kept, at: usize) -> Option<()> {
    for _ in 0..read(rest)? {
        let (number, by_node, rows) = (read(rest)?, read(rest)? != 0, read_bytes(rest)?);
        unpack(rows)?.keys().all(|id| kept.table.has(*id)).then_some(())?;
        let level: &mut Level = &mut kept.levels[at];
        // No time is later.
        number.checked_mul(level.step).filter(|seconds| *seconds < u64::MAX / 2)?;
        level.put(Step { number, by_node, rows: rows.into() });
    }
    Some(())
}

/// The contents of a file, without its head.
#[cfg(test)]
pub(super) fn tests_write(history: &History) -> Vec<u8> {
    contents(&history.kept())
}

/// What contents are read as.
#[cfg(test)]
pub(super) fn tests_read(contents: &[u8], now: Now) -> Option<History> {
    read_contents(contents, 1 << 20, now).map(|kept| History { kept: kept.into() })
}
