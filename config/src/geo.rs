//! `[geo]`: the countries of clients.

use std::path::PathBuf;
use std::time::Duration;

/// The largest database that is read, in bytes: it is held in memory.
pub const LARGEST_GEO_DATABASE: u64 = 512 << 20;

/// A database of networks and their countries, in MaxMind's format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geo {
    /// Its file.
    pub database: PathBuf,
    /// How often the file is looked at for change; zero means at reload only.
    pub reload: Duration,
}
