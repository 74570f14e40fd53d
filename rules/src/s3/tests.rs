//! What of a visitor's request a bucket gets.

use super::*;
use proptest::prelude::*;

fn allowed() -> Vec<String> {
    ["versionId", "response-content-type"].map(str::to_owned).to_vec()
}

fn target(prefix: &str, path: &str, query: &str) -> BucketTarget {
    BucketTarget::of(prefix, path, Some(query), &allowed()).unwrap()
}

fn example() -> Credentials {
    Credentials {
        access_key: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        session_token: None,
    }
}

/// "GET Object", the first example of the documentation of S3. It signs Range too.
#[test]
fn the_example_of_the_documentation_is_signed_so() {
    let scope = Scope { time: "20130524T000000Z", region: "us-east-1", service: "s3" };
    let hash = hash(b"");
    let fields = [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", hash.as_str()),
        ("x-amz-date", scope.time),
    ];
    let target = target("", "/test.txt", "");
    let request = Signable {
        method: "GET",
        path: &target.path,
        query: &target.query,
        fields: &fields,
        hash: &hash,
    };
    assert_eq!(
        scope.sign(&example().secret_key, &request),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
}

#[test]
fn only_what_is_allowed_of_a_query_is_let_through() {
    for (query, passed) in [
        ("", ""),
        ("versionId=a%2Fb", "versionId=a%2Fb"),
        ("%76ersionId=1", "versionId=1"),
        ("acl", ""),
        ("acl&versionId=1&list-type=2", "versionId=1"),
        ("ACL=&uploads&policy&versions", ""),
        ("X-Amz-Signature=a&x-amz-date=b", ""),
        ("versionid=1", ""),
        ("response-content-type=a+b%2Bc", "response-content-type=a%20b%2Bc"),
        ("versionId=2&versionId=1", "versionId=1&versionId=2"),
        ("versionId=1%26acl", "versionId=1%26acl"),
    ] {
        assert_eq!(target("", "/a", query).query, passed, "{query}");
    }
}

#[test]
fn no_subresource_can_be_allowed() {
    for name in [
        "acl",
        "ACL",
        "policy",
        "list-type",
        "uploads",
        "uploadId",
        "versions",
        "X-Amz-Date",
        "",
        "a*",
    ] {
        assert!(check_parameter(name).is_err(), "{name}");
    }
    for name in ["versionId", "partNumber", "response-content-disposition"] {
        assert_eq!(check_parameter(name), Ok(()));
    }
    assert!(
        SUBRESOURCES.is_sorted() && SUBRESOURCES.iter().all(|name| check_parameter(name).is_err())
    );
}

#[test]
fn a_path_has_one_spelling_and_stays_in_its_bucket() {
    for (prefix, path, sent) in [
        ("", "/a.txt", "/a.txt"),
        ("/bucket", "/a.txt", "/bucket/a.txt"),
        ("", "/%61%20b+c", "/a%20b%2Bc"),
        ("", "/a%2fb", "/a/b"),
        ("", "/a%252fb", "/a%252fb"),
        ("", "/a//b/", "/a//b/"),
        ("", "/\u{e4}", "/%C3%A4"),
        ("/b", "/...", "/b/..."),
    ] {
        let target = target(prefix, path, "");
        assert_eq!((target.path.as_str(), target.is_root), (sent, false), "{path}");
    }
    for path in [
        "/..",
        "/../x",
        "/a/../b",
        "/a/.",
        "/%2e%2e/x",
        "/a/%2E./b",
        "/a%2f..%2fb",
        "/a\\..\\b",
        "/..%5cx",
    ] {
        assert_eq!(BucketTarget::of("/bucket", path, None, &[]), Err(Ambiguous), "{path}");
    }
    for path in ["", "/", "//", "/%2f"] {
        assert!(target("/bucket", path, "").is_root, "{path}");
    }
}

#[test]
fn the_visitors_own_credentials_are_dropped_and_range_stays() {
    let host = HeaderValue::from_static("bucket.example");
    let fields = || {
        HeaderMap::from_iter([
            (header::AUTHORIZATION, HeaderValue::from_static("Basic YTpi")),
            (HeaderName::from_static("x-amz-acl"), HeaderValue::from_static("public-read")),
            (TOKEN.clone(), HeaderValue::from_static("visitors")),
            (header::RANGE, HeaderValue::from_static("bytes=0-9")),
        ])
    };
    let sign = |path: &str, credentials: &Credentials| {
        let mut fields = fields();
        let by = (credentials, "eu-central-1");
        target("", path, "").sign(&Method::GET, &host, by, "20261121T201500Z", &mut fields);
        fields
    };
    let signed = sign("/a", &example());
    let authorization = signed[header::AUTHORIZATION].to_str().unwrap();
    let start = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20261121/eu-central-1/s3/aws4_request, \
                 SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=";
    assert!(authorization.starts_with(start), "{authorization}");
    assert!(signed[header::AUTHORIZATION].is_sensitive());
    assert_eq!(signed[&DATE], "20261121T201500Z");
    assert!(!signed.contains_key("x-amz-acl") && !signed.contains_key(&TOKEN));
    assert_eq!(signed[header::RANGE], "bytes=0-9");
    let lent = Credentials { session_token: Some("lent".into()), ..example() };
    let signed = sign("/a", &lent);
    assert_eq!(signed[&TOKEN], "lent");
    let authorization = signed[header::AUTHORIZATION].to_str().unwrap();
    assert!(authorization.contains("x-amz-date;x-amz-security-token"), "{authorization}");
    // The bucket itself is not asked for in anybody's name.
    let root = sign("/", &lent);
    assert!(root.keys().all(|name| *name == header::RANGE), "{root:?}");
}

proptest! {
    #[test]
    fn whatever_is_asked_the_bucket_gets_a_plain_path_and_allowed_parameters(
        path in "/[ -~]{0,20}",
        query in "[ -~]{0,30}",
    ) {
        if let Ok(target) = BucketTarget::of("/bucket", &path, Some(&query), &allowed()) {
            prop_assert!(target.path.starts_with("/bucket/"));
            prop_assert!(target.path_and_query().is_some());
            for parameter in target.query.split('&').filter(|parameter| !parameter.is_empty()) {
                let (name, _) = parameter.split_once('=').unwrap();
                prop_assert!(allowed().iter().any(|allowed| allowed == name));
            }
            // A server that unescapes it finds no way up.
            let read = String::from_utf8_lossy(&decoded(&target.path)).into_owned();
            prop_assert!(read.split(['/', '\\']).all(|segment| segment != ".." && segment != "."));
        }
    }
}
