//! The contents of files that the configuration names.

use std::fs::File;
use std::io::{Error, Read};
use std::path::Path;

/// All of a file of at most so many bytes.
///
/// # Errors
/// It cannot be read, or is larger.
pub(super) fn contents(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: Error| format!("cannot be read: {error}");
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err("not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > most {
        true => Err(format!("larger than {most} bytes")),
        false => Ok(bytes),
    }
}
