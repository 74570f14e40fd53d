//! The directory `node.state`: what a node keeps over a restart, and a lock that keeps other
//! processes out. Files in it are readable by the node's user alone.
//!
//! The lock ends with the process, however that ends. A process that takes over from the one that
//! holds it gets the lock from it ([`StateDirectory::handed`]): there is no moment without.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use weir_protocol::secret::{BYTES, NodeSecret};

/// The secret in the directory.
const SECRET: &str = "secret";

/// What it is called until it is whole.
const NEW_SECRET: &str = "secret.new";

/// The lock.
const LOCK: &str = "lock";

/// Bytes of the secret's file that are read: more are none of ours.
const LONGEST_SECRET: u64 = 256;

/// The directory of one node.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    lock: File,
    secret: NodeSecret,
}

/// Why a directory cannot be used. `Display` names the key and the path.
#[derive(Debug)]
pub enum StateError {
    /// Another process holds its lock.
    InUse(PathBuf),
    /// The system's refusal, and of what.
    Io(PathBuf, io::Error),
    /// The file of the secret has something else in it.
    NoSecret(PathBuf),
}

impl StateDirectory {
    /// Opens the directory for this process alone; it is created with mode 0700 if it does not
    /// exist. A secret is made and durable when this returns.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let mut directory = Self::shared(path)?;
        directory.lock()?;
        Ok(directory)
    }

    /// Opens the directory without its lock, for a process that takes over from the one that
    /// holds it.
    ///
    /// # Errors
    /// As [`StateDirectory::open`], but that it may be in use.
    pub fn shared(path: &Path) -> Result<Self, StateError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| StateError::Io(path, error)
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let name = path.join(LOCK);
        let lock = private().truncate(false).open(&name).map_err(at(&name))?;
        let secret = path.join(SECRET);
        // Two that begin at once in an empty directory: both take what the first one linked.
        if !secret.try_exists().map_err(at(&secret))? {
            let new = path.join(format!("{NEW_SECRET}.{}", std::process::id()));
            make(path, &new, &secret).map_err(at(&new))?;
        }
        let secret = read(&secret)?;
        Ok(Self { path: path.to_owned(), lock, secret })
    }

    /// Opens the directory with the lock as another process holds it: both hold it from then on, and
    /// it ends with the last of them.
    ///
    /// # Errors
    /// As [`StateDirectory::open`]; the lock is that of another directory.
    pub fn handed(path: &Path, lock: File) -> Result<Self, StateError> {
        let mut directory = Self::shared(path)?;
        let identity = |file: &File| file.metadata().map(|about| (about.dev(), about.ino()));
        let same = identity(&lock).and_then(|theirs| Ok(theirs == identity(&directory.lock)?));
        match same {
            Ok(true) => directory.lock = lock,
            Ok(false) => return Err(StateError::InUse(path.to_owned())),
            Err(error) => return Err(StateError::Io(path.join(LOCK), error)),
        }
        directory.lock()?;
        Ok(directory)
    }

    /// The lock, for another process to hold too.
    ///
    /// # Errors
    /// The process has no more descriptors.
    pub fn lock_to_hand_over(&self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// Takes the lock; nothing happens if this has it already.
    ///
    /// # Errors
    /// [`StateError::InUse`], or the system's.
    pub fn lock(&mut self) -> Result<(), StateError> {
        match self.lock.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(self.path.clone())),
            Err(TryLockError::Error(error)) => Err(StateError::Io(self.path.join(LOCK), error)),
        }
    }

    /// Lets go of the lock: another process is to take it.
    ///
    /// # Errors
    /// The system's.
    pub fn unlock(&mut self) -> Result<(), StateError> {
        self.lock.unlock().map_err(|error| StateError::Io(self.path.join(LOCK), error))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The node's secret.
    pub fn secret(&self) -> &NodeSecret {
        &self.secret
    }
}

/// A secret that was never used.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn new_secret() -> io::Result<NodeSecret> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes)
        .map_err(|error| io::Error::other(format!("no random bytes: {error}")))?;
    Ok(NodeSecret::new(&bytes))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// Makes the secret, durable under its name before anybody uses it. An existing one stays.
fn make(directory: &Path, new: &Path, path: &Path) -> io::Result<()> {
    let secret = new_secret()?;
    let mut file = private().truncate(true).open(new)?;
    writeln!(file, "{}", secret.reveal())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(new, path);
    std::fs::remove_file(new)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) | Ok(()) => {}
    }
    File::open(directory)?.sync_all()
}

fn read(path: &Path) -> Result<NodeSecret, StateError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(LONGEST_SECRET).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
        Err(error) => return Err(StateError::Io(path.to_owned(), error)),
    }
    NodeSecret::try_from(text.trim_end().to_owned())
        .map_err(|_| StateError::NoSecret(path.to_owned()))
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse(path) => write!(
                f,
                "node.state: {}: another process uses this directory; each node needs one of its \
                 own",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "node.state: {}: {error}", path.display()),
            Self::NoSecret(path) => write!(
                f,
                "node.state: {}: not a secret of a node, which has 64 hexadecimal digits; after \
                 \"weir nodes forget\" with this node's name, the file can be removed",
                path.display()
            ),
        }
    }
}

impl std::error::Error for StateError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A directory that goes with this.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("weir-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_secret_is_made_once_and_readable_by_its_user_alone() {
        let scratch = Scratch::new("state-once");
        let path = scratch.0.join("a/b");
        let first = StateDirectory::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!((mode(&path.join(SECRET)), mode(&path.join(LOCK))), (0o600, 0o600));
        let secret = first.secret().clone();
        drop(first);
        assert_eq!(*StateDirectory::open(&path).unwrap().secret(), secret);
        let mut names: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, [LOCK, SECRET], "nothing else is left");
    }

    #[test]
    fn a_second_process_is_refused_until_the_first_lets_go() {
        let scratch = Scratch::new("state-lock");
        let mut first = StateDirectory::open(&scratch.0).unwrap();
        let refused = StateDirectory::open(&scratch.0).unwrap_err();
        assert!(matches!(refused, StateError::InUse(_)));
        assert!(refused.to_string().contains("node.state") && refused.to_string().contains("own"));
        let mut second = StateDirectory::shared(&scratch.0).unwrap();
        assert_eq!(second.secret(), first.secret());
        assert!(second.lock().is_err());
        first.unlock().unwrap();
        second.lock().unwrap();
        assert!(first.lock().is_err());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let scratch = Scratch::new("state-bad");
        std::fs::create_dir_all(&scratch.0).unwrap();
        std::fs::write(scratch.0.join("file"), "").unwrap();
        let error = StateDirectory::open(&scratch.0.join("file/state")).unwrap_err().to_string();
        assert!(error.contains("node.state") && error.contains("file/state"), "{error}");
        for text in [&b"short"[..], b"\xff\xfe", &[b'a'; 300]] {
            std::fs::write(scratch.0.join(SECRET), text).unwrap();
            let error = StateDirectory::open(&scratch.0).unwrap_err();
            assert!(matches!(error, StateError::NoSecret(_)), "{error}");
        }
    }
}
