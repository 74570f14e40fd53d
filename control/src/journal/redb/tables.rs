//! What is in the database: rows of JSON, by seq or by name.

use super::fault::Fault;
use super::identity::Identity;
use crate::journal::{Base, Batch, Contents};
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    TableError, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

type BySeq = TableDefinition<'static, u64, &'static [u8]>;
type ByName = TableDefinition<'static, &'static str, &'static [u8]>;

const ABOUT: ByName = TableDefinition::new("about");
const ENTRIES: BySeq = TableDefinition::new("entries");
const ARRIVALS: BySeq = TableDefinition::new("arrivals");
const NODES: ByName = TableDefinition::new("nodes");

// Rows of ABOUT.
const FORMAT: &str = "format";
const IDENTITY: &str = "identity";
const LIFE: &str = "life";
const BASE: &str = "base";
/// Where the log is now, if it was moved.
const MOVED: &str = "moved";
/// Missing where an older version wrote.
const SITES: &str = "sites";

/// What [`FORMAT`] says of a database of this version.
const THIS_FORMAT: &str = "weir-control-2";

/// What it says of one that an older version wrote, whose rows are read all the same.
const OLDER_FORMAT: &str = "weir-control-1";

/// What it says of one whose log was moved elsewhere, so that an older version refuses it, too.
const MOVED_FORMAT: &str = "weir-control-moved";

/// Makes the tables of an empty journal.
pub(super) fn create(database: &Database, identity: &Identity) -> Result<(), Fault> {
    let transaction = begin(database)?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        about.insert(FORMAT, row(&THIS_FORMAT)?.as_slice())?;
        about.insert(IDENTITY, row(identity)?.as_slice())?;
        transaction.open_table(ENTRIES)?;
        transaction.open_table(ARRIVALS)?;
        transaction.open_table(NODES)?;
    }
    Ok(transaction.commit()?)
}

/// Checks that the database is a journal of this format, and tells which file it was written in.
pub(super) fn check(database: &Database) -> Result<Identity, Fault> {
    let transaction = database.begin_read()?;
    let about = match transaction.open_table(ABOUT) {
        Ok(about) => about,
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Err(foreign()),
    };
    let format: String = about_row(&about, FORMAT)?.ok_or_else(foreign)?;
    if format == MOVED_FORMAT {
        let place = about_row::<String>(&about, MOVED)?.ok_or_else(|| missing(MOVED))?;
        let message =
            format!("its log was moved to {place}: run control with control.log = \"etcd\"");
        return Err(Fault::Content(message));
    }
    if format != THIS_FORMAT && format != OLDER_FORMAT {
        let message = format!(
            "its format is {format:?}; this weir reads {THIS_FORMAT:?} and {OLDER_FORMAT:?}"
        );
        return Err(Fault::Content(message));
    }
    about_row(&about, IDENTITY)?.ok_or_else(|| missing(IDENTITY))
}

/// Where the log of the database was moved to, if it was.
pub(super) fn moved(database: &Database) -> Result<Option<String>, Fault> {
    let transaction = database.begin_read()?;
    match transaction.open_table(ABOUT) {
        Ok(about) => about_row(&about, MOVED),
        Err(TableError::Storage(error)) => Err(error.into()),
        Err(_) => Err(foreign()),
    }
}

/// Which file the database was written in.
pub(super) fn identity(database: &Database) -> Result<Identity, Fault> {
    let transaction = database.begin_read()?;
    about_row(&transaction.open_table(ABOUT)?, IDENTITY)?.ok_or_else(|| missing(IDENTITY))
}

/// Says that the log of the database is at `place` from now on: nobody opens it any more.
pub(super) fn leave(database: &Database, place: &str) -> Result<(), Fault> {
    let transaction = begin(database)?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        about.insert(FORMAT, row(&MOVED_FORMAT)?.as_slice())?;
        about.insert(MOVED, row(&place)?.as_slice())?;
    }
    Ok(transaction.commit()?)
}

/// Has an older version refuse the database from now on: it does not read what this one writes.
pub(super) fn upgrade(database: &Database) -> Result<(), Fault> {
    let format: Option<String> = {
        let transaction = database.begin_read()?;
        about_row(&transaction.open_table(ABOUT)?, FORMAT)?
    };
    if format.as_deref() == Some(THIS_FORMAT) {
        return Ok(());
    }
    let transaction = begin(database)?;
    transaction.open_table(ABOUT)?.insert(FORMAT, row(&THIS_FORMAT)?.as_slice())?;
    Ok(transaction.commit()?)
}

/// Everything in it.
pub(super) fn load(database: &Database) -> Result<Contents, Fault> {
    let transaction = database.begin_read()?;
    let about = transaction.open_table(ABOUT)?;
    let nodes = transaction.open_table(NODES)?;
    let nodes = nodes.iter()?.map(|row| {
        let (name, record) = row?;
        read("nodes", name.value(), record.value())
    });
    Ok(Contents {
        life: about_row(&about, LIFE)?,
        copied: false,
        base: about_row::<Base>(&about, BASE)?.unwrap_or_default(),
        entries: rows(&transaction, ENTRIES, "entries", |_, row| serde_json::from_slice(row))?,
        arrivals: rows(&transaction, ARRIVALS, "arrivals", |seq, row| {
            Ok((seq, super::rows::read(row)?))
        })?,
        nodes: nodes.collect::<Result<_, Fault>>()?,
        sites: about_row(&about, SITES)?.unwrap_or_default(),
    })
}

/// Takes a batch, and the file's identity where a life begins in it.
pub(super) fn commit(
    database: &Database,
    batch: &Batch,
    identity: Option<&Identity>,
) -> Result<(), Fault> {
    let transaction = begin(database)?;
    write(&transaction, batch, identity)?;
    Ok(transaction.commit()?)
}

fn begin(database: &Database) -> Result<WriteTransaction, Fault> {
    let mut transaction = database.begin_write()?;
    let immediate = transaction.set_durability(Durability::Immediate);
    immediate.map_err(|error| Fault::Redb(error.into()))?;
    Ok(transaction)
}

fn write(
    transaction: &WriteTransaction,
    batch: &Batch,
    identity: Option<&Identity>,
) -> Result<(), Fault> {
    let mut about = transaction.open_table(ABOUT)?;
    if let Some(identity) = identity {
        about.insert(IDENTITY, row(identity)?.as_slice())?;
    }
    if let Some(life) = &batch.life {
        about.insert(LIFE, row(life)?.as_slice())?;
    }
    if let Some(sites) = &batch.sites {
        about.insert(SITES, row(sites)?.as_slice())?;
    }
    let mut entries = transaction.open_table(ENTRIES)?;
    entries.retain_in(batch.follows + 1.., |_, _| false)?;
    for record in &batch.entries {
        entries.insert(record.entry.seq, row(record)?.as_slice())?;
    }
    let mut arrivals = transaction.open_table(ARRIVALS)?;
    for (seq, record) in &batch.arrivals {
        arrivals.insert(seq, row(&super::rows::written(record))?.as_slice())?;
    }
    if let Some(base) = &batch.base {
        about.insert(BASE, row(base)?.as_slice())?;
        entries.retain_in(..=base.seq, |_, _| false)?;
        arrivals.retain_in(..=base.seq, |_, _| false)?;
    }
    if let Some(records) = &batch.nodes {
        let mut nodes = transaction.open_table(NODES)?;
        nodes.retain(|_, _| false)?;
        for record in records {
            nodes.insert(record.name.as_str(), row(record)?.as_slice())?;
        }
    }
    Ok(())
}

fn rows<T>(
    transaction: &ReadTransaction,
    table: BySeq,
    name: &str,
    read: impl Fn(u64, &[u8]) -> Result<T, serde_json::Error>,
) -> Result<Vec<T>, Fault> {
    let table = transaction.open_table(table)?;
    let rows = table.iter()?.map(|row| {
        let (seq, record) = row?;
        let seq = seq.value();
        read(seq, record.value()).map_err(|error| damaged(name, &seq.to_string(), &error))
    });
    rows.collect()
}

fn about_row<R: DeserializeOwned>(
    about: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<Option<R>, Fault> {
    about.get(key)?.map(|found| read("about", key, found.value())).transpose()
}

fn row(record: &impl Serialize) -> Result<Vec<u8>, Fault> {
    serde_json::to_vec(record)
        .map_err(|error| Fault::Content(format!("a record cannot be written: {error}")))
}

fn read<R: DeserializeOwned>(table: &str, key: &str, bytes: &[u8]) -> Result<R, Fault> {
    serde_json::from_slice(bytes).map_err(|error| damaged(table, key, &error))
}

fn damaged(table: &str, key: &str, error: &serde_json::Error) -> Fault {
    Fault::Content(format!("damaged: {table}, {key}: {error}"))
}

fn missing(key: &str) -> Fault {
    Fault::Content(format!("damaged: it has no {key}"))
}

fn foreign() -> Fault {
    Fault::Content("a redb file, but not a journal of control".to_owned())
}
