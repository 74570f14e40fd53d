//! The rules of a site: a table that is read from top to bottom. All rules that match a request apply; a later one
//! overrides an earlier one for each setting; `final` ends the reading. Pure: what a request, a response and a
//! client's address are is an argument.
//!
//! - [`Conditions`] say what a rule matches, [`Settings`] what it sets, [`Setting`] lists what can be set and when
//!   it counts.
//! - [`SiteRules::matching`] makes of a request a [`RuleSet`]: the rules whose conditions on the *request* hold. It
//!   is found once, by the first node that a client reaches, and travels with the request.
//! - [`SiteRules::applied`] and [`SiteRules::applied_to`] make of that the rules that count before and after there is
//!   a response, with `final` taken into account. [`SiteRules::decider`] is the rule that decides one setting.
//!
//! Where to add settings:
//!
//! - Settings of **access** have [`Phase::Access`]. They are found by [`SiteRules::access`], which does not look at
//!   `final`, knows no overriding, and takes every spelling of a path that any server may read as the rule's: each
//!   rule of that set must be satisfied. They are judged before all others, at the first node, for stored responses
//!   too.
//! - Settings of **keys and cookies** have [`Phase::Request`]: they are decided by [`SiteRules::decider`] on
//!   [`SiteRules::applied`], before the key is written.
//!
//! INVARIANT: a rule that matches what is not in the key, and changes what the origin is asked or on which terms its
//! answer is stored, is itself in the key ([`SiteRules::write_key`]): two requests with one key have the same
//! settings of that kind. Where a rewrite may put another path into the key, the client's path counts as not in it.

mod conditions;
mod cors;
mod edits;
mod error_page;
mod idle;
mod ignored;
mod keying;
mod maintenance;
mod page;
mod path;
mod path_index;
mod redirect;
mod rewrite;
mod rule_set;
mod setting;

pub use conditions::{Conditions, HeaderCondition, RuleRequest, RuleResponse};
pub use cors::{Cors, ORIGIN_FORM, OriginPattern, Origins};
pub use edits::{HeaderEdits, check_request_field, check_response_field};
pub use error_page::{ERROR_STATUS_FORM, ErrorPage, ErrorStatus, PageSource, describe_page};
pub use idle::Idle;
pub use ignored::{Ignored, ignore};
pub use keying::RuleCookies;
pub use maintenance::{Maintenance, MaintenancePage};
pub use page::{LARGEST_PAGE, PAGE_FILE_FORM, PAGE_PATH_FORM, PageFile, parse_page_path};
pub use path::{PATH_FORM, PathPattern, Readings};
use path_index::PathIndex;
pub use redirect::{Redirect, RedirectedRequest, TAG_FORM, TARGET_FORM, Template};
pub use rewrite::{AmbiguousPath, REWRITE_FORM, Rewrite};
pub use rule_set::{MOST_RULES, RuleSet};
pub use setting::{Phase, Setting, Settings, StaleSettings};

use crate::access::spellings::EverySpelling;
use crate::country::Country;
use crate::storability::SitePolicy;
use http::{HeaderMap, HeaderValue, StatusCode};
use std::borrow::Cow;
use std::sync::Arc;
use strum::VariantArray;

/// What a name of a rule may be, for messages.
pub const NAME_FORM: &str = "1 to 32 letters, digits, dots, hyphens and underscores";

/// Longest name of a rule: names travel between nodes, in one field.
const LONGEST_NAME: usize = 32;

/// Whether `name` may name a rule: it stands in keys, in fields between nodes and in the log.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), String> {
    let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match name {
        "" => Err("empty".into()),
        _ if name.len() > LONGEST_NAME => Err("too long".into()),
        _ if !name.bytes().all(may_stand) => Err("has other characters".into()),
        _ => Ok(()),
    }
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name, one of its own within the site ([`check_name`]).
    pub name: String,
    /// What it matches.
    pub conditions: Conditions,
    /// Whether no rule below it applies where it does. Settings of access do not look at it.
    pub is_final: bool,
    /// What it sets.
    pub settings: Settings,
}

impl Rule {
    /// Whether it matches the client's country, or sends it on.
    pub fn looks_at_country(&self) -> bool {
        let edits = self.settings.request_headers.as_ref();
        !self.conditions.country.is_empty() || edits.is_some_and(|edits| !edits.country.is_empty())
    }
}

/// The rules of one site, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteRules {
    rules: Vec<Rule>,
    /// The patterns of all rules.
    paths: PathIndex,
    /// Those of the rules of access, each with the number of its rule.
    access_paths: Vec<(PathPattern, u8)>,
    /// Rules that match every path.
    any_path: RuleSet,
    /// Rules that have no condition but that on the path.
    path_only: RuleSet,
    /// Rules that keep requests from the store and the origin: they are for a path however it may be read.
    wary: RuleSet,
    /// Rules with a condition on the response.
    on_response: RuleSet,
    finals: RuleSet,
    /// Rules that set something of each phase.
    of_access: RuleSet,
    of_request: RuleSet,
    of_sending: RuleSet,
    /// Rules that are part of the key where they apply.
    keyed: RuleSet,
    /// Rules that are part of the key where they decide what origins are asked for.
    keyed_by_target: RuleSet,
    /// Rules that rewrite before the key is written.
    key_rewriting: RuleSet,
    /// Rules that a parent has to know of.
    travelling: RuleSet,
    /// Whether any rule matches the client's address.
    looks_at_client: bool,
    /// Whether any rule matches the client's country, or sends it on.
    looks_at_country: bool,
    /// Rules that have each setting, in the order of [`Setting::VARIANTS`].
    setters: Vec<RuleSet>,
}

impl SiteRules {
    /// The table of these rules, at most [`MOST_RULES`]. `plain_query` says whether keys have the whole query, in the
    /// client's order.
    pub fn new(rules: Vec<Rule>, plain_query: bool) -> Self {
        let rules: Vec<Rule> = rules.into_iter().take(MOST_RULES).collect();
        let having = |has: &dyn Fn(&Rule) -> bool| RuleSet::of(&rules, has);
        let paths = rules.iter().zip(0..).flat_map(|(rule, n)| {
            rule.conditions.path.iter().map(move |pattern| (pattern.clone(), n))
        });
        let setters = Setting::VARIANTS.iter();
        let setters: Vec<RuleSet> =
            setters.map(|setting| having(&|rule| rule.settings.has(*setting))).collect();
        let setters_of =
            |setting: Setting| setters.get(setting as usize).copied().unwrap_or_default();
        let in_phase = |phases: &[Phase]| {
            let wanted = Setting::VARIANTS.iter().zip(&setters);
            let wanted = wanted.filter(|(setting, _)| phases.contains(&setting.phase()));
            wanted.fold(RuleSet::default(), |all, (_, setters)| all.or(*setters))
        };
        let rewriting =
            |key| having(&|rule| rule.settings.rewrite.as_ref().is_some_and(|r| r.key == key));
        let (key_rewriting, origin_rewriting) = (rewriting(true), rewriting(false));
        let finals = having(&|rule| rule.is_final);
        // A rule that keeps others from being read has a share in what they would have set.
        let with_finals = |set: RuleSet| set.or(finals.before(set));
        // A rewrite is told apart: by the target in the key, or by the rule that has origins asked for another one.
        let of_phase = |setting: Setting| {
            setting != Setting::Rewrite
                && matches!(setting.phase(), Phase::Request | Phase::Storing)
        };
        let shared = Setting::VARIANTS.iter().zip(&setters).filter(|(s, _)| of_phase(**s));
        let shared = shared.fold(RuleSet::default(), |all, (_, setters)| all.or(*setters));
        let of_origin = match origin_rewriting.is_empty() {
            true => RuleSet::default(),
            false => origin_rewriting.or(key_rewriting),
        };
        let of_access = in_phase(&[Phase::Access]);
        let rewrites_key = !key_rewriting.is_empty();
        let beyond_key = having(&|rule| {
            rule.conditions.look_beyond_key(plain_query && !rewrites_key)
                || rewrites_key && !rule.conditions.path.is_empty()
        });
        Self {
            access_paths: paths.clone().filter(|(_, n)| of_access.has(*n)).collect(),
            paths: PathIndex::of(paths),
            any_path: having(&|rule| rule.conditions.path.is_empty()),
            path_only: having(&|rule| rule.conditions.are_path_only()),
            wary: having(&|rule| {
                !rule.conditions.path.is_empty()
                    && rule.settings.keep_away(|cookies| !cookies.bypass.is_empty())
            }),
            on_response: having(&|rule| rule.conditions.look_at_response()),
            finals,
            of_sending: in_phase(&[Phase::Sending]).or(setters_of(Setting::Cors)),
            of_access,
            of_request: with_finals(in_phase(&[Phase::Request])),
            keyed: shared.or(finals.before(shared.or(of_origin))).and(beyond_key),
            keyed_by_target: match rewrites_key {
                true => origin_rewriting,
                false => origin_rewriting.and(beyond_key),
            },
            key_rewriting,
            travelling: with_finals(shared.or(of_origin)),
            looks_at_client: rules.iter().any(|rule| !rule.conditions.client.is_empty()),
            looks_at_country: rules.iter().any(Rule::looks_at_country),
            setters,
            rules,
        }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// All of them, from top to bottom.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// These rules, from top to bottom.
    pub fn those(&self, set: RuleSet) -> impl Iterator<Item = &Rule> {
        set.numbers().filter_map(|n| self.rules.get(usize::from(n)))
    }

    /// The rules on which it depends what is stored under which key, and of what: where they change, what is stored
    /// may be something else than what they would store.
    pub fn shaping(&self) -> impl Iterator<Item = &Rule> {
        self.those(self.keyed.or(self.keyed_by_target).or(self.of_request))
    }

    /// Whether any rule has a setting of access.
    pub fn has_access(&self) -> bool {
        !self.of_access.is_empty()
    }

    /// Whether any rule rewrites before the key is written.
    pub fn rewrite_key(&self) -> bool {
        !self.key_rewriting.is_empty()
    }

    /// Whether any rule looks at the client's address.
    #[inline]
    pub fn look_at_client(&self) -> bool {
        self.looks_at_client
    }

    /// Whether any rule looks at the client's country.
    #[inline]
    pub fn look_at_country(&self) -> bool {
        self.looks_at_country
    }

    /// The rules whose conditions on the request hold, whatever is `final`. A path that servers may read in two
    /// ways ([`Readings`]) must match in both, except for rules that keep the request away
    /// ([`Settings::keep_away`]): nobody gets past those by the way in which a path is written.
    pub fn matching(&self, request: &RuleRequest<'_>, path: &Readings<'_>) -> RuleSet {
        let holding = self.holding(self.any_path.or(self.paths.rules(path)), request);
        match path.are_two() && !self.wary.without(holding).is_empty() {
            true => holding.or(self.kept_away(self.wary.without(holding), request, path)),
            false => holding,
        }
    }

    /// Those of these rules that keep this request away, in whatever way its path is read.
    fn kept_away(&self, wary: RuleSet, request: &RuleRequest<'_>, path: &Readings<'_>) -> RuleSet {
        let (every, mut found) = (path.every(), RuleSet::default());
        for (n, rule) in wary.numbers().zip(self.those(wary)) {
            if rule.conditions.may_take(&every)
                && rule.conditions.hold_for(request)
                && rule.settings.keep_away(|cookies| cookies.make_skip(request.headers))
            {
                found.add(n);
            }
        }
        found
    }

    /// The rules with settings of access that the request must satisfy, every one of them, whatever is `final`. A
    /// path matches if any of its spellings does, and the case of letters does not count.
    pub fn access(&self, request: &RuleRequest<'_>, path: &EverySpelling) -> RuleSet {
        if self.of_access.is_empty() {
            return RuleSet::default();
        }
        let mut by_path = self.any_path;
        for (pattern, rule) in &self.access_paths {
            if pattern.may_take(path) {
                by_path.add(*rule);
            }
        }
        self.holding(by_path.and(self.of_access), request)
    }

    /// Those of these rules whose conditions beside the path hold.
    fn holding(&self, by_path: RuleSet, request: &RuleRequest<'_>) -> RuleSet {
        let mut holding = by_path.and(self.path_only);
        for n in by_path.without(self.path_only).numbers() {
            if self.rules[usize::from(n)].conditions.hold_for(request) {
                holding.add(n);
            }
        }
        holding
    }

    /// The rules that apply before there is a response, of those that [match](Self::matching).
    pub fn applied(&self, matching: RuleSet) -> RuleSet {
        matching.without(self.on_response).up_to_first(self.finals)
    }

    /// The rules whose conditions on the response are still to be looked at, of those that [match](Self::matching).
    pub fn awaiting_response(&self, matching: RuleSet) -> impl Iterator<Item = &Rule> {
        self.those(matching.and(self.on_response))
    }

    /// The rules that apply to a response, of those that [match](Self::matching) its request.
    pub fn applied_to(&self, matching: RuleSet, response: &RuleResponse<'_>) -> RuleSet {
        let mut holding = matching.without(self.on_response);
        for n in matching.and(self.on_response).numbers() {
            if self.rules[usize::from(n)].conditions.hold_for_response(response) {
                holding.add(n);
            }
        }
        holding.up_to_first(self.finals)
    }

    fn setters_of(&self, setting: Setting) -> RuleSet {
        self.setters.get(setting as usize).copied().unwrap_or_default()
    }

    /// The rule that decides a setting, of those that apply: the last that has it.
    pub fn decider(&self, applied: RuleSet, setting: Setting) -> Option<&Rule> {
        let deciding = applied.and(self.setters_of(setting)).last()?;
        self.rules.get(usize::from(deciding))
    }

    /// Every setting that is decided, with the rules that decide it: one, or all that have it.
    pub fn decided(&self, applied: RuleSet) -> impl Iterator<Item = (Setting, &Rule)> {
        Setting::VARIANTS.iter().flat_map(move |setting| {
            let having = applied.and(self.setters_of(*setting));
            let deciding = match setting.accumulates() {
                true => having,
                false => having.only_last(),
            };
            self.those(deciding).map(|rule| (*setting, rule))
        })
    }

    /// Where a request is redirected to, of those that apply to it.
    pub fn redirect(
        &self,
        applied: RuleSet,
        request: &RedirectedRequest<'_>,
    ) -> Option<(StatusCode, HeaderValue)> {
        let rule = self.decider(applied, Setting::Redirect)?;
        let redirect = rule.settings.redirect.as_ref()?;
        let path = Readings::of(request.path, request.query);
        if redirect.to.captures() > 0 && rule.conditions.take_one_reading(&path) {
            return None;
        }
        let captures = rule.conditions.captures(&path);
        let captures: Vec<&str> = captures.iter().map(String::as_str).collect();
        let to = redirect.to.expand(&RedirectedRequest { captures: &captures, ..*request })?;
        Some((redirect.status, to))
    }

    /// The name of the origins that a request is sent to; `None` is those that the site has for all else.
    pub fn origin(&self, applied: RuleSet) -> Option<&str> {
        self.decider(applied, Setting::Origin)?.settings.origin.as_deref()
    }

    /// Whether a request goes past the store.
    pub fn bypasses(&self, applied: RuleSet) -> bool {
        let rule = self.decider(applied, Setting::Bypass);
        rule.is_some_and(|rule| rule.settings.bypass == Some(true))
    }

    /// The tags that are added to a response for this path, as keyed.
    pub fn tags(&self, applied: RuleSet, path: &str, query: Option<&str>) -> Vec<String> {
        let tagging = applied.and(self.setters_of(Setting::Tags));
        if tagging.is_empty() {
            return Vec::new();
        }
        let path = Readings::of(path, query);
        let tags = self.those(tagging).filter_map(|rule| {
            let captures = rule.conditions.captures(&path);
            let tags = rule.settings.tags.as_ref()?.iter();
            Some(tags.map(|tag| tag.expand_tag(&captures)).collect::<Vec<_>>())
        });
        tags.flatten().collect()
    }

    /// What is ignored of the responses to a request.
    pub fn ignored(&self, applied: RuleSet) -> &[Ignored] {
        let rule = self.decider(applied, Setting::Ignore);
        rule.and_then(|rule| rule.settings.ignore.as_deref()).unwrap_or_default()
    }

    /// The fields of a request of a client in this country as rules leave them; borrowed if they edit none.
    pub fn edited_request<'a>(
        &self,
        applied: RuleSet,
        fields: &'a HeaderMap,
        country: Option<Country>,
    ) -> Cow<'a, HeaderMap> {
        let editing = applied.and(self.setters_of(Setting::RequestHeaders));
        let mut fields = Cow::Borrowed(fields);
        for edits in self.those(editing).filter_map(|rule| rule.settings.request_headers.as_ref()) {
            edits.apply(fields.to_mut(), country);
        }
        fields
    }

    /// Whether any of these rules has something to say when a response is sent.
    #[inline]
    pub fn has_edits(&self, matching: RuleSet) -> bool {
        !matching.and(self.of_sending).is_empty()
    }

    /// Edits the fields of a response as it is sent, by the rules that [apply](Self::applied_to) to it.
    fn edit(&self, applied: RuleSet, status: StatusCode, fields: &mut HeaderMap) {
        for rule in self.those(applied.and(self.of_sending)) {
            rule.settings.edit(status, fields);
        }
    }

    /// Appends `\nrule=name` for each rule that is part of the key, of those that [apply](Self::applied) or may apply
    /// once there is a response.
    pub fn write_key(&self, out: &mut Vec<u8>, matching: RuleSet) {
        let rewriting = self.applied(matching).and(self.setters_of(Setting::Rewrite)).only_last();
        let keyed = self.may_apply(matching).and(self.keyed);
        for rule in self.those(keyed.or(rewriting.and(self.keyed_by_target))) {
            out.extend_from_slice(b"\nrule=");
            out.extend_from_slice(rule.name.as_bytes());
        }
    }

    /// The names of the rules that a parent has to know of, as they travel; `None` if there is none.
    pub fn names(&self, matching: RuleSet) -> Option<String> {
        let names = self.those(self.may_apply(matching).and(self.travelling));
        let names: Vec<&str> = names.map(|rule| rule.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(","))
    }

    /// The rules that another node [named](Self::names).
    ///
    /// # Errors
    /// There is no rule of such a name here.
    pub fn named(&self, names: &str) -> Result<RuleSet, UnknownRule> {
        let mut named = RuleSet::default();
        for name in names.split(',').map(str::trim) {
            let mut numbered = self.rules.iter().zip(0..);
            let (_, n) = numbered.find(|(rule, _)| rule.name == name).ok_or(UnknownRule)?;
            named.add(n);
        }
        Ok(named)
    }

    /// Those that apply to the request, and those that may apply to its response.
    fn may_apply(&self, matching: RuleSet) -> RuleSet {
        self.applied(matching).or(matching.and(self.on_response))
    }

    /// What bears on storing a response, with what rules that apply to it set in place of the site's settings.
    pub fn policy<'a>(&self, applied: RuleSet, site: &'a SitePolicy) -> Cow<'a, SitePolicy> {
        if self.is_empty() || applied.is_empty() {
            return Cow::Borrowed(site);
        }
        let decided = |setting| self.decider(applied, setting).map(|rule| &rule.settings);
        let seconds = |setting, of: fn(&Settings) -> Option<u32>, site| {
            decided(setting).and_then(of).unwrap_or(site)
        };
        let stale = decided(Setting::Stale).and_then(|settings| settings.stale.as_ref());
        Cow::Owned(SitePolicy {
            ttl: decided(Setting::Ttl).and_then(|settings| settings.ttl).or(site.ttl),
            default_ttl: seconds(Setting::DefaultTtl, |s| s.default_ttl, site.default_ttl),
            negative_ttl: seconds(Setting::NegativeTtl, |s| s.negative_ttl, site.negative_ttl),
            heuristic_max: seconds(Setting::HeuristicMax, |s| s.heuristic_max, site.heuristic_max),
            stale_while_revalidate: stale
                .map_or(site.stale_while_revalidate, |stale| stale.while_revalidate),
            ignore_authorization: self.ignored(applied).contains(&Ignored::Authorization),
            stale_if_error: stale.map_or(site.stale_if_error, |stale| stale.if_error),
            ..site.clone()
        })
    }
}

/// The rules that a request matches, together with their table, for those who only know the request.
#[derive(Clone, Debug)]
pub struct MatchedRules {
    /// The table.
    pub rules: Arc<SiteRules>,
    /// Those that match; once there is a response, those that apply to it.
    pub set: RuleSet,
    /// Whether the response is edited here: a node gets it as it is.
    pub edits: bool,
    /// The origin that the request names, if rules speak of cross-origin requests.
    pub origin: Option<HeaderValue>,
}

impl MatchedRules {
    /// Edits the fields of the response as it is sent. From then on the set is of those that apply to it.
    pub fn sent(&mut self, status: StatusCode, fields: &mut HeaderMap) {
        self.set = self.rules.applied_to(self.set, &RuleResponse { status, headers: fields });
        if self.edits {
            self.rules.share(self.set, self.origin.as_ref(), fields);
            self.rules.edit(self.set, status, fields);
        }
    }

    /// The names of the rules.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.those(self.set).map(|rule| rule.name.as_str())
    }
}

/// Another node names a rule that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownRule;

#[cfg(test)]
mod tests;
