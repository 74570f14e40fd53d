//! What a hit costs in the node's instructions: valgrind counts them, so that other programs on the machine change
//! nothing, and the figures of two runs differ by little.

use crate::Error;
use crate::client::Client;
use crate::program::{Programs, Weir};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Hits before, after which nothing is done for the first time.
const FIRST: u64 = 200;

/// A node whose instructions are counted.
pub(crate) struct Counted {
    weir: Weir,
    pub(crate) client: Client,
    dump: PathBuf,
    dumps: u32,
}

impl Counted {
    /// Starts it; valgrind writes what it counted into this folder.
    pub(crate) async fn start(
        programs: &Programs,
        config: &Path,
        folder: &Path,
    ) -> Result<Self, Error> {
        let dump = folder.join("callgrind");
        let weir = Weir::counted(programs, config, &dump)?;
        let client = Client::connect(weir.listen).await?;
        Ok(Self { weir, client, dump, dumps: 0 })
    }

    /// Instructions for each of so many hits of a target, asked for with this field.
    pub(crate) async fn of_a_hit(
        &mut self,
        target: &str,
        field: (&str, &str),
        hits: u64,
    ) -> Result<u64, Error> {
        self.ask(target, field, FIRST).await?;
        self.order("--zero")?;
        self.ask(target, field, hits).await?;
        self.order("--dump")?;
        // A number is appended to the name of each dump.
        self.dumps += 1;
        let dumped = std::fs::read_to_string(self.dump.with_extension(self.dumps.to_string()))?;
        let totals = dumped.lines().find_map(|line| line.strip_prefix("totals: "));
        let totals: u64 = totals.ok_or("no totals in valgrind's dump")?.trim().parse()?;
        Ok(totals / hits)
    }

    /// Asks for a target so often. All but the first must be hits.
    async fn ask(&mut self, target: &str, field: (&str, &str), times: u64) -> Result<(), Error> {
        for n in 0..times {
            let answer = self.client.get_with(target, field).await?;
            if answer.status != 200 || (n > 0 && !answer.is_hit()) {
                let what = answer.cache_status();
                return Err(format!("{target}: {}, and no hit: {what}", answer.status).into());
            }
        }
        Ok(())
    }

    /// Has valgrind do something with the counts of the node.
    fn order(&self, order: &str) -> Result<(), Error> {
        let id = self.weir.id().to_string();
        let done = Command::new("callgrind_control").arg(order).arg(id).output();
        let done = done.map_err(|error| format!("callgrind_control: {error}; install valgrind"))?;
        match done.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&done.stderr).into_owned().into()),
        }
    }
}
