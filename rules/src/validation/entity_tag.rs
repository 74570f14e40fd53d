//! Entity tags (RFC 9110 §8.8.3) and how they are compared (§8.8.3.2).

/// An entity tag as written. Octets are compared as they are: backslash escapes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityTag<'a> {
    pub(crate) weak: bool,
    /// With its quotes.
    pub(crate) opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads a well-formed entity tag.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (weak, opaque) = match text {
            [b'W', b'/', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        match opaque {
            [b'"', content @ .., b'"'] if content.iter().all(is_etag_byte) => {
                Some(Self { weak, opaque })
            }
            _ => None,
        }
    }

    /// Equal octets, both strong.
    pub(crate) fn matches_strongly(self, other: Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Equal octets.
    pub(crate) fn matches_weakly(self, other: Self) -> bool {
        self.opaque == other.opaque
    }
}

/// etagc (RFC 9110 §8.8.3).
fn is_etag_byte(byte: &u8) -> bool {
    matches!(*byte, 0x21 | 0x23..=0x7e | 0x80..)
}

/// The members of a list of entity tags, as written: split at commas outside of quotes.
pub(crate) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    list.split(move |byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
    .filter(|member| !member.is_empty())
}

/// Whether one member of If-None-Match names the stored ETag, compared weakly (RFC 9110 §13.1.2).
///
/// Some origins and clients forget the quotes. Such a tag matches the same octets, with quotes or
/// without; it still names one version of the content, so a 304 for it is right.
pub(crate) fn member_names(member: &[u8], stored: &[u8]) -> bool {
    let stored = stored.trim_ascii();
    if member == stored {
        return true;
    }
    match (EntityTag::parse(member), EntityTag::parse(stored)) {
        (Some(member), Some(stored)) => member.matches_weakly(stored),
        (None, Some(stored)) => is_unquoted(stored.opaque, member),
        (Some(member), None) => is_unquoted(member.opaque, stored),
        (None, None) => false,
    }
}

/// Whether `bare` is the content of the quoted tag.
fn is_unquoted(quoted: &[u8], bare: &[u8]) -> bool {
    matches!(quoted, [b'"', content @ .., b'"'] if content == bare && !content.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_formed_tags() {
        let tag = |text: &'static str| EntityTag::parse(text.as_bytes());
        assert_eq!(tag("\"a,b\\\""), Some(EntityTag { weak: false, opaque: b"\"a,b\\\"" }));
        assert_eq!(tag(" W/\"a\" "), Some(EntityTag { weak: true, opaque: b"\"a\"" }));
        assert_eq!(tag("\"\""), Some(EntityTag { weak: false, opaque: b"\"\"" }));
        for odd in ["", "\"", "a", "w/\"a\"", "W\"a\"", "\"a b\"", "\"a\"b\"", "*", "W/"] {
            assert_eq!(tag(odd), None, "{odd}");
        }
        assert!(EntityTag::parse(b"\"abc\xfc\"").is_some());
    }

    #[test]
    fn comparison() {
        let tag = |text: &'static str| EntityTag::parse(text.as_bytes()).expect("a tag");
        assert!(tag("\"a\"").matches_strongly(tag("\"a\"")));
        assert!(!tag("W/\"a\"").matches_strongly(tag("W/\"a\"")));
        assert!(tag("W/\"a\"").matches_weakly(tag("\"a\"")));
        assert!(!tag("\"a\"").matches_weakly(tag("\"b\"")));
    }

    #[test]
    fn lists_split_outside_of_quotes() {
        let list: Vec<_> = members(b"\"a,b\", W/\"c\",,  d ,").collect();
        assert_eq!(list, [&b"\"a,b\""[..], b"W/\"c\"", b"d"]);
        assert_eq!(members(b"").count(), 0);
    }
}
