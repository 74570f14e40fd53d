//! Looking at a directory of the system, and clearing it.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_store::disk::Directory;
use weir_store::{
    Checkpoint, Geometry, Options, ResponseHead, Stamps, Verified, Volume, clear, stat, verify,
};

const GEOMETRY: Geometry = Geometry { segment: 64 << 10, slots: 8, slice: 4 << 10 };

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("weir-inspect-{name}-{}", std::process::id()));
    let _gone = fs::remove_dir_all(&path);
    path
}

fn fill(path: &Path) {
    let disk = Arc::new(Directory::open(path).unwrap());
    let (volume, _) = Volume::open(disk, Options::new(GEOMETRY, 1 << 20)).unwrap();
    volume.commit(volume.checkpoint(&Checkpoint::default())).unwrap();
    for url in 0..100u64 {
        let head = ResponseHead {
            url,
            key: format!("http://h/{url}").into(),
            selecting: Bytes::new(),
            site: "site".into(),
            tags: vec![],
            fields: Bytes::new(),
            stamps: Stamps::default(),
        };
        volume.put(head, vec![format!("body {url:04}").into()], None).unwrap();
    }
    volume.close().unwrap();
    volume.commit(volume.remove_url(7).moment.unwrap()).unwrap();
}

/// The names and contents of all files.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(path).unwrap().map(|file| file.unwrap());
    let mut files: Vec<_> = files
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn verified(path: &Path) -> Verified {
    verify(&Directory::open_read_only(path).unwrap()).unwrap()
}

#[test]
fn a_directory_is_looked_at_and_not_changed() {
    let path = directory("verify");
    fill(&path);
    let before = contents(&path);
    let found = verified(&path);
    assert_eq!((found.whole, found.damaged), (99, 0));
    assert_eq!((found.stat.responses, found.stat.slices, found.stat.segments), (99, 0, 1));
    assert_eq!(found.stat.checkpoint, Some(Checkpoint::default()));
    assert_eq!(stat(&Directory::open_read_only(&path).unwrap()).unwrap(), found.stat);
    let mut segments = fs::read(path.join("segments")).unwrap();
    let at = segments.windows(9).position(|bytes| bytes == b"body 0042").unwrap();
    segments[at] ^= 1;
    fs::write(path.join("segments"), segments).unwrap();
    let found = verified(&path);
    assert_eq!((found.whole, found.damaged, found.stat.responses), (98, 1, 99));
    let changed = contents(&path);
    let names =
        |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&before), names(&changed));
    assert!(before.iter().zip(&changed).all(|(one, other)| one == other || one.0 == "segments"));
    fs::remove_dir_all(&path).unwrap();
}

#[test]
fn a_directory_in_use_or_without_a_store_says_so() {
    let path = directory("errors");
    assert!(Directory::open_read_only(&path).is_err(), "and it is not made");
    assert!(!path.exists());
    fill(&path);
    let used = Directory::open(&path).unwrap();
    let error = Directory::open_read_only(&path).unwrap_err();
    assert_eq!(error.to_string(), "another process uses the directory");
    drop(used);
    let read_only = Directory::open_read_only(&path).unwrap();
    assert_eq!(clear(&read_only).unwrap_err().to_string(), "opened for reading only");
    drop(read_only);
    fs::remove_file(path.join("witness")).unwrap();
    let error = stat(&Directory::open_read_only(&path).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the witness is missing: the store would begin empty");
    clear(&Directory::open(&path).unwrap()).unwrap();
    let left = contents(&path).into_iter().map(|file| file.0).collect::<Vec<_>>();
    assert_eq!(left, ["lock"]);
    let error = stat(&Directory::open_read_only(&path).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "there is no store in the directory");
    fill(&path);
    assert_eq!(verified(&path).whole, 99);
    fs::remove_dir_all(&path).unwrap();
}
