//! An etcd that lets in only whom it knows: TLS with certificates on both ends, and users with a password.

mod program;

use program::{Certificates, Etcd, Shared, TextFile, call, until};
use rustix::process::Signal;
use serde_json::json;

const ROOT: &str = "root-password";

/// A user `weir`, who may read and write below `/weir/` only.
fn confine(etcd: &Etcd, password: &str) {
    etcd.ctl(&["user", "add", &format!("root:{ROOT}")]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["role", "add", "weir"]);
    etcd.ctl(&["role", "grant-permission", "weir", "readwrite", "--prefix=true", "/weir/"]);
    etcd.ctl(&["user", "add", &format!("weir:{password}")]);
    etcd.ctl(&["user", "grant-role", "weir", "weir"]);
    etcd.ctl(&["auth", "enable"]);
}

fn as_root(etcd: &Etcd, arguments: &[&str]) {
    let root = format!("root:{ROOT}");
    etcd.ctl(&[&["--user", &root], arguments].concat());
}

fn change_password(etcd: &Etcd, password: &str) {
    // Without a terminal, etcdctl reads one line.
    let file = TextFile::new("password", &format!("{password}\n"));
    etcd.ctl_reading(
        file.path(),
        &["--user", &format!("root:{ROOT}"), "user", "passwd", "weir", "--interactive=false"],
    );
}

/// Control as `weir`, whose password is in `password`.
fn controls(name: &str, etcd: &Etcd, count: usize, password: &TextFile, tls: &str) -> Shared {
    let endpoints: Vec<_> = (0..count).map(|_| etcd.endpoints()).collect();
    let user = format!("user = \"weir\"\npassword_file = {:?}\n{tls}", password.path());
    Shared::begin(name, &endpoints, "", &user)
}

fn tls(certificates: &Certificates) -> String {
    let (ca, chain, key) =
        (certificates.ca(), certificates.chain("client"), certificates.key("client"));
    format!("ca = {ca:?}\ncert = {chain:?}\nkey = {key:?}")
}

/// Purges until it is completed; how often it was refused.
fn purged(shared: &Shared, at: usize) -> usize {
    let (purge, refused) = shared.purge_until_taken(at, &json!({"paths": ["/a"], "wait_ms": 0}));
    shared.until_completed(at, &purge["id"]);
    refused
}

/// Waits until a process refuses purges, and says why with `part`.
fn until_refused(shared: &Shared, at: usize, part: &str) {
    let purge =
        || call(shared.at(at), "POST /v1/purges", "{\"paths\":[\"/a\"]}").expect("an answer");
    let answer = until("it refuses", purge, |answer| answer.status == 503);
    let ready = || call(shared.at(at), "GET /readyz", "").expect("an answer").body;
    let told = until("it says why", ready, |told| told.contains(part));
    println!("{}; {told}", answer.body);
}

#[test]
fn a_cluster_with_tls_and_users_is_one_like_any_other() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start_with_tls("tls", 3, &[], Certificates::new("tls"));
    confine(&etcd, "one");
    let password = TextFile::new("password", "one\n");
    let mut shared = controls("tls", &etcd, 2, &password, &tls(etcd.certificates()));
    let (writer, standby) = (shared.writer(), shared.standby());
    let node = shared.node("one", "http://127.0.0.1:9", &[0, 1]);
    purged(&shared, standby);
    shared.kill(writer);
    purged(&shared, standby);
    assert_eq!(shared.listed(standby).len(), 2);
    drop(node);
}

#[test]
fn a_token_that_is_over_is_replaced_and_nobody_notices() {
    if !Etcd::is_installed() {
        return;
    }
    // A token that is used lives on: it ends when nothing was asked for a while, and with the member's memory.
    let mut etcd = Etcd::start_with("token", 1, &["--auth-token-ttl", "1"]);
    confine(&etcd, "one");
    let password = TextFile::new("password", "one\n");
    let shared = controls("token", &etcd, 1, &password, "");
    shared.writer();
    let _node = shared.node("one", "http://127.0.0.1:9", &[0]);
    for change in [
        // Each of these ends all tokens, or makes them those of an older state.
        &["user", "revoke-role", "weir", "weir"][..],
        &["user", "grant-role", "weir", "weir"],
        &["role", "add", "other"],
    ] {
        as_root(&etcd, change);
    }
    purged(&shared, 0);
    etcd.signal(0, Signal::STOP);
    until_refused(&shared, 0, "no answer in time");
    etcd.signal(0, Signal::CONT);
    purged(&shared, 0);
    etcd.kill(0);
    etcd.start_member(0);
    purged(&shared, 0);
    assert_eq!(shared.listed(0).len(), 3);
}

#[test]
fn a_password_that_changes_is_taken_at_a_reload() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start_with("password", 1, &["--bcrypt-cost", "4"]);
    confine(&etcd, "one");
    let password = TextFile::new("password", "one\n");
    let shared = controls("password", &etcd, 1, &password, "");
    shared.writer();
    let _node = shared.node("one", "http://127.0.0.1:9", &[0]);
    purged(&shared, 0);
    // In the order of the manual: the file, the reload, the cluster. Nothing is refused.
    password.write("two\n");
    assert_eq!(shared.call(0, "POST /v1/reload", "").status, 200);
    change_password(&etcd, "two");
    assert_eq!(purged(&shared, 0), 0);
    // In the other order it is refused, with the reason, until the reload.
    change_password(&etcd, "three");
    until_refused(
        &shared,
        0,
        "control.etcd.user = \\\"weir\\\": etcdserver: authentication failed",
    );
    password.write("three\n");
    assert_eq!(shared.call(0, "POST /v1/reload", "").status, 200);
    purged(&shared, 0);
}

#[test]
fn a_cluster_that_begins_to_ask_for_users_finds_control_prepared() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start_with("begins", 1, &["--bcrypt-cost", "4"]);
    let password = TextFile::new("password", "one\n");
    let shared = controls("begins", &etcd, 1, &password, "");
    shared.writer();
    let _node = shared.node("one", "http://127.0.0.1:9", &[0]);
    purged(&shared, 0);
    confine(&etcd, "one");
    assert_eq!(purged(&shared, 0), 0);
    as_root(&etcd, &["auth", "disable"]);
    assert_eq!(purged(&shared, 0), 0);
}

#[test]
fn who_etcd_does_not_let_in_is_told_why() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start_with("refused", 1, &["--bcrypt-cost", "4"]);
    confine(&etcd, "one");
    let endpoints = [etcd.endpoints()];
    let wrong = TextFile::new("password", "wrong\n");
    for (of_etcd, part) in [
        (String::new(), "control.etcd.user is not set"),
        (
            format!("user = \"weir\"\npassword_file = {:?}", wrong.path()),
            "control.etcd.user = \\\"weir\\\": etcdserver: authentication failed",
        ),
    ] {
        let shared = Shared::begin("refused", &endpoints, "", &of_etcd);
        until_refused(&shared, 0, part);
    }
    // Its keys are below another prefix than the user's.
    let right = TextFile::new("password", "one\n");
    let keys = format!("user = \"weir\"\npassword_file = {:?}\nprefix = \"/other/\"", right.path());
    let shared = Shared::begin("refused", &endpoints, "", &keys);
    until_refused(&shared, 0, "permission denied");
}

#[test]
fn certificates_that_do_not_do_are_told_and_better_ones_are_taken_at_a_reload() {
    if !Etcd::is_installed() {
        return;
    }
    let etcd = Etcd::start_with_tls("shown", 1, &[], Certificates::new("shown"));
    let (certificates, endpoints) = (etcd.certificates(), [etcd.endpoints()]);
    let other = Certificates::new("other");
    let without_ca = Shared::begin("shown", &endpoints, "", "");
    until_refused(&without_ca, 0, "UnknownIssuer");
    let ca = format!("ca = {:?}", certificates.ca());
    let without_cert = Shared::begin("shown", &endpoints, "", &ca);
    until_refused(&without_cert, 0, "etcd at https://127.0.0.1");
    let strange =
        format!("{ca}\ncert = {:?}\nkey = {:?}", other.chain("client"), other.key("client"));
    let strange = Shared::begin("shown", &endpoints, "", &strange);
    until_refused(&strange, 0, "etcd at https://127.0.0.1");
    // With users, etcd's gateway refuses a certificate with a common name, whoever shows it.
    confine(&etcd, "one");
    let password = TextFile::new("password", "one\n");
    certificates.sign("named", "/CN=weir", "clientAuth");
    let (chain, key) = (certificates.chain("named"), certificates.key("named"));
    let keys = format!("{ca}\ncert = {chain:?}\nkey = {key:?}");
    let named = controls("shown", &etcd, 1, &password, &keys);
    until_refused(&named, 0, "CommonName");
    certificates.sign("named", "/O=weir", "clientAuth");
    assert_eq!(named.call(0, "POST /v1/reload", "").status, 200);
    named.writer();
    assert_eq!(named.purge(0, &json!({"paths": ["/a"]})).status, 200);
}
