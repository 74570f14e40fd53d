//! AWS Signature Version 4: what is signed of a request, and with what key. Who checks signatures and who makes
//! them use the same code. Pure: the time is an argument.

use crate::calendar::{Date, SECONDS_PER_DAY};
use ring::{digest, hmac};

/// The scheme of Authorization.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, escaped as the service says ([`encoded`]).
    pub path: &'a str,
    /// The query ([`canonical_query`]).
    pub query: &'a str,
    /// The signed fields: name in lower case and value, in the order of the names.
    pub fields: &'a [(&'a str, &'a str)],
    /// The hash of the body ([`hash`]).
    pub hash: &'a str,
}

/// When and for what a signature counts.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// `20261121T201500Z` ([`basic_time`]).
    pub time: &'a str,
    /// `eu-central-1`
    pub region: &'a str,
    /// `s3`
    pub service: &'a str,
}

impl Scope<'_> {
    /// As Credential has it after the name of the key: `20261121/eu-central-1/s3/aws4_request`.
    pub fn credential(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date(), self.region, self.service)
    }

    fn date(&self) -> &str {
        self.time.get(..8).unwrap_or(self.time)
    }

    /// The key that signs, and the text that it signs.
    fn signed(&self, secret: &str, request: &Signable<'_>) -> (hmac::Key, String) {
        let canonical = hash(request.canonical().as_bytes());
        let text = format!("{ALGORITHM}\n{}\n{}\n{canonical}", self.time, self.credential());
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [self.date(), self.region, self.service, "aws4_request"] {
            key = hmac::sign(&sha256(&key), part.as_bytes()).as_ref().to_vec();
        }
        (sha256(&key), text)
    }

    /// The signature, in hexadecimal digits.
    pub fn sign(&self, secret: &str, request: &Signable<'_>) -> String {
        let (key, text) = self.signed(secret, request);
        hex(hmac::sign(&key, text.as_bytes()).as_ref())
    }

    /// Whether `signature` is that of this request with this secret. The comparison takes the same time however
    /// much is right.
    pub fn verify(&self, secret: &str, request: &Signable<'_>, signature: &[u8]) -> bool {
        let (key, text) = self.signed(secret, request);
        hmac::verify(&key, text.as_bytes(), signature).is_ok()
    }
}

impl Signable<'_> {
    /// The names of the signed fields, as SignedHeaders has them.
    pub fn names(&self) -> String {
        self.fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";")
    }

    fn canonical(&self) -> String {
        let Self { method, path, query, fields, hash } = self;
        let lines: String =
            fields.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        format!("{method}\n{path}\n{query}\n{lines}\n{}\n{hash}", self.names())
    }
}

/// The SHA-256 of `bytes`, in hexadecimal digits.
pub fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// The parameters of a query, each escaped in one way only, sorted.
pub fn canonical_query(query: &str) -> String {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty()).map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        (decoded(name), decoded(value))
    });
    sorted_query(parameters)
}

/// The same of parameters that are not escaped.
pub(crate) fn sorted_query(parameters: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> String {
    let mut escaped: Vec<_> =
        parameters.map(|(name, value)| (encoded(&name, b""), encoded(&value, b""))).collect();
    escaped.sort();
    let pairs: Vec<_> = escaped.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Escapes all but unreserved characters (RFC 3986 §2.3) and `kept`.
pub fn encoded(bytes: &[u8], kept: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || kept.contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Undoes escapes; a `%` that begins none stays.
pub fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(byte);
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    out
}

/// A byte from two hexadecimal digits.
pub fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

/// `20261121T201500Z`, of seconds since 1970.
pub fn basic_time(seconds: u64) -> String {
    let (date, second) = (Date::after_1970(seconds / SECONDS_PER_DAY), seconds % SECONDS_PER_DAY);
    let (year, month, day) = (date.year(), date.month(), date.day());
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

fn sha256(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// `get-vanilla`, `get-vanilla-query-order-key-case` and `get-vanilla-utf8-query` of the published test suite.
    #[test]
    fn the_published_examples_are_signed_so() {
        let scope = Scope { time: "20150830T123600Z", region: "us-east-1", service: "service" };
        let fields = [("host", "example.amazonaws.com"), ("x-amz-date", scope.time)];
        for (query, signature) in [
            ("", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("\u{1234}=bar", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"),
        ] {
            let query = canonical_query(query);
            let request = Signable {
                method: "GET",
                path: "/",
                query: &query,
                fields: &fields,
                hash: &hash(b""),
            };
            assert_eq!(scope.sign(SECRET, &request), signature, "{query}");
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, time) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_440_938_160, "20150830T123600Z"),
            (1_703_980_799, "20231230T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(basic_time(seconds), time);
        }
    }

    #[test]
    fn parameters_have_one_spelling() {
        for (query, expected) in [
            ("", ""),
            ("b=2&a=1&a=0", "a=0&a=1&b=2"),
            ("a", "a="),
            ("a=%7e%2f%e9+", "a=~%2F%E9%2B"),
            ("a=%&b=%4", "a=%25&b=%254"),
        ] {
            assert_eq!(canonical_query(query), expected, "{query}");
        }
    }
}
