//! The credentials of the Basic scheme (RFC 7617).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

/// Longest value of the field that is read, bytes.
const LONGEST: usize = 1024;

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub user: String,
    /// The password, as the client encoded it.
    pub password: Vec<u8>,
}

/// The password is never shown.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Credentials {
    /// The credentials in the Authorization field of a request: `None` if there is not exactly one line, of
    /// the Basic scheme, with a user name that is UTF-8 (RFC 7617 §2).
    pub fn of(request: &HeaderMap) -> Option<Self> {
        let mut lines = request.get_all(header::AUTHORIZATION).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let line = line.as_bytes().trim_ascii();
        if line.len() > LONGEST {
            return None;
        }
        let (scheme, rest) = line.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let mut decoded = STANDARD.decode(rest.trim_ascii_start()).ok()?;
        let colon = memchr::memchr(b':', &decoded)?;
        let password = decoded.split_off(colon + 1);
        decoded.truncate(colon);
        Some(Self { user: String::from_utf8(decoded).ok()?, password })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Option<(String, String)> {
        let lines = lines.iter().map(|line| (header::AUTHORIZATION, line.parse().unwrap()));
        let read = Credentials::of(&lines.collect())?;
        Some((read.user, String::from_utf8(read.password).unwrap()))
    }

    #[test]
    fn a_user_name_and_a_password_are_read() {
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of(&["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]), pair("Aladdin", "open sesame"));
        assert_eq!(of(&["bASIC  QTpiOmM="]), pair("A", "b:c"));
        assert_eq!(of(&["Basic dGVzdDoxMjPCow=="]), pair("test", "123£"));
        assert_eq!(of(&["Basic Og=="]), pair("", ""));
    }

    #[test]
    fn what_is_not_one_pair_is_none() {
        let long = format!("Basic {}", "QTpi".repeat(300));
        for line in
            ["", "Basic", "Basic ", "Bearer QTpi", "Basic QWxhZGRpbg==", "Basic QTpi!", &long]
        {
            assert_eq!(of(&[line]), None, "{line}");
        }
        assert_eq!(of(&["Basic QTpi", "Basic QTpi"]), None);
        assert_eq!(of(&["Basic /zpi"]), None, "not UTF-8");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_password_is_not_shown() {
        let credentials = Credentials { user: "a".into(), password: b"secret".into() };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
