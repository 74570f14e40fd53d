//! Requests to private buckets of S3 and of what speaks like it: what of a visitor's request a bucket gets, signed
//! with credentials of the operator. A visitor may read objects and nothing else: everything that could ask for more
//! is left out before the signature is made.

pub mod credentials;

use crate::sigv4::{Scope, Signable, decoded, encoded, hash, sorted_query};
use credentials::Credentials;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use std::borrow::Cow;

/// The fields of a signature.
static DATE: HeaderName = HeaderName::from_static("x-amz-date");
static CONTENT_HASH: HeaderName = HeaderName::from_static("x-amz-content-sha256");
static TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What [`check_parameter`] takes, for messages.
pub const PARAMETER_FORM: &str =
    "the name of a query parameter that says how an object is sent, such as versionId";

/// Longest name of a parameter, bytes.
const LONGEST_NAME: usize = 64;

/// What asks a bucket for something else than an object: its subresources and those of objects, and the parameters
/// of listings and uploads. In lower case.
const SUBRESOURCES: [&str; 49] = [
    "accelerate",
    "acl",
    "allow-unordered",
    "analytics",
    "attributes",
    "continuation-token",
    "cors",
    "delete",
    "delimiter",
    "encoding-type",
    "encryption",
    "fetch-owner",
    "intelligent-tiering",
    "inventory",
    "key-marker",
    "legal-hold",
    "lifecycle",
    "list-type",
    "location",
    "logging",
    "marker",
    "max-keys",
    "max-uploads",
    "metadata",
    "metadatatable",
    "metrics",
    "notification",
    "object-lock",
    "ownershipcontrols",
    "policy",
    "policystatus",
    "prefix",
    "publicaccessblock",
    "replication",
    "requestpayment",
    "restore",
    "retention",
    "select",
    "select-type",
    "session",
    "start-after",
    "tagging",
    "torrent",
    "uploadid",
    "uploads",
    "version-id-marker",
    "versioning",
    "versions",
    "website",
];

/// Whether a query parameter may be let through to a bucket.
///
/// # Errors
/// Why not.
pub fn check_parameter(name: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    match name {
        "" => Err("empty".into()),
        _ if name.len() > LONGEST_NAME => Err("too long".into()),
        _ if !name.bytes().all(plain) => Err("has other than letters, digits, - _ and .".into()),
        _ if lower.starts_with("x-amz-") => {
            Err("a visitor's X-Amz- parameters would be signed in the operator's name".into())
        }
        _ if SUBRESOURCES.contains(&lower.as_str()) => {
            Err("a subresource, which is never asked for in a visitor's name".into())
        }
        _ => Ok(()),
    }
}

/// Why a path is not asked for: servers read it in different ways, and some of them outside of the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// What is asked of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketTarget {
    /// The path, escaped in the one way in which it is signed.
    pub path: String,
    /// The query; empty if no parameter is let through.
    pub query: String,
    /// Whether it is the bucket itself: what is asked for is no object, and not signed.
    pub is_root: bool,
}

impl BucketTarget {
    /// What is asked of a bucket, of which the path in a URL is `prefix` (empty where its host names it), for a path
    /// and a query of a visitor. Of the query the parameters `allowed` are let through.
    ///
    /// # Errors
    /// The path has a segment of dots, however it is spelled.
    pub fn of(
        prefix: &str,
        path: &str,
        query: Option<&str>,
        allowed: &[String],
    ) -> Result<Self, Ambiguous> {
        let object = decoded(path);
        let segments = || object.split(|byte| matches!(byte, b'/' | b'\\'));
        if segments().any(|segment| matches!(segment, b"." | b"..")) {
            return Err(Ambiguous);
        }
        let is_root = object.iter().all(|byte| *byte == b'/');
        let mut whole = decoded(prefix);
        whole.extend_from_slice(&object);
        if whole.first() != Some(&b'/') {
            whole.insert(0, b'/');
        }
        let parameters = query.unwrap_or_default().split('&').filter_map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let name = decoded(name);
            let passes = allowed.iter().any(|allowed| allowed.as_bytes() == name);
            // A plus is a space in what a browser sends.
            passes.then(|| (name, decoded(&value.replace('+', "%20"))))
        });
        Ok(Self { path: encoded(&whole, b"/"), query: sorted_query(parameters), is_root })
    }

    /// As a request line has it.
    pub fn path_and_query(&self) -> Option<PathAndQuery> {
        let whole = match self.query.as_str() {
            "" => Cow::Borrowed(self.path.as_str()),
            query => Cow::Owned(format!("{}?{query}", self.path)),
        };
        PathAndQuery::try_from(whole.as_ref()).ok()
    }

    /// Signs a request for it, unless it is the bucket itself. What of the fields is the visitor's to say to a bucket
    /// stays; Authorization and all of `x-amz-` is not. `time` is a [basic time](crate::sigv4::basic_time).
    pub fn sign(
        &self,
        method: &Method,
        host: &HeaderValue,
        by: (&Credentials, &str),
        time: &str,
        fields: &mut HeaderMap,
    ) {
        crate::fields::remove_where(fields, |name| {
            *name == header::AUTHORIZATION || name.as_str().starts_with("x-amz-")
        });
        let (credentials, region) = by;
        let Some(host) = host.to_str().ok().filter(|_| !self.is_root) else { return };
        let hash = hash(b"");
        let scope = Scope { time, region, service: "s3" };
        let mut signed =
            vec![("host", host), (CONTENT_HASH.as_str(), hash.as_str()), (DATE.as_str(), time)];
        if let Some(token) = &credentials.session_token {
            signed.push((TOKEN.as_str(), token.as_str()));
        }
        let request = Signable {
            method: method.as_str(),
            path: &self.path,
            query: &self.query,
            fields: &signed,
            hash: &hash,
        };
        let authorization = format!(
            "{} Credential={}/{}, SignedHeaders={}, Signature={}",
            crate::sigv4::ALGORITHM,
            credentials.access_key,
            scope.credential(),
            request.names(),
            scope.sign(&credentials.secret_key, &request)
        );
        let mut set = |name: &HeaderName, value: &str| {
            if let Ok(mut value) = HeaderValue::from_str(value) {
                value.set_sensitive(*name != DATE && *name != CONTENT_HASH);
                fields.insert(name.clone(), value);
            }
        };
        set(&header::AUTHORIZATION, &authorization);
        set(&CONTENT_HASH, &hash);
        set(&DATE, time);
        if let Some(token) = &credentials.session_token {
            set(&TOKEN, token);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
