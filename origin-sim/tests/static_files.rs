//! A folder, as a good static server serves it.

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use support::{get, get_with, request};
use weir_origin_sim::{Origin, pattern, reply};

/// A folder of its own for one test, removed after it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("weir-sim-{}-{test}", std::process::id()));
        fs::create_dir_all(path.join("site/docs")).expect("a folder");
        let folder = Folder(path);
        folder.write("outside.txt", b"outside");
        folder.write("site/index.html", b"<h1>home</h1>");
        folder.write("site/docs/index.html", b"<h1>docs</h1>");
        folder.write("site/a b.txt", b"0123456789");
        folder
    }

    fn write(&self, name: &str, content: &[u8]) {
        fs::write(self.0.join(name), content).expect("written");
    }

    async fn serve(&self, max_age: Option<u64>) -> Origin {
        Origin::builder().files(self.0.join("site"), max_age, Duration::ZERO).start().await
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn files_have_type_validators_and_freshness() {
    let folder = Folder::new("fields");
    let origin = folder.serve(Some(60)).await;
    let file = get(origin.addr(), "/a%20b.txt").await;
    assert_eq!((file.status(), file.text()), (200, "0123456789"));
    assert_eq!(file.header("Content-Type"), Some("text/plain; charset=utf-8"));
    assert_eq!(file.header("Cache-Control"), Some("max-age=60"));
    assert_eq!(file.header("Accept-Ranges"), Some("bytes"));
    let etag = file.header("ETag").expect("an ETag").to_owned();
    let modified = file.header("Last-Modified").expect("Last-Modified").to_owned();

    for fields in
        [format!("If-None-Match: {etag}\r\n"), format!("If-Modified-Since: {modified}\r\n")]
    {
        let same = get_with(origin.addr(), "/a%20b.txt", &fields).await;
        assert_eq!((same.status(), same.header("ETag")), (304, Some(etag.as_str())));
    }
    let fields = format!("Range: bytes=-3\r\nIf-Range: {etag}\r\n");
    let part = get_with(origin.addr(), "/a%20b.txt", &fields).await;
    assert_eq!((part.status(), part.text()), (206, "789"));

    folder.write("site/a b.txt", b"changed");
    let changed =
        get_with(origin.addr(), "/a%20b.txt", &format!("If-None-Match: {etag}\r\n")).await;
    assert_eq!((changed.status(), changed.text()), (200, "changed"));
}

#[tokio::test]
async fn folders_have_an_index_behind_a_slash() {
    let folder = Folder::new("folders");
    let origin = folder.serve(None).await;
    let addr = origin.addr();
    assert_eq!(get(addr, "/").await.text(), "<h1>home</h1>");
    assert_eq!(get(addr, "/docs/?q").await.text(), "<h1>docs</h1>");
    assert_eq!(get(addr, "/docs/").await.header("Cache-Control"), None);
    let redirect = get(addr, "/docs?q=1").await;
    assert_eq!((redirect.status(), redirect.header("Location")), (301, Some("/docs/?q=1")));
    let host_like = get(addr, "//docs").await;
    assert_eq!(host_like.header("Location"), Some("/docs/"), "never a host");
}

#[tokio::test]
async fn nothing_outside_is_served() {
    let folder = Folder::new("outside");
    let origin = folder.serve(None).await;
    for (target, status) in [
        ("/../outside.txt", 400),
        ("/%2e%2e/outside.txt", 400),
        ("/docs/..%2f..%2foutside.txt", 400),
        ("/a%00b", 400),
        ("/%zz", 400),
        ("/missing", 404),
        ("/a%20b.txt/", 404),
        ("/index.html/more", 404),
    ] {
        let answer = get(origin.addr(), target).await;
        assert_eq!(answer.status(), status, "{target}");
        assert_ne!(answer.text(), "outside", "{target}");
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let folder = Folder::new("methods");
    let origin = folder.serve(None).await;
    let head = request(origin.addr(), "HEAD", "/a%20b.txt", "", "").await;
    assert_eq!((head.status(), head.header("Content-Length")), (200, Some("10")));
    let post = request(origin.addr(), "POST", "/a%20b.txt", "", "x").await;
    assert_eq!((post.status(), post.header("Allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn large_files_stream_whole() {
    let folder = Folder::new("large");
    let mut content = vec![0; 3_000_001];
    pattern::fill(5, 0, &mut content);
    folder.write("site/large.bin", &content);
    let origin = folder.serve(None).await;
    let whole = get(origin.addr(), "/large.bin").await;
    assert_eq!(whole.header("Content-Type"), Some("application/octet-stream"));
    assert_eq!(whole.body.len(), content.len());
    assert_eq!(pattern::first_difference(5, 0, &whole.body), None);
    let part = get_with(origin.addr(), "/large.bin", "Range: bytes=1000000-2999999\r\n").await;
    assert_eq!(part.body.len(), 2_000_000);
    assert_eq!(pattern::first_difference(5, 1_000_000, &part.body), None);
}

#[tokio::test]
async fn routes_come_before_files() {
    let folder = Folder::new("routes");
    let origin = folder.serve(None).await;
    origin.default_route(reply("default"));
    origin.route("/docs/*", reply("scripted"));
    assert_eq!(get(origin.addr(), "/docs/").await.text(), "scripted");
    assert_eq!(get(origin.addr(), "/").await.text(), "<h1>home</h1>");
    assert_eq!(get(origin.addr(), "/missing").await.status(), 404, "the folder knows best");
}
