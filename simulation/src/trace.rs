//! Lines of traces: `URL BYTES`, or `SECONDS URL BYTES` (webcachesim's `time id size`). A URL is any word
//! without spaces.

use crate::{Line, Request, hash_of};

/// Reads a line. One that begins with `#` is a comment.
pub fn read(line: &str) -> Line {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Line::Nothing;
    }
    let words: Vec<_> = line.split_ascii_whitespace().take(4).collect();
    let (at, url, bytes) = match words[..] {
        [url, bytes] => (None, url, bytes),
        [at, url, bytes] => (Some(at), url, bytes),
        _ => return Line::Unknown,
    };
    let Ok(bytes) = bytes.parse() else { return Line::Unknown };
    let at = match at.map(str::parse::<f64>) {
        None => None,
        Some(Ok(at)) if at >= 0.0 => Some(at as u64),
        Some(_) => return Line::Unknown,
    };
    Line::Request(Request { url: hash_of(&[url.as_bytes()]), client: 0, at, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_two_and_three_words_are_requests() {
        let request = |at| Request { url: hash_of(&[b"/a"]), client: 0, at, bytes: 12 };
        assert_eq!(read("/a 12"), Line::Request(request(None)));
        assert_eq!(read(" 7 /a 12\r"), Line::Request(request(Some(7))));
        assert_eq!(read("7.5 /a 12"), Line::Request(request(Some(7))));
    }

    #[test]
    fn other_lines_are_none() {
        assert_eq!(read("# URL BYTES"), Line::Nothing);
        assert_eq!(read(" "), Line::Nothing);
        for line in ["/a", "/a b", "/a -1", "x /a 12", "-1 /a 12", "NaN /a 12", "1 /a 12 x"] {
            assert_eq!(read(line), Line::Unknown, "{line}");
        }
    }
}
