//! `/v1/certificates`: the certificates of the node of this process, and their renewal.

use crate::auth::Caller;
use crate::call::{Call, OfProcess, SharedControl};
use crate::errors::ApiError;
use crate::extract::Body;
use crate::fields::{Fields, shorten};
use crate::operation::Operation;
use crate::process::Process;
use axum::Json;
use axum::extract::State;
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use weir_config::Scope;

pub(super) fn calls() -> Vec<Call> {
    let renewal = Operation::new("Renew a certificate now")
        .described(
            "The order begins at once, or when the one that runs has ended; the old certificate stays in use \
             until the new one is there.",
        )
        .body("CertificateRenewal")
        .answer("202", "The order is to begin.")
        .answer_as("404", "No certificate is ordered for this name.", "Error");
    let rotation = Operation::new("Replace certificates and their keys now, and revoke the old ones")
        .described(
            "For when a key may be known to others. Each order begins at once, or when those that run have ended. \
             Once the new certificate is in force on the connected edges, the old one is revoked; until the CA has \
             done so it is asked again. Session tickets made before are not taken any more. Without name, all.",
        )
        .body("CertificateRotation")
        .answer("202", "The orders are to begin.")
        .answer_as("404", "No certificate is ordered for this name.", "Error");
    vec![
        listing(),
        Call::new("post", "/v1/certificates/renew", post(renew), renewal),
        Call::new("post", "/v1/certificates/rotate", post(rotate), rotation),
    ]
}

pub(super) fn calls_of_node() -> Vec<Call<Arc<Process>>> {
    vec![listing()]
}

fn listing<S: OfProcess>() -> Call<S> {
    let operation = Operation::new("The certificates that control orders, or else those of this node")
        .described(
            "Ordered ones, one a host: expires is null until the first has arrived; error is why the last order \
             failed, retries when the next one is sent, unrevoked how many replaced ones are still to be revoked. Those from files only for a token without sites. Times \
             are seconds since the Unix epoch.",
        )
        .answer_as("200", "How each stands.", "Certificates");
    Call::new("get", "/v1/certificates", get(list::<S>), operation)
}

async fn list<S: OfProcess>(
    State(state): State<S>,
    caller: Caller,
) -> Result<Json<Value>, ApiError> {
    caller.needs(Scope::Read)?;
    let mut certificates = state.certificates();
    // Those from files are no site's.
    certificates.retain(|certificate| caller.may_touch(certificate["site"].as_str()));
    Ok(Json(json!({"certificates": certificates})))
}

async fn renew(
    State(control): State<SharedControl>,
    caller: Caller,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    caller.needs(Scope::Admin)?;
    let mut fields = Fields::parse(&body)?;
    let name = fields.text("name")?;
    fields.finish()?;
    let accepted = "accepted: a host of a site with tls = \"auto\"";
    let name = name.ok_or_else(|| ApiError::invalid("name", format!("missing; {accepted}")))?;
    let name = name.to_ascii_lowercase();
    let listed = control.certificates.told();
    let is_it = |certificate: &&Value| {
        certificate["name"] == name.as_str() && caller.may_touch(certificate["site"].as_str())
    };
    // A name of another site is as unknown as any.
    if listed.iter().find(is_it).is_none() || !control.certificates.renew(&name) {
        let message = format!("no certificate is ordered for {:?}; {accepted}", shorten(&name));
        return Err(ApiError::not_found(message));
    }
    tracing::info!(name, caller = caller.name(), "certificate renewal");
    Ok((StatusCode::ACCEPTED, Json(json!({"renewing": name}))))
}

async fn rotate(
    State(control): State<SharedControl>,
    caller: Caller,
    Body(body): Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    caller.needs(Scope::Admin)?;
    // All sites have the same keys of tickets.
    caller.needs_all_sites("rotating certificates changes the keys of session tickets")?;
    let mut fields = Fields::parse(&body)?;
    let name = fields.text("name")?.map(|name| name.to_ascii_lowercase());
    fields.finish()?;
    let listed = control.certificates.told();
    let ordered = listed.iter().filter(|one| one["source"] == "ordered");
    let ordered = ordered.filter_map(|one| one["name"].as_str());
    let names: Vec<&str> =
        ordered.filter(|one| name.as_deref().is_none_or(|name| name == *one)).collect();
    if names.is_empty() || !control.certificates.rotate(&names) {
        let accepted = "accepted: a host of a site with tls = \"auto\"";
        return Err(ApiError::not_found(match name {
            Some(name) => format!("no certificate is ordered for {:?}; {accepted}", shorten(&name)),
            None => format!("no certificates are ordered; {accepted}"),
        }));
    }
    tracing::warn!(names = names.join(", "), caller = caller.name(), "certificates are rotated");
    Ok((StatusCode::ACCEPTED, Json(json!({"rotating": names}))))
}
