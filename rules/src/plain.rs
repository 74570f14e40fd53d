//! Paths that all servers read in one way. Nearly all are of this kind, and with rules every request is asked for it.

/// Bytes that are compared at once.
const AT_ONCE: usize = 16;

/// Whether a path as sent is certainly percent-normalised, and not [ambiguous](is_ambiguous): one look at its bytes
/// tells. Of a path for which this is false, neither is known.
pub(crate) fn is_plain(path: &str) -> bool {
    let Some((first, bytes)) = path.as_bytes().split_first() else { return true };
    let before = &path.as_bytes()[..bytes.len()];
    let mut found = [0_u8; AT_ONCE];
    // Without an end for each byte, the compiler compares all of them in a few instructions.
    let mut look = |before: &[u8; AT_ONCE], bytes: &[u8; AT_ONCE]| {
        for n in 0..AT_ONCE {
            found[n] |= if may_be_read_otherwise(before[n], bytes[n]) { 0xff } else { 0 };
        }
    };
    let (chunks, rest) = bytes.as_chunks();
    let (chunks_before, rest_before) = before.as_chunks();
    for (before, bytes) in chunks_before.iter().zip(chunks) {
        look(before, bytes);
    }
    if !rest.is_empty() {
        match (before.last_chunk(), bytes.last_chunk()) {
            // Some of them once more: that costs less than one after the other.
            (Some(before), Some(bytes)) => look(before, bytes),
            _ => {
                let (mut short_before, mut short) = ([b'a'; AT_ONCE], [b'a'; AT_ONCE]);
                short_before[..rest_before.len()].copy_from_slice(rest_before);
                short[..rest.len()].copy_from_slice(rest);
                look(&short_before, &short);
            }
        }
    }
    !may_be_read_otherwise(b'a', *first) && u128::from_ne_bytes(found) == 0
}

/// Whether a byte, behind another one, keeps a path from being [plain](is_plain). So do some that are written as they
/// are, such as `~` and `!`: what is between `(` and `z` is compared at once.
#[inline]
const fn may_be_read_otherwise(before: u8, byte: u8) -> bool {
    (byte.wrapping_sub(b'(') > b'z' - b'(')
        | (byte == b';')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'\\')
        | (byte == b'^')
        | (byte == b'`')
        | ((before == b'/') & ((byte == b'/') | (byte == b'.')))
}

/// Whether a percent-normalised path may have a second reading: it has `;` or `%`, or a slash before a slash or a dot.
pub(crate) fn is_ambiguous(path: &str) -> bool {
    let bytes = path.as_bytes();
    let climbs = bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/."));
    climbs || bytes.iter().any(|byte| matches!(byte, b';' | b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::normalised;
    use proptest::prelude::*;
    use std::borrow::Cow;

    /// By what the two say that take one byte after the other.
    fn has_one_reading(path: &str) -> bool {
        let normalised = normalised(path);
        matches!(normalised, Cow::Borrowed(_)) && !is_ambiguous(&normalised)
    }

    #[test]
    fn usual_paths_are_plain() {
        for path in [
            "",
            "/",
            "/a.css",
            "/articles/2026/11/a-page-of-some-length.html",
            "/w/index.php",
            "/@scope/name/-/name-1.0.0+2.tgz",
            "/a:b,c(d)*_=/",
            "/aaaaaaaaaaaaaaa",
            "/aaaaaaaaaaaaaaaa",
            "/aaaaaaaaaaaaaaaaa",
        ] {
            assert!(is_plain(path), "{path}");
        }
    }

    /// Each byte and each pair, at each place of paths around the sizes that are compared at once.
    #[test]
    fn what_may_be_read_otherwise_is_seen_wherever_it_is() {
        let pairs = (0..=0x7f_u8).map(|byte| vec![byte]);
        let pairs = pairs.chain([b"//".to_vec(), b"/.".to_vec(), "é".into(), b"%41".to_vec()]);
        for odd in pairs {
            let odd = String::from_utf8(odd).expect("ASCII, or a letter");
            for length in 0..40 {
                for at in 0..=length {
                    let path = format!("{}{odd}{}", "a".repeat(at), "a".repeat(length - at));
                    assert!(!is_plain(&path) || has_one_reading(&path), "{path:?}");
                }
            }
        }
    }

    #[test]
    fn a_path_with_two_readings_is_ambiguous() {
        for path in ["//", "/a//b", "/.", "/a/..", "/a;b", "/a%2Fb", "/.well-known/a"] {
            assert!(is_ambiguous(path) && !is_plain(path), "{path}");
        }
        for path in ["", "/", "/a.b/c", "/a./b", "/a~b"] {
            assert!(!is_ambiguous(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_has_one_reading(path in "/([a-z0-9/.\\-_:@(),+=*?]|[!-~]|\\PC|%[0-9a-fA-F]{2}){0,48}") {
            prop_assert!(!is_plain(&path) || has_one_reading(&path));
        }

        /// Of bytes that are compared at once, and of no others, it is known.
        #[test]
        fn what_has_one_reading_is_plain(path in "(/?[a-zA-Z0-9\\-_:@(),+=*.]){0,48}") {
            prop_assert_eq!(is_plain(&path), has_one_reading(&path));
        }
    }
}
