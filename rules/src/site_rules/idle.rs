//! Rules that are written, and that nothing comes of.

use super::{Rule, Setting, SiteRules};
use strum::VariantArray;

/// Why nothing comes of a rule. Names the other rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle<'a> {
    /// Wherever it matches, this rule above it is final.
    NeverRead(&'a str),
    /// Wherever it matches, this rule below it sets all that it sets.
    Overridden(&'a str),
}

impl SiteRules {
    /// The rules of which nothing comes, each with the reason. Only what is plain is found: each condition of the other
    /// rule takes at least what the same condition of this one does.
    pub fn idle(&self) -> impl Iterator<Item = (&Rule, Idle<'_>)> {
        self.rules.iter().enumerate().filter_map(|(n, rule)| {
            let (above, below) = (&self.rules[..n], &self.rules[n + 1..]);
            // Settings of access do not look at what is final, and override nothing.
            if settings(rule).any(Setting::is_of_access) {
                return None;
            }
            let ends = |other: &&Rule| {
                other.is_final
                    && !other.conditions.look_at_response()
                    && other.conditions.hold_wherever(&rule.conditions)
            };
            if let Some(last) = above.iter().find(ends) {
                return Some((rule, Idle::NeverRead(&last.name)));
            }
            let end = below.iter().position(|other| other.is_final).map_or(below.len(), |n| n + 1);
            let overrides = |other: &&Rule| {
                other.conditions.hold_wherever(&rule.conditions)
                    && settings(rule).all(|s| other.settings.has(s) && !s.accumulates())
            };
            let over = below[..end].iter().find(overrides).filter(|_| !rule.is_final)?;
            Some((rule, Idle::Overridden(&over.name)))
        })
    }
}

fn settings(rule: &Rule) -> impl Iterator<Item = Setting> + '_ {
    Setting::VARIANTS.iter().copied().filter(|setting| rule.settings.has(*setting))
}
