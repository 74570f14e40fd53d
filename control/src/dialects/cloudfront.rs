//! CloudFront's invalidations, version 2020-05-31: create, get, list. Its CallerReference is weir's
//! `reference`; the history it shows is of the purges that it can tell of, whoever ordered them.

mod batch;
mod signature;
mod sigv4;
mod xml;

pub(super) use signature::Claim;

use super::Dialect;
use super::admit::{Admitted, admit};
use super::operation::operation;
use super::order::{Purged, find, latest, may_watch, purge, site};
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::extract::{Parameters, number, one, only};
use crate::fields::shorten;
use crate::purge_request::{MOST_TARGETS, check_reference};
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use batch::{batch, order};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use signature::shown;
use weir_config::Scope;
use xml::{Batch, Fault, Invalidation};

/// Where the invalidations of a distribution are.
const INVALIDATIONS: &str = "/2020-05-31/distribution/{distribution}/invalidation";

/// Invalidations in one listing: at most, and without MaxItems.
const MOST_LISTED: u64 = 1000;
const LISTED: u64 = 100;

pub(super) const DIALECT: Dialect = Dialect { prefixes: &["/2020-05-31/"], calls, shown, refusal };

fn calls() -> Vec<Call> {
    let one = "/2020-05-31/distribution/{distribution}/invalidation/{id}";
    let call = |method, path, handler, status, summary| {
        Call::new(method, path, handler, operation("CloudFront", status, path, summary))
    };
    vec![
        call("post", INVALIDATIONS, post(create), "201", "Create an invalidation"),
        call("get", INVALIDATIONS, get(list), "200", "List invalidations"),
        call("get", one, get(one_of), "200", "One invalidation"),
    ]
}

async fn create(
    State(control): State<SharedControl>,
    Path(distribution): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let call = admit(&control, &DIALECT, request).await?;
    call.caller.needs(Scope::Purge)?;
    let site = site(&call, "distribution", &distribution)?;
    if call.body.is_empty() {
        return Err(ApiError::malformed("no body; accepted: an InvalidationBatch"));
    }
    let sent = Batch::parse(&call.body, MOST_TARGETS).map_err(|fault| match fault {
        Fault::Malformed(why) => ApiError::malformed(why),
        Fault::Quantity { named, counted } => ApiError::invalid(
            "Quantity",
            format!("{named} is not the number of Items, which is {counted}"),
        ),
        Fault::TooMany => ApiError::too_large(format!(
            "more than {MOST_TARGETS} paths; accepted: at most {MOST_TARGETS}"
        )),
    })?;
    check_reference("CallerReference", &sent.reference)?;
    let order = order(&sent, &site)?;
    let purged = purge(&control, &call, order).await?;
    let invalidation = told(&purged, Some(&sent));
    let path = call.request.uri.path().trim_end_matches('/');
    let location = HeaderValue::try_from(format!("{path}/{}", purged.id));
    let location = location.map_err(|_| ApiError::internal())?;
    Ok((StatusCode::CREATED, [(LOCATION, location)], document(invalidation.document()))
        .into_response())
}

/// Judges who wants to see a distribution's invalidations; its site.
async fn watch(
    control: &SharedControl,
    distribution: &str,
    request: Request,
) -> Result<(Admitted, String), ApiError> {
    let call = admit(control, &DIALECT, request).await?;
    may_watch(&call.caller)?;
    let site = site(&call, "distribution", distribution)?;
    Ok((call, site))
}

async fn one_of(
    State(control): State<SharedControl>,
    Path((distribution, id)): Path<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (call, site) = watch(&control, &distribution, request).await?;
    let found = find(&control, &call, &id)
        .filter(|purged| purged.order.site.as_ref() == Some(&site))
        .and_then(|purged| Some((batch(&purged.order)?, purged)));
    let (sent, purged) = found.ok_or_else(|| {
        let id = shorten(&id);
        let why = "the oldest are removed from the history (control.retention)";
        ApiError::not_found(format!("no invalidation {id:?}; {why}")).about("Id")
    })?;
    Ok(document(told(&purged, Some(&sent)).document()))
}

async fn list(
    State(control): State<SharedControl>,
    Path(distribution): Path<String>,
    Parameters(parameters): Parameters,
    request: Request,
) -> Result<Response, ApiError> {
    let (call, site) = watch(&control, &distribution, request).await?;
    only(&parameters, &["Marker", "MaxItems"])?;
    let marker = one(&parameters, "Marker")?.filter(|marker| !marker.is_empty());
    let most = number(&parameters, "MaxItems", LISTED, 0..=MOST_LISTED)?;
    let limit = usize::try_from(most).unwrap_or(usize::MAX).max(1);
    // One more than is told, to know whether there are more.
    let mut found = latest(&control, &call, marker, limit + 1, |purged| {
        purged.order.site.as_ref() == Some(&site) && batch(&purged.order).is_some()
    })?;
    let more = found.len() > limit;
    found.truncate(limit);
    let told: Vec<_> = found.iter().map(|purged| told(purged, None)).collect();
    Ok(document(xml::list(marker.unwrap_or_default(), limit, more, &told)))
}

fn told<'a>(purged: &'a Purged, batch: Option<&'a Batch>) -> Invalidation<'a> {
    Invalidation {
        id: &purged.id,
        completed: purged.completed,
        created: crate::timestamp::rfc3339(purged.created_at),
        batch,
    }
}

fn document(text: String) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("text/xml"))], text).into_response()
}

/// A refusal as they tell it. The codes are those that their clients know.
fn refusal(error: &ApiError) -> Response {
    let status = error.status();
    let (status, code) = match (error.code(), error.field()) {
        ("unauthenticated", _) => (StatusCode::FORBIDDEN, "MissingAuthenticationToken"),
        ("signature", _) => (StatusCode::FORBIDDEN, "SignatureDoesNotMatch"),
        ("forbidden", _) => (status, "AccessDenied"),
        ("no_such_site", _) => (status, "NoSuchDistribution"),
        ("not_found", Some("Id")) => (status, "NoSuchInvalidation"),
        ("not_found", _) => (status, "InvalidAction"),
        ("reference_reused", _) => (StatusCode::BAD_REQUEST, "InvalidationBatchAlreadyExists"),
        ("invalid", Some("Quantity")) => (status, "InconsistentQuantities"),
        ("malformed", _) => (status, "MalformedInput"),
        ("too_large", _) => (status, "BatchTooLarge"),
        ("too_many" | "busy", _) => (status, "Throttling"),
        ("internal", _) => (status, "InternalFailure"),
        ("unavailable" | "journal", _) => (status, "ServiceUnavailable"),
        ("method_not_allowed", _) => (status, "MethodNotAllowed"),
        _ => (status, "InvalidArgument"),
    };
    let message = match error.field() {
        Some(field) => format!("{field}: {}", error.message()),
        None => error.message().to_owned(),
    };
    let text = xml::error(status.is_server_error(), code, &message);
    (status, document(text)).into_response()
}
