//! The countries of clients: an operator's database in MaxMind's format, and what reads it again when it changes.

use crate::error::StartError;
use arc_swap::ArcSwap;
use maxminddb::{PathElement, Reader};
use std::fs::{File, Metadata};
use std::io::Read;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_config::{Geo as GeoConfig, LARGEST_GEO_DATABASE};
use weir_rules::country::Country;

/// Where a record has the country.
const COUNTRY: [PathElement<'_>; 2] = [PathElement::Key("country"), PathElement::Key("iso_code")];

/// A database that is in force, and the file that it was read from.
pub(crate) struct Geo {
    path: PathBuf,
    database: ArcSwap<Database>,
    /// The file as it was looked at last, whatever came of that; `None` if it was not there.
    seen: Mutex<Option<Stamp>>,
    /// Changes that were not taken, over reloads of the configuration.
    failures: Arc<AtomicU64>,
}

/// How the database stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GeoCounts {
    /// When it was built, in seconds since the Unix epoch.
    pub(crate) built: u64,
    /// Changes of its file that were not taken.
    pub(crate) failures: u64,
}

/// A database in memory.
struct Database(Reader<Vec<u8>>);

/// By what a change of a file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    length: u64,
    device: u64,
    inode: u64,
}

impl Stamp {
    fn of(file: &Metadata) -> Self {
        Self {
            modified: (file.mtime(), file.mtime_nsec()),
            length: file.len(),
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

impl Database {
    /// Reads and checks a database.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or is none; in words.
    fn open(path: &Path) -> Result<(Self, Stamp), String> {
        let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
        // Asked before it is opened: opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err("not a regular file".into());
        }
        let file = File::open(path).map_err(unreadable)?;
        let stamp = Stamp::of(&file.metadata().map_err(unreadable)?);
        let mut bytes = Vec::with_capacity(
            usize::try_from(stamp.length.min(LARGEST_GEO_DATABASE)).unwrap_or(0),
        );
        file.take(LARGEST_GEO_DATABASE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST_GEO_DATABASE {
            return Err(format!("larger than {LARGEST_GEO_DATABASE} bytes"));
        }
        let broken = |error| format!("not a MaxMind database: {error}");
        let reader = Reader::from_source(bytes).map_err(broken)?;
        // All of it, once: a lookup then meets nothing that is wrong.
        reader.verify().map_err(broken)?;
        Ok((Self(reader), stamp))
    }

    fn country(&self, client: IpAddr) -> Country {
        let found = self.0.lookup(client.to_canonical()).ok();
        let code = found.and_then(|found| found.decode_path::<&str>(&COUNTRY).ok().flatten());
        code.and_then(|code| Country::parse(code).ok()).unwrap_or(Country::UNKNOWN)
    }
}

impl Geo {
    /// The database of this configuration, with the counts of the one `before`.
    ///
    /// # Errors
    /// It cannot be used.
    pub(crate) fn open(config: &GeoConfig, before: Option<&Self>) -> Result<Self, StartError> {
        let path = &config.database;
        let (database, stamp) = Database::open(path).map_err(|why| {
            StartError(format!("geo.database = {:?}: {why}", path.display().to_string()))
        })?;
        let database = ArcSwap::from_pointee(database);
        let failures = before.map(|before| Arc::clone(&before.failures)).unwrap_or_default();
        Ok(Self { path: path.clone(), database, seen: Mutex::new(Some(stamp)), failures })
    }

    /// The country of a client; [`Country::UNKNOWN`] if the database has none.
    pub(crate) fn country(&self, client: IpAddr) -> Country {
        self.database.load().country(client)
    }

    /// How it stands.
    pub(crate) fn counts(&self) -> GeoCounts {
        let built = self.database.load().0.metadata().build_epoch;
        GeoCounts { built, failures: self.failures.load(Ordering::Relaxed) }
    }

    /// Reads the file again if it changed. One that cannot be used leaves the database as it is; the log says why, once
    /// for each change.
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&self.path).map(|file| Stamp::of(&file)).ok();
        if now == *seen {
            return;
        }
        *seen = now;
        let path = self.path.display();
        match Database::open(&self.path) {
            Ok((database, stamp)) => {
                self.database.store(Arc::new(database));
                *seen = Some(stamp);
                tracing::info!(%path, "geo.database: read again");
            }
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%path, error, "geo.database: keeping the current one");
            }
        }
    }
}

/// The country of an address in a database, for `weir check`.
///
/// # Errors
/// The database cannot be used.
pub fn country_of(config: &GeoConfig, client: IpAddr) -> Result<Country, StartError> {
    Ok(Geo::open(config, None)?.country(client))
}

/// Looks from time to time whether the database has changed, on a thread of its own while there is one.
#[derive(Default)]
pub(crate) struct GeoWatch(Mutex<Option<Watching>>);

struct Watching {
    of: Weak<Geo>,
    every: Duration,
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl GeoWatch {
    /// Watches this database, looked at so often, in place of the one before; none with zero.
    ///
    /// # Errors
    /// The system has no thread.
    pub(crate) fn follow(&self, geo: Option<&Arc<Geo>>, every: Duration) -> std::io::Result<()> {
        let mut watching = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |now: &Watching| {
            now.every == every && geo.is_some_and(|geo| now.of.ptr_eq(&Arc::downgrade(geo)))
        };
        if watching.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        if let Some(before) = watching.take() {
            before.stop();
        }
        if let Some(geo) = geo.filter(|_| !every.is_zero()) {
            *watching = Some(Watching::start(geo, every)?);
        }
        Ok(())
    }
}

impl Drop for GeoWatch {
    fn drop(&mut self) {
        if let Some(watching) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            watching.stop();
        }
    }
}

impl Watching {
    fn start(geo: &Arc<Geo>, every: Duration) -> std::io::Result<Self> {
        let of = Arc::downgrade(geo);
        let (stop, stopped) = channel();
        let watched = Weak::clone(&of);
        let watch = move || {
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                match watched.upgrade() {
                    Some(geo) => geo.look(),
                    None => return,
                }
            }
        };
        let thread = std::thread::Builder::new().name("weir-geo".into()).spawn(watch)?;
        Ok(Self { of, every, stop, thread })
    }

    fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}
