//! A pool whose origins are a private bucket: visitors read its objects, signed for by the node.

use crate::error::{ClientError, UpstreamError};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::time::{SystemTime, UNIX_EPOCH};
use weir_config::S3;
use weir_rules::s3::credentials::Credentials;
use weir_rules::s3::{Ambiguous, BucketTarget};
use weir_rules::sigv4::basic_time;

/// The word of a method that a bucket is not asked with.
pub(crate) const READ_ONLY: &str = "read-only-origin";

/// How a bucket is asked.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    credentials: Credentials,
    region: String,
    query: Vec<String>,
}

impl Bucket {
    /// As the configuration says.
    pub(super) fn of(s3: &S3) -> Self {
        let credentials = Credentials {
            access_key: s3.access_key.clone(),
            secret_key: s3.secret_key.reveal().to_owned(),
            session_token: s3.session_token.as_ref().map(|token| token.reveal().to_owned()),
        };
        Self { credentials, region: s3.region.clone(), query: s3.query.clone() }
    }

    /// Why a request is not passed on to a bucket, if it is not.
    pub(super) fn refusal(
        &self,
        method: &Method,
        target: Option<&PathAndQuery>,
        has_body: bool,
    ) -> Option<ClientError> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Some(ClientError::refused(
                StatusCode::METHOD_NOT_ALLOWED,
                READ_ONLY,
                "Only GET and HEAD are accepted here.",
            ));
        }
        if has_body {
            return Some(ClientError::closing(
                StatusCode::BAD_REQUEST,
                "body-not-signed",
                "A request with a body is not accepted here.",
            ));
        }
        self.target("", target?).is_err().then(ambiguous)
    }

    fn target(&self, prefix: &str, target: &PathAndQuery) -> Result<BucketTarget, Ambiguous> {
        BucketTarget::of(prefix, target.path(), target.query(), &self.query)
    }

    /// Signs a request to a member with this prefix; the target as it is sent.
    pub(super) fn sign(
        &self,
        method: &Method,
        prefix: &str,
        target: &PathAndQuery,
        host: &HeaderValue,
        fields: &mut HeaderMap,
    ) -> Result<PathAndQuery, UpstreamError> {
        let refused = || UpstreamError::Client(ambiguous());
        let target = self.target(prefix, target).map_err(|Ambiguous| refused())?;
        // A clock before 1970 signs for a time that nobody takes.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        target.sign(method, host, (&self.credentials, &self.region), &basic_time(now), fields);
        target.path_and_query().ok_or_else(refused)
    }
}

fn ambiguous() -> ClientError {
    ClientError::refused(
        StatusCode::BAD_REQUEST,
        "dot-segment",
        "A path with a segment of dots is not accepted here.",
    )
}
