//! The file: what it keeps, that it is locked, and which files are refused.

use super::*;
use crate::journal::{
    ArrivalRecord, ArrivalsRecord, Base, EntryRecord, LeaseOverRecord, Life, NodeRecord,
    ProcessRecord, SitesRecord, SumRecord,
};
use crate::ledger::Referrer;
use crate::ledger::tests::disk::taken;
use redb::{ReadableTable, StorageBackend, TableDefinition};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use weir_protocol::frame::SiteHosts;
use weir_rules::identity::SecretDigest;
use weir_rules::invalidation::{Purge, Seq, Target};
use weir_rules::log::{Change, Entry, LogId, Release};
use weir_rules::tier::Tier;

/// A directory of its own, gone with the test.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-journal-{}-{count}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn entry(seq: Seq) -> EntryRecord {
    let targets = vec![Target::Path(format!("/{seq}")), Target::All];
    let purge = Purge { seq, targets, site: Some("shop".into()), soft: true, versions: false };
    let release = Release { site: "shop".into(), name: None };
    let change =
        if seq.is_multiple_of(2) { Change::Purge(purge) } else { Change::Release(release) };
    EntryRecord {
        entry: Entry { seq, mark: u64::MAX - seq, change },
        log: LogId("l".into()),
        reference: Some(format!("r{seq}")),
        referrer: Some(Referrer { token: "ci".into(), site: Some("shop".into()) }),
        created_ms: 5,
        warm: seq == 4,
    }
}

#[test]
fn an_entry_of_an_older_version_has_a_reference_of_nobody() {
    let mut record = serde_json::to_value(entry(2)).unwrap();
    record.as_object_mut().unwrap().remove("referrer");
    let record: EntryRecord = serde_json::from_value(record).unwrap();
    assert_eq!(record, EntryRecord { referrer: None, ..entry(2) });
}

fn node(name: &str) -> NodeRecord {
    NodeRecord {
        name: name.into(),
        tier: Tier::Parent,
        region: "north".into(),
        listen: "127.0.0.1:1".into(),
        version: "1".into(),
        member: "m".into(),
        joined_at: 3,
        joined_ms: 4,
        applied: 5,
        heard_ms: 6,
        secret: Some(SecretDigest("d".into())),
        ephemeral: true,
        predecessors: vec!["h".into()],
        processes: vec![ProcessRecord {
            instance: "i".into(),
            member: "m".into(),
            applied: 5,
            validates_after_ms: Some(8),
            before: Some("l".into()),
            checked: Some(2),
        }],
        counted: 9,
        excused: 10,
        away: true,
    }
}

fn sites(id: &str, nodes: &[&str]) -> SitesRecord {
    SitesRecord {
        nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
        sites: vec![SiteHosts { id: id.into(), hosts: vec!["*".into()] }],
    }
}

fn arrivals() -> ArrivalsRecord {
    let record =
        ArrivalRecord { name: "a".into(), tier: Tier::Edge, applied_us: None, matched: Some(2) };
    let over = LeaseOverRecord { name: "b".into(), tier: Tier::Parent };
    ArrivalsRecord {
        completed_us: Some(7),
        nodes: vec![record],
        lease_over: vec![over],
        sum: Some(SumRecord { nodes: 2, matched: None }),
    }
}

fn life(log: &str) -> Option<Life> {
    Some(Life { log: LogId(log.into()), tier_key: "k".into(), mark_key: "m".into() })
}

/// Batches in which everything occurs, also one that comes again with other entries.
fn batches() -> Vec<Batch> {
    let base = Base { seq: 2, mark: 9, releases: vec![Release { site: "s".into(), name: None }] };
    vec![
        Batch { life: life("l"), ..Batch::default() },
        Batch { entries: (1..=3).map(entry).collect(), ..Batch::default() },
        Batch {
            follows: 3,
            nodes: Some(vec![node("a"), node("b")]),
            sites: Some(vec![sites("shop", &["a", "b"])]),
            ..Batch::default()
        },
        Batch { follows: 3, entries: vec![entry(4), entry(5)], ..Batch::default() },
        Batch {
            follows: 3,
            entries: vec![entry(4)],
            arrivals: vec![(1, arrivals()), (3, arrivals())],
            ..Batch::default()
        },
        Batch {
            follows: 4,
            base: Some(base),
            nodes: Some(vec![node("b")]),
            sites: Some(vec![sites("blog", &["b"])]),
            ..Batch::default()
        },
        Batch { follows: 4, arrivals: vec![(3, ArrivalsRecord::default())], ..Batch::default() },
    ]
}

#[test]
fn what_was_taken_is_found_after_each_batch() {
    let directory = Directory::new();
    let mut expected = Redb::open(&directory.0).unwrap().load().unwrap();
    assert_eq!(expected, Contents::default());
    for batch in batches() {
        Redb::open(&directory.0).unwrap().commit(&batch).unwrap();
        expected = taken(expected, &batch);
        assert_eq!(Redb::open(&directory.0).unwrap().load().unwrap(), expected);
    }
    assert_eq!(expected.entries.len(), 2);
}

#[test]
fn what_was_taken_is_found_without_a_close() {
    let directory = Directory::new();
    let mut journal = Redb::open(&directory.0).unwrap();
    let expected = batches().iter().fold(Contents::default(), |contents, batch| {
        journal.commit(batch).unwrap();
        taken(contents, batch)
    });
    // The file as a crash leaves it: what redb does at its end is not done. The copy is put where
    // the journal was, with the same identity as far as the journal can tell.
    let left = std::fs::read(directory.file()).unwrap();
    drop(journal);
    std::fs::write(directory.file(), &left).unwrap();
    assert_eq!(Redb::open(&directory.0).unwrap().load().unwrap(), expected);
}

#[test]
fn one_control_a_directory() {
    let directory = Directory::new();
    let first = Redb::open(&directory.0).unwrap();
    let error = Redb::open(&directory.0).unwrap_err().to_string();
    assert!(error.contains("another control uses this directory"), "{error}");
    assert!(error.contains(&directory.0.display().to_string()), "{error}");
    drop(first);
    Redb::open(&directory.0).unwrap();
}

#[test]
fn a_copied_file_says_so_until_it_has_a_life_of_its_own() {
    let directory = Directory::new();
    Redb::open(&directory.0).unwrap().commit(&batches()[0]).unwrap();
    let aside = directory.0.join("aside");
    std::fs::rename(directory.file(), &aside).unwrap();
    std::fs::copy(&aside, directory.file()).unwrap();
    for _ in 0..2 {
        let contents = Redb::open(&directory.0).unwrap().load().unwrap();
        assert_eq!((contents.copied, contents.life), (true, life("l")));
    }
    let mut journal = Redb::open(&directory.0).unwrap();
    journal.commit(&Batch { entries: vec![entry(1)], ..Batch::default() }).unwrap();
    assert!(journal.load().unwrap().copied);
    let begins = Batch { follows: 1, life: life("m"), ..Batch::default() };
    journal.commit(&begins).unwrap();
    assert!(!journal.load().unwrap().copied);
    drop(journal);
    let contents = Redb::open(&directory.0).unwrap().load().unwrap();
    assert_eq!((contents.copied, contents.life), (false, life("m")));
    // Moved within its file system it is the same file.
    let elsewhere = Directory::new();
    std::fs::create_dir_all(&elsewhere.0).unwrap();
    std::fs::rename(directory.file(), elsewhere.file()).unwrap();
    assert!(!Redb::open(&elsewhere.0).unwrap().load().unwrap().copied);
    // The original, brought back, is what it was; but then it lacks what the copy took, which
    // nodes will tell by the head and the marks.
    std::fs::rename(&aside, directory.file()).unwrap();
    assert!(!Redb::open(&directory.0).unwrap().load().unwrap().copied);
}

#[test]
fn what_is_no_journal_is_refused_by_its_name_and_left_alone() {
    let foreign = |directory: &Directory| {
        let database = Database::create(directory.file()).unwrap();
        let transaction = database.begin_write().unwrap();
        let table: TableDefinition<'_, u64, u64> = TableDefinition::new("theirs");
        transaction.open_table(table).unwrap().insert(1, 1).unwrap();
        transaction.commit().unwrap();
    };
    let newer = |directory: &Directory| {
        drop(Redb::open(&directory.0).unwrap());
        let database = Database::create(directory.file()).unwrap();
        let transaction = database.begin_write().unwrap();
        let table: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
        let format = &b"\"weir-control-9\""[..];
        transaction.open_table(table).unwrap().insert("format", format).unwrap();
        transaction.commit().unwrap();
    };
    let text = |directory: &Directory| std::fs::write(directory.file(), "hello\n").unwrap();
    let empty = |directory: &Directory| std::fs::write(directory.file(), "").unwrap();
    let halved = |directory: &Directory| {
        let mut journal = Redb::open(&directory.0).unwrap();
        batches().iter().for_each(|batch| journal.commit(batch).unwrap());
        drop(journal);
        let bytes = std::fs::read(directory.file()).unwrap();
        std::fs::write(directory.file(), &bytes[..bytes.len() / 2]).unwrap();
    };
    let altered = |directory: &Directory| {
        let mut journal = Redb::open(&directory.0).unwrap();
        batches().iter().for_each(|batch| journal.commit(batch).unwrap());
        drop(journal);
        let mut bytes = std::fs::read(directory.file()).unwrap();
        let at = bytes.windows(5).position(|window| window == b"north").unwrap();
        // Every copy of it, whichever page is the current one.
        for at in at..bytes.len() - 5 {
            if &bytes[at..at + 5] == b"north" {
                bytes[at] = b'N';
            }
        }
        std::fs::write(directory.file(), bytes).unwrap();
    };
    type Spoil<'a> = (&'a dyn Fn(&Directory), &'a str);
    let cases: [Spoil<'_>; 6] = [
        (&foreign, "not a journal of control"),
        (&newer, "\"weir-control-9\"; this weir reads \"weir-control-2\" and \"weir-control-1\""),
        (&text, "not a journal of control"),
        (&empty, "empty"),
        (&halved, ""),
        (&altered, "damaged"),
    ];
    for (spoil, expected) in cases {
        let directory = Directory::new();
        std::fs::create_dir_all(&directory.0).unwrap();
        spoil(&directory);
        let error = Redb::open(&directory.0).map(|_| expected).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains(FILE), "{error}");
        assert!(directory.file().exists());
    }
}

#[test]
fn a_crash_while_it_is_made_leaves_none() {
    let directory = Directory::new();
    std::fs::create_dir_all(&directory.0).unwrap();
    std::fs::write(directory.0.join(NEW), "half").unwrap();
    assert_eq!(Redb::open(&directory.0).unwrap().load().unwrap(), Contents::default());
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let directory = Directory::new();
    std::fs::write(&directory.0, "").unwrap();
    let error = Redb::open(&directory.0).unwrap_err().to_string();
    assert!(error.contains(&directory.0.display().to_string()), "{error}");
    std::fs::remove_file(&directory.0).unwrap();
}

/// A file on a disk that fails as told.
#[derive(Debug)]
struct Faulty {
    file: FileBackend,
    fault: Arc<AtomicU8>,
}

const SOUND: u8 = 0;
const FULL: u8 = 1;
const BROKEN: u8 = 2;

impl Faulty {
    fn strike(&self, from: u8) -> io::Result<()> {
        match self.fault.load(Ordering::Relaxed) {
            FULL if from <= FULL => Err(io::ErrorKind::StorageFull.into()),
            BROKEN => Err(io::Error::other("the disk is gone")),
            _ => Ok(()),
        }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.strike(FULL)?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.strike(BROKEN)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.strike(FULL)?;
        self.file.write(offset, data)
    }
}

/// A journal on a disk that strikes as it is told.
fn faulty(directory: &Directory) -> (Redb, Arc<AtomicU8>) {
    let state = Arc::new(AtomicU8::new(SOUND));
    let told = state.clone();
    let attach: Attach = Box::new(move |file| {
        let file = FileBackend::new(file)?;
        Builder::new().create_with_backend(Faulty { file, fault: told.clone() })
    });
    (Redb::open_with(&directory.0, attach).unwrap(), state)
}

#[test]
fn a_journal_that_failed_takes_batches_again_when_the_disk_does() {
    for fault in [FULL, BROKEN] {
        let directory = Directory::new();
        let (mut journal, state) = faulty(&directory);
        let batches = batches();
        journal.commit(&batches[0]).unwrap();
        state.store(fault, Ordering::Relaxed);
        for _ in 0..2 {
            let error = journal.commit(&batches[1]).unwrap_err();
            assert_eq!(error.full, fault == FULL, "{error}");
            assert!(error.to_string().contains(FILE), "{error}");
        }
        state.store(SOUND, Ordering::Relaxed);
        journal.commit(&batches[1]).unwrap();
        let expected = taken(taken(Contents::default(), &batches[0]), &batches[1]);
        assert_eq!(journal.load().unwrap(), expected);
        drop(journal);
        assert_eq!(Redb::open(&directory.0).unwrap().load().unwrap(), expected);
    }
}

#[test]
fn another_file_in_its_place_is_not_written() {
    let directory = Directory::new();
    let (mut journal, state) = faulty(&directory);
    state.store(BROKEN, Ordering::Relaxed);
    journal.commit(&batches()[0]).unwrap_err();
    state.store(SOUND, Ordering::Relaxed);
    let aside = directory.0.join("aside");
    std::fs::rename(directory.file(), &aside).unwrap();
    std::fs::copy(&aside, directory.file()).unwrap();
    let error = journal.commit(&batches()[0]).unwrap_err().to_string();
    assert!(error.contains("another file has taken its place"), "{error}");
}

#[test]
fn what_an_older_version_wrote_is_read_and_then_refused_by_it() {
    let directory = Directory::new();
    let mut journal = Redb::open(&directory.0).unwrap();
    batches().iter().for_each(|batch| journal.commit(batch).unwrap());
    let mut expected = journal.load().unwrap();
    drop(journal);
    // As it was: another format, and rows with the names of their fields.
    let database = Database::create(directory.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    let about: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("about");
    let format = &b"\"weir-control-1\""[..];
    transaction.open_table(about).unwrap().insert("format", format).unwrap();
    let arrivals: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("arrivals");
    let row =
        br#"{"completed_us":7,"nodes":[{"name":"a","tier":"edge","applied_us":5,"matched":2}]}"#;
    transaction.open_table(arrivals).unwrap().insert(3, &row[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let node =
        ArrivalRecord { name: "a".into(), tier: Tier::Edge, applied_us: Some(5), matched: Some(2) };
    let record =
        ArrivalsRecord { completed_us: Some(7), nodes: vec![node], ..ArrivalsRecord::default() };
    expected.arrivals = vec![(3, record)];
    assert_eq!(Redb::open(&directory.0).unwrap().load().unwrap(), expected);
    let database = Database::create(directory.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    let table = transaction.open_table(about).unwrap();
    let format = table.get("format").unwrap().unwrap().value().to_vec();
    assert_eq!(format, b"\"weir-control-2\"");
}

#[test]
fn room_that_nothing_needs_is_given_back_when_it_is_tidied_and_at_the_start() {
    let size = |directory: &Directory| std::fs::metadata(directory.file()).unwrap().len();
    for at_start in [false, true] {
        let directory = Directory::new();
        let mut journal = Redb::open(&directory.0).unwrap();
        journal.commit(&batches()[0]).unwrap();
        let many = ArrivalsRecord { nodes: vec![arrivals().nodes[0].clone(); 1000], ..arrivals() };
        for seq in 1..=200 {
            let entries = vec![entry(seq)];
            let arrivals = (seq.saturating_sub(20)..seq).map(|seq| (seq, many.clone())).collect();
            journal
                .commit(&Batch { follows: seq - 1, entries, arrivals, ..Batch::default() })
                .unwrap();
        }
        let sums = (1..200).map(|seq| (seq, ArrivalsRecord::default())).collect();
        journal.commit(&Batch { follows: 200, arrivals: sums, ..Batch::default() }).unwrap();
        let (before, expected) = (size(&directory), journal.load().unwrap());
        if at_start {
            drop(journal);
            journal = Redb::open(&directory.0).unwrap();
        } else {
            journal.tidy().unwrap();
        }
        let after = size(&directory);
        println!("{before} bytes before, {after} after");
        assert!(before > 4 << 20 && after < 1 << 20, "{before} bytes before, {after} after");
        assert_eq!(journal.load().unwrap(), expected);
        // What it needs is no reason to try again.
        journal.tidy().unwrap();
        journal
            .commit(&Batch { follows: 200, entries: vec![entry(201)], ..Batch::default() })
            .unwrap();
        assert_eq!(journal.load().unwrap().entries.len(), 201);
    }
}
