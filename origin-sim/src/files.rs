//! A folder, served as a good static server does: validators, ranges, conditions, redirects to
//! folders, and nothing outside of it. What links in the folder point to is part of it: they were
//! put there by its owner.

use crate::body::Body;
use crate::counters::{Recorded, path_of};
use crate::media_type;
use crate::reply::{Reply, reply};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A folder to serve.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) root: PathBuf,
    pub(crate) max_age: Option<u64>,
    pub(crate) delay: Duration,
}

impl Files {
    /// The answer to one request.
    pub(crate) async fn answer(&self, request: &Recorded) -> Reply {
        let answer = if matches!(request.method.as_str(), "GET" | "HEAD") {
            self.read(request).await
        } else {
            text(405, "only GET and HEAD\n").header("Allow", "GET, HEAD")
        };
        answer.delay(self.delay)
    }

    async fn read(&self, request: &Recorded) -> Reply {
        let path = path_of(&request.target);
        let Some(relative) = relative(path) else {
            return text(400, "the path must be absolute, valid and without dot segments\n");
        };
        let place = self.root.join(relative);
        let folder = path.ends_with('/');
        let opened = tokio::task::spawn_blocking(move || open(&place, folder)).await;
        match opened {
            Ok(Ok(Found::File(file))) => self.file(file),
            Ok(Ok(Found::Folder)) => {
                let query = &request.target[path.len()..];
                // Two slashes would make the rest a host name for the client.
                let location = format!("/{}/{query}", path.trim_start_matches('/'));
                text(301, "the folder has a slash at its end\n").header("Location", location)
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                text(403, "not readable\n")
            }
            Ok(Err(error)) if is_absent(error.kind()) => text(404, "no such file\n"),
            Ok(Err(_)) | Err(_) => text(500, "the file could not be opened\n"),
        }
    }

    fn file(&self, found: OpenFile) -> Reply {
        let since = found.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let modified = httpdate::fmt_http_date(crate::select::whole_secs(found.modified));
        let reply = Reply::new(Body::File { file: Arc::new(found.file), len: found.len })
            .content_type(media_type::of(&found.name))
            .etag(format!("\"{:x}-{:x}\"", found.len, since.as_nanos()))
            .header("Last-Modified", modified)
            .ranges(true)
            .conditional(true);
        match self.max_age {
            Some(seconds) => reply.max_age(seconds),
            None => reply,
        }
    }
}

fn text(status: u16, body: &'static str) -> Reply {
    reply(body).status(status).content_type("text/plain; charset=utf-8")
}

fn is_absent(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidFilename, InvalidInput, NotADirectory, NotFound};
    matches!(kind, NotFound | NotADirectory | InvalidInput | InvalidFilename)
}

enum Found {
    File(OpenFile),
    Folder,
}

struct OpenFile {
    file: File,
    name: String,
    len: u64,
    modified: SystemTime,
}

/// Opens the file at `place`, or the index of the folder when one was asked for.
fn open(place: &Path, folder: bool) -> io::Result<Found> {
    let place = if folder { place.join("index.html") } else { place.to_owned() };
    // Not a pipe or device: opening one could wait for ever.
    let about = std::fs::metadata(&place)?;
    if about.is_dir() && !folder {
        return Ok(Found::Folder);
    }
    if !about.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let file = File::open(&place)?;
    // Length and time of the opened file: the name may lead to another by now.
    let about = file.metadata()?;
    let name = place.to_string_lossy().into_owned();
    Ok(Found::File(OpenFile { file, name, len: about.len(), modified: about.modified()? }))
}

/// `path` percent-decoded and relative to the root; `None` when it is not absolute, not valid, or
/// could lead elsewhere.
fn relative(path: &str) -> Option<PathBuf> {
    let decoded = percent_decode(path.strip_prefix('/')?)?;
    let mut relative = PathBuf::new();
    for segment in decoded.split('/') {
        match segment {
            "" => {}
            "." | ".." => return None,
            segment if segment.contains('\0') => return None,
            segment => relative.push(segment),
        }
    }
    Some(relative)
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = char::from(rest.next()?).to_digit(16)?;
                let low = char::from(rest.next()?).to_digit(16)?;
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_decoded_once_and_never_lead_out() {
        let some = |path: &str| Some(PathBuf::from(path));
        for (path, expected) in [
            ("/", some("")),
            ("/a/b.html", some("a/b.html")),
            ("//a//b", some("a/b")),
            ("/a%20b", some("a b")),
            ("/%61", some("a")),
            ("/a%252e", some("a%2e")),
            ("/..", None),
            ("/a/../../etc/passwd", None),
            ("/%2e%2e/etc/passwd", None),
            ("/..%2fetc", None),
            ("/a%00b", None),
            ("/a%", None),
            ("/a%zz", None),
            ("/%ff", None),
            ("http://h/a", None),
            ("*", None),
        ] {
            assert_eq!(relative(path), expected, "{path}");
        }
    }
}
