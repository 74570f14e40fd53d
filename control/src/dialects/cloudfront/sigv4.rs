//! AWS Signature Version 4, as its clients sign requests to CloudFront: what a request claims, and
//! whether the claim is made with the secret. Pure: the clock is an argument.
//!
//! Only signatures in Authorization are taken, not those in the query, and only over the body.

use http::HeaderMap;
use http::request::Parts;
use ring::{digest, hmac};

/// The scheme of Authorization.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// When the request was signed, as `20261121T201500Z`.
const DATE: &str = "x-amz-date";

/// What the client says the hash of its body is; most clients leave it out.
const CONTENT_HASH: &str = "x-amz-content-sha256";

/// How far the signer's clock may be off, in seconds.
pub(crate) const TOLERANCE: u64 = 300;

/// Most fields that are signed.
const MOST_FIELDS: usize = 100;

/// What Authorization claims. Nothing of it is proven before [`Signature::is_by`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    /// The name of the key that signed.
    pub(crate) access_key: String,
    /// `20261121T201500Z`.
    time: String,
    /// `20261121`, `us-east-1`, `cloudfront`.
    scope: [String; 3],
    /// The names of the signed fields, in lower case.
    fields: Vec<String>,
    signature: [u8; 32],
}

/// Whether a value of Authorization is of this scheme.
pub(crate) fn is_signature(authorization: &[u8]) -> bool {
    let scheme = authorization.split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(ALGORITHM.as_bytes())
}

impl Signature {
    /// Reads the claim in a request's head, made for `service` at a time near `now` (in seconds
    /// since 1970).
    ///
    /// # Errors
    /// What is missing, malformed or out of date.
    pub(crate) fn claimed(headers: &HeaderMap, service: &str, now: u64) -> Result<Self, String> {
        let field = one(headers, "authorization")?;
        let Some((ALGORITHM, parameters)) = field.split_once(' ') else {
            return Err(format!("Authorization is not {ALGORITHM} followed by its parameters"));
        };
        let [mut credential, mut signed, mut signature] = [None; 3];
        for parameter in parameters.split(',') {
            let (name, value) = parameter.trim().split_once('=').unwrap_or_default();
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return Err("Authorization has a parameter that is not known".into()),
            };
            if place.replace(value).is_some() {
                return Err(format!("Authorization has two {name}"));
            }
        }
        let (Some(credential), Some(signed), Some(signature)) = (credential, signed, signature)
        else {
            return Err("Authorization lacks Credential, SignedHeaders or Signature".into());
        };
        let scope: Vec<_> = credential.split('/').collect();
        let [access_key, date, region, named, "aws4_request"] = scope[..] else {
            return Err("Credential is not KEY/DATE/REGION/SERVICE/aws4_request".into());
        };
        if named != service {
            return Err(format!("Credential is for another service; accepted: {service}"));
        }
        let fields: Vec<_> = signed.split(';').map(str::to_owned).collect();
        let covers = |name: &str| fields.iter().any(|field| field == name);
        if !covers("host") || !covers(DATE) || fields.len() > MOST_FIELDS {
            return Err(format!("SignedHeaders must have host and {DATE}"));
        }
        let time = one(headers, DATE)?;
        let signed_at = seconds(time).ok_or("X-Amz-Date is not of the form 20261121T201500Z")?;
        if !time.starts_with(date) || date.len() != 8 {
            return Err("the date in Credential is not that of X-Amz-Date".into());
        }
        if now.abs_diff(signed_at) > TOLERANCE {
            let minutes = TOLERANCE / 60;
            return Err(format!("signed at {time}, more than {minutes} minutes from now"));
        }
        Ok(Self {
            access_key: access_key.to_owned(),
            time: time.to_owned(),
            scope: [date, region, named].map(str::to_owned),
            fields,
            signature: bytes(signature).ok_or("Signature is not 64 hexadecimal digits")?,
        })
    }

    /// Whether the request with this head and body, sent to `host`, was signed with `secret`. The
    /// comparison takes the same time however much is right.
    pub(crate) fn is_by(&self, secret: &str, request: &Parts, host: &str, body: &[u8]) -> bool {
        let hash = hex(digest::digest(&digest::SHA256, body).as_ref());
        // A hash that the client names is signed with the rest, so it must be the body's.
        let named = request.headers.get_all(CONTENT_HASH);
        if named.iter().any(|named| named.as_bytes() != hash.as_bytes()) {
            return false;
        }
        let Some(canonical) = self.canonical(request, host, &hash) else { return false };
        let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let [date, region, service] = &self.scope;
        let time = &self.time;
        let signed =
            format!("{ALGORITHM}\n{time}\n{date}/{region}/{service}/aws4_request\n{canonical}");
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [date, region, service, "aws4_request"] {
            key = hmac::sign(&sha256(&key), part.as_bytes()).as_ref().to_vec();
        }
        hmac::verify(&sha256(&key), signed.as_bytes(), &self.signature).is_ok()
    }

    /// The canonical request; `None` when a field that is said to be signed is not there.
    fn canonical(&self, request: &Parts, host: &str, hash: &str) -> Option<String> {
        let mut text = String::new();
        for part in [request.method.as_str(), &encoded(request.uri.path().as_bytes(), b"/")] {
            text.push_str(part);
            text.push('\n');
        }
        text.push_str(&canonical_query(request.uri.query().unwrap_or_default()));
        text.push('\n');
        for name in &self.fields {
            let value = if name == "host" { host.to_owned() } else { values(request, name)? };
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push('\n');
        text.push_str(&self.fields.join(";"));
        text.push('\n');
        text.push_str(hash);
        Some(text)
    }
}

/// The values of a field as they are signed: trimmed, white space collapsed, joined by commas.
fn values(request: &Parts, name: &str) -> Option<String> {
    let mut values = Vec::new();
    for value in request.headers.get_all(name) {
        values.push(value.to_str().ok()?.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    }
    (!values.is_empty()).then(|| values.join(","))
}

/// The parameters, each escaped in one way only, sorted.
fn canonical_query(query: &str) -> String {
    let mut parameters: Vec<_> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            (encoded(&decoded(name), b""), encoded(&decoded(value), b""))
        })
        .collect();
    parameters.sort();
    let pairs: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Escapes all but unreserved characters (RFC 3986 §2.3) and `kept`.
fn encoded(bytes: &[u8], kept: &[u8]) -> String {
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
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(byte);
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    out
}

fn sha256(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 32 bytes from 64 hexadecimal digits.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<_>> = hex.as_bytes().chunks(2).map(byte).collect();
    bytes?.try_into().ok()
}

/// A byte from two hexadecimal digits.
fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

/// The one value of a field.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, String> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => Err(format!("the request does not have exactly one {name}")),
    }
}

/// Seconds since 1970 of a time such as `20261121T201500Z`.
fn seconds(time: &str) -> Option<u64> {
    let shape = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    if time.len() != 16 || !time.bytes().enumerate().all(shape) {
        return None;
    }
    let number = |from: usize, to: usize| time[from..to].parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    let within = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !within {
        return None;
    }
    // Years begin in March here, so that the leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719_468 days lie between the first of March of year 0 and the first of January of 1970.
    let days = year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";
    const HOST: &str = "127.0.0.1:7799";
    const AT: &str = "20261121T235037Z";
    const INVALIDATION: &str = "/2020-05-31/distribution/E1/invalidation";
    const BODY: &str = "<InvalidationBatch \
        xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Paths><Quantity>2</Quantity>\
        <Items><Path>/a&amp;b/*</Path><Path>/é%20 x</Path></Items></Paths>\
        <CallerReference>r1</CallerReference></InvalidationBatch>";

    /// Three requests as boto3 1.44 signs them.
    const BY_BOTO3: [(&str, &str, &str, &str); 3] = [
        (
            "POST",
            INVALIDATION,
            BODY,
            "7219b5b61cfed141da92f4efdbf275b5a31fc7af6fc7ca6ed35263aaf2292973",
        ),
        (
            "GET",
            "/2020-05-31/distribution/E%201/invalidation/I1",
            "",
            "19dba5812c6084d70a3a1053ceb91ce31a4b67e6985df90f4bd1054f40e3b779",
        ),
        (
            "GET",
            "/2020-05-31/distribution/E1/invalidation?Marker=a%2Fb%20c&MaxItems=2",
            "",
            "7cbf91d4ba1375512382fba551ae0a25608954ef97f21930afc6866415bd0b69",
        ),
    ];

    fn authorization(signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=ci/20261121/us-east-1/cloudfront/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        )
    }

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn claimed(authorization: &str, date: &str, now: u64) -> Result<Signature, String> {
        let fields = [("authorization", authorization), (DATE, date)];
        let request = request("GET", "/", &fields);
        Signature::claimed(&request.headers, "cloudfront", now)
    }

    #[test]
    fn requests_that_boto3_signed_are_verified() {
        let now = seconds(AT).unwrap() + TOLERANCE;
        for (method, uri, body, signature) in BY_BOTO3 {
            let authorization = authorization(signature);
            let fields = [("authorization", authorization.as_str()), (DATE, AT)];
            let parts = request(method, uri, &fields);
            let claim = Signature::claimed(&parts.headers, "cloudfront", now).unwrap();
            assert_eq!(claim.access_key, "ci");
            assert!(claim.is_by(SECRET, &parts, HOST, body.as_bytes()), "{uri}");
            // Whatever is changed of it, it is no longer what was signed.
            assert!(!claim.is_by("0123456789abcdeF", &parts, HOST, body.as_bytes()));
            assert!(!claim.is_by(SECRET, &parts, "127.0.0.1", body.as_bytes()));
            assert!(!claim.is_by(SECRET, &parts, HOST, b"another body"));
            let longer = format!("{uri}x");
            for (method, uri) in [("PUT", uri), (method, longer.as_str())] {
                let other = request(method, uri, &fields);
                assert!(!claim.is_by(SECRET, &other, HOST, body.as_bytes()), "{method} {uri}");
            }
            let hashed = |hash: &str| {
                let mut parts = parts.clone();
                parts.headers.append(CONTENT_HASH, hash.parse().unwrap());
                claim.is_by(SECRET, &parts, HOST, body.as_bytes())
            };
            assert!(!hashed("UNSIGNED-PAYLOAD"));
            assert!(hashed(&hex(digest::digest(&digest::SHA256, body.as_bytes()).as_ref())));
        }
    }

    /// `get-vanilla` and `get-vanilla-query-order-key-case` of the published test suite.
    #[test]
    fn the_published_examples_are_verified() {
        for (uri, signature) in [
            ("/", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            (
                "/?Param2=value2&Param1=value1",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
        ] {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, Signature={signature}"
            );
            let time = "20150830T123600Z";
            let parts = request("GET", uri, &[("authorization", &authorization), (DATE, time)]);
            let now = seconds(time).unwrap();
            let claim = Signature::claimed(&parts.headers, "service", now).unwrap();
            let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
            assert!(claim.is_by(secret, &parts, "example.amazonaws.com", b""), "{uri}");
        }
    }

    #[test]
    fn a_claim_that_lacks_something_is_refused_with_what_it_lacks() {
        let now = seconds(AT).unwrap();
        let good = authorization(BY_BOTO3[0].3);
        assert!(claimed(&good, AT, now).is_ok());
        let changed = |from: &str, to: &str| good.replace(from, to);
        for (authorization, date, part) in [
            (changed("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA1 "), AT, "is not AWS4"),
            ("AWS4-HMAC-SHA256".into(), AT, "is not AWS4"),
            ("AWS4-HMAC-SHA256 ".into(), AT, "not known"),
            (changed("Signature=", "Sig="), AT, "not known"),
            (changed("SignedHeaders=host;x-amz-date, ", ""), AT, "lacks"),
            (format!("{good}, Signature=00"), AT, "two Signature"),
            (changed("/cloudfront/", "/s3/"), AT, "another service"),
            (changed("/aws4_request", ""), AT, "KEY/DATE/REGION"),
            (changed("host;x-amz-date", "x-amz-date"), AT, "must have host"),
            (changed("host;x-amz-date", "host"), AT, "must have host"),
            (changed("7219", "721"), AT, "64 hexadecimal"),
            (changed("7219", "é219"), AT, "exactly one"),
            (changed("7219", "+219"), AT, "64 hexadecimal"),
            (good.clone(), "20261121T235037", "form"),
            (good.clone(), "20261321T235037Z", "form"),
            (good.clone(), "20261122T000000Z", "not that of"),
            (changed("/20261121/", "/2026/"), AT, "not that of"),
        ] {
            let refused = claimed(&authorization, date, now).unwrap_err();
            assert!(refused.contains(part), "{authorization}: {refused}");
        }
        for off in [now - TOLERANCE - 1, now + TOLERANCE + 1] {
            assert!(claimed(&good, AT, off).unwrap_err().contains("more than 5 minutes"));
        }
    }

    #[test]
    fn times_are_read_as_the_calendar_has_them() {
        for (time, expected) in [
            ("19700101T000000Z", Some(0)),
            ("20000229T000000Z", Some(951_782_400)),
            ("20150830T123600Z", Some(1_440_938_160)),
            ("21000301T000000Z", Some(4_107_542_400)),
            ("19691231T235959Z", None),
            ("20261121T240000Z", None),
            ("2026112\u{e9}T24000Z", None),
        ] {
            assert_eq!(seconds(time), expected, "{time}");
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
