//! `[[token]]`: who may call control, to do what.

use super::{ID_FORM, file_path, id};
use crate::config::file::Kind;
use crate::config::section::Section;
use crate::config::{Scope, Site, Token};
use std::io::Read;
use std::path::Path;

/// Most tokens.
const MOST_TOKENS: usize = 1000;

/// Shorter secrets can be guessed by trying.
const SHORTEST_SECRET: usize = 16;

/// Longest secret, bytes.
const LONGEST_SECRET: usize = 512;

pub(super) fn tokens(root: &mut Section<'_>, sites: &[Site]) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for mut s in root.sections("token", MOST_TOKENS) {
        let token = Token {
            name: s.text("name", ID_FORM, id).unwrap_or_default(),
            secret: secret(&mut s, "secret", "secret_file", true).unwrap_or_default(),
            scopes: scopes(&mut s),
            sites: s
                .list("sites", 1000, &site_ids(sites), |text| {
                    let known = sites.iter().any(|site| site.id == text);
                    match sites {
                        [] => id(text),
                        _ if known => Ok(text.to_owned()),
                        _ => Err("no such site".into()),
                    }
                })
                .unwrap_or_default(),
        };
        if !s.has("name") {
            s.mistake("name", format!("missing; accepted: {ID_FORM}"));
        } else if tokens.iter().any(|other| other.name == token.name) {
            s.mistake("name", "another token has this name");
        }
        if s.has("sites") && token.sites.is_empty() {
            s.mistake("sites", "empty; leave it out for every site");
        }
        if !token.secret.is_empty() && tokens.iter().any(|other| other.secret == token.secret) {
            s.hidden_mistake("secret", "another token has this secret");
        }
        tokens.push(token);
        s.finish(&[]);
    }
    tokens
}

fn scopes(s: &mut Section<'_>) -> Vec<Scope> {
    let accepted = "\"purge\", \"read\", \"admin\", \"node\"";
    let scopes = s.list("scopes", 8, accepted, |text| match text {
        "purge" => Ok(Scope::Purge),
        "read" => Ok(Scope::Read),
        "admin" => Ok(Scope::Admin),
        "node" => Ok(Scope::Node),
        _ => Err("no such scope".into()),
    });
    if scopes.as_ref().is_none_or(Vec::is_empty) && !(s.has("scopes") && scopes.is_none()) {
        s.mistake("scopes", format!("says nothing; accepted: some of {accepted}"));
    }
    scopes.unwrap_or_default()
}

/// The secret that the key `text` or the file that the key `file` names holds: one of them, or
/// neither where it is not `needed`.
pub(super) fn secret(
    s: &mut Section<'_>,
    text: &'static str,
    file: &'static str,
    needed: bool,
) -> Option<String> {
    let form = format!("{SHORTEST_SECRET} to {LONGEST_SECRET} visible ASCII characters");
    let written = s.value(text).map(|value| value.kind.clone());
    let path = s.text(file, "the path of a file", file_path);
    let (key, secret) = match (written, s.has(file)) {
        (Some(_), true) => {
            s.hidden_mistake(text, format!("{file} is there too; accepted: one of them"));
            return None;
        }
        (None, false) => {
            if needed {
                s.hidden_mistake(text, format!("missing; accepted: {form}, or a {file}"));
            }
            return None;
        }
        (Some(Kind::Text(secret)), false) => (text, secret),
        (Some(_), false) => {
            s.hidden_mistake(text, format!("not a text; accepted: {form}"));
            return None;
        }
        (None, true) => match first_line(&path?) {
            Ok(secret) => (file, secret),
            Err(reason) => {
                s.mistake(file, reason);
                return None;
            }
        },
    };
    let fits = (SHORTEST_SECRET..=LONGEST_SECRET).contains(&secret.len());
    if fits && secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(secret);
    }
    let length = secret.len();
    s.hidden_mistake(key, format!("a secret of {length} bytes does not do; accepted: {form}"));
    None
}

/// The first line of a regular file, read no further than a secret can reach.
fn first_line(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // Asked before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("not a regular file".into());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(LONGEST_SECRET as u64 + 2).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

fn site_ids(sites: &[Site]) -> String {
    if sites.is_empty() {
        return format!("a site's id: {ID_FORM}");
    }
    let ids: Vec<_> = sites.iter().take(20).map(|site| site.id.as_str()).collect();
    format!("the id of a site ({})", ids.join(", "))
}
