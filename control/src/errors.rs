//! Refusals of control, and their one form: `{"error":{"code","message","field"}}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, UPGRADE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use std::time::Duration;
use weir_protocol::PROTOCOL;

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    field: Option<String>,
    /// Seconds after which it may go well.
    retry_after: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), field: None, retry_after: None }
    }

    /// 400: a field of the body or a parameter of the query is wrong. The message names its value
    /// and what is accepted.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "invalid", message);
        Self { field: Some(field.into()), ..error }
    }

    /// 400: the request as a whole is wrong.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", message)
    }

    /// 400: the configuration cannot be taken; one mistake a line.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "config_invalid", message)
    }

    /// 401: no token, or one that is not known.
    pub(crate) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
    }

    /// 401: a signature that is not that of a token.
    pub(crate) fn signature(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "signature", message)
    }

    /// 403: known, but not allowed this.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// 404.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 404: the site that the path names.
    pub(crate) fn no_such_site(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no_such_site", message)
    }

    /// 409: a reference that names another purge.
    pub(crate) fn reference_reused(message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::CONFLICT, "reference_reused", message);
        Self { field: Some("reference".into()), ..error }
    }

    /// 413.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 415.
    pub(crate) fn media_type(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media_type", message)
    }

    /// 429, with Retry-After.
    pub(crate) fn busy() -> Self {
        let message = "too many calls at once; try again in a second";
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message);
        Self { retry_after: Some(1), ..error }
    }

    /// 429: this caller asks for too much; after `wait` it may go on.
    pub(crate) fn too_many(message: impl Into<String>, wait: Duration) -> Self {
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many", message);
        // Told in whole seconds: rounded up, never 0.
        let seconds = wait.as_millis().div_ceil(1000).clamp(1, 3600);
        Self { retry_after: u64::try_from(seconds).ok(), ..error }
    }

    /// 426: only what the connection turns into is of use.
    pub(crate) fn upgrade_required() -> Self {
        let message = format!("accepted: Connection: upgrade, Upgrade: {PROTOCOL}, over HTTP/1.1");
        Self::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
    }

    /// 503: the log cannot be written, so nothing was done.
    pub(crate) fn journal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "journal", message)
    }

    /// 503: the log was written, or was not: whoever asked is to ask again.
    pub(crate) fn unknown(reason: impl std::fmt::Display) -> Self {
        let message = format!("it may have been appended, or not; repeat it: {reason}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unknown", message)
    }

    /// 500: weir's own fault.
    pub(crate) fn internal() -> Self {
        let message = "control failed; its log has the reason";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// 503: not ready, or stopping.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// 503, with Retry-After: another process takes over, or has taken over.
    pub(crate) fn taken_over() -> Self {
        let error = Self::unavailable("another process takes over; try again in a second");
        Self { retry_after: Some(1), ..error }
    }

    /// The same, about this field.
    pub(crate) fn about(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }

    /// Its status and its body.
    pub(crate) fn into_parts(self) -> (StatusCode, Value) {
        let Self { status, code, message, field, .. } = self;
        (status, json!({"error": {"code": code, "message": message, "field": field}}))
    }

    /// Its status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What kind of refusal it is, in one word.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, and what is accepted.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The field or parameter it is about.
    pub(crate) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The status of a refusal that a layer made in its own form.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "method_not_allowed",
                "this method is not allowed here; see Allow",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::too_large("the body is too large"),
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable("not finished in time"),
            _ => Self::new(
                status,
                if status.is_server_error() { "internal" } else { "refused" },
                status.canonical_reason().unwrap_or("refused"),
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, body) = self.clone().into_parts();
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
        }
        if status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110 §15.5.22.
            headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        // For the dialects, which have forms of their own.
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives refusals that a layer made the one form, keeping their fields (`Allow`).
pub(crate) async fn in_one_form(response: Response) -> Response {
    let status = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|t| t == "application/json");
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut formed = ApiError::of_status(status).into_response();
    for (name, value) in response.headers() {
        if !formed.headers().contains_key(name) && name != http::header::CONTENT_LENGTH {
            formed.headers_mut().append(name, value.clone());
        }
    }
    formed
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn json(response: Response) -> serde_json::Value {
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    #[tokio::test]
    async fn a_refusal_names_code_message_and_field() {
        let response = ApiError::invalid("paths[0]", "\"a\": no /").into_response();
        assert_eq!(response.status(), 400);
        let expected =
            json!({"error": {"code": "invalid", "message": "\"a\": no /", "field": "paths[0]"}});
        assert_eq!(json(response).await, expected);
    }

    #[test]
    fn refusals_say_how_to_go_on() {
        let headers = |error: ApiError| error.into_response().headers().clone();
        assert_eq!(headers(ApiError::busy())[RETRY_AFTER], "1");
        for (millis, seconds) in [(0, "1"), (1000, "1"), (1001, "2")] {
            let refused = ApiError::too_many("", Duration::from_millis(millis));
            assert_eq!(headers(refused)[RETRY_AFTER], seconds);
        }
        let unauthenticated = headers(ApiError::unauthenticated("no token"));
        assert!(unauthenticated[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
    }

    #[tokio::test]
    async fn what_a_layer_refused_gets_the_one_form() {
        let allow = [(http::header::ALLOW, "GET")];
        let plain = (StatusCode::METHOD_NOT_ALLOWED, allow, "no").into_response();
        let formed = in_one_form(plain).await;
        assert_eq!(formed.headers()[http::header::ALLOW], "GET");
        assert_eq!(json(formed).await["error"]["code"], "method_not_allowed");
        let fine = in_one_form("ok".into_response()).await;
        assert_eq!(fine.status(), 200);
        let own = in_one_form(ApiError::busy().into_response()).await;
        assert_eq!(json(own).await["error"]["code"], "busy");
    }
}
