//! Files that a test writes for a node to read.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file of this process, removed when it is dropped.
pub(crate) struct ScratchFile(PathBuf);

impl ScratchFile {
    /// A file whose name ends so, with this content.
    pub(crate) fn new(ending: &str, content: impl AsRef<[u8]>) -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-test-{}-{made}-{ending}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        file.write(content);
        file
    }

    /// Replaces the content, as editors do: by another file of the same name.
    pub(crate) fn write(&self, content: impl AsRef<[u8]>) {
        let beside = self.0.with_extension("new");
        std::fs::write(&beside, content).expect("a file");
        std::fs::rename(&beside, &self.0).expect("a file of that name");
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
