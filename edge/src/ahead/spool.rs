//! Files for what clients have not taken yet. A file has no name from its creation on, and what is in it
//! is encrypted with a key that is nowhere but in memory: it ends with the process, and nobody reads it.

use crate::byte_budget::{ByteBudget, Portion};
use crate::error::StoreError;
use crate::release_memory::release_memory;
use bytes::Bytes;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions, remove_file};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use weir_rules::client_share::Prefix;

/// Bytes that authentication adds to each chunk.
const TAG: usize = 16;

/// Threads that read, and as many that write. A disk works on few jobs at a time, and what a thread has
/// freed stays with it: the threads of a pool that come and go would keep memory.
const AT_ONCE: usize = 2;

/// A thread that has had nothing to do for so long gives free memory back.
const RESTS_AFTER: Duration = Duration::from_secs(2);

/// The most bytes that were written and are in the system's memory. They count for the container: where
/// that is full of what has yet to be written to the disk, whoever needs memory, a worker too, waits for
/// the disk.
const CACHED: u64 = 64 << 20;

/// A read or a write. As many wait as bodies do.
type Job = Box<dyn FnOnce() + Send>;

/// Where bodies are spooled, and how much.
#[derive(Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    /// Of all files.
    bytes: Arc<ByteBudget>,
    /// Of one.
    most: u64,
    sensitive: bool,
    /// What was written lately, and is in the system's memory.
    cached: Mutex<Cached>,
    /// Apart: what waits to be read back is for a slow client, what waits to be written holds a
    /// connection to an origin.
    reads: Jobs,
    writes: Jobs,
}

impl Spool {
    /// The spool of a configuration, once a file can be made there. A missing folder is created, for
    /// this user alone; one that it would be in is not.
    ///
    /// # Errors
    /// Says why none can.
    pub(crate) fn open(config: &weir_config::Spool) -> Result<Option<Arc<Self>>, String> {
        let Some(path) = &config.path else { return Ok(None) };
        let told = |error: &StoreError| format!("spool.path: {}", error.why());
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(told(&failed(path, &error)));
            }
            _ => {}
        }
        let started = |kind| {
            Jobs::start(kind).map_err(|error| format!("spool.path: no thread for it: {error}"))
        };
        let spool = Arc::new(Self {
            path: path.clone(),
            bytes: Arc::new(ByteBudget::new(config.size)),
            most: config.max_response,
            sensitive: config.sensitive,
            cached: Mutex::default(),
            reads: started("read")?,
            writes: started("write")?,
        });
        SpoolFile::create(Arc::clone(&spool), None).map_err(|error| told(&error))?;
        Ok(Some(spool))
    }

    /// Reads, when it is the job's turn.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.reads, job).await
    }

    /// Writes, when it is the job's turn.
    pub(super) async fn writing<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        run(&self.writes, job).await
    }

    /// Notes that bytes were written to a file. Above [`CACHED`] of them, waits until those of the oldest
    /// file are on the disk, and has the system forget them. Blocks.
    fn note_written(&self, file: &Arc<File>, bytes: u64) {
        let lock = || self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        lock().add(file, bytes);
        loop {
            let Some(oldest) = lock().take_above(CACHED) else { return };
            // What did not reach the disk is found when it is read.
            let _ = oldest.sync_data();
            let _ = rustix::fs::fadvise(&*oldest, 0, None, rustix::fs::Advice::DontNeed);
        }
    }

    /// Whether responses that are for one client alone, or must not be stored, may be written.
    pub(crate) fn takes_sensitive(&self) -> bool {
        self.sensitive
    }

    /// Bytes on disk.
    pub(crate) fn used(&self) -> u64 {
        self.bytes.used()
    }
}

/// Files that were written to lately, the one that was written to first at the front.
#[derive(Debug, Default)]
struct Cached {
    files: VecDeque<(Weak<File>, u64)>,
    bytes: u64,
}

impl Cached {
    /// Adds bytes of a file.
    fn add(&mut self, file: &Arc<File>, bytes: u64) {
        self.bytes += bytes;
        let is_it = |(other, _): &&mut (Weak<File>, u64)| other.as_ptr() == Arc::as_ptr(file);
        match self.files.iter_mut().rev().find(is_it) {
            Some((_, of_file)) => *of_file += bytes,
            None => self.files.push_back((Arc::downgrade(file), bytes)),
        }
    }

    /// Takes out the oldest file, if there are more than so many bytes. Files that have gone meanwhile have
    /// no bytes.
    fn take_above(&mut self, most: u64) -> Option<Arc<File>> {
        while self.bytes > most {
            let (file, bytes) = self.files.pop_front()?;
            self.bytes -= bytes;
            if let Some(file) = file.upgrade() {
                return Some(file);
            }
        }
        None
    }
}

/// Does what blocks, on the threads that take these jobs.
async fn run<T: Send + 'static>(
    jobs: &Jobs,
    job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (done, result) = oneshot::channel();
    jobs.push(Box::new(move || {
        // Nobody waits for it any more: the client has left.
        let _ = done.send(job());
    }));
    result.await.map_err(|_| StoreError::new("the spool has ended"))?
}

/// Jobs of one kind, and the threads that do them.
#[derive(Debug)]
struct Jobs(Arc<Queue>);

#[derive(Default)]
struct Queue {
    state: Mutex<Queued>,
    /// Notified for each job, and at the end.
    changed: Condvar,
}

/// The lock is held for a move.
#[derive(Default)]
struct Queued {
    jobs: VecDeque<Job>,
    has_ended: bool,
}

impl Jobs {
    /// Starts the threads, which end with this.
    fn start(kind: &str) -> std::io::Result<Self> {
        let jobs = Self(Arc::default());
        for number in 0..AT_ONCE {
            let queue = Arc::clone(&jobs.0);
            let name = format!("weir-{kind}-{number}");
            thread::Builder::new()
                .name(name)
                .spawn(move || queue.work(RESTS_AFTER, release_memory))?;
        }
        Ok(jobs)
    }

    fn push(&self, job: Job) {
        self.0.lock().jobs.push_back(job);
        self.0.changed.notify_one();
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.0.lock().has_ended = true;
        self.0.changed.notify_all();
    }
}

impl Queue {
    /// Does jobs until the end. `rest` is called once there has been none for so long.
    fn work(&self, rests_after: Duration, rest: impl Fn()) {
        let mut queued = self.lock();
        let mut rests = false;
        loop {
            if let Some(job) = queued.jobs.pop_front() {
                drop(queued);
                // Who waits for it learns by the end of its channel that it panicked.
                let _ = catch_unwind(AssertUnwindSafe(job));
                rests = false;
                queued = self.lock();
            } else if queued.has_ended {
                return;
            } else if rests {
                queued = self.changed.wait(queued).unwrap_or_else(PoisonError::into_inner);
            } else {
                let waited = self.changed.wait_timeout(queued, rests_after);
                let (back, late) = waited.unwrap_or_else(PoisonError::into_inner);
                queued = back;
                if late.timed_out() && queued.jobs.is_empty() {
                    // What a crowd needed.
                    queued.jobs.shrink_to_fit();
                    drop(queued);
                    rest();
                    rests = true;
                    queued = self.lock();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("jobs", &self.lock().jobs.len()).finish_non_exhaustive()
    }
}

/// The file of one body.
pub(super) struct SpoolFile {
    spool: Arc<Spool>,
    file: Arc<File>,
    key: LessSafeKey,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    bytes: Portion,
    chunks: u64,
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Chunk {
    at: u64,
    number: u64,
    bytes: usize,
}

impl Chunk {
    /// Bytes of the body.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Memory to read it into.
    pub(super) fn buffer(&self) -> Vec<u8> {
        vec![0; self.bytes + TAG]
    }
}

impl std::fmt::Debug for SpoolFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpoolFile").field("written", &self.written).finish_non_exhaustive()
    }
}

impl SpoolFile {
    /// A new file for a body of this client. Blocks.
    pub(super) fn create(spool: Arc<Spool>, client: Option<Prefix>) -> Result<Self, StoreError> {
        let mut random = [0; 48];
        getrandom::fill(&mut random).map_err(|error| failed(&spool.path, &error))?;
        let (key, name) = random.split_at(32);
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|e| failed(&spool.path, &e))?;
        let file = unnamed(&spool.path, name).map_err(|error| failed(&spool.path, &error))?;
        let file = Arc::new(file);
        let written = Written { bytes: Portion::of(&spool.bytes, client), chunks: 0 };
        Ok(Self { spool, file, key: LessSafeKey::new(key), written: Mutex::new(written) })
    }

    /// Appends runs of bytes, in chunks of so many; `None` if the bounds do not allow all of them. Blocks.
    ///
    /// One chunk is in memory at a time: buffers of ever other sizes would each keep memory of their own.
    pub(super) fn write(
        &self,
        runs: &[Bytes],
        chunk: usize,
    ) -> Result<Option<Vec<Chunk>>, StoreError> {
        let length: usize = runs.iter().map(Bytes::len).sum();
        let count = length.div_ceil(chunk);
        let bytes = (length + count * TAG) as u64;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = written.bytes.bytes();
        // Counted whether or not the write succeeds: given back with the file.
        if at + bytes > self.spool.most || written.bytes.take(bytes).is_err() {
            return Ok(None);
        }
        let told = |error: &dyn std::fmt::Display| failed(&self.spool.path, error);
        let mut sealed = Vec::with_capacity(chunk + TAG);
        let mut chunks = Vec::with_capacity(count);
        let mut runs = runs.iter().map(|run| &run[..]);
        let mut run: &[u8] = &[];
        let mut left = length;
        while left > 0 {
            let size = chunk.min(left);
            sealed.clear();
            while sealed.len() < size {
                if run.is_empty() {
                    run = runs.next().unwrap_or_default();
                    continue;
                }
                let (here, rest) = run.split_at(run.len().min(size - sealed.len()));
                sealed.extend_from_slice(here);
                run = rest;
            }
            let number = written.chunks;
            written.chunks += 1;
            let tag = self.key.seal_in_place_separate_tag(nonce(number), Aad::empty(), &mut sealed);
            sealed.extend_from_slice(tag.map_err(|error| told(&error))?.as_ref());
            self.file.write_all_at(&sealed, at).map_err(|error| told(&error))?;
            chunks.push(Chunk { at, number, bytes: size });
            at += sealed.len() as u64;
            left -= size;
        }
        drop(written);
        self.spool.note_written(&self.file, bytes);
        Ok(Some(chunks))
    }

    /// Where it is.
    pub(super) fn spool(&self) -> Arc<Spool> {
        Arc::clone(&self.spool)
    }

    /// Reads a part back, and checks that it is what was written. Blocks. The memory for it is
    /// [`Chunk::buffer`]: allocated by who frees it.
    pub(super) fn read(&self, chunk: &Chunk, mut sealed: Vec<u8>) -> Result<Bytes, StoreError> {
        let told = |error: &dyn std::fmt::Display| failed(&self.spool.path, error);
        self.file.read_exact_at(&mut sealed, chunk.at).map_err(|error| told(&error))?;
        let opened = self.key.open_in_place(nonce(chunk.number), Aad::empty(), &mut sealed);
        opened.map_err(|_| told(&"what was read is not what was written"))?;
        sealed.truncate(chunk.bytes);
        Ok(sealed.into())
    }
}

/// A key is used for one file, and each number once.
fn nonce(number: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}

fn failed(path: &Path, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::new(format!("{}: {why}", path.display()))
}

/// A file without a name.
fn unnamed(folder: &Path, name: &[u8]) -> std::io::Result<File> {
    let mut path = String::from("weir-spool-");
    for byte in name {
        // Writing to a String does not fail.
        let _ = write!(path, "{byte:02x}");
    }
    let path = folder.join(path);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::channel;

    fn spool(folder: &Path, size: u64, max_response: u64) -> Arc<Spool> {
        let path = Some(folder.to_owned());
        let config = weir_config::Spool { path, size, max_response, sensitive: false };
        Spool::open(&config).unwrap().unwrap()
    }

    fn runs<const N: usize>(runs: [&'static [u8]; N]) -> [Bytes; N] {
        runs.map(Bytes::from_static)
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("weir-spool-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn what_is_written_is_read_and_leaves_no_name_and_no_plain_byte() {
        let folder = folder("unit");
        let spool = spool(&folder, 1 << 20, 1 << 20);
        let file = SpoolFile::create(Arc::clone(&spool), None).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        let mut chunks = file.write(&runs([b"hell", b"", b"o, hello"]), 5).unwrap().unwrap();
        chunks.extend(file.write(&runs([b"hello"]), 5).unwrap().unwrap());
        let read: Vec<_> =
            chunks.iter().map(|chunk| file.read(chunk, chunk.buffer()).unwrap()).collect();
        assert_eq!(read, [&b"hello"[..], b", hel", b"lo", b"hello"]);
        let mut raw = vec![0; 5];
        file.file.read_exact_at(&mut raw, 0).unwrap();
        assert_ne!(raw, b"hello");
        // A byte that changed on the disk is found.
        file.file.write_all_at(&[raw[0] ^ 1], 0).unwrap();
        let read = |chunk: &Chunk| file.read(chunk, chunk.buffer());
        assert!(read(&chunks[0]).is_err());
        assert!(read(&chunks[2]).is_ok());
        drop(file);
        assert_eq!(spool.used(), 0);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_and_all_together_are_bounded() {
        let folder = folder("bounds");
        let spool = spool(&folder, 100, 60);
        let [one, two] = [(); 2].map(|()| SpoolFile::create(Arc::clone(&spool), None).unwrap());
        let fits =
            |file: &SpoolFile, bytes| file.write(&[vec![0; bytes].into()], 40).unwrap().is_some();
        assert!(fits(&one, 40));
        assert!(!fits(&one, 10), "the file's bound");
        assert!(!fits(&two, 40), "the bound of all");
        assert!(fits(&two, 20));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn of_what_was_written_little_stays_in_memory() {
        let mut cached = Cached::default();
        let folder = folder("cached");
        let files: Vec<_> = (0..3u8).map(|n| Arc::new(unnamed(&folder, &[n]).unwrap())).collect();
        for file in &files {
            cached.add(file, 10);
        }
        cached.add(&files[0], 5);
        assert!(cached.take_above(35).is_none());
        // All bytes of the one that was written to first.
        assert!(Arc::ptr_eq(&cached.take_above(34).unwrap(), &files[0]));
        assert_eq!((cached.bytes, cached.files.len()), (20, 2));
        let [_, second, third] = <[_; 3]>::try_from(files).unwrap();
        drop(second);
        assert!(Arc::ptr_eq(&cached.take_above(0).unwrap(), &third));
        assert!(cached.take_above(0).is_none() && cached.bytes == 0);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_thread_without_a_job_rests_until_the_next() {
        let jobs = Jobs(Arc::default());
        let queue = Arc::clone(&jobs.0);
        let (rest, rested) = channel();
        let after = Duration::from_millis(1);
        let thread = thread::spawn(move || queue.work(after, move || rest.send(()).unwrap()));
        let patience = Duration::from_secs(20);
        let (done, did) = channel();
        for number in 0..3 {
            rested.recv_timeout(patience).unwrap();
            assert!(rested.recv_timeout(50 * after).is_err(), "it rests once");
            let done = done.clone();
            jobs.push(Box::new(move || {
                done.send(number).unwrap();
                assert!(number > 0, "a job that panics ends no thread");
            }));
            assert_eq!(did.recv_timeout(patience), Ok(number));
        }
        drop(jobs);
        thread.join().unwrap();
    }

    #[tokio::test]
    async fn reads_that_take_long_hold_up_no_write() {
        let folder = folder("apart");
        let spool = spool(&folder, 1 << 20, 1 << 20);
        let (go, wait) = channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let reads: Vec<_> = (0..2 * AT_ONCE)
            .map(|_| {
                let (spool, wait) = (Arc::clone(&spool), Arc::clone(&wait));
                let read = move || {
                    let _ended = wait.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    Ok(())
                };
                tokio::spawn(async move { spool.reading(read).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let write = spool.writing(|| Ok("written"));
        let patience = std::time::Duration::from_secs(20);
        assert_eq!(tokio::time::timeout(patience, write).await.unwrap(), Ok("written"));
        drop(go);
        for read in reads {
            assert_eq!(read.await.unwrap(), Ok(()));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_missing_folder_is_created_for_this_user_alone() {
        let folder = folder("missing");
        let made = folder.join("spool");
        // The second finds it there.
        for _ in 0..2 {
            spool(&made, 1, 1);
        }
        assert_eq!(std::fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_created_is_told() {
        for path in ["/does/not/exist", "/dev/null", "/dev/null/spool"] {
            let config = weir_config::Spool {
                path: Some(PathBuf::from(path)),
                size: 1,
                max_response: 1,
                sensitive: false,
            };
            let error = Spool::open(&config).unwrap_err();
            assert!(error.starts_with(&format!("spool.path: {path}: ")), "{error}");
        }
    }
}
