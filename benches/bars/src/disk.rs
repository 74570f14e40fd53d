//! The disk store of a node: how soon a restarted node has all of it again, what a hit that is read from
//! disk costs beside nginx, and how much is read for a part of a large body.

mod asker;
mod bound;
mod hits;
mod large;
mod node;
mod page;
mod restart;

use crate::Error;
use crate::check::Checks;
use crate::nginx;
use crate::program::Programs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// A time that is too long is measured so often: another program may have had the processors.
const ROUNDS: usize = 3;

#[derive(Args, Debug)]
pub(crate) struct Disk {
    /// The parts, one after another; by default each of them, but `bound` at full size only
    #[arg(value_name = "PART")]
    parts: Vec<Part>,
    /// The nginx program; by default the one that is installed
    #[arg(long, value_name = "FILE")]
    nginx: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How soon all is served again after a restart, and whether it is right
    Restart,
    /// What hits cost that are read from disk, beside nginx
    Hits,
    /// The first byte of a large body, and a part from its middle
    Large,
    /// More than the page cache holds, beside nginx
    Bound,
}

impl Disk {
    pub(crate) async fn run(
        &self,
        programs: &Programs,
        scale: f64,
        checks: &mut Checks,
    ) -> Result<(), Error> {
        let nginx = nginx::find(self.nginx.as_deref())?;
        let is_wanted = |part| match self.parts.is_empty() {
            true => part != Part::Bound || scale >= 1.0,
            false => self.parts.contains(&part),
        };
        println!(
            "disk: all files are in the page cache, but for `bound`: they were written just now"
        );
        if is_wanted(Part::Restart) {
            restart::run(programs, scale, checks).await?;
        }
        if is_wanted(Part::Large) {
            large::run(programs, scale, checks).await?;
        }
        if is_wanted(Part::Hits) {
            hits::run(programs, &nginx, scale, checks).await?;
        }
        if is_wanted(Part::Bound) {
            bound::run(programs, &nginx, scale, checks).await?;
        }
        Ok(())
    }
}
