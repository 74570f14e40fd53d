//! Maintenance: every request is answered with 503 at the first node, before the store and the origin.

use super::page::PageFile;
use super::{Rule, RuleSet, Setting, SiteRules};
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

/// What is sent if no file is named.
const SHORT: &str = "503 Service Unavailable\nThis site is down for maintenance.\n";

/// Whether requests are answered so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// They are not, whatever a rule above says.
    Off,
    /// They are, with this.
    On(MaintenancePage),
}

/// The answer during maintenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenancePage {
    /// Its body.
    pub page: PageFile,
    /// Seconds after which clients are told to come again (RFC 9110 §10.2.3).
    pub retry_after: u32,
}

impl MaintenancePage {
    /// An answer with this page, or with a short text.
    pub fn new(page: Option<PageFile>, retry_after: u32) -> Self {
        let short = || PageFile {
            content_type: HeaderValue::from_static("text/plain; charset=utf-8"),
            content: SHORT.into(),
        };
        Self { page: page.unwrap_or_else(short), retry_after }
    }

    /// Its fields.
    pub fn fields(&self) -> HeaderMap {
        HeaderMap::from_iter([
            (CONTENT_TYPE, self.page.content_type.clone()),
            (CONTENT_LENGTH, HeaderValue::from(self.page.content.len())),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (RETRY_AFTER, HeaderValue::from(self.retry_after)),
        ])
    }
}

impl SiteRules {
    /// The rule that puts a request into maintenance, of those that [apply](SiteRules::applied) to it, and its answer.
    pub fn maintenance(&self, applied: RuleSet) -> Option<(&Rule, &MaintenancePage)> {
        let rule = self.decider(applied, Setting::Maintenance)?;
        match rule.settings.maintenance.as_ref()? {
            Maintenance::On(page) => Some((rule, page)),
            Maintenance::Off => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Conditions, Settings};
    use super::*;

    #[test]
    fn a_later_rule_decides_and_parents_need_not_know() {
        let rule = |name: &str, maintenance| Rule {
            name: name.into(),
            conditions: Conditions::default(),
            is_final: false,
            settings: Settings { maintenance: Some(maintenance), ..Settings::default() },
        };
        let on = Maintenance::On(MaintenancePage::new(None, 600));
        let rules =
            SiteRules::new(vec![rule("all", on), rule("operators", Maintenance::Off)], true);
        let of = |name: &str| rules.named(name).unwrap();
        let decided = |set| rules.maintenance(set).map(|(rule, _)| rule.name.as_str());
        assert_eq!(decided(of("all")), Some("all"));
        assert_eq!(decided(of("all,operators")), None);
        assert_eq!(decided(RuleSet::default()), None);
        let mut key = Vec::new();
        rules.write_key(&mut key, of("all"));
        assert!(key.is_empty() && rules.names(of("all")).is_none());
    }

    #[test]
    fn it_says_when_to_come_again_and_is_stored_nowhere() {
        let page = MaintenancePage::new(None, 600);
        let fields = page.fields();
        assert_eq!(
            (&fields["retry-after"], &fields["cache-control"]),
            (&"600".parse().unwrap(), &"no-store".parse().unwrap())
        );
        assert_eq!(fields["content-length"], SHORT.len().to_string());
        let own = PageFile::new("a.html", b"<p>Soon".to_vec()).unwrap();
        let fields = MaintenancePage::new(Some(own), 1).fields();
        assert_eq!(fields["content-type"], "text/html; charset=utf-8");
    }
}
