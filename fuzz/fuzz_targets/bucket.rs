//! What of a visitor's request a private bucket gets, and the file of its credentials: nothing panics, a path stays in
//! its bucket, and no parameter passes that is not let through.
#![no_main]

use weir_rules::s3::BucketTarget;
use weir_rules::s3::credentials::{Credentials, PROFILE};
use weir_rules::sigv4::decoded;

libfuzzer_sys::fuzz_target!(|input: (&str, &str, &str)| {
    let (path, query, file) = input;
    let _ = Credentials::parse(file, PROFILE);
    let allowed = ["versionId".to_owned()];
    let Ok(target) = BucketTarget::of("/bucket", path, Some(query), &allowed) else { return };
    let read = decoded(&target.path);
    assert!(read.starts_with(b"/bucket"), "outside of the bucket");
    assert!(!read.split(|b| *b == b'/').any(|segment| segment == b".."), "a way up");
    let parameters = target.query.split('&').filter(|parameter| !parameter.is_empty());
    assert!(parameters.into_iter().all(|parameter| parameter.starts_with("versionId=")), "{}", target.query);
    let _ = target.path_and_query();
});
