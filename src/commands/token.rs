//! `weir token`: the token that commands send to control, and where it comes from.

use super::{Exit, complain, print};
use clap::Args;
use std::io::Read;

/// Longest file of a token that is read, bytes.
const LONGEST_FILE: u64 = 4096;

/// Print the token that commands send to control
///
/// The token is the value of WEIR_TOKEN, or else the first line of the file named by
/// WEIR_TOKEN_FILE.
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
