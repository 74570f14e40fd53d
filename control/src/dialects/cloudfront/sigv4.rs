//! AWS Signature Version 4, as its clients sign requests to CloudFront: what a request claims, and
//! whether the claim is made with the secret. Pure: the clock is an argument.
//!
//! Only signatures in Authorization are taken, not those in the query, and only over the body.

use http::HeaderMap;
use http::request::Parts;
use weir_rules::calendar::{Date, SECONDS_PER_DAY};
use weir_rules::sigv4::{ALGORITHM, Scope, Signable, byte, canonical_query, encoded, hash};

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
        let hash = hash(body);
        // A hash that the client names is signed with the rest, so it must be the body's.
        let named = request.headers.get_all(CONTENT_HASH);
        if named.iter().any(|named| named.as_bytes() != hash.as_bytes()) {
            return false;
        }
        let value = |name: &str| match name {
            "host" => Some(host.to_owned()),
            name => values(request, name),
        };
        // A field that is said to be signed may not be there.
        let values: Option<Vec<_>> = self.fields.iter().map(|name| value(name)).collect();
        let Some(values) = values else { return false };
        let fields: Vec<_> =
            self.fields.iter().zip(&values).map(|(name, value)| (&**name, &**value)).collect();
        let [_, region, service] = &self.scope;
        let request = Signable {
            method: request.method.as_str(),
            path: &encoded(request.uri.path().as_bytes(), b"/"),
            query: &canonical_query(request.uri.query().unwrap_or_default()),
            fields: &fields,
            hash: &hash,
        };
        // The date of the scope is that of the time: this was seen when the claim was read.
        Scope { time: &self.time, region, service }.verify(secret, &request, &self.signature)
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

/// 32 bytes from 64 hexadecimal digits.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<_>> = hex.as_bytes().chunks(2).map(byte).collect();
    bytes?.try_into().ok()
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
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = Date::new(year, month, day)?.days_after_1970()?;
    Some(days * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second)
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
            assert!(hashed(&hash(body.as_bytes())));
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
}
