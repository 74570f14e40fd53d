//! `cors` of a rule: which origins may read responses, and the answers to CORS-preflight requests.

use super::{MOST_ITEMS, YEAR};
use crate::section::Section;
use http::{HeaderName, HeaderValue, Method};
use weir_rules::site_rules::{Cors, ORIGIN_FORM, OriginPattern, Origins};

/// Every origin, method or field.
const ANY: &str = "*";

/// An origin as it is written.
enum Written {
    Any,
    Of(OriginPattern),
}

/// Reads the table.
pub(super) fn cors(s: &mut Section<'_>) -> Option<Cors> {
    let written = s.has("cors");
    let mut s = s.section("cors");
    let origins = s.list("origins", MOST_ITEMS, ORIGIN_FORM, |text| match text {
        ANY => Ok(Written::Any),
        text => OriginPattern::parse(text).map(Written::Of),
    });
    let methods = names(&mut s, "methods", "a method such as \"PUT\", or \"*\"", method);
    let name_form = "the name of a header, or \"*\"";
    let headers = names(&mut s, "headers", name_form, field);
    let expose = names(&mut s, "expose", name_form, field);
    let credentials = s.boolean("credentials", false);
    let max_age = s.seconds("max_age", 0, YEAR);
    let max_age = s.has("max_age").then_some(max_age);
    let origins = origins.unwrap_or_default();
    if written && origins.is_empty() && (!s.has("origins") || s.has_empty_list("origins")) {
        s.mistake("origins", format!("no origin at all; accepted: {ORIGIN_FORM}"));
    }
    let is_any = origins.iter().any(|origin| matches!(origin, Written::Any));
    if is_any && origins.len() > 1 {
        s.mistake("origins", "\"*\" takes every origin; accepted: it alone, or without it");
    }
    if credentials {
        let all = [&methods, &headers, &expose];
        let keys = ["methods", "headers", "expose"].into_iter().zip(all);
        let with_star = keys.filter(|(_, names)| names.iter().any(|name| name == ANY));
        let with_star = with_star.map(|(key, _)| key).chain(is_any.then_some("origins"));
        for key in with_star {
            let why = "browsers do not take \"*\" for requests with credentials";
            s.mistake(key, format!("{why}; accepted: names, or credentials = false"));
        }
    }
    s.finish(&[]);
    let patterns = origins.into_iter().filter_map(|origin| match origin {
        Written::Any => None,
        Written::Of(pattern) => Some(pattern),
    });
    let origins = if is_any { Origins::Any } else { Origins::Of(patterns.collect()) };
    let [methods, headers, expose] = [methods, headers, expose].map(|names| line(&names));
    written.then_some(Cors { origins, methods, headers, expose, credentials, max_age })
}

/// A list of names, as a field has them.
fn names(
    s: &mut Section<'_>,
    key: &'static str,
    accepted: &str,
    judge: impl Fn(&str) -> Result<String, String>,
) -> Vec<String> {
    let judge = |text: &str| match text {
        ANY => Ok(text.to_owned()),
        text => judge(text),
    };
    s.list(key, MOST_ITEMS, accepted, judge).unwrap_or_default()
}

fn line(names: &[String]) -> Option<HeaderValue> {
    // Names are valid values, and so is a list of them.
    HeaderValue::from_str(&names.join(", ")).ok().filter(|line| !line.is_empty())
}

fn method(text: &str) -> Result<String, String> {
    match Method::from_bytes(text.as_bytes()) {
        Ok(_) if text.bytes().any(|byte| byte.is_ascii_lowercase()) => {
            Err("methods are written in upper case".into())
        }
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("not a method".into()),
    }
}

fn field(text: &str) -> Result<String, String> {
    let name = HeaderName::from_bytes(text.as_bytes());
    name.map(|_| text.to_owned()).map_err(|_| "not the name of a header".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::Config;
    use weir_rules::site_rules::{Cors, Origins};

    fn read(cors: &str) -> Result<Cors, String> {
        let site = "[[site]]\norigins = [\"http://a\"]\n[[site.rule]]\nname = \"a\"\n";
        let config = Config::from_toml(&format!("{site}{cors}\n"));
        let config = config.map_err(|mistakes| mistakes.to_string())?;
        Ok(config.sites[0].rules.rules()[0].settings.cors.clone().unwrap())
    }

    #[test]
    fn cors_is_read_with_all_its_mistakes() {
        let any = read("cors = { origins = [\"*\"], expose = [\"X-A\", \"X-B\"] }").unwrap();
        assert_eq!((any.origins, any.max_age), (Origins::Any, None));
        assert_eq!(any.expose.unwrap(), "X-A, X-B");
        let own = "cors = { origins = [\"https://a.example\", \"https://*.b.example\"], methods = [\"PUT\", \"DELETE\"], \
                   headers = [\"Authorization\"], credentials = true, max_age = \"1h\" }";
        let own = read(own).unwrap();
        assert_eq!(
            (own.methods.unwrap(), own.max_age),
            ("PUT, DELETE".parse().unwrap(), Some(3600))
        );
        for (cors, parts) in [
            ("cors = {}", &["cors.origins", "no origin at all"][..]),
            ("cors = { origins = [] }", &["cors.origins", "no origin at all"]),
            (
                "cors = { origins = [\"a.example\"] }",
                &["cors.origins[0] = \"a.example\"", "no scheme"],
            ),
            ("cors = { origins = [\"*\", \"https://a\"] }", &["cors.origins", "it alone"]),
            (
                "cors = { origins = [\"*\"], credentials = true }",
                &["cors.origins", "with credentials"],
            ),
            (
                "cors = { origins = [\"https://a\"], headers = [\"*\"], credentials = true }",
                &["cors.headers", "with credentials"],
            ),
            (
                "cors = { origins = [\"*\"], methods = [\"put\"] }",
                &["cors.methods[0]", "upper case"],
            ),
            (
                "cors = { origins = [\"*\"], expose = [\"a b\"] }",
                &["cors.expose[0]", "not the name"],
            ),
            (
                "match = { status = [200] }\ncors = { origins = [\"*\"] }",
                &["rule[0].cors", "before there is a response"],
            ),
        ] {
            let told = read(cors).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{cors}: {told} does not say {part:?}");
            }
        }
    }
}
