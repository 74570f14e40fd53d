//! Patterns in which `*` stands for any characters, also for none.

/// Whether `text` is what `pattern` says. Every other character stands for itself.
///
/// First and last literal are anchored; those between are found leftmost first, which never spoils
/// a match. Linear in the text for each literal.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.as_bytes().strip_prefix(first.as_bytes()) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for literal in middle.split('*').filter(|literal| !literal.is_empty()) {
        let Some(at) = memchr::memmem::find(text, literal.as_bytes()) else { return false };
        text = &text[at + literal.len()..];
    }
    text.ends_with(last.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_crosses_everything() {
        for (pattern, subject, expected) in [
            ("/img/*", "/img/", true),
            ("/img/*", "/img/a/b?c", true),
            ("/img/*", "/img", false),
            ("/img*", "/images", false),
            ("/img*", "/imgs", true),
            ("*", "/x", true),
            ("/*.jpg", "/a/b.jpg", true),
            ("/*.jpg", "/a.jpg/b", false),
            ("/a*b*c", "/abc", true),
            ("/a*b*c", "/abcbc", true),
            ("/a*b*c", "/ac", false),
            ("/a*bb", "/ab", false),
            ("/a*aa", "/aaa", true),
            ("/a**c", "/ac", true),
            ("/a*ab*ab", "/aab", false),
            ("/a*ab*ab", "/aabab", true),
            ("/a*?x=*", "/a/b?x=1", true),
            ("/a*?x=*", "/a/b", false),
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("a*a", "a", false),
            ("*-eu", "edge-eu", true),
            ("*-eu", "edge-eu-1", false),
        ] {
            assert_eq!(matches(pattern, subject), expected, "{pattern} {subject}");
        }
    }
}
