//! `rewrite` of a rule: what a request is for in place of what the client asked for.

use crate::section::Section;
use weir_rules::key::KeyRules;
use weir_rules::site_rules::{Conditions, PathPattern, REWRITE_FORM, Rewrite, Rule, Template};

/// Reads the table, in a site whose keys are made so.
pub(super) fn rewrite(
    s: &mut Section<'_>,
    conditions: &Conditions,
    key: &KeyRules,
) -> Option<Rewrite> {
    let written = s.has("rewrite");
    let mut s = s.section("rewrite");
    let to = s.text("to", REWRITE_FORM, Template::parse_rewrite);
    if written && !s.has("to") {
        s.mistake("to", format!("missing; accepted: {REWRITE_FORM}"));
    }
    let in_key = s.boolean("key", true);
    let rewrite = to.map(|to| Rewrite { to, key: in_key });
    if let Some(Err(why)) = rewrite.as_ref().map(|rewrite| rewrite.check_key(&key.query)) {
        s.mistake("to", why);
    }
    if written && conditions.path.iter().any(PathPattern::has_query) {
        let accepted = "accepted: paths without ?, and match.query";
        s.mistake("to", format!("a path of match has a query, which is not rewritten; {accepted}"));
    }
    s.finish(&[]);
    rewrite
}

/// What is wrong with the rules of a site together: what stars of the client's path stand for is not in the key where
/// another path is, so that no tag may be made of it.
pub(super) fn judge(s: &Section<'_>, rules: &[Rule]) {
    let rewrites = |rule: &&Rule| rule.settings.rewrite.as_ref().is_some_and(|rewrite| rewrite.key);
    let captures = |rule: &&Rule| rule.settings.tags.iter().flatten().any(|tag| tag.captures() > 0);
    if let (Some(rewriting), Some(tagging)) =
        (rules.iter().find(rewrites), rules.iter().find(captures))
    {
        let (tagging, rewriting) = (&tagging.name, &rewriting.name);
        let why = format!(
            "the tags of {tagging:?} have what stars stand for, and {rewriting:?} rewrites the path in the key"
        );
        s.mistake(
            "rule",
            format!("{why}; accepted: tags without {{1}}, or rewrite with key = false"),
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::Config;

    fn config(text: &str) -> Result<Config, String> {
        let site = format!("[[site]]\norigins = [\"http://a\"]\n{text}");
        Config::from_toml(&site).map_err(|mistakes| mistakes.to_string())
    }

    fn rule(text: &str) -> String {
        format!("[[site.rule]]\nname = \"a\"\n{text}\n")
    }

    #[test]
    fn rewrites_are_read_with_all_their_mistakes() {
        let read = config(&rule("rewrite = { to = \"/v2{path}{query}\" }")).unwrap();
        let rewrite = read.sites[0].rules.rules()[0].settings.rewrite.clone().unwrap();
        assert!(rewrite.key, "before the key unless the rule says otherwise");
        let read = config(&rule("rewrite = { to = \"/v2\", key = false }")).unwrap();
        assert!(!read.sites[0].rules.rules()[0].settings.rewrite.as_ref().unwrap().key);
        for (rule, parts) in [
            ("rewrite = {}", &["rewrite.to: missing", "{query} at its end"][..]),
            ("rewrite = { to = \"v2\" }", &["rewrite.to = \"v2\"", "neither / nor {path}"]),
            ("rewrite = { to = \"/{1}\" }", &["rule[0].rewrite", "has {1}", "0 stars"]),
            (
                "match = { path = [\"/a?*\"] }\nrewrite = { to = \"/b\" }",
                &["rewrite.to", "has a query", "match.query"],
            ),
            (
                "rewrite = { to = \"/i?p={path}{query}\" }",
                &["rewrite.to", "accepted: with key = false"],
            ),
            (
                "match = { status = [404] }\nrewrite = { to = \"/b\" }",
                &["before there is a response"],
            ),
            (
                "match = { status = [404] }\nredirect = { to = \"/b\" }",
                &["before there is a response"],
            ),
        ] {
            let told = config(&super::tests::rule(rule)).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{rule}: {told} does not say {part:?}");
            }
        }
        let dropped =
            format!("key = {{ query = \"ignore\" }}\n{}", rule("rewrite = { to = \"/i?p=1\" }"));
        assert!(config(&dropped).unwrap_err().contains("key.query drops"));
    }

    #[test]
    fn no_tag_is_made_of_a_path_that_is_not_in_the_key() {
        let tagging =
            "[[site.rule]]\nname = \"b\"\nmatch = { path = [\"/p/*\"] }\ntags = [\"p-{1}\"]\n";
        let told = config(&(rule("rewrite = { to = \"/b\" }") + tagging)).unwrap_err();
        assert!(told.contains("the tags of \"b\"") && told.contains("key = false"), "{told}");
        assert!(config(&(rule("rewrite = { to = \"/b\", key = false }") + tagging)).is_ok());
    }
}
