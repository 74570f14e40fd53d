//! Signed URLs as users make them: with `weir sign`, and with the program in the guide.

mod program;

use program::{TextFile, Weir, run};
use std::process::Command;
use weir_origin_sim::{Origin, reply};

const GUIDE: &str = include_str!("../docs/access.md");
const SECRET: &str = "0123456789abcdef";

/// A site whose films must be signed for.
fn config(origin: &str) -> TextFile {
    TextFile::new(
        "signing.toml",
        &format!(
            "[[site]]\nid = \"shop\"\nhosts = [\"shop.example\"]\norigins = [{origin:?}]\n\
             [[site.signing_key]]\nid = \"new\"\nsecret = \"{SECRET}\"\n\
             [[site.signing_key]]\nid = \"old\"\nsecret = \"fedcba9876543210\"\n\
             [[site.rule]]\nname = \"films\"\nmatch = {{ path = [\"/films/*\"] }}\nsigned = true\n"
        ),
    )
}

/// The status of a GET for a URL, with the path and the query of its own.
fn status(weir: &Weir, url: &str) -> u16 {
    let target = url.trim().split_once("shop.example").map_or(url, |(_, target)| target);
    weir.ask(&format!("GET {target}"), &[("Host", "shop.example")]).status
}

#[tokio::test(flavor = "multi_thread")]
async fn weir_signs_what_it_accepts() {
    let origin = Origin::start().await;
    origin.default_route(reply("film").max_age(60));
    let config = config(&origin.url());
    let weir = Weir::serve(&["--config", config.path()]);
    let sign = |arguments: &[&str]| {
        let ran = run(&[&["sign", "--config", config.path()], arguments].concat(), &[]);
        assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
        ran.out.trim().to_owned()
    };
    let url = "https://shop.example/films/a b.mp4?lang=de".replace(' ', "%20");
    assert_eq!(status(&weir, &url), 403);
    let signed = sign(&[&url]);
    assert!(signed.starts_with(&format!("{url}&weir-token=v1~new~")), "{signed}");
    assert_eq!(status(&weir, &signed), 200);
    assert_eq!(status(&weir, &sign(&["--key", "old", "--for", "1s", &url])), 200);
    let prefix =
        sign(&["--segments", "2", "--network", "127.0.0.0/8", "https://Shop.Example/films/42/"]);
    assert_eq!(status(&weir, &prefix.replace("/42/", "/42/a/b.ts")), 200, "{prefix}");
    assert_eq!(status(&weir, &prefix.replace("/42/", "/43/")), 403);
    let cookie =
        sign(&["--segments", "1", "--cookie", "--for", "2h", "https://shop.example/films/x"]);
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/films/; Max-Age=7200; Secure; HttpOnly");
    let answer = weir.ask("GET /films/any", &[("Host", "shop.example"), ("Cookie", pair)]);
    assert_eq!(answer.status, 200, "{}", answer.head);
    let post = sign(&["--method", "POST", "https://shop.example/films/upload"]);
    let target = post.split_once("shop.example").map_or("", |(_, target)| target);
    assert_eq!(weir.ask(&format!("POST {target}"), &[("Host", "shop.example")]).status, 200);
    assert_eq!(status(&weir, &post), 403);
}

#[test]
fn what_cannot_be_signed_is_refused_with_the_reason() {
    let config = config("http://127.0.0.1:9");
    for (arguments, reason) in [
        (&["/films/a"][..], "accepted: an absolute http or https URL"),
        (&["https://shop.example/a#b"], "has a fragment"),
        (&["https://other.example/"], "no site has the host other.example"),
        (&["--key", "none", "https://shop.example/"], "no key \"none\"; it has new, old"),
        (&["--for", "0s", "https://shop.example/"], "shorter than a second"),
        (&["--for", "soon", "https://shop.example/"], "accepted: "),
        (&["--network", "192.0.2.1/24", "https://shop.example/"], "192.0.2.0/24"),
        (&["--segments", "3", "https://shop.example/a/b"], "so many segments"),
        (&["--segments", "1", "https://shop.example/a/../b"], "dot segments"),
        (&["--segments", "65", "https://shop.example/a"], "65"),
    ] {
        let ran = run(&[&["sign", "--config", config.path()], arguments].concat(), &[]);
        assert_eq!((ran.status, ran.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.err.contains(reason), "{arguments:?}: {}", ran.err);
        assert!(!ran.err.contains(SECRET), "{}", ran.err);
    }
}

/// The ten lines of the guide sign as `weir sign` does.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_in_the_guide_signs_what_weir_accepts() {
    let origin = Origin::start().await;
    origin.default_route(reply("film").max_age(60));
    let config = config(&origin.url());
    let weir = Weir::serve(&["--config", config.path()]);
    let (_, rest) = GUIDE.split_once("```python\n").expect("a program");
    let (program, _) = rest.split_once("```").expect("its end");
    for (arguments, other) in [
        ("\"/films/42.mp4\", 60", "/films/43.mp4"),
        ("\"/films/caf\u{e9} (1)~;,.mp4\", 60, query=\"lang=de&x=%2F\"", "/films/43.mp4"),
        (
            "\"/films/42/index.m3u8\", 60, segments=2, network=\"127.0.0.0/8\"",
            "/films/43/index.m3u8",
        ),
    ] {
        let call =
            format!("print(sign(\"shop\", \"new\", \"{SECRET}\", \"shop.example\", {arguments}))");
        let output = Command::new("python3").args(["-c", &format!("{program}\n{call}\n")]).output();
        let output = output.expect("python3 runs");
        let signed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(status(&weir, &signed), 200, "{signed}");
        let (_, query) = signed.trim().split_once('?').expect("a query");
        assert_eq!(status(&weir, &format!("https://shop.example{other}?{query}")), 403, "{signed}");
    }
}
