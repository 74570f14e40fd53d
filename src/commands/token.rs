//! `weir token`: the token that commands send to control, and where it comes from.

use super::{Exit, complain, print, tell};
use crate::tokens;
use clap::Args;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

/// Longest file of a token that is read, bytes.
const LONGEST_FILE: u64 = 4096;

/// Print the token that commands send to control, or make files of new ones
///
/// The token is the value of WEIR_TOKEN, or else the first line of the file named by
/// WEIR_TOKEN_FILE.
#[derive(Debug, Args)]
pub(crate) struct Token {
    /// Make a new token in each of these files that does not exist, as control does with generate = true
    #[arg(long, value_name = "FILE", num_args = 1..)]
    make: Vec<PathBuf>,
}

impl Token {
    pub(super) fn run(self) -> Exit {
        if !self.make.is_empty() {
            return made(&self.make);
        }
        match of_environment() {
            Ok(Some(token)) => {
                print(&format!("{token}\n"));
                Exit::Done
            }
            Ok(None) => complain("neither WEIR_TOKEN nor WEIR_TOKEN_FILE is set", Exit::Failed),
            Err(reason) => complain(&reason, Exit::Failed),
        }
    }
}

/// Makes each file that is not there.
fn made(files: &[PathBuf]) -> Exit {
    for file in files {
        match tokens::make(file) {
            Ok(()) => tell(&format!("{}: made\n", file.display())),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                tell(&format!("{}: there already\n", file.display()));
            }
            Err(error) => {
                let reason = format!("{}: cannot be created: {error}", file.display());
                return complain(&reason, Exit::Failed);
            }
        }
    }
    Exit::Done
}

/// The token in the environment, if any. An empty variable counts as not set.
///
/// # Errors
/// The file of WEIR_TOKEN_FILE cannot be read or has no token; in words.
pub(super) fn of_environment() -> Result<Option<String>, String> {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    if let Some(token) = set("WEIR_TOKEN") {
        return Ok(Some(token));
    }
    let Some(path) = set("WEIR_TOKEN_FILE") else { return Ok(None) };
    let mut text = String::new();
    let read = std::fs::File::open(&path)
        .and_then(|file| file.take(LONGEST_FILE).read_to_string(&mut text));
    read.map_err(|error| format!("WEIR_TOKEN_FILE: {path}: {error}"))?;
    match text.lines().next().unwrap_or_default().trim() {
        "" => Err(format!("WEIR_TOKEN_FILE: {path}: its first line is empty")),
        token => Ok(Some(token.to_owned())),
    }
}
