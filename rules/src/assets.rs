//! Static assets: the parts of pages, known by their extension. They are the same for everyone, so
//! they are fetched for everyone by an anonymous request ([`anonymous`]).

mod anonymous;

pub use anonymous::{anonymous, is_for_everyone};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Method};

/// What an asset is. Its extension says so, and the Content-Type of its response must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Font,
    Image,
    Manifest,
    Media,
    Script,
    SourceMap,
    Style,
    Wasm,
}

/// Extensions whose resources are parts of pages, not pages.
const EXTENSIONS: &[(&str, Kind)] = &[
    ("aac", Kind::Media),
    ("avif", Kind::Image),
    ("bmp", Kind::Image),
    ("css", Kind::Style),
    ("cur", Kind::Image),
    ("eot", Kind::Font),
    ("flac", Kind::Media),
    ("gif", Kind::Image),
    ("ico", Kind::Image),
    ("jpeg", Kind::Image),
    ("jpg", Kind::Image),
    ("js", Kind::Script),
    ("jxl", Kind::Image),
    ("m4a", Kind::Media),
    ("m4v", Kind::Media),
    ("map", Kind::SourceMap),
    ("mjs", Kind::Script),
    ("mov", Kind::Media),
    ("mp3", Kind::Media),
    ("mp4", Kind::Media),
    ("ogg", Kind::Media),
    ("ogv", Kind::Media),
    ("opus", Kind::Media),
    ("otf", Kind::Font),
    ("png", Kind::Image),
    ("svg", Kind::Image),
    ("ttf", Kind::Font),
    ("wasm", Kind::Wasm),
    ("wav", Kind::Media),
    ("weba", Kind::Media),
    ("webm", Kind::Media),
    ("webmanifest", Kind::Manifest),
    ("webp", Kind::Image),
    ("woff", Kind::Font),
    ("woff2", Kind::Font),
];

/// Scripts by which a site controls its pages in the browser: an old one can keep a site broken.
const SERVICE_WORKERS: [&str; 2] = ["sw.js", "service-worker.js"];

const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");

impl Kind {
    /// Whether a media type (lower case, without parameters) is one of this kind. Servers that do not
    /// know an extension send application/octet-stream.
    fn has(self, media_type: &str) -> bool {
        let (main, sub) = media_type.split_once('/').unwrap_or((media_type, ""));
        if media_type == "application/octet-stream" {
            return true;
        }
        match self {
            Self::Font => {
                let font = sub.starts_with("font-") || sub.starts_with("x-font-");
                main == "font" || sub == "vnd.ms-fontobject" || (main == "application" && font)
            }
            Self::Image => main == "image",
            Self::Manifest => matches!(sub, "manifest+json" | "json"),
            Self::Media => matches!(main, "audio" | "video") || media_type == "application/ogg",
            Self::Script => matches!(sub, "javascript" | "x-javascript" | "ecmascript"),
            Self::SourceMap => matches!(sub, "json" | "plain"),
            Self::Style => media_type == "text/css",
            Self::Wasm => sub == "wasm",
        }
    }
}

/// The last segment of a path and its kind, if its name has an asset's extension.
fn found(path: &str) -> Option<(&str, Kind)> {
    let file = &path[path.rfind('/').map_or(0, |slash| slash + 1)..];
    let (name, extension) = file.rsplit_once('.')?;
    let known = EXTENSIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
    known.filter(|_| !name.is_empty()).map(|(_, kind)| (file, *kind))
}

/// The last segment of a path, if its name has an asset's extension.
pub(crate) fn file(path: &str) -> Option<&str> {
    found(path).map(|(file, _)| file)
}

/// Whether a path names a static asset: its last segment has a name and the extension of a script,
/// a style sheet, an image, a font, audio, video, WebAssembly, a source map or a web manifest.
pub fn is_asset(path: &str) -> bool {
    found(path).is_some()
}

/// Whether a request is one for a static asset that an [anonymous](anonymous()) request may stand for: a GET, and no
/// credentials that ask for an answer of their own (RFC 9111 §3.5).
pub fn may_be_anonymous(method: &Method, path: &str, request: &HeaderMap) -> bool {
    *method == Method::GET && !request.contains_key(AUTHORIZATION) && is_asset(path)
}

/// Whether a Content-Type is one of the asset that the path names. HTML never is: a page stored
/// under the name of an asset is what web cache deception aims for.
fn fits(path: &str, content_type: &[u8]) -> bool {
    let Some((_, kind)) = found(path) else { return false };
    let end = content_type.iter().position(|&b| b == b';').unwrap_or(content_type.len());
    let media_type = std::str::from_utf8(&content_type[..end]).unwrap_or_default();
    kind.has(&media_type.trim().to_ascii_lowercase())
}

/// Whether a request is for a service worker, by its name or by the header with which browsers ask
/// for one (Service Workers, "Service-Worker: script").
pub(crate) fn is_service_worker(path: &str, request: &HeaderMap) -> bool {
    let file = &path[path.rfind('/').map_or(0, |slash| slash + 1)..];
    SERVICE_WORKERS.contains(&file) || request.contains_key(SERVICE_WORKER)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
