//! `weir token`: which token commands show; and where they have it from.

use super::{Exit, complain, print};
use clap::Args;
use std::io::Read;

/// Longest file of a token that is read, bytes.
const LONGEST_FILE: u64 = 4096;

/// Print the token that commands show to control
///
/// It is that of WEIR_TOKEN, or else the first line of the file that WEIR_TOKEN_FILE names.
#[derive(Debug, Args)]
pub(crate) struct Token {}

impl Token {
    pub(super) fn run(self) -> Exit {
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

/// The token that the environment gives to commands, if it gives any. What is set to nothing counts
/// as not set.
///
/// # Errors
/// WEIR_TOKEN_FILE names what cannot be read or holds none; in words.
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
