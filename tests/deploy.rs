//! The files in deploy/, held against the program that they deploy.

mod program;

use program::{TextFile, Weir, run};

const COMPOSE: &str = include_str!("../docker-compose.yml");
const COMPOSE_NODE: &str = include_str!("../deploy/compose/node.toml");
const UNIT: &str = include_str!("../deploy/systemd/weir.service");

#[test]
fn the_node_of_docker_compose_starts_and_asks_for_its_token() {
    let token = TextFile::new("compose-token", "0123456789abcdef0123456789abcdef\n");
    let secret = "/run/secrets/weir-token";
    assert!(COMPOSE_NODE.contains(secret) && COMPOSE.contains("secrets: [weir-token]"));
    let config = COMPOSE_NODE.replace(secret, token.path());
    let config = TextFile::new("compose-node.toml", &config);
    let weir = Weir::serve(&["--config", config.path(), "--origin", "http://127.0.0.1:9"]);
    assert_eq!(weir.run(&["healthcheck"]).status, Some(0));
    assert_eq!(weir.run(&["purge", "/a"]).status, Some(1));
    let variables = [
        ("WEIR_CONTROL", weir.control()),
        ("WEIR_TOKEN", "0123456789abcdef0123456789abcdef".to_owned()),
    ];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ran = run(&["purge", "/a"], &variables);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
}

#[test]
fn nobody_is_killed_while_the_node_drains() {
    let grace = seconds_after(COMPOSE, "stop_grace_period: ");
    assert!(grace > seconds_after(COMPOSE_NODE, "drain = \""), "docker-compose.yml");
    let sample = include_str!("../deploy/node.toml");
    assert!(seconds_after(UNIT, "TimeoutStopSec=") > seconds_after(sample, "drain = \""));
}

#[test]
fn no_secret_stands_in_a_file_that_is_kept() {
    assert!(!COMPOSE_NODE.contains("secret = "));
    assert!(include_str!("../.gitignore").lines().any(|line| line == "/deploy/secrets"));
}

/// The number of seconds that stands after `what`.
fn seconds_after(text: &str, what: &str) -> u32 {
    let (_, rest) = text.split_once(what).unwrap_or_else(|| panic!("no {what:?}"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("no number after {what:?}"))
}
