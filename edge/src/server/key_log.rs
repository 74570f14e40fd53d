//! The file of `tls.key_log`: secrets of TLS connections in the form of NSS, which Wireshark and others read. For
//! debugging alone.

use rustls::KeyLog;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// See the module.
#[derive(Debug)]
pub(super) struct KeyLogFile(File);

impl KeyLogFile {
    /// Lines are added to the file; a new one is for its user alone.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self(file))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        for (part, end) in [(client_random, ' '), (secret, '\n')] {
            for byte in part {
                // Writing to a text cannot fail.
                let _ = write!(line, "{byte:02x}");
            }
            line.push(end);
        }
        // In one piece, which the system appends as a whole. A full disk is no reason to refuse a client.
        let _ = (&self.0).write_all(line.as_bytes());
    }
}
