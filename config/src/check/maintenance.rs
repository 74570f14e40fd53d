//! `maintenance` of `[[site.rule]]`: requests are answered with 503.

use super::error_page::page_file;
use crate::section::Section;
use weir_rules::site_rules::{Maintenance, MaintenancePage};

const TEN_MINUTES: u32 = 600;
const MONTH: u32 = 30 * 86_400;

/// `maintenance` is true or false, or a table of a page and `retry_after`.
pub(super) fn maintenance(s: &mut Section<'_>) -> Option<Maintenance> {
    let written = s.has("maintenance");
    let (on, mut s) = s.section_or_switch("maintenance");
    let page = page_file(&mut s);
    let retry_after = s.seconds("retry_after", TEN_MINUTES, MONTH);
    s.finish(&[]);
    written.then(|| match on {
        true => Maintenance::On(MaintenancePage::new(page, retry_after)),
        false => Maintenance::Off,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::Config;
    use weir_rules::site_rules::Maintenance;

    fn read(rule: &str) -> Result<Option<Maintenance>, String> {
        let text = format!(
            "[[site]]\norigins = [\"http://10.0.0.5\"]\n[[site.rule]]\nname = \"a\"\n{rule}\n"
        );
        let config = Config::from_toml(&text).map_err(|mistakes| mistakes.to_string())?;
        Ok(config.sites[0].rules.rules()[0].settings.maintenance.clone())
    }

    #[test]
    fn it_is_switched_or_described() {
        assert_eq!(read("final = true"), Ok(None));
        assert_eq!(read("maintenance = false"), Ok(Some(Maintenance::Off)));
        for (rule, retry_after) in [("true", 600), ("{}", 600), ("{ retry_after = \"2h\" }", 7200)]
        {
            let Maintenance::On(page) = read(&format!("maintenance = {rule}")).unwrap().unwrap()
            else {
                panic!("{rule}")
            };
            assert_eq!(page.retry_after, retry_after, "{rule}");
        }
        for (rule, parts) in [
            ("maintenance = \"a.html\"", &["not a table", "true, false"][..]),
            (
                "maintenance = { file = \"/not/there.html\" }",
                &["maintenance.file", "cannot be read"],
            ),
            ("maintenance = { retry_after = \"1y\" }", &["maintenance.retry_after"]),
            ("maintenance = { status = 500 }", &["maintenance.status", "unknown key"]),
            (
                "match = { status = [404] }\nmaintenance = true",
                &["maintenance", "before there is a response"],
            ),
            (
                "match = { status = [404] }\nredirect = { to = \"/\" }",
                &["redirect", "before there is a response"],
            ),
        ] {
            let told = read(rule).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{rule}: {told:?} does not say {part:?}");
            }
        }
    }
}
