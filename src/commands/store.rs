//! `weir store`: looks at, checks and empties directories of the disk store that no node uses.

mod figures;

use super::check::mistaken;
use super::{Exit, complain, print, print_json, tell};
use crate::settings::{Part, Settings};
use clap::{Args, Subcommand};
use figures::{Figures, told};
use serde_json::{Value, json};
use std::io::{ErrorKind, IsTerminal};
use std::path::{Path, PathBuf};
use weir_store::InspectError;
use weir_store::disk::Directory;

/// Look at, check or empty the disk store while no node uses it
///
/// The directory of [disk] is named by its path, or by the node's configuration. While a node runs with it,
/// these commands fail.
#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is in the store
    ///
    /// Reads its journal and the footers of its segments, and changes nothing.
    Stat(Look),
    /// Read the whole store and check it
    ///
    /// Reads each stored response and compares its checksums; changes nothing. Exit status 1 if one is
    /// damaged: a node answers requests for it from the origin.
    Verify(Look),
    Clear(Clear),
}

#[derive(Debug, Args)]
struct Look {
    #[command(flatten)]
    which: Which,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// Empty the store
///
/// The node that uses the directory next starts with an empty disk. Only files of the store are removed. If one
/// of several directories cannot be used, none is emptied.
#[derive(Debug, Args)]
struct Clear {
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print the emptied directories as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// A directory of the store
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// A node's configuration: all directories of its [disk]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Store {
    pub(super) fn run(self) -> Exit {
        match self.action {
            Action::Stat(look) => look.at_each(|disk| weir_store::stat(disk).map(Figures::from)),
            Action::Verify(look) => {
                look.at_each(|disk| weir_store::verify(disk).map(Figures::from))
            }
            Action::Clear(clear) => clear.run(),
        }
    }
}

impl Look {
    /// The figures of each directory. One that cannot be looked at is told, and the others are shown.
    fn at_each(self, look: impl Fn(&Directory) -> Result<Figures, InspectError>) -> Exit {
        let paths = match self.which.paths() {
            Ok(paths) => paths,
            Err(exit) => return exit,
        };
        let mut exit = Exit::Done;
        let mut shown = Vec::new();
        for path in paths {
            let found = open(&path, Directory::open_read_only)
                .and_then(|disk| look(&disk).map_err(|error| at(&path, &error)));
            match found {
                Ok(figures) => {
                    if figures.is_damaged() {
                        exit = Exit::Failed;
                    }
                    shown.push((path, figures));
                }
                Err(reason) => exit = complain(&reason, Exit::Failed),
            }
        }
        if self.json {
            let stores: Vec<Value> =
                shown.iter().map(|(path, figures)| figures.as_json(path)).collect();
            print_json(&json!({ "stores": stores }));
        } else {
            let stores: Vec<_> = shown.iter().map(|(path, figures)| told(path, figures)).collect();
            print(&stores.join("\n"));
        }
        exit
    }
}

impl Clear {
    fn run(self) -> Exit {
        let paths = match self.which.paths() {
            Ok(paths) => paths,
            Err(exit) => return exit,
        };
        let mut disks = Vec::new();
        for path in &paths {
            match emptiable(path) {
                Ok(disk) => disks.push((path, disk)),
                Err(reason) => return complain(&reason, Exit::Failed),
            }
        }
        if !self.yes {
            if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
                return complain(
                    "weir store clear asks on a terminal, and there is none; --yes does not ask",
                    Exit::Usage,
                );
            }
            let named: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            if !is_confirmed(&named.join(", ")) {
                return complain("nothing was removed", Exit::Failed);
            }
        }
        let (mut exit, mut emptied) = (Exit::Done, Vec::new());
        for (path, disk) in disks {
            match weir_store::clear(&disk) {
                Ok(()) => emptied.push(path.display().to_string()),
                Err(error) => exit = complain(&at(path, &error), Exit::Failed),
            }
        }
        match self.json {
            true => print_json(&json!({ "emptied": emptied })),
            false => emptied.iter().for_each(|path| print(&format!("{path} is empty\n"))),
        }
        exit
    }
}

impl Which {
    /// The directories; a failure if the configuration names none.
    fn paths(&self) -> Result<Vec<PathBuf>, Exit> {
        let Some(file) = &self.config else { return Ok(self.path.iter().cloned().collect()) };
        let settings =
            Settings { part: Part::Any, file: Some(file.clone()), ..Settings::default() };
        let config = settings.load().map_err(|mistakes| mistaken(file, &mistakes))?;
        match config.disk {
            Some(disk) => Ok(disk.directories.into_iter().map(|one| one.path).collect()),
            None => Err(complain(&format!("{}: it has no [disk]", file.display()), Exit::Failed)),
        }
    }
}

/// Opens a directory that was a store's once, and locks it.
fn open(
    path: &Path,
    open: impl Fn(&Path) -> std::io::Result<Directory>,
) -> Result<Directory, String> {
    open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound if path.is_dir() => at(path, &InspectError::Missing),
        ErrorKind::NotFound => at(path, &"there is no such directory"),
        _ => at(path, &error),
    })
}

/// Opens a directory to empty it. It is not made, and there must be files of a store in it.
fn emptiable(path: &Path) -> Result<Directory, String> {
    let has_any = |disk: &Directory| weir_store::has_any(disk).map_err(|error| at(path, &error));
    // Its lock ends with the statement.
    let is_store = has_any(&open(path, Directory::open_read_only)?)?;
    match is_store {
        true => open(path, Directory::open),
        false => Err(at(path, &InspectError::Missing)),
    }
}

fn at(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}

fn is_confirmed(named: &str) -> bool {
    tell(&format!("Remove all stored responses in {named}? [y/N] "));
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
}
