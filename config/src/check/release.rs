//! `[site.release]`: how a site's releases are told apart.

use crate::section::Section;
use http::HeaderName;
use weir_rules::release::{NAME_FORM, PathTemplate, ReleaseRules, check_name};

const PATH_FORM: &str = "a path with one {release} in it, such as /releases/{release}";

/// `None` where the site has no releases.
pub(super) fn release(s: &mut Section<'_>) -> Option<ReleaseRules> {
    let written = s.has("release");
    let mut s = s.section("release");
    let rules = ReleaseRules {
        initial: s.text("initial", NAME_FORM, |name| check_name(name).map(|()| name.to_owned())),
        path: s.text("path", PATH_FORM, PathTemplate::parse),
        field: s.text("field", "the name of a request field", field),
    };
    if written && !s.has("path") && !s.has("field") {
        s.mistake("path", format!("missing, and field too: the origin would not know which release is asked for; accepted: {PATH_FORM}"));
    }
    s.finish(&[]);
    written.then_some(rules)
}

/// A field of the site's own: those with a meaning in HTTP are set by their rules.
fn field(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_| "not a field name")?;
    if !name.as_str().starts_with("x-") || name.as_str().starts_with("x-forwarded") {
        return Err("not a field of your own; begin it with X-".into());
    }
    Ok(name)
}
