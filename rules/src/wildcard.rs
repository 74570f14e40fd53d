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

/// What each `*` of a pattern stands for in a text, those before the last as little as possible; `None` if it does
/// not match.
pub fn captures(pattern: &str, text: &str) -> Option<Vec<String>> {
    if !matches(pattern, text) {
        return None;
    }
    let mut literals = pattern.split('*');
    let mut rest = text.strip_prefix(literals.next()?)?;
    let mut captures = Vec::new();
    let mut literals = literals.peekable();
    while let Some(literal) = literals.next() {
        let end = match literals.peek() {
            Some(_) => rest.find(literal)?,
            None => rest.len().checked_sub(literal.len())?,
        };
        captures.push(rest.get(..end)?.to_owned());
        rest = rest.get(end + literal.len()..)?;
    }
    Some(captures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_what_is_between_literals() {
        let captured = |pattern, text| captures(pattern, text).map(|all| all.join("|"));
        assert_eq!(captured("/a", "/a").as_deref(), Some(""));
        assert_eq!(captured("/a", "/b"), None);
        assert_eq!(captured("/old/*", "/old/a/b").as_deref(), Some("a/b"));
        assert_eq!(captured("/*/*.jpg", "/a/b/c.jpg").as_deref(), Some("a|b/c"));
        assert_eq!(captured("/*", "/").as_deref(), Some(""));
        assert_eq!(captured("*aa*aa", "aaaa").as_deref(), Some("|"));
        assert_eq!(captured("/a**b", "/axb").as_deref(), Some("|x"));
    }

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
