//! Files that list URLs, one a line.

use std::io::Read;
use std::path::Path;

/// Bytes of one file.
const LARGEST: u64 = 64 << 20;

/// The URLs of a file.
///
/// # Errors
/// It cannot be read, or has a line that is neither a URL nor a comment.
pub(super) fn urls(file: &Path) -> Result<Vec<String>, String> {
    let failed = |why: String| format!("{}: {why}", file.display());
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(|error| failed(error.to_string()))?;
    opened
        .take(LARGEST + 1)
        .read_to_string(&mut text)
        .map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(failed(format!("more than {LARGEST} bytes")));
    }
    parse(&text).map_err(failed)
}

fn parse(text: &str) -> Result<Vec<String>, String> {
    let mut urls = Vec::new();
    for (n, line) in text.lines().enumerate() {
        // A fragment is never sent, so whatever follows a # is none of a URL's own.
        let url = line.split('#').next().unwrap_or_default().trim();
        if url.is_empty() {
            continue;
        }
        if !url.contains("://") || url.contains(char::is_whitespace) {
            let shown: String = url.chars().take(100).collect();
            return Err(format!("line {}: {shown:?}; accepted: a URL with its scheme", n + 1));
        }
        urls.push(url.to_owned());
    }
    Ok(urls)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_urls_or_comments() {
        let text = "# pages\n\nhttp://h/a\r\n  https://h/b?c  # the second\nhttp://h/d#e\n";
        assert_eq!(parse(text).unwrap(), ["http://h/a", "https://h/b?c", "http://h/d"]);
        let error = parse("http://h/a\n/b\n").unwrap_err();
        assert_eq!(error, "line 2: \"/b\"; accepted: a URL with its scheme");
        assert!(parse("http://h/a http://h/b").is_err());
        assert!(urls(Path::new("/nonexistent/f")).unwrap_err().starts_with("/nonexistent/f: "));
    }
}
