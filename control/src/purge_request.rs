//! The body of a call that purges.

use crate::errors::ApiError;
use crate::fields::{Fields, refusal};
use crate::ledger::Order;
use serde_json::Value;
use std::time::Duration;
use weir_rules::invalidation::{Target, TargetKind};

/// Most targets of one purge.
pub(crate) const MOST_TARGETS: usize = 3000;

/// Longest `reference`, bytes.
const LONGEST_REFERENCE: usize = 256;

/// How long a purge waits for its completion when the caller does not say.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_millis(DEFAULT_WAIT_MS);

const DEFAULT_WAIT_MS: u64 = 2000;

/// Largest `wait_ms`.
pub const LONGEST_WAIT_MS: u64 = 60_000;

/// A body of `POST /v1/purges`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PurgeRequest {
    /// What goes into the log.
    pub(crate) order: Order,
    /// How long the caller waits to see it done.
    pub(crate) wait: Duration,
}

impl PurgeRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// 400 that names the first wrong field, its value and what is accepted.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut fields = Fields::parse(body)?;
        let order = Order {
            targets: targets(&mut fields)?,
            site: fields.text("site")?,
            soft: fields.boolean("soft")?,
            versions: fields.boolean("versions")?,
            warm: fields.boolean("warm")?,
            reference: reference(&mut fields)?,
        };
        let wait = wait(&mut fields)?;
        fields.finish()?;
        if order.targets.is_empty() {
            let accepted = "one or more of paths, urls, prefixes, tags, hosts, or all";
            let message = format!("nothing to purge is named; accepted: {accepted}");
            return Err(ApiError::malformed(message));
        }
        Ok(Self { order, wait })
    }
}

/// Every kind of target of a body, each judged by the rules' own parser.
fn targets(fields: &mut Fields) -> Result<Vec<Target>, ApiError> {
    let mut targets = Vec::new();
    for kind in TargetKind::ALL {
        let name = kind.plural();
        for (n, text) in fields.texts(name)?.iter().enumerate() {
            let target = kind.parse(text).map_err(|reason| {
                // The rules' reasons name the value.
                ApiError::invalid(format!("{name}[{n}]"), reason)
            })?;
            targets.push(target);
        }
    }
    if fields.boolean("all")? {
        targets.push(Target::All);
    }
    if targets.len() > MOST_TARGETS {
        let count = targets.len();
        let message = format!("{count} targets; accepted: at most {MOST_TARGETS} in one purge");
        return Err(ApiError::malformed(message));
    }
    Ok(targets)
}

/// How long the caller waits to see it done.
pub(crate) fn wait(fields: &mut Fields) -> Result<Duration, ApiError> {
    let wait = fields.number("wait_ms", DEFAULT_WAIT_MS, 0..=LONGEST_WAIT_MS)?;
    Ok(Duration::from_millis(wait))
}

fn reference(fields: &mut Fields) -> Result<Option<String>, ApiError> {
    let Some(name) = fields.text("reference")? else { return Ok(None) };
    check_reference("reference", &name)?;
    Ok(Some(name))
}

/// # Errors
/// 400 for what `field` says when that cannot be a reference.
pub(crate) fn check_reference(field: &'static str, name: &str) -> Result<(), ApiError> {
    let accepted = format!("1 to {LONGEST_REFERENCE} bytes without control characters");
    if name.is_empty() || name.len() > LONGEST_REFERENCE || name.chars().any(char::is_control) {
        return Err(refusal(field, &Value::String(name.to_owned()), &accepted));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<PurgeRequest, ApiError> {
        PurgeRequest::parse(body.as_bytes())
    }

    #[test]
    fn a_body_names_targets_of_every_kind() {
        let request = parse(
            r#"{"paths": ["/a", "/img/*"], "urls": ["http://shop.example/x?y"], "prefixes": ["/p"],
                "tags": ["t"], "hosts": ["shop.example"], "all": true, "site": "shop",
                "soft": true, "versions": true, "warm": true, "reference": "deploy-42",
                "wait_ms": 100}"#,
        )
        .unwrap();
        assert_eq!(request.order.targets.len(), 7);
        assert_eq!(request.order.targets[6], Target::All);
        assert_eq!(request.order.site.as_deref(), Some("shop"));
        assert!(request.order.soft && request.order.versions && request.order.warm);
        assert_eq!(request.order.reference.as_deref(), Some("deploy-42"));
        assert_eq!(request.wait, Duration::from_millis(100));
        let least = parse(r#"{"paths": ["/a"]}"#).unwrap();
        assert_eq!(least.wait, Duration::from_millis(2000));
    }

    #[test]
    fn what_is_wrong_is_refused_with_field_and_value() {
        for (body, field, part) in [
            (r#"{"paths": ["/a", "b"]}"#, "paths[1]", "\\\"b\\\""),
            (r#"{"paths": "/a"}"#, "paths", "a list of strings"),
            (r#"{"paths": ["/a"], "site": 7}"#, "site", "7"),
            (r#"{"paths": ["/a"], "wait_ms": 60001}"#, "wait_ms", "0 to 60000"),
            (r#"{"paths": ["/a"], "wait_ms": -1}"#, "wait_ms", "-1"),
            (r#"{"paths": ["/a"], "warm": 1}"#, "warm", "true or false"),
            (r#"{"paths": ["/a"], "reference": ""}"#, "reference", "1 to 256"),
            (r#"{"paths": ["/a"], "softly": true}"#, "softly", "did you mean soft?"),
        ] {
            let error = format!("{:?}", parse(body).unwrap_err());
            assert!(error.contains(&format!("field: Some({field:?})")), "{body}: {error}");
            assert!(error.contains(part), "{body}: {error}");
        }
        for body in ["{}", r#"{"paths": [], "all": false}"#] {
            let error = format!("{:?}", parse(body).unwrap_err());
            assert!(error.contains("nothing to purge"), "{error}");
        }
        let many = vec!["\"/a\""; MOST_TARGETS + 1].join(",");
        assert!(parse(&format!("{{\"paths\": [{many}]}}")).is_err());
    }
}
