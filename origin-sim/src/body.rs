//! Where the bytes of an answer come from. No body is held in memory but one that was given so.

use crate::pattern;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The source of an answer's body.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// These bytes.
    Bytes(Bytes),
    /// `len` bytes of [`pattern`].
    Pattern { seed: u64, len: u64 },
    /// [`pattern`] without end.
    Endless { seed: u64 },
    /// The first `len` bytes of a file.
    File { file: Arc<File>, len: u64 },
}

impl Body {
    /// Its length; `None` when it has no end.
    pub(crate) fn len(&self) -> Option<u64> {
        match self {
            Body::Bytes(bytes) => Some(bytes.len() as u64),
            Body::Pattern { len, .. } | Body::File { len, .. } => Some(*len),
            Body::Endless { .. } => None,
        }
    }

    /// Appends `want` bytes from `offset` on to `out`. Fails when a file became shorter than it
    /// was, which ends the answer visibly.
    pub(crate) async fn append(
        &self,
        offset: u64,
        want: usize,
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let start = out.len();
        match self {
            Body::Bytes(bytes) => {
                let from = usize::try_from(offset).map_err(io::Error::other)?;
                let slice = bytes.get(from..from + want).ok_or(io::ErrorKind::UnexpectedEof)?;
                out.extend_from_slice(slice);
            }
            Body::Pattern { seed, .. } | Body::Endless { seed } => {
                out.resize(start + want, 0);
                pattern::fill(*seed, offset, &mut out[start..]);
            }
            Body::File { file, .. } => {
                let file = file.clone();
                let read = move || {
                    let mut piece = vec![0; want];
                    file.read_exact_at(&mut piece, offset).map(|()| piece)
                };
                let piece = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?;
                out.extend_from_slice(&piece?);
            }
        }
        Ok(())
    }
}
