//! What of a request's answer weir may make itself, as its rules say.

use weir_rules::site_rules::{PageSource, RuleSet, SiteRules};

/// A row for each error page of these rules: its statuses, and where it is from.
pub(super) fn error_pages(rules: &SiteRules, applied: RuleSet) -> Vec<(&'static str, String)> {
    let pages = rules.those(applied).flat_map(|rule| &rule.settings.error_page);
    let row = |page: &weir_rules::site_rules::ErrorPage| {
        let statuses = page.status.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let source = match &page.source {
            PageSource::File(file) => {
                let kind = String::from_utf8_lossy(file.content_type.as_bytes()).into_owned();
                format!("a file of {} bytes, {kind}", file.content.len())
            }
            PageSource::Url(url) => url.to_string(),
        };
        ("error page", format!("{statuses}: {source}"))
    };
    pages.map(row).collect()
}

/// The answer during maintenance, if one of these rules says that it is.
pub(super) fn maintenance(rules: &SiteRules, applied: RuleSet) -> Option<String> {
    let (_, page) = rules.maintenance(applied)?;
    Some(format!("503 maintenance, Retry-After: {}", page.retry_after))
}
