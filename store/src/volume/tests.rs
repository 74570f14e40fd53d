//! The rules of a volume, one by one.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::disk::simulated::{Faults, SimulatedDisk};
use crate::response::Stamps;
use bytes::Bytes;
use std::sync::atomic::AtomicUsize;

const SEGMENT: u32 = 16 << 10;
const SLICE: usize = 4 << 10;

fn options() -> Options {
    let geometry = Geometry { segment: SEGMENT, slots: 6, slice: SLICE as u32 };
    Options::new(geometry, 64 << 10)
}

fn open(disk: &SimulatedDisk) -> (Arc<Volume>, Opened) {
    let (volume, opened) = Volume::open(Arc::new(disk.clone()), options()).unwrap();
    (Arc::new(volume), opened)
}

/// A volume that has applied the log up to this number, durably.
fn applied(disk: &SimulatedDisk, applied: Seq) -> Arc<Volume> {
    let (volume, _) = open(disk);
    commit(&volume, applied, 0);
    volume
}

fn commit(volume: &Volume, applied: Seq, checked: Seq) {
    let place = Checkpoint { applied, checked, ..Checkpoint::default() };
    volume.commit(volume.checkpoint(&place)).unwrap();
}

fn head(url: u64, at: Seq) -> ResponseHead {
    ResponseHead {
        url,
        key: format!("http://h/{url}").into(),
        selecting: Bytes::new(),
        site: "site".into(),
        tags: vec!["tag".into()],
        fields: Bytes::from_static(b"fields"),
        stamps: Stamps { filled_at: at, valid_at: at, soft_at: 0 },
    }
}

fn put(volume: &Volume, url: u64, at: Seq, body: &'static [u8]) {
    volume.put(head(url, at), vec![Bytes::from_static(body)], None).unwrap();
    while volume.work(usize::MAX) {}
}

/// Ends the segment that is written.
fn seal(volume: &Volume) {
    volume.seal(&mut volume.writer());
}

fn body(volume: &Volume, url: u64) -> Option<Bytes> {
    match volume.get(url, &head(url, 0).key).ok()??.body {
        Body::Whole(body) => Some(body),
        other => panic!("not read: {other:?}"),
    }
}

fn walk(volume: &Volume, upto: Seq, verdict: Verdict) -> Walk {
    let mut walk = volume.walk(upto);
    while !walk.is_over() {
        volume.step(&mut walk, |_| verdict);
    }
    walk
}

/// Damages the segment that a response is in.
fn damage(disk: &SimulatedDisk, volume: &Volume, url: u64) {
    let slot = volume.find(url, &head(url, 0).key)[0].record.at.slot as usize;
    let begin = slot * SEGMENT as usize;
    disk.damage("segments", |bytes| {
        let end = bytes.len().min(begin + SEGMENT as usize);
        bytes[begin..end].fill(0xee);
    });
}

#[test]
fn a_superseded_copy_does_not_come_back_when_the_newer_one_is_lost() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"old");
    seal(&volume);
    commit(&volume, 10, 0);
    put(&volume, 1, 10, b"new");
    seal(&volume);
    // Purge 10 was applied before the newer one was fetched: the walk sees nothing that it takes.
    let seen = walk(&volume, 10, Verdict::Keep);
    assert_eq!(seen.removed(), 0);
    commit(&volume, 10, 10);
    damage(&disk, &volume, 1);
    let (volume, opened) = open(&disk);
    assert_eq!(opened.checkpoint.unwrap().checked, 10);
    assert_eq!(opened.reclaimed, 1);
    assert_eq!(body(&volume, 1), None);
}

#[test]
fn a_damaged_response_is_a_miss_and_never_an_older_copy() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"old body");
    volume.settle().unwrap();
    put(&volume, 1, 5, b"new body");
    // Both are in footers now, and the removal of the older one is not committed.
    volume.write_footer(&mut volume.writer(), false);
    disk.damage("segments", |bytes| {
        let at = bytes.windows(8).rposition(|part| part == b"new body").unwrap();
        bytes[at] ^= 1;
    });
    let (volume, _) = open(&disk);
    let damaged = volume.get(1, &head(1, 0).key);
    assert!(matches!(damaged, Err(Unread::Damaged)), "{damaged:?}");
    assert_eq!(body(&volume, 1), None);
    assert_eq!(volume.counts().damaged, 1);
    drop(volume);
    assert_eq!(body(&open(&disk).0, 1), None, "nor after the next start");
}

#[test]
fn what_was_replaced_and_not_admitted_is_waited_for_by_an_unsafe_request() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"old");
    volume.settle().unwrap();
    // A newer response is known, and is not stored here.
    volume.supersede(1, &head(1, 0).key, b"");
    assert!(!volume.has_url(1));
    let removed = volume.remove_url(1);
    assert_eq!(removed.responses, 0);
    let moment = removed.moment.expect("the old one would come back after a crash");
    assert_eq!(body(&open(&disk.copy()).0, 1).unwrap(), "old", "it does come back");
    volume.commit(moment).unwrap();
    assert_eq!(volume.remove_url(1).moment, None, "it does not any more");
    assert_eq!(body(&open(&disk).0, 1), None);
}

#[test]
fn an_unsafe_request_does_not_wait_for_what_was_never_there() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"other");
    assert_eq!(volume.remove_url(2), Removed::default());
    // What is on its way is revoked, and was never recoverable.
    volume.put(head(3, 5), vec![], None).unwrap();
    let removed = volume.remove_url(3);
    assert_eq!((removed.responses, removed.moment), (1, None));
    while volume.work(usize::MAX) {}
    volume.settle().unwrap();
    assert_eq!(body(&volume, 3), None);
    assert_eq!(body(&open(&disk).0, 3), None);
    assert_eq!(volume.counts().dropped, 1);
}

#[test]
fn nothing_is_recoverable_before_a_checkpoint_that_covers_it() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 6, b"early");
    volume.settle().unwrap();
    assert_eq!(body(&volume, 1).unwrap(), "early", "this process may have it");
    assert_eq!(body(&open(&disk.copy()).0, 1), None);
    commit(&volume, 6, 0);
    volume.settle().unwrap();
    assert_eq!(body(&open(&disk.copy()).0, 1).unwrap(), "early");
    // At the end of a segment it is too late.
    put(&volume, 2, 7, b"late");
    seal(&volume);
    assert_eq!(body(&volume, 2), None);
    assert_eq!(volume.counts().dropped, 1);
}

/// The order of the store's writes decides, also where the journal does not say which one is replaced.
#[test]
fn of_two_responses_in_footers_the_newer_one_is_found() {
    for ends in [false, true] {
        let disk = SimulatedDisk::default();
        let volume = applied(&disk, 5);
        put(&volume, 1, 5, b"old");
        if ends {
            seal(&volume);
        } else {
            volume.settle().unwrap();
        }
        // Its segment is named by the journal, as after any commit; the removal is not.
        put(&volume, 2, 5, b"other");
        volume.settle().unwrap();
        put(&volume, 1, 5, b"new");
        volume.write_footer(&mut volume.writer(), false);
        let (volume, opened) = open(&disk);
        assert_eq!((opened.recovered, body(&volume, 1).unwrap()), (2, "new".into()), "{ends}");
        // Nor does the older one come back when the newer one is removed.
        volume.commit(volume.remove_url(1).moment.unwrap()).unwrap();
        assert_eq!(body(&open(&disk).0, 1), None, "{ends}");
    }
}

/// A footer says of a response what it was judged by, and the checkpoint how far the node was: a
/// journal that is behind the footers, as after a loss of power, hides what is ahead of it.
#[test]
fn what_a_footer_says_is_held_against_the_checkpoint_at_opening() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"covered");
    volume.settle().unwrap();
    put(&volume, 2, 6, b"ahead");
    {
        let open = &mut volume.writer();
        let open = open.open.as_mut().unwrap();
        let entries = std::mem::take(&mut open.entries);
        volume.append_footer(open, &entries).unwrap();
    }
    let (volume, opened) = open(&disk);
    assert_eq!(opened.recovered, 1);
    assert_eq!((body(&volume, 1).unwrap(), body(&volume, 2)), ("covered".into(), None));
}

#[test]
fn a_hold_ends_when_it_is_decided_and_not_before() {
    struct Hold(Arc<AtomicUsize>);
    impl Drop for Hold {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    let ended = Arc::new(AtomicUsize::new(0));
    let hold = || Some(Box::new(Hold(Arc::clone(&ended))) as super::Hold);
    volume.put(head(1, 5), vec![], hold()).unwrap();
    assert_eq!(ended.load(Ordering::Relaxed), 0, "a walk must not pass it");
    volume.work(usize::MAX);
    assert_eq!(ended.load(Ordering::Relaxed), 1);
    assert!(volume.get(1, &head(1, 0).key).unwrap().is_some());
    let large = vec![Bytes::from(vec![0; SLICE + 1])];
    assert_eq!(volume.put(head(2, 5), large, hold()), Err(Refused::TooLarge));
    assert_eq!(ended.load(Ordering::Relaxed), 2);
}

#[test]
fn a_walk_over_the_open_segment_says_nothing_of_what_comes_later() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 10);
    put(&volume, 1, 5, b"a");
    // Fetched before purge 10, written after the walk.
    walk(&volume, 10, Verdict::Keep);
    put(&volume, 2, 5, b"b");
    let judged = |url| {
        let stored = volume.get(url, &head(url, 0).key).unwrap().unwrap();
        stored.head.stamps.valid_at
    };
    assert_eq!((judged(1), judged(2)), (10, 5));
    seal(&volume);
    assert_eq!((judged(1), judged(2)), (10, 5));
    walk(&volume, 11, Verdict::Keep);
    assert_eq!((judged(1), judged(2)), (11, 11));
}

#[test]
fn a_soft_mark_outlives_the_purge_that_made_it() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"a");
    seal(&volume);
    put(&volume, 2, 5, b"b");
    walk(&volume, 8, Verdict::Soften(7));
    commit(&volume, 8, 8);
    let soft_at = |volume: &Volume, url| {
        volume.get(url, &head(url, 0).key).unwrap().unwrap().head.stamps.soft_at
    };
    assert!(soft_at(&volume, 1) > 0 && soft_at(&volume, 2) > 0);
    volume.close().unwrap();
    let (volume, _) = open(&disk);
    assert!(soft_at(&volume, 1) > 0 && soft_at(&volume, 2) > 0);
}

#[test]
fn what_was_evicted_is_waited_for_by_an_unsafe_request() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"old");
    volume.settle().unwrap();
    seal(&volume);
    volume.evict(&mut volume.writer());
    assert_eq!(body(&volume, 1), None);
    let moment = volume.remove_url(1).moment.expect("it would come back after a crash");
    assert_eq!(body(&open(&disk.copy()).0, 1).unwrap(), "old", "it does come back");
    volume.commit(moment).unwrap();
    assert_eq!(body(&open(&disk).0, 1), None);
}

#[test]
fn a_segment_without_footers_leaves_nothing_in_the_index() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"a");
    seal(&volume);
    damage(&disk, &volume, 1);
    volume.evict(&mut volume.writer());
    assert_eq!(volume.held(), (0, 0));
    assert_eq!(volume.counts().evicted, 1);
}

#[test]
fn what_is_in_no_footer_because_it_failed_is_dropped() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"a");
    let full = Some(io::ErrorKind::StorageFull);
    volume.flush(&mut volume.writer());
    disk.set_faults(Faults { writes: full, ..Faults::default() });
    volume.write_footer(&mut volume.writer(), false);
    disk.set_faults(Faults::default());
    assert_eq!(body(&volume, 1), None, "no walk could judge it");
    assert_eq!(volume.counts().dropped, 1);
}

#[test]
fn a_checkpoint_that_fails_at_the_end_of_a_segment_fails_the_volume() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 6, b"a");
    disk.set_faults(Faults { syncs: Some(io::ErrorKind::Other), ..Faults::default() });
    seal(&volume);
    assert!(volume.has_failed());
    assert_eq!(volume.failure(), Some("other error"));
}

#[test]
fn what_was_removed_while_it_was_read_is_gone() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"a");
    let found = volume.find(1, &head(1, 0).key)[0];
    let mut read = volume.read(&found);
    read.wait().unwrap();
    volume.remove_url(1);
    assert!(matches!(volume.response(&found, &read, &head(1, 0).key), Err(Unread::Gone)));
}

#[test]
fn what_was_found_in_a_segment_that_ended_removes_nothing_of_the_next_one() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"first");
    let first = volume.find(1, &head(1, 0).key)[0];
    loop {
        put(&volume, 1, 5, b"other");
        seal(&volume);
        volume.work(0);
        let again = volume.find(1, &head(1, 0).key)[0];
        if (again.record.at, again.generation) == (first.record.at, first.generation) {
            continue;
        }
        if again.record.at == first.record.at {
            break;
        }
    }
    assert_eq!(volume.remove(&first), Removed::default());
    assert_eq!(volume.soften(&first, 6), None);
    assert_eq!(body(&volume, 1).unwrap(), "other");
}

/// Between the copy into the buffer and the write of it.
#[test]
fn what_is_removed_while_it_is_written_is_not_found() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    volume.put(head(1, 5), vec![], None).unwrap();
    {
        let writer = &mut volume.writer();
        let item = volume.queue.pop().unwrap();
        volume.write(writer, item);
        assert_eq!(volume.remove_url(1).responses, 1);
        volume.flush(writer);
    }
    assert_eq!((volume.held(), volume.counts().dropped), ((0, 0), 1));
    volume.settle().unwrap();
    assert_eq!(open(&disk).0.held(), (0, 0));
}

#[test]
fn of_too_many_responses_of_a_url_none_comes_back() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    for number in 0..=64 {
        let head = ResponseHead { key: format!("http://h/1?{number}").into(), ..head(1, 5) };
        volume.put(head, vec![], None).unwrap();
        volume.work(usize::MAX);
    }
    assert_eq!(volume.held(), (64, 0));
    volume.settle().unwrap();
    assert_eq!(open(&disk.copy()).0.held(), (64, 0));
    volume.commit(volume.remove_url(1).moment.unwrap()).unwrap();
    assert_eq!(open(&disk).0.held(), (0, 0));
}

#[test]
fn what_is_superseded_while_it_waits_is_not_stored() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    volume.put(head(1, 5), vec![], None).unwrap();
    assert_eq!(volume.supersede(1, &head(1, 5).key, b"").responses, 1);
    volume.work(usize::MAX);
    assert_eq!(volume.held(), (0, 0));
}

/// Noted between the read and the write: the copy itself does not say so.
#[test]
fn a_soft_mark_moves() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"used");
    assert_eq!(body(&volume, 1).unwrap(), "used");
    seal(&volume);
    put(&volume, 2, 5, b"other");
    let found = volume.find(1, &head(1, 0).key)[0];
    {
        let writer = &mut volume.writer();
        let (generation, slot) = (found.generation, found.record.at.slot);
        let entries = volume.footers(slot, generation).unwrap();
        volume.move_used(writer, &entries[0], slot, generation, &mut (SEGMENT as usize));
        volume.soften(&found, 5).unwrap();
        volume.flush(writer);
    }
    assert_eq!(volume.counts().moved, 1);
    let soft_at =
        |volume: &Volume| volume.get(1, &head(1, 0).key).unwrap().unwrap().head.stamps.soft_at;
    assert_eq!(soft_at(&volume), 5);
    volume.close().unwrap();
    assert!(soft_at(&open(&disk).0) > 0);
}

#[test]
fn room_of_what_was_revoked_is_given_back_at_once() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    let large = || vec![Bytes::from(vec![0; SLICE])];
    let refused = (100..).find(|url| volume.put(head(*url, 5), large(), None).is_err());
    let writer = volume.begin_object(1, &head(1, 5).key, b"");
    assert_eq!(writer.slice(0, large()[0].clone()), Err(Refused::NoRoom));
    for url in 100..refused.unwrap() {
        volume.remove_url(url);
    }
    assert_eq!(writer.slice(0, large()[0].clone()), Ok(()), "nothing was written meanwhile");
    volume.remove_url(1);
    assert_eq!(volume.put(head(2, 5), large(), None), Ok(()));
    while volume.work(usize::MAX) {}
    assert_eq!((volume.held(), volume.waiting()), ((1, 0), 0), "nor are slices of what is gone");
}

#[test]
fn what_is_in_use_moves_with_its_write_sequence_and_its_stamps() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 9);
    put(&volume, 1, 5, b"used");
    put(&volume, 2, 5, b"unused");
    walk(&volume, 9, Verdict::Keep);
    let before = volume.get(1, &head(1, 0).key).unwrap().unwrap();
    let first = volume.find(1, &before.head.key)[0];
    for url in 10.. {
        let body = Bytes::from(vec![7; 3000]);
        volume.put(head(url, 5), vec![body], None).unwrap();
        volume.work(usize::MAX);
        if volume.counts().moved > 0 {
            break;
        }
    }
    let again = volume.find(1, &before.head.key)[0];
    assert_ne!(first.record.at, again.record.at);
    assert_eq!(volume.get(1, &before.head.key).unwrap().unwrap(), before);
    assert_eq!(body(&volume, 2), None, "evicted");
    // Found before the eviction, read after it.
    let mut read = volume.read(&first);
    read.wait().unwrap();
    assert!(matches!(volume.response(&first, &read, &before.head.key), Err(Unread::Gone)));
    volume.settle().unwrap();
    commit(&volume, 9, 0);
    let (volume, _) = open(&disk);
    let before = StoredResponse { survived: true, ..before };
    assert_eq!(volume.get(1, &before.head.key).unwrap().unwrap(), before);
    // Removed where it is now, it does not come back from where it was.
    volume.commit(volume.remove_url(1).moment.unwrap()).unwrap();
    assert_eq!(body(&open(&disk).0, 1), None);
}

#[test]
fn who_only_looks_at_a_response_does_not_keep_it_from_eviction() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 9);
    put(&volume, 1, 5, b"seen");
    let key = head(1, 0).key;
    let found = volume.find(1, &key)[0];
    let mut read = volume.read(&found);
    read.wait().unwrap();
    assert_eq!(volume.peek(&found, &read, &key).unwrap().body, Body::Whole("seen".into()));
    for url in 10.. {
        volume.put(head(url, 5), vec![Bytes::from(vec![7; 3000])], None).unwrap();
        volume.work(usize::MAX);
        if !volume.is_current(&found) {
            break;
        }
    }
    assert_eq!((volume.counts().moved, body(&volume, 1)), (0, None));
    assert!(matches!(volume.peek(&found, &read, &key), Err(Unread::Gone)));
}

/// A crash may come between the move and the end of the segment that it left.
#[test]
fn what_moved_is_removed_where_it_was() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"used");
    assert_eq!(body(&volume, 1).unwrap(), "used");
    seal(&volume);
    put(&volume, 2, 5, b"other");
    {
        let writer = &mut volume.writer();
        let (generation, slot) =
            writer.sealed.first_key_value().map(|(at, of)| (*at, *of)).unwrap();
        let entries = volume.footers(slot, generation).unwrap();
        volume.move_used(writer, &entries[0], slot, generation, &mut (SEGMENT as usize));
        volume.flush(writer);
    }
    assert_eq!(volume.counts().moved, 1);
    volume.settle().unwrap();
    volume.commit(volume.remove_url(1).moment.unwrap()).unwrap();
    let (volume, opened) = open(&disk);
    assert_eq!(opened.recovered, 1);
    assert_eq!((body(&volume, 1), body(&volume, 2).unwrap()), (None, "other".into()));
}

#[test]
fn a_full_queue_refuses_and_what_it_refused_hides_the_older_copy() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"old");
    let large = || vec![Bytes::from(vec![0; SLICE])];
    let refused = (100..).find_map(|url| volume.put(head(url, 5), large(), None).err());
    assert_eq!(refused, Some(Refused::NoRoom));
    assert!(volume.waiting() <= options().queue);
    assert_eq!(volume.put(head(1, 5), large(), None), Err(Refused::NoRoom));
    assert_eq!(body(&volume, 1), None);
    assert_eq!(volume.counts().refused, 2);
    while volume.work(usize::MAX) {}
    assert_eq!(volume.waiting(), 0);
    assert_eq!(volume.put(head(1, 5), large(), None), Ok(()));
}

#[test]
fn a_range_reads_its_slices_only() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    let head = ResponseHead { fields: vec![1; 100].into(), ..head(1, 5) };
    let writer = volume.begin_object(1, &head.key, b"");
    let slice = |number: u32| Bytes::from(vec![number as u8; SLICE]);
    for number in [0, 1, 3] {
        writer.slice(number, slice(number)).unwrap();
        volume.work(usize::MAX);
    }
    assert!(volume.get(1, &head.key).unwrap().is_none(), "it is found when all of it is there");
    writer.commit(head.clone(), 4 * SLICE as u64, None).unwrap();
    volume.work(usize::MAX);
    let Body::Sliced { objects, length } = volume.get(1, &head.key).unwrap().unwrap().body else {
        panic!("not in slices");
    };
    assert_eq!(length, 4 * SLICE as u64);
    let (reads, bytes) = (disk.reads(), volume.counts().bytes_read);
    assert_eq!(volume.get_slice(1, &objects, 3).unwrap(), Some(slice(3)));
    assert_eq!(disk.reads() - reads, 1);
    assert!(volume.counts().bytes_read - bytes < SLICE as u64 + 100);
    assert_eq!(volume.get_slice(1, &objects, 2).unwrap(), None);
    volume.close().unwrap();
    let (volume, _) = open(&disk);
    assert_eq!(volume.held(), (1, 3));
    assert_eq!(volume.get_slice(1, &objects, 1).unwrap(), Some(slice(1)));
    // Without the response its slices are garbage.
    volume.commit(volume.remove_url(1).moment.unwrap()).unwrap();
    assert_eq!(open(&disk).0.held(), (0, 0));
}

#[test]
fn a_body_is_extended_and_its_new_slices_are_found_with_its_new_head() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 9);
    let slice = |number: u32| Bytes::from(vec![number as u8; SLICE]);
    let sliced = |volume: &Volume| {
        let stored = volume.get(1, &head(1, 0).key).unwrap()?;
        let Body::Sliced { objects, .. } = stored.body else { panic!("not in slices") };
        let has = |number| volume.get_slice(1, &objects, number).unwrap().is_some();
        Some((
            (0..4).filter(|number| has(*number)).collect::<Vec<_>>(),
            stored.head.stamps,
            objects,
        ))
    };
    let writer = volume.begin_object(1, &head(1, 9).key, b"");
    writer.slice(1, slice(1)).unwrap();
    writer.commit(head(1, 9), 4 * SLICE as u64, None).unwrap();
    volume.work(usize::MAX);
    walk(&volume, 9, Verdict::Soften(8));
    let (_, before, objects) = sliced(&volume).unwrap();
    let extend = || volume.extend_object(1, &head(1, 9).key, b"", &objects);
    let writer = extend().unwrap();
    assert_eq!(extend().err(), Some(Refused::Running));
    writer.slice(3, slice(3)).unwrap();
    volume.work(usize::MAX);
    volume.settle().unwrap();
    assert_eq!(sliced(&volume).unwrap().0, [1], "nothing says yet by which purges it was judged");
    assert_eq!(sliced(&open(&disk.copy()).0).unwrap().0, [1], "nor after a crash");
    // Its fetch began before the walk: the caller takes the lower stamp.
    writer.commit(head(1, 7), 4 * SLICE as u64, None).unwrap();
    volume.work(usize::MAX);
    let (slices, stamps, objects) = sliced(&volume).unwrap();
    assert_eq!((slices, stamps.valid_at, objects.len()), (vec![1, 3], 7, 2));
    assert!(before.soft_at > 0 && stamps.soft_at > 0, "a soft purge still matches it");
    assert_eq!(volume.held(), (1, 2));
    volume.close().unwrap();
    let (opened, _) = open(&disk);
    assert_eq!(sliced(&opened).unwrap().0, [1, 3]);
    assert!(sliced(&opened).unwrap().1.soft_at > 0);
    // The older head is gone for good, and an invalidation reaches an extension.
    let writer = opened.extend_object(1, &head(1, 9).key, b"", &objects).unwrap();
    opened.commit(opened.remove_url(1).moment.unwrap()).unwrap();
    writer.commit(head(1, 9), 4 * SLICE as u64, None).unwrap();
    opened.work(usize::MAX);
    assert_eq!(sliced(&opened), None);
    assert_eq!(sliced(&open(&disk).0), None);
    let many = vec![1; 32];
    let refused = opened.extend_object(1, &head(1, 9).key, b"", &many).err();
    assert_eq!(refused, Some(Refused::TooManyObjects));
}

#[test]
fn a_newer_head_takes_the_place_of_the_older_one_and_of_what_is_on_its_way() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 9);
    let found = |volume: &Volume| {
        let stored = volume.get(1, &head(1, 9).key).unwrap()?;
        let Body::Sliced { objects, .. } = stored.body else { panic!("not in slices") };
        Some((stored.head.stamps.filled_at, objects))
    };
    let writer = volume.begin_object(1, &head(1, 5).key, b"");
    let objects = writer.objects().to_vec();
    writer.slice(0, Bytes::from_static(b"slice")).unwrap();
    writer.commit(head(1, 5), 5, None).unwrap();
    volume.work(usize::MAX);
    let extension = volume.extend_object(1, &head(1, 5).key, b"", &objects).unwrap();
    volume.replace_head(head(1, 9), &objects, 5, None).unwrap();
    assert_eq!(found(&volume), Some((5, objects.clone())), "until the newer one is written");
    assert_eq!(extension.slice(1, Bytes::from_static(b"old")), Err(Refused::Revoked));
    extension.commit(head(1, 4), 5, None).unwrap();
    volume.work(usize::MAX);
    assert_eq!(found(&volume), Some((9, objects.clone())));
    assert!(volume.get_slice(1, &objects, 0).unwrap().is_some());
    volume.close().unwrap();
    assert_eq!(found(&open(&disk).0), Some((9, objects)));
}

#[test]
fn a_slice_is_added_to_a_stored_body_and_found_as_long_as_its_head_is() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 9);
    let slice = |number: u32| Bytes::from(vec![number as u8; SLICE]);
    let has = |volume: &Volume| {
        let stored = volume.get(1, &head(1, 9).key).unwrap()?;
        let Body::Sliced { objects, .. } = stored.body else { panic!("not in slices") };
        let has = |number| volume.get_slice(1, &objects, number).unwrap().is_some();
        Some((0..4).filter(|number| has(*number)).collect::<Vec<_>>())
    };
    let writer = volume.begin_object(1, &head(1, 9).key, b"");
    let object = writer.objects()[0];
    writer.commit(head(1, 9), 4 * SLICE as u64, None).unwrap();
    volume.work(usize::MAX);
    assert_eq!(has(&volume), Some(vec![]), "a head without slices");
    let told = Arc::new(());
    volume.add_slice(1, object, 2, slice(2), Some(Box::new(Arc::clone(&told)))).unwrap();
    assert_eq!(Arc::strong_count(&told), 2, "not written yet");
    volume.work(usize::MAX);
    assert_eq!((Arc::strong_count(&told), has(&volume)), (1, Some(vec![2])));
    // The same one again takes the place of the first, and a restart finds one of them.
    volume.add_slice(1, object, 2, slice(2), None).unwrap();
    volume.add_slice(1, object, 3, slice(3), None).unwrap();
    volume.work(usize::MAX);
    assert_eq!(volume.held(), (1, 2));
    volume.settle().unwrap();
    let (opened, _) = open(&disk.copy());
    assert_eq!((has(&opened), opened.held()), (Some(vec![2, 3]), (1, 2)));
    // A new response of the variant has none of them.
    let writer = volume.begin_object(1, &head(1, 9).key, b"");
    writer.commit(head(1, 9), 4 * SLICE as u64, None).unwrap();
    volume.add_slice(1, object, 1, slice(1), None).unwrap();
    volume.work(usize::MAX);
    assert_eq!(has(&volume), Some(vec![]));
    volume.close().unwrap();
    let (opened, _) = open(&disk);
    assert_eq!((has(&opened), opened.held()), (Some(vec![]), (1, 0)), "slices without a head");
}

#[test]
fn the_head_of_a_body_in_use_is_not_evicted_before_its_slices() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    let writer = volume.begin_object(1, &head(1, 5).key, b"");
    let object = writer.objects()[0];
    writer.slice(0, Bytes::from_static(b"slice")).unwrap();
    writer.commit(head(1, 5), 5, None).unwrap();
    volume.work(usize::MAX);
    // The head is in memory: only the slice is looked up.
    for url in 10..80 {
        assert!(volume.get_slice(1, &[object], 0).unwrap().is_some(), "{url}");
        put(&volume, url, 5, &[7; SLICE]);
    }
    assert!(volume.counts().evicted > 0, "the store is too large for this test");
    assert!(volume.get(1, &head(1, 5).key).unwrap().is_some());
}

#[test]
fn an_object_that_was_invalidated_while_it_was_written_is_not_stored() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    let writer = volume.begin_object(1, &head(1, 5).key, b"");
    writer.slice(0, Bytes::from_static(b"slice")).unwrap();
    assert!(volume.has_url(1));
    volume.remove_url(1);
    assert_eq!(writer.slice(1, Bytes::from_static(b"slice")), Err(Refused::Revoked));
    writer.commit(head(1, 5), 10, None).unwrap();
    volume.work(usize::MAX);
    assert!(volume.get(1, &head(1, 5).key).unwrap().is_none());
    drop(volume.begin_object(1, &head(1, 5).key, b""));
    assert!(!volume.has_url(1), "one that was given up is not waited for");
}

#[test]
fn room_in_which_nothing_is_live_is_used_again() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"a");
    seal(&volume);
    let used = volume.bytes();
    volume.remove_url(1);
    volume.work(usize::MAX);
    assert!(volume.bytes() < used);
    assert_eq!(volume.counts().evicted, 0);
    // A segment of which nothing was ever recoverable, after a crash.
    put(&volume, 2, 9, b"b");
    volume.commit(volume.checkpoint(&Checkpoint::default())).unwrap();
    let (volume, opened) = open(&disk);
    assert_eq!((opened.reclaimed, volume.held()), (1, (0, 0)));
    assert!(volume.bytes() < u64::from(SEGMENT));
}

#[test]
fn another_version_is_refused_by_its_number_and_nothing_is_changed() {
    let disk = SimulatedDisk::default();
    drop(applied(&disk, 5));
    disk.damage("journal", |bytes| {
        let of_version = crate::format::journal::tests::of_version(bytes, 7);
        bytes[..512].copy_from_slice(&of_version);
    });
    let mut before = Vec::new();
    disk.damage("journal", |bytes| before = bytes.clone());
    let error = Volume::open(Arc::new(disk.clone()), options()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the store has format version 7, this version of weir reads version 1"
    );
    disk.damage("journal", |bytes| assert_eq!(*bytes, before));
}

#[test]
fn a_full_disk_costs_what_was_to_be_written_and_then_the_volume() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"before");
    let full = Some(io::ErrorKind::StorageFull);
    disk.set_faults(Faults { writes: full, ..Faults::default() });
    put(&volume, 2, 5, b"lost");
    assert_eq!(body(&volume, 2), None);
    assert!(!volume.has_failed());
    disk.set_faults(Faults::default());
    put(&volume, 3, 5, b"after");
    assert_eq!(body(&volume, 3).unwrap(), "after");
    disk.set_faults(Faults { writes: full, ..Faults::default() });
    (4..10).for_each(|url| volume.put(head(url, 5), vec![], None).unwrap());
    while volume.work(1) {}
    assert!(volume.has_failed());
    assert_eq!(volume.held(), (0, 0), "nothing is found in a volume that failed");
    assert_eq!(volume.put(head(1, 5), vec![], None), Err(Refused::Failed));
    assert!(volume.counts().errors >= 4);
}

#[test]
fn a_failed_sync_ends_the_volume_and_it_may_begin_anew() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"a");
    let moment = volume.remove_url(1).moment.unwrap();
    put(&volume, 2, 5, b"b");
    disk.set_faults(Faults { syncs: Some(io::ErrorKind::Other), ..Faults::default() });
    assert!(volume.commit(moment).is_err());
    assert!(volume.has_failed());
    assert_eq!((body(&volume, 2), volume.held()), (None, (0, 0)));
    disk.set_faults(Faults::default());
    let (anew, opened) =
        Volume::empty(Arc::new(disk.clone()), options(), Some("its disk failed")).unwrap();
    assert_eq!((opened.emptied, anew.held()), (Some("its disk failed"), (0, 0)));
    assert_ne!(anew.id(), volume.id());
    drop(anew);
    assert_eq!(open(&disk).0.held(), (0, 0));
}

#[test]
fn a_read_that_fails_is_a_miss() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    put(&volume, 1, 5, b"a");
    disk.set_faults(Faults { reads: Some(io::ErrorKind::Other), ..Faults::default() });
    assert!(matches!(volume.get(1, &head(1, 0).key), Err(Unread::Disk(_))));
    assert_eq!(volume.counts().errors, 1);
    disk.set_faults(Faults { cold: true, ..Faults::default() });
    let found = volume.find(1, &head(1, 0).key)[0];
    let mut read = volume.read(&found);
    assert!(!read.ready().unwrap(), "it would wait");
    read.wait().unwrap();
    assert!(volume.response(&found, &read, &head(1, 0).key).is_ok());
}

#[test]
fn a_larger_size_keeps_what_is_stored_and_a_smaller_one_what_fits() {
    let disk = SimulatedDisk::default();
    let volume = applied(&disk, 5);
    for url in 1..=4 {
        put(&volume, url, 5, b"a");
        seal(&volume);
    }
    volume.close().unwrap();
    let of = |slots| {
        let geometry = Geometry { slots, ..options().geometry };
        Volume::open(Arc::new(disk.copy()), Options { geometry, ..options() }).unwrap().0
    };
    assert_eq!(of(60).held(), (4, 0));
    assert_eq!(of(60).geometry().slots, 60);
    assert_eq!(of(4).held(), (4, 0));
    let other = Geometry { segment: SEGMENT / 2, slots: 4, slice: SLICE as u32 };
    let options = Options { geometry: other, ..options() };
    let (volume, opened) = Volume::open(Arc::new(disk.copy()), options).unwrap();
    assert_eq!(opened.emptied, Some("its segments do not fit into the size"));
    assert_eq!(volume.held(), (0, 0));
}
