//! Pages of a site's own that weir sends in place of something else, as files and as URLs.

use bytes::Bytes;
use http::HeaderValue;
use http::uri::PathAndQuery;
use std::fmt;

/// The largest file that is sent as a page, in bytes: it is held in memory.
pub const LARGEST_PAGE: u64 = 1 << 20;

/// What the name of a file that is sent as a page may end in, for messages.
pub const PAGE_FILE_FORM: &str = "the path of a file of at most 1 MiB of UTF-8 that ends in .html, .htm, .txt, .json, .xml or .svg";

/// What a URL that is sent as a page may be, for messages.
pub const PAGE_PATH_FORM: &str =
    "a path of the site that begins with /, perhaps with a query, such as /errors/404.html";

/// A file that is sent as a page. It was read with the configuration.
#[derive(Clone, PartialEq, Eq)]
pub struct PageFile {
    /// Its Content-Type.
    pub content_type: HeaderValue,
    /// What is in it.
    pub content: Bytes,
}

/// Without the content: it is long.
impl fmt::Debug for PageFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content_type, content: _ } = self;
        f.debug_struct("PageFile").field("content_type", content_type).finish_non_exhaustive()
    }
}

impl PageFile {
    /// The file of this name with this content.
    ///
    /// # Errors
    /// Its name does not end in a known way, or it is not UTF-8.
    pub fn new(name: &str, content: Vec<u8>) -> Result<Self, String> {
        let content_type = content_type(name).ok_or("its name has another ending")?;
        if std::str::from_utf8(&content).is_err() {
            return Err("not UTF-8".into());
        }
        let content_type = HeaderValue::from_static(content_type);
        Ok(Self { content_type, content: Bytes::from(content) })
    }
}

fn content_type(name: &str) -> Option<&'static str> {
    let (_, ending) = name.rsplit_once('.')?;
    Some(match ending.to_ascii_lowercase().as_str() {
        "html" | "htm" => "text/html; charset=utf-8",
        "txt" => "text/plain; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        _ => return None,
    })
}

/// Reads the path, and perhaps the query, of a URL that is sent as a page.
///
/// # Errors
/// What is wrong with it.
pub fn parse_page_path(text: &str) -> Result<PathAndQuery, String> {
    match text {
        "" => return Err("empty".into()),
        _ if !text.starts_with('/') => return Err("does not begin with /".into()),
        _ if text.contains('#') => return Err("has a fragment".into()),
        _ => {}
    }
    let spelled = crate::target::spelled(text.as_bytes());
    PathAndQuery::try_from(spelled.as_deref().unwrap_or(text)).map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_type_that_its_name_says() {
        for (name, expected) in [
            ("/errors/404.html", Some("text/html; charset=utf-8")),
            ("a.b/50x.HTM", Some("text/html; charset=utf-8")),
            ("error.json", Some("application/json")),
            ("error.php", None),
            ("error", None),
        ] {
            let file = PageFile::new(name, b"x".to_vec());
            let found = file.as_ref().ok().map(|file| file.content_type.to_str().unwrap());
            assert_eq!(found, expected, "{name}");
        }
        assert_eq!(PageFile::new("a.txt", vec![0xff]), Err("not UTF-8".into()));
    }

    #[test]
    fn a_page_is_a_path_of_the_site() {
        for (text, expected) in [
            ("/errors/404.html", Ok("/errors/404.html")),
            ("/errors?status=404", Ok("/errors?status=404")),
            ("/f\u{e9}", Ok("/f%C3%A9")),
            ("errors/404.html", Err(())),
            ("https://other.example/404.html", Err(())),
            ("/a#b", Err(())),
            ("/a b", Err(())),
            ("", Err(())),
        ] {
            let parsed = parse_page_path(text);
            let parsed = parsed.as_ref().map(PathAndQuery::as_str).map_err(|_| ());
            assert_eq!(parsed, expected, "{text}");
        }
    }
}
