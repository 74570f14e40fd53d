//! The pages of `[[site.rule]]` that weir sends itself: `error_page`.

use super::contents::contents;
use super::file_path;
use crate::file::{Kind, Value};
use crate::section::{Section, refusal};
use std::path::Path;
use weir_rules::site_rules::{
    ERROR_STATUS_FORM, ErrorPage, ErrorStatus, LARGEST_PAGE, PAGE_FILE_FORM, PAGE_PATH_FORM,
    PageFile, PageSource, parse_page_path,
};

const MOST_PAGES: usize = 32;
const MOST_STATUSES: usize = 256;

/// `error_page` is a table, or a list of tables.
pub(super) fn error_page(s: &mut Section<'_>) -> Vec<ErrorPage> {
    let is_list = matches!(s.value("error_page"), Some(Value { kind: Kind::Array(_), .. }));
    if is_list {
        if s.has_empty_list("error_page") {
            s.mistake("error_page", "no page at all; accepted: a table, or a list of tables");
        }
        return s.sections("error_page", MOST_PAGES).into_iter().filter_map(page).collect();
    }
    page(s.section("error_page")).into_iter().collect()
}

fn page(mut s: Section<'_>) -> Option<ErrorPage> {
    let written = s.is_written();
    let status = s.each("status", MOST_STATUSES, ERROR_STATUS_FORM, status).unwrap_or_default();
    if written && (!s.has("status") || s.has_empty_list("status")) {
        s.mistake("status", format!("missing; accepted: a list, each {ERROR_STATUS_FORM}"));
    }
    let file = page_file(&mut s);
    let path = s.text("path", PAGE_PATH_FORM, parse_page_path);
    if written && s.has("file") == s.has("path") {
        let why = if s.has("file") { "file is set too" } else { "missing, and file too" };
        s.mistake("path", format!("{why}; accepted: one of file and path"));
    }
    s.finish(&[]);
    let source = file.map(PageSource::File).or(path.map(PageSource::Url))?;
    Some(ErrorPage { status, source })
}

fn status(value: &Value) -> Result<ErrorStatus, String> {
    let status = match &value.kind {
        Kind::Integer(number) => ErrorStatus::of_number(*number),
        Kind::Text(text) => ErrorStatus::parse_class(text),
        _ => Err("not a status".into()),
    };
    status.map_err(|reason| refusal(&reason, ERROR_STATUS_FORM))
}

/// `file`: a page, read now. What is wrong with it is noted.
pub(super) fn page_file(s: &mut Section<'_>) -> Option<PageFile> {
    s.text("file", PAGE_FILE_FORM, |text| {
        let path = file_path(text)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        PageFile::new(&name, contents(Path::new(text), LARGEST_PAGE)?)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::Config;
    use std::path::PathBuf;
    use weir_rules::site_rules::{LARGEST_PAGE, PageSource};

    fn read(rule: &str) -> Result<Config, String> {
        let text = format!(
            "[[site]]\norigins = [\"http://10.0.0.5\"]\n[[site.rule]]\nname = \"a\"\n{rule}\n"
        );
        Config::from_toml(&text).map_err(|mistakes| mistakes.to_string())
    }

    fn file(ending: &str, content: &[u8]) -> PathBuf {
        let name = format!("weir-page-{}-{ending}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn pages_are_read_one_or_many() {
        let html = file("read.html", b"<p>Not here");
        let one = read(&format!("error_page = {{ status = [404, \"5xx\"], file = {html:?} }}"));
        let one = one.unwrap();
        let [page] = one.sites[0].rules.rules()[0].settings.error_page.as_slice() else {
            panic!("one page")
        };
        let shown: Vec<_> = page.status.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["404", "5xx"]);
        let PageSource::File(read_file) = &page.source else { panic!("a file") };
        assert_eq!(&*read_file.content, b"<p>Not here");
        let many = read(
            "match = { status = [404] }\nerror_page = [{ status = [404], path = \"/a?b\" }, \
             { status = [\"4xx\"], path = \"/c\" }]",
        );
        assert_eq!(many.unwrap().sites[0].rules.rules()[0].settings.error_page.len(), 2);
        std::fs::remove_file(html).unwrap();
    }

    #[test]
    fn what_is_no_page_is_a_mistake() {
        let large = file("large.html", &vec![b'a'; usize::try_from(LARGEST_PAGE).unwrap() + 1]);
        let php = file("page.php", b"");
        let latin = file("latin.html", b"\xe9");
        let page = |text: &str| format!("error_page = {{ status = [404], {text} }}");
        for (rule, parts) in [
            (page("path = \"a\""), &["error_page.path = \"a\"", "does not begin with /"][..]),
            (page("path = \"https://b.example/\""), &["error_page.path", "does not begin with /"]),
            (page("file = \"/not/there.html\""), &["error_page.file", "cannot be read"]),
            (page("file = \"/\""), &["error_page.file", "not a regular file"]),
            (page(&format!("file = {large:?}")), &["larger than 1048576 bytes", "at most 1 MiB"]),
            (page(&format!("file = {php:?}")), &["another ending", ".html"]),
            (page(&format!("file = {latin:?}")), &["not UTF-8"]),
            (page("x = 1"), &["error_page.path: missing, and file too", "unknown key"]),
            (
                page("path = \"/a\", file = \"/b.html\""),
                &["file is set too", "one of file and path"],
            ),
            ("error_page = { path = \"/a\" }".into(), &["error_page.status: missing", "\"4xx\""]),
            ("error_page = []".into(), &["error_page = []", "no page at all"]),
            ("error_page = \"/a\"".into(), &["error_page = \"/a\"", "not a table"]),
            (
                "error_page = { status = [200, \"6xx\", true], path = \"/a\" }".into(),
                &["status[0] = 200: not a status of an error", "status[1]", "status[2]"],
            ),
            ("error_page = [{ status = [404] }]".into(), &["error_page[0].path: missing"]),
        ] {
            let told = read(&rule).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{rule}: {told:?} does not say {part:?}");
            }
        }
        for path in [large, php, latin] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
