//! Clients that are slow, while the segments that they are sent from are written again.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::disk::{Directory, SEGMENTS};
use crate::geometry::Geometry;
use crate::response::{ResponseHead, Stamps};
use crate::volume::Options;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;

const SEGMENT: u32 = LARGEST_FOLIO;
/// A body of which a segment holds three.
const BODY: usize = 600 << 10;

/// A volume in a directory of the system, which is removed in the end.
struct Real {
    volume: Arc<Volume>,
    path: PathBuf,
}

impl Real {
    /// With so many segments; `None` where nothing can be sent from the page cache.
    fn new(name: &str, slots: u32) -> Option<Self> {
        let path = std::env::temp_dir().join(format!("weir-store-{name}-{}", std::process::id()));
        let _gone = std::fs::remove_dir_all(&path);
        let geometry = Geometry { segment: SEGMENT, slots, slice: 1 << 20 };
        let disk = Arc::new(Directory::open(&path).unwrap());
        let (volume, _) = Volume::open(disk, Options::new(geometry, 64 << 20)).unwrap();
        let real = Self { volume: Arc::new(volume), path };
        let place = Checkpoint { applied: 1, ..Checkpoint::default() };
        real.volume.commit(real.volume.checkpoint(&place)).unwrap();
        if !real.volume.can_send() {
            println!("skipped: this kernel or file system cannot send from the page cache");
            return None;
        }
        Some(real)
    }

    fn put(&self, url: u64) {
        self.volume.put(head(url), vec![body(url)], None).unwrap();
        while self.volume.work(usize::MAX) {}
    }

    /// Writes other responses until all segments were written again.
    fn write_over(&self) {
        for url in 1_000..1_000 + 4 * u64::from(self.volume.geometry.slots) {
            self.put(url);
        }
    }

    /// The body, as it is sent from the page cache.
    fn cached(&self, url: u64) -> Option<CachedBytes> {
        let key = head(url).key;
        let found = self.volume.find(url, &key).pop()?;
        match self.volume.cached_response(&found, &key)?.body {
            Body::Cached(body) => Some(body),
            other => panic!("not from the page cache: {other:?}"),
        }
    }

    /// The same, after it was read and checked.
    fn checked(&self, url: u64) -> CachedBytes {
        self.volume.get(url, &head(url).key).unwrap().unwrap();
        self.cached(url).unwrap()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.path);
    }
}

fn head(url: u64) -> ResponseHead {
    ResponseHead {
        url,
        key: format!("http://h/{url}").into(),
        selecting: Bytes::new(),
        site: "site".into(),
        tags: Vec::new(),
        fields: Bytes::from_static(b"fields"),
        stamps: Stamps { filled_at: 1, valid_at: 1, soft_at: 0 },
    }
}

fn body(url: u64) -> Bytes {
    (0..BODY as u64).map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ url) as u8).collect()
}

/// A connection: the end that is written to does not wait.
fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    (server, client)
}

/// Sends as much as the socket takes; how much that is.
fn send(bytes: &CachedBytes, to: &TcpStream, mut from: usize) -> io::Result<usize> {
    while from < bytes.len() {
        match bytes.send(to.as_fd(), from) {
            Ok(sent) => from += sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(from)
}

#[test]
fn what_a_socket_has_queued_stays_right_when_its_segment_is_written_again() {
    let Some(store) = Real::new("queued", 4) else { return };
    store.put(1);
    let bytes = store.checked(1);
    assert_eq!(bytes.len(), BODY);
    let (server, mut client) = connected();
    let sent = send(&bytes, &server, 0).unwrap();
    assert!(sent > BODY / 4, "{sent} bytes are on their way");
    drop(bytes);
    store.write_over();
    drop(server);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), sent);
    assert!(got == body(1)[..sent], "a wrong byte");
}

#[test]
fn whoever_is_too_slow_is_cut_and_gets_no_byte_of_what_was_written_since() {
    let Some(store) = Real::new("slow", 4) else { return };
    store.put(1);
    let bytes = store.checked(1);
    let (server, mut client) = connected();
    assert!(bytes.part(0..1_000).send(server.as_fd(), 0).unwrap() == 1_000);
    store.write_over();
    let error = bytes.send(server.as_fd(), 1_000).unwrap_err();
    assert_eq!(error.to_string(), "it is not on the disk any more");
    drop(server);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, body(1)[..1_000]);
}

#[test]
fn segments_that_clients_are_sent_from_are_held_back_within_a_bound() {
    let Some(store) = Real::new("held", 3 * HELD_BACK as u32) else { return };
    let (server, _client) = connected();
    let mut sending = Vec::new();
    for url in 0..5 {
        store.put(url);
        sending.push(store.checked(url));
        store.volume.seal(&mut store.volume.writer());
    }
    store.write_over();
    let is_there = |bytes: &CachedBytes| bytes.part(0..10).send(server.as_fd(), 0).is_ok();
    let there: Vec<_> = sending.iter().map(is_there).collect();
    assert_eq!(there.iter().filter(|is_there| **is_there).count(), 2, "{there:?}");
    drop(sending);
    let free = store.volume.writer().free.len();
    for url in 2_000..2_010 {
        store.put(url);
    }
    assert!(store.volume.writer().free.len() < free, "they are used again");
}

#[test]
fn nothing_is_sent_that_was_not_checked_or_is_not_in_the_page_cache() {
    let Some(store) = Real::new("unchecked", 4) else { return };
    store.put(1);
    assert!(store.cached(1).is_none(), "it was not checked");
    assert!(!store.checked(1).is_empty());
    let file = std::fs::File::open(store.path.join(SEGMENTS)).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    if store.volume.segments.is_cached(0, BODY as u64) {
        println!("skipped: this file system keeps its page cache");
        return;
    }
    assert!(store.cached(1).is_none(), "it would be waited for");
    std::fs::File::open(store.path.join(SEGMENTS)).unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert!(store.cached(1).is_none(), "somebody else brought it from the device");
    assert!(!store.checked(1).is_empty());
}

#[test]
fn a_damaged_body_is_not_sent() {
    let Some(store) = Real::new("damaged", 4) else { return };
    store.put(1);
    let file = store.volume.segments.as_ref();
    file.write_at(&[0xee], u64::from(SEGMENT) / 8).unwrap();
    store.volume.get(1, &head(1).key).unwrap_err();
    assert!(store.cached(1).is_none());
}

#[test]
fn slices_are_sent_too_and_a_part_of_one() {
    let Some(store) = Real::new("slices", 4) else { return };
    let writer = store.volume.begin_object(1, &head(1).key, b"");
    let objects = writer.objects().to_vec();
    writer.slice(0, body(1)).unwrap();
    writer.commit(head(1), BODY as u64, None).unwrap();
    while store.volume.work(usize::MAX) {}
    assert_eq!(store.volume.cached_slice(1, &objects, 0), None, "it was not checked");
    store.volume.get_slice(1, &objects, 0).unwrap().unwrap();
    assert_eq!(store.volume.cached_slice(1, &objects, 1), None);
    let slice = store.volume.cached_slice(1, &objects, 0).unwrap();
    let (server, mut client) = connected();
    let part = slice.part(5_000..5_100);
    assert_eq!((part.len(), slice.part(BODY..BODY + 5).len()), (100, 0));
    assert_eq!(part.send(server.as_fd(), 40).unwrap(), 60);
    drop(server);
    let mut got = Vec::new();
    client.read_to_end(&mut got).unwrap();
    assert_eq!(got, body(1)[5_040..5_100]);
    assert_eq!(store.volume.counts().bytes_sent, 60);
}

#[test]
fn a_volume_that_is_closed_sends_nothing_more_whoever_is_served() {
    let Some(store) = Real::new("closed", 4) else { return };
    store.put(1);
    let bytes = store.checked(1);
    let path = store.path.clone();
    let (server, _client) = connected();
    bytes.part(0..10).send(server.as_fd(), 0).unwrap();
    store.volume.close().unwrap();
    drop(store);
    bytes.send(server.as_fd(), 0).unwrap_err();
    drop(Directory::open(&path).unwrap());
    let _gone = std::fs::remove_dir_all(&path);
}
