//! `/v1/sites/{id}/release`: the release that a site shows.

use crate::auth::Caller;
use crate::call::{Call, SharedControl};
use crate::errors::ApiError;
use crate::extract::Body;
use crate::fields::{Fields, shorten};
use crate::operation::Operation;
use crate::permission::may_name;
use crate::purge_request::wait;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::{Value, json};
use weir_config::{Config, Scope};
use weir_rules::log::Release;
use weir_rules::release::{NAME_FORM, check_name};

pub(super) fn calls() -> Vec<Call> {
    let shown = Operation::new("The release that a site shows")
        .path("id", "The site's id.")
        .answer_as("200", "Its name; null for none.", "Release")
        .answer_as("404", "No such site.", "Error");
    let switched = Operation::new("Switch the release that a site shows")
        .described(
            "Each node switches in one step. The call returns when every \
             expected node has applied it, or after wait_ms.",
        )
        .path("id", "The site's id.")
        .body("ReleaseRequest")
        .answer_as("200", "Every expected node shows it.", "Switched")
        .answer_as("202", "Accepted, not yet shown by every expected node.", "Switched")
        .answer_as("404", "No such site.", "Error")
        .answer_as("503", "The log cannot be written; nothing was changed.", "Error");
    vec![
        Call::new("get", "/v1/sites/{id}/release", get(current), shown),
        Call::new("put", "/v1/sites/{id}/release", put(switch), switched),
    ]
}

async fn current(
    State(control): State<SharedControl>,
    caller: Caller,
    Path(site): Path<String>,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    may_name(&caller, &site, &control.sites())?;
    let releases = control.ledger.releases();
    let name = match releases.into_iter().find(|release| release.site == site) {
        Some(switched) => switched.name,
        None => initial(&site, &control.config()),
    };
    Ok(Json(json!({"site": site, "name": name})))
}

/// What the site shows before the first switch.
fn initial(site: &str, config: &Config) -> Option<String> {
    let site = config.sites.iter().find(|known| known.id == site)?;
    site.release.as_ref()?.initial.clone()
}

async fn switch(
    State(control): State<SharedControl>,
    caller: Caller,
    Path(site): Path<String>,
    Body(body): Body,
) -> Result<Response, ApiError> {
    caller.needs(Scope::Admin)?;
    may_name(&caller, &site, &control.sites())?;
    has_releases(&site, &control.config())?;
    let mut fields = Fields::parse(&body)?;
    let name = name(&mut fields)?;
    let wait = wait(&mut fields)?;
    fields.finish()?;
    let release = Release { site: site.clone(), name: name.clone() };
    let listed = control.release(release).await?;
    tracing::info!(id = listed.id, site, name, caller = caller.name(), "release");
    control.until_done(&listed, false, wait).await;
    let told = control.report(&listed);
    let status = told.status();
    let mut body = serde_json::to_value(told).map_err(|_| ApiError::internal())?;
    body["site"] = json!(site);
    body["name"] = json!(name);
    Ok((status, Json(body)).into_response())
}

/// Control alone may not have been told of the site; its nodes are.
fn has_releases(site: &str, config: &Config) -> Result<(), ApiError> {
    let known = config.sites.iter().find(|known| known.id == site);
    if known.is_none_or(|site| site.release.is_some()) {
        return Ok(());
    }
    let message = format!(
        "the site {site:?} has no releases; accepted: a site with [site.release], which defines \
         how the name is sent to the origin"
    );
    Err(ApiError::invalid("site", message))
}

/// The release's name, or `null` for none. It stands in keys and in origins' paths.
fn name(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    if !fields.has("name") {
        let message = format!("missing; accepted: {NAME_FORM}, or null for none");
        return Err(ApiError::invalid("name", message));
    }
    let Some(name) = fields.text("name")? else { return Ok(None) };
    match check_name(&name) {
        Ok(()) => Ok(Some(name)),
        Err(reason) => {
            let message = format!("{:?}: {reason}; accepted: {NAME_FORM}, or null", shorten(&name));
            Err(ApiError::invalid("name", message))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_in_a_path() {
        let name = |body: &str| name(&mut Fields::parse(body.as_bytes()).unwrap());
        assert_eq!(name(r#"{"name": "v2.1_a-b"}"#).unwrap().as_deref(), Some("v2.1_a-b"));
        assert_eq!(name(r#"{"name": null}"#).unwrap(), None);
        let long = "x".repeat(65);
        for wrong in ["", ".", "..", "a/b", "a b", "ä", "a%2e", &long] {
            let body = json!({"name": wrong}).to_string();
            let error = format!("{:?}", name(&body).unwrap_err());
            assert!(error.contains("field: Some(\"name\")"), "{wrong}: {error}");
        }
        assert!(format!("{:?}", name("{}").unwrap_err()).contains("missing"));
        assert!(name(r#"{"name": 2}"#).is_err());
    }
}
