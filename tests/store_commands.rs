//! `weir store`: looks at, checks and empties directories of the disk store.

mod program;

use bytes::Bytes;
use program::{Folder, Ran, TextFile, run, unconfigured, within_patience};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use weir_store::disk::Directory;
use weir_store::{Checkpoint, Geometry, Options, ResponseHead, Stamps, Volume};

const GEOMETRY: Geometry = Geometry { segment: 64 << 10, slots: 8, slice: 4 << 10 };

/// A store with so many responses in a new directory of `folder`.
fn store(folder: &Folder, name: &str, responses: u64) -> String {
    let path = format!("{}/{name}", folder.path());
    let disk = Arc::new(Directory::open(Path::new(&path)).expect("a directory"));
    let (volume, _) = Volume::open(disk, Options::new(GEOMETRY, 1 << 20)).expect("a store");
    let checkpoint =
        Checkpoint { log: Some("3f9a".into()), applied: 12, checked: 7, ..Checkpoint::default() };
    volume.commit(volume.checkpoint(&checkpoint)).expect("a checkpoint");
    for url in 0..responses {
        let head = ResponseHead {
            url,
            key: format!("http://h/{url}").into(),
            selecting: Bytes::new(),
            site: "site".into(),
            tags: vec![],
            fields: Bytes::new(),
            stamps: Stamps::default(),
        };
        volume.put(head, vec![format!("body {url:04}").into()], None).expect("room");
    }
    volume.close().expect("an orderly end");
    path
}

fn weir(arguments: &[&str]) -> Ran {
    run(&[&["store"], arguments].concat(), &[])
}

fn figures(arguments: &[&str]) -> (Option<i32>, Value) {
    let ran = weir(&[arguments, &["--json"]].concat());
    let shown = serde_json::from_str(&ran.out);
    (ran.status, shown.unwrap_or_else(|_| panic!("{}{}", ran.out, ran.err)))
}

/// The configuration of a node with a disk in these directories.
fn config(name: &str, paths: &[&str]) -> TextFile {
    let directories: String =
        paths.iter().map(|path| format!("{{ path = {path:?}, size = \"1GiB\" }}, ")).collect();
    let text = format!(
        "[control]\ndata = \"/var/lib/weir\"\n[disk]\ndirectories = [{directories}]\n\
         [[site]]\norigins = [\"http://127.0.0.1:9\"]\n"
    );
    TextFile::new(name, &text)
}

#[test]
fn a_store_is_looked_at_and_checked() {
    let folder = Folder::new("store-look");
    let path = store(&folder, "disk", 20);
    let ran = weir(&["stat", &path]);
    assert_eq!((ran.status, ran.err.as_str()), (Some(0), ""));
    for line in [
        format!("path        {path}"),
        "format      1".into(),
        "directory   1 of 1".into(),
        "segments    1 of 8 in use, 64KiB each".into(),
        "unreadable  0 segments".into(),
        "responses   20".into(),
        "slices      0".into(),
        "log         3f9a".into(),
        "applied     12".into(),
        "checked     7".into(),
    ] {
        assert!(ran.out.lines().any(|shown| shown == line), "{line:?}: {}", ran.out);
    }
    let ran = weir(&["verify", &path]);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    assert!(ran.out.contains("\nwhole       20 records, "), "{}", ran.out);
    assert!(ran.out.ends_with("\ndamaged     0 records\n"), "{}", ran.out);
    // A byte of a body.
    let segments = format!("{path}/segments");
    let mut bytes = fs::read(&segments).expect("it is there");
    let at = bytes.windows(9).position(|bytes| bytes == b"body 0013").expect("the body");
    bytes[at] ^= 1;
    fs::write(&segments, bytes).expect("it can be written");
    let (status, shown) = figures(&["verify", &path]);
    let store = &shown["stores"][0];
    assert_eq!(
        (status, &store["records"], &store["records_damaged"]),
        (Some(1), &json!(19), &json!(1))
    );
    let (status, shown) = figures(&["stat", &path]);
    let store = &shown["stores"][0];
    assert_eq!((status, &store["responses"], &store["path"]), (Some(0), &json!(20), &json!(path)));
    assert_eq!((&store["applied_seq"], &store["log"]), (&json!(12), &json!("3f9a")));
    assert_eq!(store.get("records"), None, "what was not read");
}

#[test]
fn a_configuration_names_all_directories() {
    let folder = Folder::new("store-config");
    let (one, other) = (store(&folder, "a", 3), store(&folder, "b", 4));
    let absent = format!("{}/c", folder.path());
    let both = config("both.toml", &[&one, &other]);
    let (status, shown) = figures(&["stat", "--config", both.path()]);
    let responses = |at: usize| shown["stores"][at]["responses"].clone();
    assert_eq!((status, responses(0), responses(1)), (Some(0), json!(3), json!(4)));
    let ran = weir(&["stat", "--config", both.path()]);
    assert_eq!(ran.out.matches("path        /").count(), 2, "{}", ran.out);
    // One that cannot be looked at is told, the other one is shown.
    let ran = weir(&["stat", "--config", config("absent.toml", &[&absent, &one]).path()]);
    assert_eq!(ran.status, Some(1));
    assert_eq!(ran.err, format!("weir: {absent}: there is no such directory\n"));
    assert!(ran.out.contains("responses   3\n"), "{}", ran.out);
    assert!(!Path::new(&absent).exists());
    let without = TextFile::new("without.toml", "[[site]]\norigins = [\"http://127.0.0.1:9\"]\n");
    let ran = weir(&["stat", "--config", without.path()]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.ends_with("without.toml: it has no [disk]\n"), "{}", ran.err);
    let wrong = TextFile::new("wrong.toml", "[disk]\npath = \"/d\"\n");
    let ran = weir(&["stat", "--config", wrong.path()]);
    assert_eq!(ran.status, Some(1));
    assert!(ran.err.contains("wrong.toml: line 1: disk.size: missing"), "{}", ran.err);
}

#[test]
fn what_is_in_use_or_no_store_is_left_alone() {
    let folder = Folder::new("store-left");
    let (used, free) = (store(&folder, "used", 3), store(&folder, "free", 3));
    let lock = Directory::open(Path::new(&used)).expect("a directory");
    let both = config("used.toml", &[&free, &used]);
    let of_both = ["--config", both.path()];
    for command in [&["stat"][..], &["verify"], &["clear", "--yes"]] {
        let ran = weir(&[command, &[&used]].concat());
        assert_eq!(ran.status, Some(1), "{command:?}");
        assert_eq!(ran.err, format!("weir: {used}: another process uses the directory\n"));
        assert_eq!(weir(&[command, &of_both].concat()).status, Some(1), "{command:?}");
    }
    drop(lock);
    let (_, shown) = figures(&[&["stat"], &of_both[..]].concat());
    assert_eq!(shown["stores"][0]["responses"], 3, "the free one was not emptied either");
    // A directory of something else, with a lock of the same name.
    let other = format!("{}/state", folder.path());
    fs::create_dir(&other).expect("it can be made");
    for file in [None, Some("lock")] {
        if let Some(file) = file {
            fs::write(format!("{other}/{file}"), "").expect("it can be written");
        }
        for command in [&["stat"][..], &["verify"], &["clear", "--yes"]] {
            let ran = weir(&[command, &[&other]].concat());
            let reason = format!("weir: {other}: there is no store in the directory\n");
            assert_eq!((ran.status, ran.err), (Some(1), reason));
        }
    }
    for arguments in
        [&["stat"][..], &["clear", "--yes"], &["stat", &free, "--config", both.path()], &[]]
    {
        assert_eq!(weir(arguments).status, Some(2), "{arguments:?}");
    }
}

#[test]
fn a_store_of_another_version_or_a_damaged_one_is_named_and_can_be_emptied() {
    let folder = Folder::new("store-version");
    let path = store(&folder, "disk", 3);
    let journal = format!("{path}/journal");
    // The head of a journal of version 7, with its checksum.
    let mut head = [0; 512];
    head[..8].copy_from_slice(b"weirdisk");
    head[8..12].copy_from_slice(&7u32.to_le_bytes());
    head[16..24].copy_from_slice(&SUM_OF_VERSION_7.to_le_bytes());
    for (bytes, reason) in [
        (&head[..], "the store has format version 7, this version of weir reads version 1"),
        (&head[..100], "the head of the journal is damaged: the store would begin empty"),
    ] {
        fs::write(&journal, bytes).expect("it can be written");
        for command in ["stat", "verify"] {
            let ran = weir(&[command, &path]);
            assert_eq!((ran.status, ran.err), (Some(1), format!("weir: {path}: {reason}\n")));
        }
    }
    let ran = weir(&["clear", "--yes", &path]);
    assert_eq!((ran.status, ran.out), (Some(0), format!("{path} is empty\n")));
    assert_eq!(
        weir(&["stat", &path]).err,
        format!("weir: {path}: there is no store in the directory\n")
    );
}

const SUM_OF_VERSION_7: u64 = 0x8317c8ed6921c5ca;

#[test]
fn emptying_is_confirmed_on_a_terminal_or_by_a_flag() {
    let folder = Folder::new("store-clear");
    let path = store(&folder, "disk", 3);
    let ran = weir(&["clear", &path]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("--yes"), "{}", ran.err);
    for (typed, status, responses) in [("n\n", 1, 3), ("\n", 1, 3), ("\x04", 1, 3), ("y\n", 0, 0)] {
        let (ended, shown) = in_a_terminal(&["store", "clear", &path], typed);
        assert_eq!(ended, Some(status), "{typed:?}: {shown}");
        assert!(
            shown.contains(&format!("Remove all stored responses in {path}? [y/N]")),
            "{shown}"
        );
        assert_eq!(shown.contains("nothing was removed"), status == 1, "{shown}");
        let (_, found) = figures(&["stat", &path]);
        match responses {
            0 => assert_eq!(found["stores"], json!([])),
            _ => assert_eq!(found["stores"][0]["responses"], responses),
        }
    }
    // What was stored there again goes without a question.
    store(&folder, "disk", 3);
    assert_eq!(figures(&["clear", "--yes", &path]), (Some(0), json!({"emptied": [path]})));
    assert_eq!(fs::read_dir(&path).expect("it is there").count(), 1, "the lock");
}

/// Runs the program on a terminal on which this is typed: its exit status, and what the terminal shows.
fn in_a_terminal(arguments: &[&str], typed: &'static str) -> (Option<i32>, String) {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let window = openpt(flags).expect("a pseudo-terminal");
    grantpt(&window).expect("it is granted");
    unlockpt(&window).expect("it is unlocked");
    let line = ioctl_tiocgptpeer(&window, flags).expect("its line");
    let stream = || Stdio::from(line.try_clone().expect("a copy of the line"));
    let mut command = unconfigured(Command::new(env!("CARGO_BIN_EXE_weir")));
    command.args(arguments).stdin(stream()).stdout(stream()).stderr(stream());
    let mut child = command.spawn().expect("it starts");
    drop((command, line));
    within_patience(move || {
        let mut window = File::from(window);
        window.write_all(typed.as_bytes()).expect("it can be typed");
        // Reading fails once nobody has the line any more.
        let (mut shown, mut part) = (Vec::new(), [0; 1024]);
        while let Ok(read) = window.read(&mut part) {
            shown.extend_from_slice(&part[..read]);
        }
        let status = child.wait().expect("it can be waited for");
        (status.code(), String::from_utf8_lossy(&shown).into_owned())
    })
}
