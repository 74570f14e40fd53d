//! The commands of the program, run as users run them.

mod program;

use program::{ADMIN_TOKEN, Control, NODE_TOKEN, TextFile, Weir, get, run, until, within_patience};
use rustix::process::Signal;
use serde_json::Value;
use weir_origin_sim::{Origin, held, reply};

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:9";

#[test]
fn check_says_ok_and_what_would_be_served() {
    let config = TextFile::new("ok.toml", "[[site]]\norigins = [\"http://10.0.0.5:3000\"]\n");
    let ran = run(&["check", config.path()], &[]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains(": ok\n"), "{}", ran.out);
    assert!(ran.out.contains("site     http://10.0.0.5:3000 (default, every host)"), "{}", ran.out);
    assert!(ran.out.contains("\nwarning: site \"default\": hosts = [\"*\"]"), "{}", ran.out);
}

#[test]
fn check_shows_the_disk_and_warns_if_its_file_system_is_smaller() {
    let config = |size: &str| {
        let text = format!(
            "[control]\ndata = \"/var/lib/weir\"\n[disk]\npath = \"/var/cache/not-there/disk\"\n\
             size = \"{size}\"\n[[site]]\norigins = [\"http://10.0.0.5:3000\"]\n"
        );
        TextFile::new("disk.toml", &text)
    };
    let ran = run(&["check", config("24MiB").path()], &[]);
    assert!(ran.out.contains("\ndisk     24MiB in /var/cache/not-there/disk\n"), "{}", ran.out);
    assert!(!ran.out.contains("warning: disk"), "{}", ran.out);
    let ran = run(&["check", config("400TiB").path()], &[]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    let warning = "\nwarning: disk: 400TiB in /var/cache/not-there/disk: more than the ";
    assert!(ran.out.contains(warning), "{}", ran.out);
}

/// Access is judged as by a node: every matching rule counts, whatever is final, in every spelling of a path.
#[test]
fn check_shows_what_a_client_must_satisfy_and_who_is_refused() {
    let text = "[[site]]\norigins = [\"http://10.0.0.5:3000\"]\n\
                [[site.signing_key]]\nid = \"k\"\nsecret = \"0123456789abcdef\"\n\
                [[site.rule]]\nname = \"last\"\nmatch = { path = [\"/*\"] }\nfinal = true\nttl = \"1h\"\n\
                [[site.rule]]\nname = \"hidden\"\nmatch = { path = [\"*/.git*\"] }\ndeny = [\"all\"]\n\
                [[site.rule]]\nname = \"office\"\nmatch = { path = [\"/admin/*\"] }\nallow = [\"192.0.2.0/24\"]\nredirect = { to = \"/a\" }\n\
                [[site.rule]]\nname = \"films\"\nmatch = { path = [\"/films/*\"] }\nsigned = true\nreferer = []\n";
    let config = TextFile::new("access.toml", text);
    let shown = |request: &str, further: &[&str]| {
        let command = [&["check", config.path(), "--request", request], further].concat();
        let ran = run(&command, &[]);
        assert_eq!(ran.status, Some(0), "{}", ran.err);
        let row = |name: &str| {
            let line = ran.out.lines().find(|line| line.starts_with(&format!("{name}  ")));
            line.map(|line| line[name.len()..].trim().to_owned()).unwrap_or_default()
        };
        (row("access"), row("answer"), row("key"))
    };
    let within = &["--client", "192.0.2.1"];
    let elsewhere = &["-H", "Referer: https://evil.example/"];
    for (path, further, access, answer) in [
        ("/a", &[][..], "", ""),
        ("/x//.GIT/config", &[], "hidden: deny", "403 denied"),
        ("/admin/a", &[], "office: allow", ""),
        ("/admin/a", within, "office: allow", ""),
        ("/ADMIN/a", &["--client", "198.51.100.1"], "office: allow", "403 not-allowed"),
        ("/films/a", &[], "films: referer, signed", "403 signature-missing"),
        ("/films/a", elsewhere, "films: referer, signed", "403 referer"),
        ("/films/a?b=c&weir-token=d", &[], "films: referer, signed", ""),
    ] {
        let (demanded, answered, _) = shown(&format!("GET http://h{path}"), further);
        assert_eq!((&*demanded, &*answered), (access, answer), "{path} {further:?}");
    }
    // A token is in no key.
    let (_, _, key) = shown("GET http://h/films/a?weir-token=d&b=c", &[]);
    assert_eq!(key, "http://h/films/a?b=c");
}

#[test]
fn check_shows_which_requests_skip_the_store() {
    let text = "[[site]]\norigins = [\"http://10.0.0.5:3000\"]\ncookies = { bypass = [\"sid\"] }\n\
                [[site.rule]]\nname = \"own\"\nmatch = { path = [\"/own/*\"] }\nbypass = true\n\
                [[site.rule]]\nname = \"shop\"\nmatch = { path = [\"/shop/*\"] }\ncookies = { bypass = [\"cart\"] }\n";
    let config = TextFile::new("skips.toml", text);
    for (path, cookie, shown) in [
        ("/a", "sid=1", "skipped, bypass-cookie"),
        ("/a", "cart=1", ""),
        // Static files are fetched for everyone, unless a rule on the path says otherwise.
        ("/a.css", "sid=1", ""),
        ("/shop/a.css", "cart=1", "skipped, bypass-cookie"),
        ("/shop/a", "sid=1", ""),
        ("/own/a", "b=1", "skipped, rule-bypass"),
        ("//own/a", "b=1", "skipped, rule-bypass"),
    ] {
        let (url, cookie) = (format!("GET http://h{path}"), format!("Cookie: {cookie}"));
        let ran = run(&["check", config.path(), "--request", &url, "-H", &cookie], &[]);
        assert_eq!(ran.status, Some(0), "{}", ran.err);
        let row = ran.out.lines().find_map(|line| line.strip_prefix("store  "));
        assert_eq!(row.unwrap_or_default().trim(), shown, "{path} {cookie}: {}", ran.out);
    }
}

#[test]
fn check_shows_what_weir_would_answer_itself() {
    let page = TextFile::new("page.html", "<p>Not here");
    let file = page.path();
    let text = format!(
        "[[site]]\norigins = [\"http://10.0.0.5:3000\"]\n[[site.rule]]\nname = \"pages\"\n\
         error_page = [{{ status = [404, \"5xx\"], file = {file:?} }}, {{ status = [403], path = \"/no?a\" }}]\n\
         [[site.rule]]\nname = \"down\"\nmatch = {{ path = [\"/shop/*\"] }}\nmaintenance = true\n"
    );
    let config = TextFile::new("own.toml", &text);
    let shown = |url: &str| {
        let ran = run(&["check", config.path(), "--request", url], &[]);
        assert_eq!(ran.status, Some(0), "{}", ran.err);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        ran.out.lines().map(words).collect::<Vec<_>>()
    };
    let pages = [
        "error_page pages",
        "error page 404, 5xx: a file of 11 bytes, text/html; charset=utf-8",
        "error page 403: /no?a",
    ];
    let shop = shown("GET http://a.example/shop/a");
    for line in
        pages.iter().chain(&["maintenance down", "answer 503 maintenance, Retry-After: 600"])
    {
        assert!(shop.iter().any(|shown| shown == line), "{line}: {shop:?}");
    }
    let other = shown("GET http://a.example/a");
    for line in pages {
        assert!(other.iter().any(|shown| shown == line), "{line}: {other:?}");
    }
    assert!(!other.iter().any(|line| line.starts_with("answer")), "{other:?}");
}

#[test]
fn check_shows_what_the_command_that_the_file_is_for_would_open() {
    let site = "[[site]]\nid = \"shop\"\norigins = [\"http://10.0.0.5:3000\"]\n";
    let data = "[control]\ndata = \"/var/lib/weir\"\n";
    let listen = "listen = \"127.0.0.1:9191\"\n";
    let control = "command  weir control\ncontrol  http://127.0.0.1:9090\n\
                   data     /var/lib/weir\ntokens   0\n";
    for (text, expected) in [
        (data.to_owned(), control.to_owned()),
        (format!("[node]\nlisten = \"0.0.0.0:8080\"\n{data}"), control.to_owned()),
        (
            format!("{data}{listen}{site}"),
            control.replace(":9090", ":9191").replace("tokens", "site     shop\ntokens"),
        ),
        (
            format!("{site}{data}"),
            "command  weir serve\nlisten   http://0.0.0.0:8080\n\
             admin    http://127.0.0.1:9090\nsite     http://10.0.0.5:3000 (shop, every host)\n"
                .to_owned(),
        ),
    ] {
        let config = TextFile::new("part.toml", &text);
        let ran = run(&["check", config.path()], &[]);
        assert_eq!(ran.status, Some(0), "{text}: {}", ran.err);
        let shown = ran.out.split_once(": ok\n").map(|(_, shown)| shown).expect("ok");
        assert!(shown.starts_with(&expected), "{text}: {shown}");
        assert_eq!(shown.contains("warning"), shown.contains("weir serve"), "{shown}");
    }
}

#[test]
fn check_tells_every_mistake_of_file_and_environment() {
    let config = TextFile::new("wrong.toml", "[memory]\nsize = \"x\"\n[nodes]\n");
    let ran = run(&["check", config.path()], &[("WEIR_LOG__LEVEL", "loud")]);
    assert_eq!(ran.status, Some(1));
    for part in [
        "line 2: memory.size = \"x\": not a size",
        "line 3: nodes: unknown key; did you mean node?",
        "site: missing",
        "WEIR_LOG__LEVEL: log.level = \"loud\"",
    ] {
        assert!(ran.err.contains(part), "{part}: {}", ran.err);
    }
    assert_eq!(run(&["check", "/nowhere/at/all"], &[]).status, Some(1));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["purge"][..],
        &["purge", "a"],
        &["purge", "/a", "--wait", "2m"],
        &["purge", "/a", "--all"],
        &["purge", "--tag", "a", "--all"],
        &["purge", "/a", "--control", "ftp://127.0.0.1:9090"],
        &["purge", "/a", "--ca", "/etc/hostname"],
        &["purge", "/a", "--control", "https://127.0.0.1:9090", "--ca", "/nowhere"],
        &["serve"],
        &["serve", "--origin", NOBODY, "--email", "ops@example.com"],
        &["certificates", "renew"],
        &["explain"],
        &["warm"],
        &[],
    ] {
        assert_eq!(run(arguments, &[]).status, Some(2), "{arguments:?}");
    }
}

#[test]
fn what_control_finds_wrong_is_a_usage_error() {
    let weir = Weir::in_front_of(NOBODY);
    let control = format!("http://{}", weir.admin);
    let many: Vec<_> = (0..3001).map(|n| format!("/{n}")).collect();
    let many: Vec<_> = ["purge"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let long = "t".repeat(2000);
    for (arguments, status) in [
        (&["purge", "--host", "a b"][..], 2),
        (&["purge", "--prefix", "no-slash"], 2),
        (&["purge", "/a#b"], 2),
        (&["purge", "http://"], 2),
        (&["purge", "--tag", ""], 2),
        (&["purge", "--tag", &long], 2),
        (&["purge", "/a", "--site", "nowhere"], 2),
        (&["purge", "/a", "--site", "nowhere", "--json"], 2),
        (&many, 2),
        (&["warm", "ftp://example.com/"], 2),
        (&["warm", "/a"], 2),
        (&["release", "nowhere"], 2),
        (&["release", "nowhere", "blue"], 2),
        (&["release", "default", "blue"], 2),
        (&["release", "default", "a b"], 2),
        (&["explain", "ftp://example.com/"], 2),
        (&["explain", "/a", "-H", "no colon"], 2),
        // What control does not have is no mistake of the command line.
        (&["explain", "/a", "--node", "nobody"], 1),
        (&["nodes", "forget", "nobody"], 1),
        (&["nodes", "forget", "--state", "away"], 2),
        (&["nodes", "forget"], 2),
        (&["purges", "no-such-purge"], 1),
    ] {
        let ran = run(&[arguments, &["--control", &control]].concat(), &[]);
        assert_eq!(ran.status, Some(status), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn what_cannot_be_printed_is_a_failure() {
    let weir = Weir::in_front_of(NOBODY);
    let control = format!("http://{}", weir.admin);
    let config =
        TextFile::new("unprinted.toml", "[[site]]\norigins = [\"http://10.0.0.5:3000\"]\n");
    for command in [
        &["purges"][..],
        &["nodes"],
        &["nodes", "--json"],
        &["explain", "http://example.com/"],
        &["top"],
        &["top", "--json"],
        &["purge", "/a"],
        &["purge", "/a", "--json"],
        &["warm", "http://example.com/"],
        &["release", "default", "--json"],
        &["reload"],
        &["healthcheck", "--json"],
        &["token"],
        &["check", config.path()],
        &["--version"],
        &["--help"],
        &["purges", "--help"],
    ] {
        let full =
            std::fs::File::options().write(true).open("/dev/full").expect("it can be opened");
        let mut program =
            program::unconfigured(std::process::Command::new(env!("CARGO_BIN_EXE_weir")));
        program.args(command).stdout(full);
        program.env("WEIR_CONTROL", &control).env("WEIR_TOKEN", "0123456789abcdef");
        let ran = program.output().expect("it runs");
        let error = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{command:?}: {error}");
        assert!(error.contains("cannot write to standard output"), "{error}");
    }
}

/// A node with TLS is the proxy in front of control here; it passes upgrades on.
#[test]
fn commands_and_nodes_reach_control_behind_a_tls_proxy() {
    let control = Control::with("behind-tls", "");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("made");
    let ca = TextFile::new("proxy.pem", &made.cert.pem());
    let key = TextFile::new("proxy.key", &made.signing_key.serialize_pem());
    let proxy = format!(
        "[tls]\nlisten = \"127.0.0.1:0\"\n[[tls.certificates]]\nchain = {:?}\nkey = {:?}\n\
         [[site]]\norigins = [{:?}]\n",
        ca.path(),
        key.path(),
        control.url()
    );
    let proxy = TextFile::new("proxy.toml", &proxy);
    let proxy = Weir::begin_to_serve(&["--config", proxy.path()]);
    let announced = proxy.until_line("https://");
    let url = announced.split("https://").nth(1).and_then(|rest| rest.split(' ').next());
    let url = format!("https://{}", url.expect("an address").trim());
    let node = format!(
        "[node]\nname = \"far\"\n[control]\nurl = {url:?}\ntoken = {NODE_TOKEN:?}\nca = {:?}\n\
         [[site]]\norigins = [\"http://127.0.0.1:9\"]\n",
        ca.path()
    );
    let node = TextFile::new("far.toml", &node);
    let node = Weir::serve(&["--config", node.path()]);
    node.until_ready();
    let token = [("WEIR_TOKEN", ADMIN_TOKEN)];
    let nodes = run(&["nodes", "--control", &url, "--ca", ca.path()], &token);
    assert_eq!(nodes.status, Some(0), "{}", nodes.err);
    assert!(nodes.out.contains("far") && nodes.out.contains("connected"), "{}", nodes.out);
    let purge = run(&["purge", "/a", "--control", &url, "--ca", ca.path()], &token);
    assert_eq!(purge.status, Some(0), "{} {}", purge.out, purge.err);
    let stranger = run(&["nodes", "--control", &url], &token);
    assert_eq!(stranger.status, Some(1), "an authority that nobody named is not trusted");
}

#[test]
fn serve_refuses_a_wrong_origin_or_a_taken_address() {
    let ran = run(&["serve", "--origin", "http://a/?b"], &[]);
    assert_eq!(ran.status, Some(1));
    assert!(
        ran.err.contains("--origin: site[0].origins[0] = \"http://a/?b\": the query"),
        "{}",
        ran.err
    );
    let weir = Weir::in_front_of(NOBODY);
    let taken = weir.admin.to_string();
    let ran =
        run(&["serve", "--origin", NOBODY, "--listen", "127.0.0.1:0", "--admin", &taken], &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains(&format!("node.admin = \"{taken}\"")), "{}", ran.err);
}

#[test]
fn client_commands_fail_in_words_when_nobody_is_there() {
    for command in [&["purge", "/a"][..], &["explain", "/a"], &["reload"], &["healthcheck"]] {
        let ran = run(command, &[("WEIR_CONTROL", NOBODY)]);
        assert_eq!(ran.status, Some(1), "{command:?}");
        assert!(ran.err.contains("cannot reach control at http://127.0.0.1:9/"), "{}", ran.err);
    }
}

#[test]
fn serve_says_where_it_is_and_is_healthy() {
    let weir = Weir::in_front_of(NOBODY);
    weir.until_line("none configured: control answers only programs on this machine");
    assert_eq!(weir.run(&["healthcheck"]).status, Some(0));
    let ran = weir.run(&["reload"]);
    assert_eq!((ran.status, ran.out.as_str()), (Some(0), "reloaded\n"), "{}", ran.err);
}

#[test]
fn purge_tells_what_came_of_it() {
    let weir = Weir::in_front_of(NOBODY);
    let ran = weir.run(&["purge", "/a", "http://example.com/b", "--tag", "t"]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    assert!(ran.out.contains("status  completed in "), "{}", ran.out);
    assert!(ran.out.contains("no stored response matched"), "{}", ran.out);
    let ran = weir.run(&["purge", "--all", "--json"]);
    let purge: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((&purge["seq"], &purge["status"]), (&2.into(), &"completed".into()));
    let ran = weir.run(&["purge", "/a", "--site", "nowhere"]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("404: site: no site \"nowhere\": "), "{}", ran.err);
}

#[test]
fn what_others_named_cannot_pass_for_something_else() {
    let weir = Weir::in_front_of(NOBODY);
    let tag = "shop\u{202e}golb\u{200b}";
    let purged = weir.json("POST /v1/purges", &serde_json::json!({"tags": [tag]}).to_string());
    assert_eq!(purged.status, 200, "{}", purged.body);
    let told = weir.run(&["purges"]).out;
    assert!(told.contains("shop\\u{202e}golb\\u{200b}"), "{told}");
    let json = weir.run(&["purges", "--json"]).out;
    assert!(json.contains("shop\\u202egolb\\u200b"), "{json}");
    let read: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(read["purges"][0]["tags"][0], tag);
}

#[test]
fn purges_lists_the_ids_that_show_one() {
    let weir = Weir::in_front_of(NOBODY);
    let answer = weir.run(&["purge", "/a", "--json"]);
    let purge: Value = serde_json::from_str(&answer.out).expect("JSON");
    let listed = weir.run(&["purges"]);
    let line = listed.out.lines().nth(1).expect("a purge");
    let id = line.split_whitespace().nth(1).expect("an id");
    assert_eq!(Some(id), purge["id"].as_str(), "{}", listed.out);
    let one = weir.run(&["purges", id]);
    assert_eq!(one.status, Some(0), "{}", one.err);
    assert!(one.out.contains("what  /a\n"), "{}", one.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_follows_a_url_from_miss_to_hit_to_purge() {
    let origin = Origin::start().await;
    origin.route("/a", reply("hello").max_age(60).header("Surrogate-Key", "front"));
    let weir = Weir::in_front_of(&origin.url());
    let state = |weir: &Weir| {
        let ran = weir.run(&["explain", "http://example.com/a", "--json"]);
        let told: Value = serde_json::from_str(&ran.out).expect("JSON");
        let explanation = &told["nodes"][0]["explanation"];
        explanation["state"].as_str().expect("a state").to_owned()
    };
    assert_eq!(state(&weir), "not-stored");
    assert_eq!(weir.get("/a").body, "hello");
    assert_eq!(weir.get("/a").body, "hello");
    assert_eq!((origin.fetches("/a"), state(&weir).as_str()), (1, "fresh"));
    let words = weir.run(&["explain", "http://example.com/a", "-H", "Accept: text/html"]);
    assert_eq!(words.status, Some(0), "{}", words.err);
    assert!(words.out.starts_with("state       fresh\n"), "{}", words.out);
    assert!(words.out.contains("of 60 s ("), "{}", words.out);
    let order = "{\"tags\": [\"front\"], \"reference\": \"deploy-42\"}";
    let purged = weir.json("POST /v1/purges?count=true", order).json();
    assert_eq!(purged["matched"], 1, "{purged}");
    assert_ne!(state(&weir), "fresh");
    // Once it is removed, only what removed it tells that a purge by its tag concerned it.
    let explain = || weir.run(&["explain", "http://example.com/a"]).out;
    let words = until("the purge is why", explain, |words| words.contains("Not stored: purged "));
    assert!(words.contains(" s ago (deploy-42). The next request fetches it.\n"), "{words}");
    assert!(words.contains("\nlast purge  deploy-42, hard, "), "{words}");
    let told: Value =
        serde_json::from_str(&weir.run(&["explain", "http://example.com/a", "--json"]).out)
            .expect("JSON");
    let last = &told["nodes"][0]["explanation"]["last_purge"];
    assert_eq!((&last["reference"], &last["removed"]), (&"deploy-42".into(), &true.into()));
    let id = last["id"].as_str().expect("an id");
    assert!(words.contains(&format!("weir purges {id}\n")), "{words}");
    assert!(weir.run(&["purges", id]).out.contains("front"), "{words}");
    assert_eq!(weir.get("/a").body, "hello");
    assert_eq!(origin.fetches("/a"), 2);
}

#[test]
fn a_hang_up_reloads_all_or_nothing() {
    let config = TextFile::new("hup.toml", "[[site]]\norigins = [\"http://127.0.0.1:9\"]\n");
    let weir = Weir::serve(&["--config", config.path()]);
    weir.until_line("token");
    config.write("[[site]]\norigins = []\n");
    weir.signal(Signal::HUP);
    let line = weir.until_line("not reloaded");
    assert!(line.contains("site[0].origins"), "{line}");
    config.write("[[site]]\norigins = [\"http://127.0.0.1:10\"]\n");
    weir.signal(Signal::HUP);
    // Once for the site, with the keys that changed.
    let lines = weir.lines_until("configuration reloaded");
    let removed: Vec<_> = lines.iter().filter(|line| line.contains("removed")).collect();
    assert_eq!(removed.len(), 1, "{lines:#?}");
    assert!(removed[0].contains("stored responses of the site removed"), "{removed:?}");
    assert!(removed[0].contains("default") && removed[0].contains("origins"), "{removed:?}");
    let more = "cookies = { ignore = [\"analytics\"], bypass = [\"sid\"] }\n";
    config.write(&format!("[[site]]\norigins = [\"http://127.0.0.1:10\"]\n{more}"));
    weir.signal(Signal::HUP);
    let line = weir.until_line("stored responses of the site removed");
    assert!(line.contains("cookies") && !line.contains("origins"), "{line}");
    weir.until_line("configuration reloaded");
    assert_eq!(weir.run(&["healthcheck"]).status, Some(0));
    let cookies = "Cookie: _ga=1; sid=2; a=3";
    let told = weir.run(&["explain", "http://example.com/a", "-H", cookies]).out;
    assert!(told.starts_with("state       bypass\n"), "{told}");
    let row = "\ncookies     bypass: sid; ignored: _ga; passed to the origin: a\n";
    assert!(told.contains(row), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_to_stop_lets_requests_under_way_finish() {
    let origin = Origin::start().await;
    origin.route("/slow", held("whole"));
    let weir = Weir::in_front_of(&origin.url());
    let listen = weir.listen;
    let request = tokio::task::spawn_blocking(move || get(listen, "/slow"));
    origin.until_requests("/slow", 1).await;
    weir.signal(Signal::TERM);
    weir.until_line("stopping");
    origin.release("/slow");
    assert_eq!(request.await.expect("an answer").body, "whole");
    assert_eq!(weir.exit_status(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let origin = Origin::start().await;
    origin.route("/slow", held("never"));
    let weir = Weir::in_front_of(&origin.url());
    let listen = weir.listen;
    let request = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(listen).expect("it accepts");
        stream.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        // Ends when the node does, cleanly or by a reset.
        let _ = stream.read_to_string(&mut answer);
        answer
    });
    origin.until_requests("/slow", 1).await;
    weir.signal(Signal::TERM);
    weir.until_line("stopping");
    weir.signal(Signal::INT);
    weir.until_line("stopped immediately");
    assert_eq!(weir.exit_status(), Some(1));
    let answer = within_patience(move || request.join().expect("the client ends"));
    assert!(!answer.contains("never"), "{answer}");
}
