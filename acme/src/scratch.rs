//! Places for the files of tests.

use std::path::PathBuf;

/// A directory that goes with this.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// One of this name, which each test has for itself.
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-acme-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
