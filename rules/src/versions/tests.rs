use super::*;

/// Path, the name without version, and whether it is sure enough for freshness.
const NAMES: &[(&str, Option<&str>, bool)] = &[
    // Hashes.
    ("/app.3f9a1c.js", Some("/app.js"), true),
    ("/app-3f9a1cde.js", Some("/app.js"), true),
    ("/app-3f9a1c.js", Some("/app.js"), false),
    ("/app_3f9a1cde.css", Some("/app.css"), true),
    ("/s/app.3f9a1c0b2d4e6f8a9b1c.css", Some("/s/app.css"), true),
    ("/app.3F9A1C0B.js", Some("/app.js"), true),
    ("/app.3f9A1c0B.js", Some("/app.js"), true),
    ("/app.3f9a1c.min.js", Some("/app.min.js"), true),
    ("/app.min.3f9a1c.js", Some("/app.min.js"), true),
    ("/app.3f9a1c.js.map", Some("/app.js.map"), true),
    ("/app.3f9a1c.chunk.css.map", Some("/app.chunk.css.map"), true),
    ("/assets/index-BX3kZ9aQ.js", Some("/assets/index.js"), true),
    ("/assets/index-D_9xA-b1.js", Some("/assets/index.js"), true),
    ("/main-QX7K3ABC.js", Some("/main.js"), true),
    ("/font.1a2b3c4d.woff2", Some("/font.woff2"), true),
    ("/LOGO.3f9a1c.PNG", Some("/LOGO.PNG"), true),
    ("/cafe24-shop.cafe24.js", Some("/cafe24-shop.js"), false),
    ("/part-1234abcd.jpg", Some("/part.jpg"), false),
    ("/scan-Photo2aBeach.jpg", Some("/scan.jpg"), false),
    ("/é.3f9a1c.js", Some("/é.js"), true),
    // Versions.
    ("/app.v2.js", Some("/app.js"), true),
    ("/app-v2.js", Some("/app.js"), false),
    ("/app_v1.2.3.js", Some("/app.js"), false),
    ("/app-v1.2.3.js", Some("/app.js"), true),
    ("/app.v1.2.min.js", Some("/app.min.js"), true),
    ("/logo.v12.png", Some("/logo.png"), true),
    ("/app.1.2.3.min.js", Some("/app.min.js"), true),
    ("/jquery-3.7.1.min.js", Some("/jquery.min.js"), true),
    ("/jquery-3.7.1.slim.min.js", Some("/jquery.slim.min.js"), true),
    ("/bootstrap-icons-1.11.3.woff2", Some("/bootstrap-icons.woff2"), false),
    // Dates, sizes, words, identities, pages: no versions.
    ("/2024-10-01.jpg", None, false),
    ("/photo-2024-10-01.jpg", None, false),
    ("/photo.2024.10.01.jpg", None, false),
    ("/photo.2024.10.11.jpg", None, false),
    ("/photo.01.10.24.jpg", None, false),
    ("/photo-20241001.jpg", None, false),
    ("/photo.20241001123000.jpg", None, false),
    ("/photo.summer.jpg", None, false),
    ("/photo-1024x768.jpg", None, false),
    ("/photo-1.5.jpg", None, false),
    ("/photo-2.jpg", None, false),
    ("/photo@2x.png", None, false),
    ("/page-decade.js", None, false),
    ("/app.facade.js", None, false),
    ("/app.defaced.css", None, false),
    ("/hero-iPhone15.jpg", None, false),
    ("/scan-Report2024.png", None, false),
    ("/jquery-ui.js", None, false),
    ("/app.js", None, false),
    ("/app.min.js", None, false),
    ("/app.version.js", None, false),
    ("/app.v.js", None, false),
    ("/app.v2024.js", None, false),
    ("/vue.v2/app.js", None, false),
    ("/3f9a1c0b2d4e.js", None, false),
    ("/.3f9a1c.js", None, false),
    ("/u/me-550e8400-e29b-41d4-a716-44665544a0b0.png", None, false),
    ("/550e8400-e29b-41d4-a716-446655440000.png", None, false),
    ("/index.html", None, false),
    ("/index.3f9a1c0b.html", None, false),
    ("/report.3f9a1c0b.pdf", None, false),
    ("/data.3f9a1c0b.json", None, false),
    ("/3f9a1c0b", None, false),
    ("/app.3f9a1c0b.js/", None, false),
    ("/", None, false),
    ("", None, false),
    ("/.js", None, false),
];

#[test]
fn names_are_told_apart() {
    for (path, name, sure) in NAMES {
        assert_eq!(unversioned(path).as_deref(), *name, "{path}");
        assert_eq!(is_versioned(path, None), *sure, "{path}");
        assert!(!sure || name.is_some(), "freshness is never surer than purging: {path}");
    }
}

#[test]
fn a_query_is_a_version_when_nothing_else_is_in_it() {
    for query in
        ["v=2", "ver=1.2", "version=3", "v=2024-10-01", "v=abc&ver=1", "3f9a1c", "hash=3f9a1c0b"]
    {
        assert!(is_versioned("/app.js", Some(query)), "{query}");
        assert!(!is_versioned("/page", Some(query)), "{query}");
        assert!(!is_versioned("/index.html", Some(query)), "{query}");
    }
    let long = format!("v={}", "1".repeat(MAX_VERSION + 1));
    for query in [
        "",
        "v",
        "v=",
        "v=2&user=5",
        "user=5",
        "q=v=2",
        "V=2",
        "v=a%20b",
        "2",
        "decade",
        "_=1700000000",
        "size=100x100",
        "v=2&",
        "1700000000",
        &long,
    ] {
        assert!(!is_versioned("/app.js", Some(query)), "{query}");
    }
}
