//! The journal on a disk that loses power and is damaged.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::disk::simulated::{Faults, SimulatedDisk};
use crate::format::StoreId;
use crate::format::mixed;
use crate::geometry::Geometry;

fn header(number: u64) -> Header {
    let geometry = Geometry { segment: 1 << 16, slots: 100, slice: 1 << 12 };
    let (store, secret) = (StoreId([7; 16]), [1; 16]);
    Header { store, number, epoch: 0, geometry, secret, place: (0, 1), snapshot: 0 }
}

fn begin(disk: &SimulatedDisk) -> Journal {
    Journal::begin(Arc::new(disk.clone()), header(1), &Manifest::default()).unwrap()
}

fn reopened(disk: &SimulatedDisk) -> (Journal, Manifest) {
    let Recovered { mut header, manifest } = recover(disk).unwrap();
    header.number += 1;
    (Journal::begin(Arc::new(disk.clone()), header, &manifest).unwrap(), manifest)
}

fn at(applied: Seq) -> Checkpoint {
    Checkpoint { log: Some("log".into()), base: 10, applied, ..Checkpoint::default() }
}

/// A journal with three batches: two segments, removals in both, and the end of one.
fn written(disk: &SimulatedDisk) -> Journal {
    let journal = begin(disk);
    journal.append(&Change::Open { generation: 1, slot: 5 });
    journal.append(&Change::Open { generation: 2, slot: 6 });
    journal.append(&Change::Remove { generation: 1, offset: 16 });
    journal.checkpoint(&at(1));
    journal.commit_all().unwrap();
    journal.append(&Change::Remove { generation: 2, offset: 32 });
    journal.append(&Change::Soften { generation: 2, offset: 48, seq: 9 });
    journal.append(&Change::Retire { generation: 1 });
    journal.commit_all().unwrap();
    journal.checkpoint(&at(2));
    journal.append(&Change::Remove { generation: 2, offset: 64 });
    journal.commit_all().unwrap();
    journal
}

fn expected() -> Manifest {
    Manifest {
        live: [(2, 6)].into(),
        removed: [(2, [32, 64].into())].into(),
        softened: [(2, [(48, 9)].into())].into(),
        checkpoint: Some(at(2)),
    }
}

#[test]
fn what_was_committed_is_there_after_a_loss_of_power_and_the_rest_is_not() {
    let disk = SimulatedDisk::default();
    let journal = written(&disk);
    assert_eq!(journal.applied(), 12);
    let moment = journal.append(&Change::Remove { generation: 2, offset: 80 });
    assert!(journal.durable() < moment);
    drop(journal);
    disk.lose_power(|| false);
    let (_, manifest) = reopened(&disk);
    assert_eq!(manifest, expected());
    // Opened again and again, with a loss of power each time.
    for _ in 0..3 {
        disk.lose_power(|| false);
        assert_eq!(reopened(&disk).1, expected());
    }
}

#[test]
fn a_batch_that_was_not_finished_is_forgotten() {
    for seed in 0..200u64 {
        let disk = SimulatedDisk::default();
        let journal = written(&disk);
        disk.set_faults(Faults { omitted: Some("journal.new"), ..Faults::default() });
        (0..500u32).for_each(|number| {
            journal.append(&Change::Remove { generation: 2, offset: 16 * (100 + number) });
        });
        // The file was opened under the name of a new journal.
        journal.commit_all().unwrap();
        disk.set_faults(Faults::default());
        let mut random = seed;
        disk.damage("witness", |_| {});
        disk.lose_power(|| {
            random = mixed(random);
            random.is_multiple_of(2)
        });
        match recover(&disk) {
            Ok(Recovered { manifest, .. }) => {
                let removed = &manifest.removed[&2];
                assert!(removed.contains(&32) && removed.contains(&64), "seed {seed}");
            }
            // The witness says that it was durable, which this disk did not keep.
            Err(Unusable::Damaged(why)) => assert_eq!(why, "the journal is damaged or cut off"),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn damage_anywhere_is_noticed() {
    let disk = SimulatedDisk::default();
    drop(written(&disk));
    for name in ["journal", "witness"] {
        let mut length = 0;
        disk.damage(name, |bytes| length = bytes.len());
        for byte in 0..length {
            let damaged = disk.copy();
            damaged.damage(name, |bytes| bytes[byte] ^= 1 << (byte % 8));
            assert!(matches!(recover(&damaged), Err(Unusable::Damaged(_))), "{name} {byte}");
            let cut = disk.copy();
            cut.damage(name, |bytes| bytes.truncate(byte));
            assert!(matches!(recover(&cut), Err(Unusable::Damaged(_))), "{name} cut at {byte}");
        }
        let without = disk.copy();
        without.remove(name).unwrap();
        assert!(matches!(recover(&without), Err(Unusable::Damaged(_) | Unusable::Missing)));
    }
}

#[test]
fn an_older_journal_beside_a_newer_witness_is_noticed() {
    let disk = SimulatedDisk::default();
    drop(written(&disk));
    let (old, mut journal) = (disk.copy(), Vec::new());
    old.damage("journal", |bytes| journal = bytes.clone());
    for opened in 1..3 {
        drop(reopened(&disk));
        let swapped = disk.copy();
        swapped.damage("journal", |bytes| bytes.clone_from(&journal));
        assert!(matches!(recover(&swapped), Err(Unusable::Damaged(_))), "{opened}");
    }
}

/// Its witness may be of the journal before: the header says how long it was at its beginning.
#[test]
fn a_snapshot_that_is_cut_off_is_noticed_without_its_witness() {
    let disk = SimulatedDisk::default();
    drop(written(&disk));
    let mut witness = Vec::new();
    disk.damage("witness", |bytes| witness = bytes.clone());
    drop(reopened(&disk));
    disk.damage("witness", |bytes| *bytes = witness);
    assert_eq!(recover(&disk.copy()).unwrap().manifest, expected());
    disk.damage("journal", |bytes| bytes.truncate(bytes.len() - 1));
    assert!(matches!(recover(&disk), Err(Unusable::Damaged(_))));
}

#[test]
fn the_journal_is_written_anew_before_it_grows_without_bound() {
    let disk = SimulatedDisk::default();
    let journal = written(&disk);
    for generation in 3..400 {
        journal.append(&Change::Open { generation, slot: (generation % 50) as u32 + 10 });
        for offset in 0..2000 {
            journal.append(&Change::Remove { generation, offset: offset * 16 });
        }
        if generation > 10 {
            journal.append(&Change::Retire { generation: generation - 5 });
        }
        journal.commit_all().unwrap();
        assert!(journal.bytes() <= 2 << 20, "{}", journal.bytes());
    }
    assert_eq!(journal.applied(), 12);
    drop(journal);
    disk.lose_power(|| false);
    let (_, manifest) = reopened(&disk);
    assert_eq!(manifest.live.len(), 1 + 3 + 5);
    assert_eq!(manifest.removed[&2], expected().removed[&2]);
    assert_eq!(manifest.removed[&399].len(), 2000);
    assert_eq!(manifest.checkpoint, expected().checkpoint);
}

#[test]
fn each_sync_is_needed() {
    let survives = |omitted: Option<&'static str>| {
        let disk = SimulatedDisk::default();
        disk.set_faults(Faults { omitted, ..Faults::default() });
        drop(written(&disk));
        disk.lose_power(|| false);
        let first = matches!(recover(&disk), Ok(found) if found.manifest == expected());
        let again = first && {
            drop(reopened(&disk));
            disk.lose_power(|| false);
            matches!(recover(&disk), Ok(found) if found.manifest == expected())
        };
        first && again
    };
    assert!(survives(None));
    for omitted in ["journal.new", "witness", "/"] {
        assert!(!survives(Some(omitted)), "nobody notices that {omitted} is not synced");
    }
}

#[test]
fn after_a_failed_sync_nothing_is_called_durable() {
    let disk = SimulatedDisk::default();
    let journal = written(&disk);
    let moment = journal.append(&Change::Remove { generation: 2, offset: 80 });
    disk.set_faults(Faults { syncs: Some(io::ErrorKind::Other), ..Faults::default() });
    assert!(journal.commit(moment).is_err());
    disk.set_faults(Faults::default());
    let later = journal.append(&Change::Remove { generation: 2, offset: 96 });
    assert!(journal.commit(later).is_err());
    assert!(journal.durable() < moment);
}
