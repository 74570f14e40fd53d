//! Signed requests: nothing panics, and what was not signed with the secret is never taken for it.
//! The input's first line is the target, the next ones are fields, the rest is the body.
#![no_main]

use http::{HeaderName, HeaderValue, Request};

#[path = "../../control/src/dialects/cloudfront/sigv4.rs"]
#[allow(dead_code, reason = "the target uses its part")]
mod sigv4;

/// 2026-11-21T23:50:37Z.
const NOW: u64 = 1_795_305_037;

/// A claim that is whole, so that what follows it is reached.
const CLAIM: &str = "AWS4-HMAC-SHA256 Credential=ci/20261121/us-east-1/cloudfront/aws4_request, \
    SignedHeaders=host;x-amz-date;a, \
    Signature=7219b5b61cfed141da92f4efdbf275b5a31fc7af6fc7ca6ed35263aaf2292973";

libfuzzer_sys::fuzz_target!(|input: (&str, Vec<(&str, &str)>, &[u8], bool)| {
    let (target, fields, body, whole) = input;
    let mut request = Request::post(format!("/{target}"));
    if whole {
        request = request.header("authorization", CLAIM).header("x-amz-date", "20261121T235037Z");
    }
    for (name, value) in fields.into_iter().take(20) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(()) else { return };
    let (parts, ()) = request.into_parts();
    let Ok(claim) = sigv4::Signature::claimed(&parts.headers, "cloudfront", NOW) else { return };
    assert!(!claim.is_by("0123456789abcdef", &parts, "control.example", body), "a forgery");
});
