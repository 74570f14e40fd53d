//! Files for what clients have not taken yet. A file has no name from its creation on, and what is in it
//! is encrypted with a key that is nowhere but in memory: it ends with the process, and nobody reads it.

use crate::byte_budget::{ByteBudget, Portion};
use crate::error::StoreError;
use bytes::Bytes;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::fmt::Write as _;
use std::fs::{DirBuilder, File, OpenOptions, remove_file};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use tokio::sync::oneshot;
use weir_rules::client_share::Prefix;

/// Bytes that authentication adds to each chunk.
const TAG: usize = 16;

/// Threads that read, and as many that write. A disk works on few jobs at a time, and what a thread has
/// freed stays with it: the threads of a pool that come and go would keep memory.
const AT_ONCE: usize = 2;

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
    /// Apart: what waits to be read back is for a slow client, what waits to be written holds a
    /// connection to an origin.
    reads: Sender<Job>,
    writes: Sender<Job>,
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
        let (reads, to_read) = channel();
        let (writes, to_write) = channel();
        let spool = Arc::new(Self {
            path: path.clone(),
            bytes: Arc::new(ByteBudget::new(config.size)),
            most: config.max_response,
            sensitive: config.sensitive,
            reads,
            writes,
        });
        SpoolFile::create(Arc::clone(&spool), None).map_err(|error| told(&error))?;
        start("read", to_read)
            .and_then(|()| start("write", to_write))
            .map_err(|error| format!("spool.path: no thread for it: {error}"))?;
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

    /// Whether responses that are for one client alone, or must not be stored, may be written.
    pub(crate) fn takes_sensitive(&self) -> bool {
        self.sensitive
    }

    /// Bytes on disk.
    pub(crate) fn used(&self) -> u64 {
        self.bytes.used()
    }
}

/// Does what blocks, on the threads that take these jobs.
async fn run<T: Send + 'static>(
    jobs: &Sender<Job>,
    job: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (done, result) = oneshot::channel();
    let job = Box::new(move || {
        // Nobody waits for it any more: the client has left.
        let _ = done.send(job());
    });
    let ended = || StoreError::new("the spool's threads have ended");
    jobs.send(job).map_err(|_| ended())?;
    result.await.map_err(|_| ended())?
}

/// Starts the threads for one kind of job, which end with the spool.
fn start(kind: &str, waiting: Receiver<Job>) -> std::io::Result<()> {
    let waiting = Arc::new(Mutex::new(waiting));
    for number in 0..AT_ONCE {
        let waiting = Arc::clone(&waiting);
        let name = format!("weir-{kind}-{number}");
        thread::Builder::new().name(name).spawn(move || {
            loop {
                let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                match job {
                    Ok(job) => job(),
                    Err(_) => return,
                }
            }
        })?;
    }
    Ok(())
}

/// The file of one body.
pub(super) struct SpoolFile {
    spool: Arc<Spool>,
    file: File,
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
        let written = Written { bytes: Portion::of(&spool.bytes, client), chunks: 0 };
        Ok(Self { spool, file, key: LessSafeKey::new(key), written: Mutex::new(written) })
    }

    /// Appends bytes, in chunks of so many; `None` if the bounds do not allow all of them. Blocks.
    pub(super) fn write(
        &self,
        data: &[u8],
        chunk: usize,
    ) -> Result<Option<Vec<Chunk>>, StoreError> {
        let parts = data.chunks(chunk);
        let bytes = (data.len() + parts.len() * TAG) as u64;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let at = written.bytes.bytes();
        // Counted whether or not the write succeeds: given back with the file.
        if at + bytes > self.spool.most || written.bytes.take(bytes).is_err() {
            return Ok(None);
        }
        let told = |error: &dyn std::fmt::Display| failed(&self.spool.path, error);
        let mut sealed = Vec::with_capacity(data.len() + parts.len() * TAG);
        let mut chunks = Vec::with_capacity(parts.len());
        for part in parts {
            let begin = sealed.len();
            let chunk = Chunk { at: at + begin as u64, number: written.chunks, bytes: part.len() };
            written.chunks += 1;
            sealed.extend_from_slice(part);
            let tag = self
                .key
                .seal_in_place_separate_tag(nonce(chunk.number), Aad::empty(), &mut sealed[begin..])
                .map_err(|error| told(&error))?;
            sealed.extend_from_slice(tag.as_ref());
            chunks.push(chunk);
        }
        self.file.write_all_at(&sealed, at).map_err(|error| told(&error))?;
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

    fn spool(folder: &Path, size: u64, max_response: u64) -> Arc<Spool> {
        let path = Some(folder.to_owned());
        let config = weir_config::Spool { path, size, max_response, sensitive: false };
        Spool::open(&config).unwrap().unwrap()
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
        let mut chunks = file.write(b"hello, hello", 5).unwrap().unwrap();
        chunks.extend(file.write(b"hello", 5).unwrap().unwrap());
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
        let fits = |file: &SpoolFile, bytes| file.write(&vec![0; bytes], 40).unwrap().is_some();
        assert!(fits(&one, 40));
        assert!(!fits(&one, 10), "the file's bound");
        assert!(!fits(&two, 40), "the bound of all");
        assert!(fits(&two, 20));
        std::fs::remove_dir_all(&folder).unwrap();
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
