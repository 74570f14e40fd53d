//! `[geo]`, and where rules send the country of a client.

use super::file_path;
use crate::Geo;
use crate::section::Section;
use http::{HeaderName, HeaderValue};
use std::time::Duration;

/// The value of a request header that stands for the country.
const PLACE: &str = "{country}";

const DATABASE_FORM: &str =
    "the path of a database in MaxMind's format that has countries, such as GeoLite2-Country.mmdb";

pub(super) fn geo(mut s: Section<'_>) -> Option<Geo> {
    let written = s.is_written();
    let day = Duration::from_secs(86_400);
    let database = s.text("database", DATABASE_FORM, file_path);
    if written && !s.has("database") {
        s.mistake("database", format!("missing; accepted: {DATABASE_FORM}"));
    }
    let reload = s.duration("reload", Duration::from_secs(60), Duration::ZERO..=day);
    s.finish(&[]);
    written.then(|| Geo { database: database.unwrap_or_default(), reload })
}

/// Whether a header's value names the country in a way that is not understood.
///
/// # Errors
/// It does.
pub(super) fn check_value(text: &str) -> Result<(), String> {
    match text.contains(PLACE) && text != PLACE {
        true => Err(format!("has {PLACE} in it, which is a value by itself")),
        false => Ok(()),
    }
}

/// The headers that are set to the country, and the others. `set` and `add` are those of `key`, of which only those of
/// requests may be set so.
pub(super) fn countries(
    s: &Section<'_>,
    key: &str,
    set: &mut Vec<(HeaderName, HeaderValue)>,
    add: &[(HeaderName, HeaderValue)],
) -> Vec<HeaderName> {
    let is_country = |(_, value): &(HeaderName, HeaderValue)| value == PLACE;
    let accepted = format!("accepted: {PLACE} in request_headers.set");
    if add.iter().any(is_country) {
        s.mistake("add", format!("the country is not added; {accepted}"));
    }
    let countries: Vec<_> = set.extract_if(.., |line| is_country(line)).collect();
    if set.iter().any(|(name, _)| countries.iter().any(|(country, _)| country == name)) {
        s.mistake("set", format!("the country is one of several values; accepted: {PLACE} alone"));
    }
    if !countries.is_empty() && key != "request_headers" {
        s.mistake("set", format!("clients know where they are; {accepted}"));
    }
    countries.into_iter().map(|(name, _)| name).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::{Config, Geo, warnings};
    use std::path::PathBuf;
    use std::time::Duration;

    fn read(tables: &str, rule: &str) -> Result<Config, String> {
        let site = "[[site]]\nhosts = [\"a.example\"]\norigins = [\"https://b.example\"]";
        let rule = format!("[[site.rule]]\nname = \"a\"\n{rule}");
        let read = Config::from_toml(&format!("{tables}\n{site}\n{rule}\n"));
        read.map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn a_database_and_what_rules_say_of_countries_are_read() {
        let database = "[geo]\ndatabase = \"/var/lib/geo/country.mmdb\"";
        let rule = "match = { country = [\"DE\", \"ZZ\"] }\n\
                    request_headers = { set = { X-Country = \"{country}\", X-A = \"b\" } }";
        let config = read(database, rule).unwrap();
        let expected = Geo {
            database: PathBuf::from("/var/lib/geo/country.mmdb"),
            reload: Duration::from_secs(60),
        };
        assert_eq!(config.geo, Some(expected));
        let rule = &config.sites[0].rules.rules()[0];
        assert_eq!(rule.conditions.country.len(), 2);
        let edits = rule.settings.request_headers.as_ref().unwrap();
        assert_eq!((edits.country[0].as_str(), edits.set.len()), ("x-country", 1));
        assert!(config.sites[0].rules.look_at_country());
        assert_eq!(warnings(&config), Vec::<String>::new());
        for (tables, rule, parts) in [
            ("[geo]", "final = true", &["geo.database: missing", "mmdb"][..]),
            ("[geo]\ndatabase = \"/a\"\nreload = 5", "final = true", &["geo.reload"]),
            ("[geo]\ndatabase = \"/a\"\nx = 1", "final = true", &["geo.x", "unknown key"]),
            (
                "",
                "match = { country = [\"de\"] }\nttl = \"1s\"",
                &["country[0] = \"de\"", "\"ZZ\""],
            ),
            ("", "match = { country = [] }\nttl = \"1s\"", &["match.country", "nothing matches"]),
            (
                "",
                "request_headers = { set = { X-A = \"in {country}\" } }",
                &["set.X-A", "a value by itself"],
            ),
            (
                "",
                "request_headers = { add = { X-A = \"{country}\" } }",
                &["add", "request_headers.set"],
            ),
            (
                "",
                "response_headers = { set = { X-A = \"{country}\" } }",
                &["response_headers.set", "request_headers.set"],
            ),
            (
                "",
                "request_headers = { set = { X-A = [\"{country}\", \"b\"] } }",
                &["request_headers.set", "one of several values"],
            ),
        ] {
            let told = read(tables, rule).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{rule}: {told:?} does not say {part:?}");
            }
        }
    }

    #[test]
    fn countries_without_a_database_are_warned_about() {
        for rule in [
            "match = { country = [\"DE\"] }\nttl = \"1s\"",
            "request_headers = { set = { X-Country = \"{country}\" } }",
        ] {
            let told = warnings(&read("", rule).unwrap());
            assert!(told.len() == 1 && told[0].contains("without [geo]"), "{told:?}");
        }
    }
}
