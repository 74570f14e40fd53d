//! Files that are kept: account, keys and certificates. Everything is readable by the user alone, and is there as
//! a whole or not at all.

use crate::storage::{Pending, Storage};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Longest file that is read, bytes: a key with a long chain takes some 20 KiB.
const LONGEST: u64 = 4 << 20;

/// A directory of files; their names may name one below it.
#[derive(Clone, Debug)]
pub struct Files {
    path: PathBuf,
}

impl Files {
    /// The files in this directory, which need not be there yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// The text of a file, if it is there.
    ///
    /// # Errors
    /// The system's.
    pub fn text(&self, name: &str) -> io::Result<Option<String>> {
        let file = match File::open(self.path.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(LONGEST).read_to_string(&mut text)?;
        Ok(Some(text))
    }

    /// Writes a file beside the old one, and puts it in its place once it is durable.
    ///
    /// # Errors
    /// The system's.
    pub fn keep(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.path.join(name);
        let directory = path.parent().unwrap_or(&self.path);
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let new = self.path.join(format!("{name}.new"));
        // What a crash left.
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&new, &path)?;
        File::open(directory)?.sync_all()
    }

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// The system's.
    pub fn forget(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.path.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The names of the files in the directory itself, but for those that are not whole.
    ///
    /// # Errors
    /// The system's.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let names: Vec<Option<String>> = names.collect::<io::Result<_>>()?;
        Ok(names.into_iter().flatten().filter(|name| !name.ends_with(".new")).collect())
    }
}

impl Storage for Files {
    fn place(&self) -> String {
        format!("tls.acme.state: {}", self.path.display())
    }

    fn read<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<String>, String>> {
        Box::pin(async move { self.text(name).map_err(|error| error.to_string()) })
    }

    fn write<'a>(&'a self, name: &'a str, text: &'a str) -> Pending<'a, Result<(), String>> {
        Box::pin(async move { self.keep(name, text).map_err(|error| error.to_string()) })
    }

    fn remove<'a>(&'a self, name: &'a str) -> Pending<'a, Result<(), String>> {
        Box::pin(async move { self.forget(name).map_err(|error| error.to_string()) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_for_its_user_alone() {
        let scratch = std::env::temp_dir().join(format!("weir-acme-files-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&scratch);
        let files = Files::new(&scratch.join("a"));
        assert_eq!(files.text("ca/x.pem").unwrap(), None);
        assert!(files.names().unwrap().is_empty());
        assert!(Files::new(Path::new("/dev/null")).keep("x", "").is_err());
        files.keep("ca/x.pem", "1").unwrap();
        files.keep("y", "2").unwrap();
        // A crash before the new file was whole.
        std::fs::write(scratch.join("a/ca/x.pem.new"), "half").unwrap();
        std::fs::write(scratch.join("a/z.new"), "half").unwrap();
        let again = Files::new(&scratch.join("a"));
        assert_eq!(again.text("ca/x.pem").unwrap().as_deref(), Some("1"));
        again.keep("ca/x.pem", "3").unwrap();
        assert_eq!(again.text("ca/x.pem").unwrap().as_deref(), Some("3"));
        let mut names = again.names().unwrap();
        names.sort();
        assert_eq!(names, ["ca", "y"]);
        let mode = |path: &str| {
            std::fs::metadata(scratch.join(path)).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("a"), mode("a/ca")), (0o700, 0o700));
        assert_eq!((mode("a/y"), mode("a/ca/x.pem")), (0o600, 0o600));
        again.forget("ca/x.pem").unwrap();
        again.forget("ca/x.pem").unwrap();
        assert_eq!(again.text("ca/x.pem").unwrap(), None);
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}
