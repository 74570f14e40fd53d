//! The page for people: one document at `/` and what it refers to under `/page/`, compiled in.
//!
//! It is open to everyone and must stay without any data: whatever it shows it asks the calls for,
//! as its reader. Nothing in it may come from elsewhere or run from within the document.

use crate::errors::ApiError;
use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::fmt::Write;

const DOCUMENT: &str = include_str!("../page/index.html");

/// What the document may do: load and call nothing but this control, and put no text into itself as
/// markup (trusted types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A file under `/page/`: its name and its text.
type File = (&'static str, &'static str);

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../page/", $name)))),*]
    };
}

const FILES: &[File] = files![
    "api.js",
    "base.css",
    "certificates.js",
    "chart.css",
    "chart.js",
    "content.css",
    "content.js",
    "dom.js",
    "explain.css",
    "explain.js",
    "groups.js",
    "history.js",
    "icon.svg",
    "nodes.js",
    "origins.js",
    "overview.css",
    "page.js",
    "purge.js",
    "purges.css",
    "reasons.js",
    "scale.js",
    "sites.js",
    "tables.css",
    "theme.js",
    "token.js",
    "topology.js",
    "traffic.js",
    "words.js",
];

/// The page's router. Its files are no calls: the OpenAPI document does not list them.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/", get(document)).route("/page/{name}", get(file))
}

async fn document(headers: HeaderMap) -> Response {
    respond(("index.html", DOCUMENT), &headers)
}

async fn file(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let found = FILES.iter().find(|(known, _)| *known == name);
    let file = found.ok_or_else(|| ApiError::not_found("no such file"))?;
    Ok(respond(*file, &headers))
}

/// A file, or 304 to who has it: after an upgrade of control, its page must not be the old one.
fn respond((name, text): File, asked: &HeaderMap) -> Response {
    let etag = etag(text);
    let fields = [
        (CONTENT_TYPE, HeaderValue::from_static(media_type(name))),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        // For the scripts and styles, which frame-ancestors says nothing about.
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("same-origin"),
        ),
    ];
    let mut response = if names(asked, &etag) {
        (StatusCode::NOT_MODIFIED, fields).into_response()
    } else {
        (fields, text).into_response()
    };
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, etag);
    }
    response
}

/// Whether `If-None-Match` names this entity tag.
fn names(asked: &HeaderMap, etag: &str) -> bool {
    let fields = asked.get_all(IF_NONE_MATCH).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|named| {
        let named = named.trim();
        named == "*" || named.trim_start_matches("W/") == etag
    })
}

fn etag(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let mut etag = String::from("\"");
    for byte in &digest.as_ref()[..12] {
        // Writing to a String cannot fail.
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    etag
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use weir_rules::shown::is_hidden;

    /// The ranges of a class of a regular expression, as `dom.js` writes it.
    fn ranges(class: &str) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for piece in class.split("\\u{").skip(1) {
            let (digits, rest) = piece.split_once('}').unwrap();
            let code = u32::from_str_radix(digits, 16).unwrap();
            match ranges.last_mut() {
                // The end of a range whose begin was marked by what stands before it.
                Some((_, last)) if *last == u32::MAX => *last = code,
                _ => ranges.push((code, code)),
            }
            if rest == "-" {
                ranges.last_mut().unwrap().1 = u32::MAX;
            }
        }
        ranges
    }

    #[test]
    fn the_page_hides_what_logs_and_commands_hide() {
        let script = include_str!("../page/dom.js");
        let class = script.split_once("/[").unwrap().1.split_once("]/gu").unwrap().0;
        let ranges = ranges(class);
        for c in '\0'..=char::MAX {
            let code = u32::from(c);
            let on_page = ranges.iter().any(|(from, to)| (*from..=*to).contains(&code));
            assert_eq!(on_page, is_hidden(c) && c != '\n', "{code:x}");
        }
    }
}
