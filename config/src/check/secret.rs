//! Secrets: written in the configuration, or in a file of their own that may not be there yet.

use super::file_path;
use crate::file::Kind;
use crate::section::Section;
use crate::{Absent, Secret};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// Shorter secrets can be guessed by trying.
const SHORTEST_SECRET: usize = 16;

/// Longest secret, bytes.
const LONGEST_SECRET: usize = 512;

/// What it means that the file of a secret is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfAbsent {
    /// A mistake.
    Refused,
    /// This process makes it.
    Made,
    /// Another one makes it.
    Awaited,
}

/// What was found where a secret is looked for.
#[derive(Debug)]
pub(super) enum Found {
    /// The secret.
    Secret(Secret),
    /// A file that is not there yet.
    Absent(Absent),
    /// Neither key is written, or what they say is a mistake, which is noted.
    Nothing,
}

/// What a secret looks like, for messages.
pub(super) fn form() -> String {
    format!("{SHORTEST_SECRET} to {LONGEST_SECRET} visible ASCII characters")
}

/// The secret that the key `text` or the file that the key `file` names holds: one of them.
pub(super) fn secret(
    s: &mut Section<'_>,
    text: &'static str,
    file: &'static str,
    if_absent: IfAbsent,
) -> Found {
    let written = s.value(text).map(|value| value.kind.clone());
    let path = s.text(file, "the path of a file", file_path);
    match (written, s.has(file)) {
        (Some(_), true) => {
            s.hidden_mistake(text, format!("{file} is set too; accepted: one of them"));
            Found::Nothing
        }
        (None, false) => Found::Nothing,
        (Some(Kind::Text(secret)), false) => judged(s, text, secret),
        (Some(_), false) => {
            s.hidden_mistake(text, format!("not a text; accepted: {}", form()));
            Found::Nothing
        }
        (None, true) => {
            // Without a path the mistake is noted already.
            let Some(path) = path else { return Found::Nothing };
            match first_line(&path) {
                Ok(secret) => judged(s, file, secret),
                Err(Unread::NotThere(_)) if if_absent != IfAbsent::Refused => {
                    Found::Absent(Absent {
                        key: s.path_of(file),
                        file: path,
                        made: if_absent == IfAbsent::Made,
                    })
                }
                Err(Unread::NotThere(reason) | Unread::Other(reason)) => {
                    s.mistake(file, reason);
                    Found::Nothing
                }
            }
        }
    }
}

/// The password, for another program, that the file which the key `file` names holds: others choose how
/// long it is.
pub(super) fn password(s: &mut Section<'_>, file: &'static str) -> Option<Secret> {
    let path = s.text(file, "the path of a file", file_path)?;
    match first_line(&path) {
        Ok(text) if (1..=LONGEST_SECRET).contains(&text.len()) => Some(Secret::new(text)),
        Ok(text) => {
            let message = format!("a password of {} bytes; accepted: 1 to 512", text.len());
            s.mistake(file, message);
            None
        }
        Err(Unread::NotThere(reason) | Unread::Other(reason)) => {
            s.mistake(file, reason);
            None
        }
    }
}

/// `secret`, which stands in `key`, if it can be one.
pub(super) fn judged(s: &Section<'_>, key: &str, secret: String) -> Found {
    let fits = (SHORTEST_SECRET..=LONGEST_SECRET).contains(&secret.len());
    if fits && secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Found::Secret(Secret::new(secret));
    }
    let (length, form) = (secret.len(), form());
    s.hidden_mistake(key, format!("a secret of {length} bytes is not accepted; accepted: {form}"));
    Found::Nothing
}

/// What stands in for a secret that is not there yet: one that nobody knows, so that nobody is let
/// in by it.
pub(super) fn unknown(s: &Section<'_>, key: &str) -> Secret {
    let mut random = [0; 32];
    if let Err(error) = getrandom::fill(&mut random) {
        s.hidden_mistake(key, format!("the system returned no random bytes: {error}"));
    }
    Secret::new(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Why there is no first line.
enum Unread {
    NotThere(String),
    Other(String),
}

/// The first line of a regular file, read no further than a secret can reach.
fn first_line(path: &Path) -> Result<String, Unread> {
    let unreadable = |error: std::io::Error| {
        let reason = format!("cannot be read: {error}");
        match error.kind() {
            ErrorKind::NotFound => Unread::NotThere(reason),
            _ => Unread::Other(reason),
        }
    };
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Unread::Other("not a regular file".into()));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LONGEST_SECRET as u64 + 2).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
