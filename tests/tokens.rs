//! Tokens that nobody had to make up: control makes their files, nodes wait for these, commands find
//! them.

mod program;

use program::{Folder, TextFile, Weir, run, until};
use rustix::process::Signal;
use std::net::TcpListener;

/// Nothing listens there.
const NOBODY: &str = "http://127.0.0.1:9";

/// Control with two tokens to make, in a folder of their own.
struct Made {
    folder: Folder,
    config: TextFile,
}

impl Made {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let at = folder.path();
        let config = format!(
            "[control]\ndata = \"{at}/log\"\n\
             [[token]]\nname = \"node\"\nsecret_file = \"{at}/tokens/node\"\ngenerate = true\n\
             scopes = [\"node\"]\n\
             [[token]]\nname = \"operator\"\nsecret_env = \"WEIR_TEST_TOKEN\"\n\
             secret_file = \"{at}/tokens/operator\"\ngenerate = true\n\
             scopes = [\"purge\", \"read\", \"admin\"]\n"
        );
        let config = TextFile::new(&format!("{name}.toml"), &config);
        Self { folder, config }
    }

    fn control(&self) -> Weir {
        Weir::control_at("127.0.0.1:0", &self.config)
    }

    fn file(&self, token: &str) -> String {
        format!("{}/tokens/{token}", self.folder.path())
    }

    fn secret(&self, token: &str) -> String {
        let text = std::fs::read_to_string(self.file(token)).expect("the file is there");
        text.trim_end().to_owned()
    }

    /// A node's configuration, which is to wait so long for its token.
    fn node(&self, control: &str, wait: &str) -> TextFile {
        let text = format!(
            "[node]\nname = \"edge-a\"\n[control]\nurl = \"{control}\"\ntoken_file = \"{}\"\n\
             token_wait = \"{wait}\"\n[[site]]\norigins = [\"{NOBODY}\"]\n",
            self.file("node")
        );
        TextFile::new(&format!("{}-node.toml", wait), &text)
    }
}

#[test]
fn control_makes_its_tokens_once_and_tells_that_but_not_them() {
    let made = Made::new("made-once");
    let control = made.control();
    let [node, operator] = ["node", "operator"].map(|token| made.secret(token));
    assert_eq!((node.len(), operator.len()), (64, 64));
    assert_ne!(node, operator);
    // "made" stands in the log before control listens.
    let file = made.file("operator");
    let variables = [("WEIR_CONTROL", control.control()), ("WEIR_TOKEN_FILE", file)];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(run(&["nodes"], &variables).status, Some(0));
    assert_eq!(run(&["token"], &variables).out, format!("{operator}\n"));
    assert_eq!(control.run(&["nodes"]).status, Some(1), "without a token");

    control.signal(Signal::TERM);
    assert_eq!(control.exit_status(), Some(0));
    let again = made.control();
    assert_eq!([made.secret("node"), made.secret("operator")], [node, operator]);
    let variables = [("WEIR_CONTROL", again.control()), ("WEIR_TOKEN_FILE", made.file("operator"))];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(run(&["nodes"], &variables).status, Some(0));
}

#[test]
fn what_was_made_is_told_without_the_secret() {
    let made = Made::new("made-told");
    let ran = run(&["control", "--listen", "1.2.3.4:1", "--config", made.config.path()], &[]);
    assert_eq!(ran.status, Some(1), "it cannot listen there: {}", ran.err);
    for token in ["node", "operator"] {
        assert!(ran.err.contains(&format!("file=\"{}\"", made.file(token))), "{}", ran.err);
        assert!(!ran.err.contains(&made.secret(token)), "{}", ran.err);
    }
}

#[test]
fn a_token_in_the_environment_goes_before_the_file_and_none_is_made() {
    let made = Made::new("made-given");
    let given = "given-by-the-environment";
    let variables = [("WEIR_TEST_TOKEN", given)];
    let ran =
        run(&["control", "--listen", "1.2.3.4:1", "--config", made.config.path()], &variables);
    assert_eq!(ran.status, Some(1), "it cannot listen there: {}", ran.err);
    assert!(std::fs::exists(made.file("node")).expect("it can be asked"));
    assert!(!std::fs::exists(made.file("operator")).expect("it can be asked"));
    let ran = run(&["check", made.config.path()], &[("WEIR_TEST_TOKEN", "short")]);
    assert!(ran.err.contains("token[1].secret_env: a secret of 5 bytes"), "{}", ran.err);
    assert!(!ran.err.contains("short"), "{}", ran.err);
}

#[test]
fn a_node_waits_for_its_token_and_joins_with_it() {
    let made = Made::new("made-awaited");
    // Where control will listen: known to the node before control is there.
    let place = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let at = place.local_addr().expect("it is bound").to_string();
    let config = made.node(&format!("http://{at}"), "15s");
    let node = Weir::begin_to_serve(&["--config", config.path()]);
    node.until_line("key=\"control.token_file\"");
    drop(place);
    let control = Weir::control_at(&at, &made.config);
    let node = node.serving();
    node.until_ready();
    let operator = made.secret("operator");
    let variables = [("WEIR_CONTROL", control.control()), ("WEIR_TOKEN", operator)];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let nodes = || run(&["nodes"], &variables).out;
    until("the node is listed", nodes, |nodes| {
        nodes.contains("edge-a") && nodes.contains("connected")
    });
}

#[test]
fn a_token_that_does_not_come_ends_the_wait() {
    let made = Made::new("made-never");
    let config = made.node(NOBODY, "1s");
    let ran = run(&["serve", "--config", config.path()], &[]);
    assert_eq!(ran.status, Some(1));
    let told = format!("control.token_file = \"{}\": does not exist, even", made.file("node"));
    assert!(ran.err.contains(&told), "{}", ran.err);
    // To check a configuration nothing has to be there, and nothing is waited for.
    assert_eq!(run(&["check", config.path()], &[]).status, Some(0));
}

#[test]
fn whoever_is_told_to_stop_while_it_waits_stops() {
    let made = Made::new("made-stopped");
    let config = made.node(NOBODY, "1h");
    let node = Weir::begin_to_serve(&["--config", config.path()]);
    node.until_line("key=\"control.token_file\"");
    node.signal(Signal::TERM);
    assert_eq!(node.exit_status(), Some(0));
}

#[test]
fn a_reload_makes_what_is_new_and_keeps_what_is_there() {
    let made = Made::new("made-reload");
    let control = made.control();
    let operator = made.secret("operator");
    let text = std::fs::read_to_string(made.config.path()).expect("it is there");
    made.config.write(&format!(
        "{text}[[token]]\nname = \"late\"\nsecret_file = \"{}\"\ngenerate = true\n\
         scopes = [\"read\"]\n",
        made.file("late")
    ));
    let with = |token: &str, command: &[&str]| {
        run(command, &[("WEIR_CONTROL", &control.control()), ("WEIR_TOKEN", token)])
    };
    assert_eq!(with(&operator, &["reload"]).status, Some(0));
    assert_eq!(with(&made.secret("late"), &["nodes"]).status, Some(0));
    assert_eq!(with(&operator, &["nodes"]).status, Some(0));
}

#[test]
fn a_directory_that_cannot_be_written_is_told() {
    let blocked = TextFile::new("made-blocked", "a file where a directory is to be");
    let config = format!(
        "[[token]]\nname = \"a\"\nsecret_file = \"{}/a\"\ngenerate = true\nscopes = [\"read\"]\n",
        blocked.path()
    );
    let config = TextFile::new("made-blocked.toml", &config);
    let ran = run(&["serve", "--origin", NOBODY, "--config", config.path()], &[]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("token[0].secret_file = "), "{}", ran.err);
}

#[test]
fn commands_say_what_is_wrong_with_the_file_of_their_token() {
    let empty = TextFile::new("empty-token", "\n");
    for (file, part) in [("/nowhere/at/all", "No such file"), (empty.path(), "is empty")] {
        let ran = run(&["nodes"], &[("WEIR_TOKEN_FILE", file)]);
        assert_eq!(ran.status, Some(2));
        assert!(ran.err.contains("WEIR_TOKEN_FILE: ") && ran.err.contains(part), "{}", ran.err);
    }
    let ran = run(&["token"], &[("WEIR_TOKEN", ""), ("WEIR_TOKEN_FILE", "")]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("neither WEIR_TOKEN nor WEIR_TOKEN_FILE"), "{}", ran.err);
    // What everybody may ask needs none, and so none that is right.
    let weir = Weir::in_front_of(NOBODY);
    let control = weir.control();
    let health = [("WEIR_CONTROL", control.as_str()), ("WEIR_TOKEN_FILE", "/nowhere/at/all")];
    assert_eq!(run(&["healthcheck"], &health).status, Some(0));
}

#[test]
fn who_fails_to_authenticate_is_logged_counted_and_throttled() {
    const NODE: &str = "nnnnnnnnnnnnnnnn";
    const OTHER: &str = "oooooooooooooooo";
    let token = |name: &str, secret: &str| {
        format!("[[token]]\nname = \"{name}\"\nsecret = \"{secret}\"\nscopes = [\"read\"]\n")
    };
    let folder = Folder::new("failing");
    let config = format!(
        "[control]\ndata = {:?}\n{}{}",
        folder.path(),
        token("node", NODE),
        token("other", OTHER)
    );
    let config = TextFile::new("failing.toml", &config);
    let control = Weir::control_at("127.0.0.1:0", &config);
    let call = |secret: &str, line: &str| {
        let bearer = format!("Bearer {secret}");
        control.call(line, &[("Host", "control"), ("Authorization", &bearer)], "")
    };
    assert_eq!(call(NODE, "GET /v1/nodes").status, 200);
    assert_eq!(call("wrong-wrong-wrong", "GET /v1/nodes?a=b").status, 401);
    let line = control.until_line("failed authentication");
    for part in ["source=127.0.0.1", "call=\"GET /v1/nodes?a=b\"", "the token is not known"] {
        assert!(line.contains(part), "{line}");
    }
    // In dialects, too.
    for _ in 1..20 {
        let key = [("Host", "control"), ("Fastly-Key", "wrong-wrong-wrong")];
        assert_eq!(control.call("POST /service/a/purge_all", &key, "").status, 401);
    }
    let throttled = call("wrong-wrong-wrong", "GET /v1/nodes");
    assert_eq!(throttled.status, 429);
    assert!(throttled.head.contains("\r\nretry-after: "), "{}", throttled.head);
    assert_eq!(call(OTHER, "GET /v1/nodes").status, 429, "it could be guessed");
    assert_eq!(call(NODE, "GET /v1/nodes").status, 200, "it was let in before");
    let metrics = call(NODE, "GET /metrics").body;
    for counted in ["failed_authentications_total 22", "throttled_authentications_total 2"] {
        assert!(metrics.contains(&format!("\nweir_admin_{counted}\n")), "{metrics}");
    }
    // Whatever else is refused stands in the log with its request line.
    assert_eq!(call(NODE, "GET /v1/nodes/%E2%80%AE").status, 404);
    let line = control.until_line("/v1/nodes/%E2%80%AE");
    assert!(line.contains("refused") && line.contains("status=404"), "{line}");
    let answer = control.call("GET /v1/nodes\x1b[2J", &[("Host", "control")], "");
    assert!((400..500).contains(&answer.status));
}

#[test]
fn files_of_tokens_are_made_where_there_are_none() {
    let folder = Folder::new("made-by-command");
    let file = |name: &str| format!("{}/tokens/{name}", folder.path());
    let read = |name: &str| std::fs::read_to_string(file(name)).expect("the file is there");
    let made = run(&["token", "--make", &file("node"), &file("metrics")], &[]);
    assert_eq!(made.status, Some(0), "{}", made.err);
    assert!(made.err.contains("node: made") && made.err.contains("metrics: made"), "{}", made.err);
    let (node, metrics) = (read("node"), read("metrics"));
    assert_eq!((node.trim_end().len(), metrics.trim_end().len()), (64, 64));
    assert_ne!(node, metrics);
    assert!(!made.err.contains(node.trim_end()) && made.out.is_empty(), "{}{}", made.out, made.err);
    let again = run(&["token", "--make", &file("node"), &file("operator")], &[]);
    assert!(again.err.contains("node: there already"), "{}", again.err);
    assert_eq!(read("node"), node, "it is kept");
    let refused = run(&["token", "--make", "/proc/token"], &[]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.contains("/proc/token: cannot be created"), "{}", refused.err);
}
