//! What a rule sets.

use super::cors::Cors;
use super::edits::HeaderEdits;
use super::error_page::ErrorPage;
use super::ignored::Ignored;
use super::keying::RuleCookies;
use super::maintenance::Maintenance;
use super::redirect::{Redirect, Template};
use super::rewrite::Rewrite;
use crate::access::Access;
use crate::cookies::CookieRules;
use crate::key::KeyRules;
use strum::{IntoStaticStr, VariantArray};

/// A setting of a rule; its word is the key of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Setting {
    /// [`Settings::maintenance`]
    Maintenance,
    /// [`Settings::redirect`]
    Redirect,
    /// [`Settings::cors`]
    Cors,
    /// [`Settings::rewrite`]
    Rewrite,
    /// [`Settings::cookies`]
    Cookies,
    /// [`Settings::request_headers`]
    RequestHeaders,
    /// [`Settings::key`]
    Key,
    /// [`Settings::origin`]
    Origin,
    /// [`Settings::bypass`]
    Bypass,
    /// [`Settings::ignore`]
    Ignore,
    /// [`Settings::tags`]
    Tags,
    /// [`Settings::ttl`]
    Ttl,
    /// [`Settings::default_ttl`]
    DefaultTtl,
    /// [`Settings::negative_ttl`]
    NegativeTtl,
    /// [`Settings::heuristic_max`]
    HeuristicMax,
    /// [`Settings::stale`]
    Stale,
    /// [`Settings::max_object`]
    MaxObject,
    /// [`Settings::browser_ttl`]
    BrowserTtl,
    /// [`Settings::response_headers`]
    ResponseHeaders,
    /// [`Settings::error_page`]
    ErrorPage,
    /// [`Access::allow`]
    Allow,
    /// [`Access::deny`]
    Deny,
    /// [`Access::referer`]
    Referer,
    /// [`Access::signed`]
    Signed,
    /// [`Access::rate`]
    Rate,
    /// [`Access::basic_auth`]
    BasicAuth,
}

/// When a setting counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before all others, at the first node, for each matching rule ([`super::SiteRules::access`]).
    Access,
    /// After those of access, at the first node: the request may be answered there. Not in rules with conditions on the
    /// response.
    Answer,
    /// Before the key is written: it may change the key and what the origin is asked. Not in rules with conditions on
    /// the response.
    Request,
    /// When a response is stored: it is one of the terms.
    Storing,
    /// When a response is sent, at the first node, from the store too.
    Sending,
}

impl Setting {
    /// When it counts.
    pub fn phase(self) -> Phase {
        match self {
            Self::Allow
            | Self::Deny
            | Self::Referer
            | Self::Signed
            | Self::Rate
            | Self::BasicAuth => Phase::Access,
            Self::Maintenance | Self::Redirect | Self::Cors => Phase::Answer,
            Self::Rewrite
            | Self::Cookies
            | Self::RequestHeaders
            | Self::Key
            | Self::Origin
            | Self::Bypass
            | Self::Ignore
            | Self::Tags => Phase::Request,
            Self::Ttl
            | Self::DefaultTtl
            | Self::NegativeTtl
            | Self::HeuristicMax
            | Self::Stale
            | Self::MaxObject => Phase::Storing,
            Self::BrowserTtl | Self::ResponseHeaders | Self::ErrorPage => Phase::Sending,
        }
    }

    /// Whether all rules that have it count, one after the other, and not the last alone.
    pub fn accumulates(self) -> bool {
        self.is_of_access()
            || matches!(
                self,
                Self::RequestHeaders | Self::Tags | Self::ResponseHeaders | Self::ErrorPage
            )
    }

    /// Whether it is one of access.
    pub fn is_of_access(self) -> bool {
        self.phase() == Phase::Access
    }

    /// Its key in the configuration.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// The settings of one rule; `None` leaves it to the rules above, or to the site. Seconds throughout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether the site is down: then this is the answer, whatever else is set.
    pub maintenance: Option<Maintenance>,
    /// The answer, in place of that of the store or the origin.
    pub redirect: Option<Redirect>,
    /// Who may read responses to cross-origin requests, and the answers to preflights. Those are answered before
    /// anything else, and all other responses are told it as they are sent.
    pub cors: Option<Cors>,
    /// What the request is for, in place of what the client asked for.
    pub rewrite: Option<Rewrite>,
    /// What is done with the request's cookies, before its fields are edited.
    pub cookies: Option<RuleCookies>,
    /// Edits of the request's fields, at the first node, before the key is written: the request counts as sent so.
    pub request_headers: Option<HeaderEdits>,
    /// How the key is made, with the cookies that the site has in keys.
    pub key: Option<KeyRules>,
    /// The name of the site's origins that are asked.
    pub origin: Option<String>,
    /// Whether the request goes past the store, in both directions.
    pub bypass: Option<bool>,
    /// What is ignored of the response.
    pub ignore: Option<Vec<Ignored>>,
    /// Cache tags that are added to those of the response.
    pub tags: Option<Vec<Template>>,
    /// The lifetime of successes and lasting redirects that may be stored, whatever they say themselves.
    pub ttl: Option<u32>,
    /// In place of the site's `default_ttl`.
    pub default_ttl: Option<u32>,
    /// In place of the site's `negative_ttl`.
    pub negative_ttl: Option<u32>,
    /// In place of the site's `heuristic_max`.
    pub heuristic_max: Option<u32>,
    /// In place of the site's `stale`.
    pub stale: Option<StaleSettings>,
    /// The largest body that is stored, where memory and disk take larger ones.
    pub max_object: Option<u64>,
    /// How long clients are told to keep what they get, from then on.
    pub browser_ttl: Option<u32>,
    /// Edits of the response's fields.
    pub response_headers: Option<HeaderEdits>,
    /// Pages in place of the bodies of errors; of those of all rules, the last for a status counts.
    pub error_page: Vec<ErrorPage>,
    /// What it demands of requests.
    pub access: Access,
}

/// How long stale responses may be sent that say nothing of it themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleSettings {
    /// While they are refreshed (RFC 5861 §3).
    pub while_revalidate: u32,
    /// When the origin answers with an error (RFC 5861 §4).
    pub if_error: u32,
}

impl Settings {
    /// Whether they keep a request from the store, or from the origin, where what they say of cookies makes it skip
    /// the store.
    pub(super) fn keep_away(&self, skips: impl FnOnce(&CookieRules) -> bool) -> bool {
        self.bypass == Some(true)
            || matches!(self.maintenance, Some(Maintenance::On(_)))
            || self.cookies.as_ref().is_some_and(|cookies| skips(&cookies.rules))
    }

    /// Those of access that it sets.
    pub fn of_access(&self) -> impl Iterator<Item = Setting> + '_ {
        let of_access = Setting::VARIANTS.iter().copied().filter(|setting| setting.is_of_access());
        of_access.filter(|setting| self.has(*setting))
    }

    /// Whether it sets this.
    pub fn has(&self, setting: Setting) -> bool {
        match setting {
            Setting::Maintenance => self.maintenance.is_some(),
            Setting::Redirect => self.redirect.is_some(),
            Setting::Cors => self.cors.is_some(),
            Setting::Rewrite => self.rewrite.is_some(),
            Setting::Cookies => self.cookies.is_some(),
            Setting::Key => self.key.is_some(),
            Setting::MaxObject => self.max_object.is_some(),
            Setting::RequestHeaders => self.request_headers.is_some(),
            Setting::Ignore => self.ignore.is_some(),
            Setting::Tags => self.tags.is_some(),
            Setting::Origin => self.origin.is_some(),
            Setting::Bypass => self.bypass.is_some(),
            Setting::Ttl => self.ttl.is_some(),
            Setting::DefaultTtl => self.default_ttl.is_some(),
            Setting::NegativeTtl => self.negative_ttl.is_some(),
            Setting::HeuristicMax => self.heuristic_max.is_some(),
            Setting::Stale => self.stale.is_some(),
            Setting::BrowserTtl => self.browser_ttl.is_some(),
            Setting::ResponseHeaders => self.response_headers.is_some(),
            Setting::ErrorPage => !self.error_page.is_empty(),
            Setting::Allow => self.access.allow.is_some(),
            Setting::Deny => self.access.deny.is_some(),
            Setting::Referer => self.access.referer.is_some(),
            Setting::Signed => self.access.signed,
            Setting::Rate => self.access.rate.is_some(),
            Setting::BasicAuth => self.access.basic_auth.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_says_where_each_setting_runs() {
        let guide = include_str!("../../../docs/rules.md");
        let (_, table) = guide.split_once("| settings | where they run |\n").expect("the table");
        let rows = || table.lines().take_while(|line| line.starts_with('|'));
        for setting in Setting::VARIANTS {
            let word = format!("`{}`", setting.word());
            let told: String = rows().filter(|row| row.contains(&word)).collect();
            let place = match setting.phase() {
                Phase::Access => "client reaches, before all others, for stored responses too",
                Phase::Answer => "client reaches, before its store",
                Phase::Request => "at ",
                Phase::Storing => "at that node and at its parent",
                Phase::Sending => "client reaches, when a response is sent",
            };
            assert!(told.contains(place), "{word}: {told}");
        }
    }
}
