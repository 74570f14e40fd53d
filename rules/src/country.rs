//! Countries of clients, as an operator's database knows them.

use http::HeaderValue;
use std::fmt;

/// What a country may be, for messages.
pub const COUNTRY_FORM: &str = "two upper-case letters of ISO 3166-1 such as \"DE\", or \"ZZ\" for a client whose country is unknown";

/// A country: two upper-case letters (ISO 3166-1 alpha-2).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Country([u8; 2]);

impl Country {
    /// The country of a client that the database does not know. No country has this code: ISO 3166-1 leaves it to users.
    pub const UNKNOWN: Self = Self(*b"ZZ");

    /// Reads two upper-case letters.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.as_bytes() {
            [a @ b'A'..=b'Z', b @ b'A'..=b'Z'] => Ok(Self([*a, *b])),
            _ => Err("not the code of a country".into()),
        }
    }

    /// The two letters.
    pub fn as_str(&self) -> &str {
        // INVARIANT: two letters of ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// As the value of a field.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or(HeaderValue::from_static("ZZ"))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_country_is_two_upper_case_letters() {
        for (text, is_one) in [
            ("DE", true),
            ("ZZ", true),
            ("de", false),
            ("DEU", false),
            ("D", false),
            ("D1", false),
            ("", false),
        ] {
            assert_eq!(Country::parse(text).is_ok(), is_one, "{text}");
        }
        let country = Country::parse("SE").unwrap();
        assert_eq!(
            (country.to_string(), country.value()),
            ("SE".into(), HeaderValue::from_static("SE"))
        );
        assert_eq!(Country::UNKNOWN.to_string(), "ZZ");
    }
}
