//! `[[token]]`: who may call control, to do what.

use super::secret::{Found, IfAbsent, form as form_of_secret, judged, secret as found, unknown};
use super::{ID_FORM, NODE_FORM, id, node_name};
use crate::section::Section;
use crate::words::Word;
use crate::{Absent, Control, Scope, Site, Token};

/// Most tokens.
const MOST_TOKENS: usize = 1000;

/// The tokens. Files of secrets that are still to be made are added to `absent`.
pub(super) fn tokens(
    root: &mut Section<'_>,
    sites: &[Site],
    control: &Control,
    absent: &mut Vec<Absent>,
) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for mut s in root.sections("token", MOST_TOKENS) {
        let of_sites = s.list("sites", 1000, &site_ids(sites), |text| {
            let known = sites.iter().any(|site| site.id == text);
            match sites {
                [] => id(text),
                _ if known => Ok(text.to_owned()),
                _ => Err("no such site".into()),
            }
        });
        let of_nodes = s.list("nodes", 1000, NODE_FORM, node_name);
        if s.has_empty_list("sites") {
            s.mistake("sites", "empty; leave it out for every site");
        }
        if s.has_empty_list("nodes") {
            s.mistake("nodes", "empty; leave it out for every name that no token names");
        }
        let token = Token {
            name: s.text("name", ID_FORM, id).unwrap_or_default(),
            secret: secret(&mut s, control, absent),
            scopes: scopes(&mut s),
            sites: of_sites.unwrap_or_default(),
            nodes: of_nodes.unwrap_or_default(),
        };
        let may_join = token.scopes.is_empty() || token.scopes.contains(&Scope::Node);
        if !token.nodes.is_empty() && !may_join {
            s.mistake("nodes", "the token does not have the scope \"node\"");
        }
        for name in &token.nodes {
            if let Some(other) = tokens.iter().find(|other| other.nodes.contains(name)) {
                let other = &other.name;
                s.mistake("nodes", format!("the token {other:?} has the node {name:?} too"));
            }
        }
        if !s.has("name") {
            s.mistake("name", format!("missing; accepted: {ID_FORM}"));
        } else if tokens.iter().any(|other| other.name == token.name) {
            s.mistake("name", "another token has this name");
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
    let scopes = s.words("scopes", 8, "no such scope");
    if scopes.as_ref().is_none_or(Vec::is_empty) && !(s.has("scopes") && scopes.is_none()) {
        s.mistake("scopes", format!("is empty; accepted: some of {}", Scope::accepted()));
    }
    scopes.unwrap_or_default()
}

/// Its secret; what is noted where there is none is not used.
fn secret(s: &mut Section<'_>, control: &Control, absent: &mut Vec<Absent>) -> String {
    let if_absent = match (generate(s, control), control.token_wait.is_zero()) {
        (true, _) => IfAbsent::Made,
        (false, false) => IfAbsent::Awaited,
        (false, true) => IfAbsent::Refused,
    };
    let found = match variable(s) {
        Some(secret) => {
            // Asked for all the same, or they would be taken for unknown keys.
            let _ = (s.value("secret"), s.value("secret_file"));
            judged(s, "secret_env", secret)
        }
        None => found(s, "secret", "secret_file", if_absent),
    };
    match found {
        Found::Secret(secret) => secret.reveal().to_owned(),
        Found::Absent(file) => {
            absent.push(file);
            unknown(s, "secret_file").reveal().to_owned()
        }
        Found::Nothing => String::new(),
    }
}

/// Whether control makes the secret's file where there is none.
fn generate(s: &mut Section<'_>, control: &Control) -> bool {
    if !s.boolean("generate", false) {
        return false;
    }
    if !s.has("secret_file") {
        s.mistake("generate", "secret_file is missing, which names the file that is made");
    }
    if !control.url.is_empty() {
        let wait = "accepted: control.token_wait, to wait for it";
        s.mistake("generate", format!("control.url is there: control itself makes it; {wait}"));
        return false;
    }
    if control.etcd.is_some() {
        let accepted = "accepted: a file with the same secret for each of them";
        s.mistake("generate", format!("several processes of control share one log; {accepted}"));
        return false;
    }
    true
}

/// The secret in the environment variable that `secret_env` names. One that is empty counts as not
/// set: that is how Compose passes on what its user did not set.
fn variable(s: &mut Section<'_>) -> Option<String> {
    let elsewhere = s.has("secret") || s.has("secret_file");
    let form = "the name of an environment variable: capital letters, digits and '_'";
    let name = s.text("secret_env", form, variable_name);
    if name.is_some() && s.has("secret") {
        s.hidden_mistake("secret", "secret_env is set too; accepted: one of them");
        return None;
    }
    if let Some(secret) = name.as_deref().and_then(|name| std::env::var(name).ok())
        && !secret.is_empty()
    {
        return Some(secret);
    }
    if name.is_some() && !elsewhere {
        s.mistake(
            "secret_env",
            format!("not set; accepted: {}, or a secret_file beside it", form_of_secret()),
        );
    } else if !s.has("secret_env") && !elsewhere {
        let form = form_of_secret();
        s.hidden_mistake(
            "secret",
            format!("missing; accepted: {form}, a secret_file or a secret_env"),
        );
    }
    None
}

fn variable_name(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    match text {
        "" => Err("empty".into()),
        _ if text.starts_with(|c: char| c.is_ascii_digit()) || !text.bytes().all(allowed) => {
            Err("not a variable's name".into())
        }
        _ => Ok(text.to_owned()),
    }
}

fn site_ids(sites: &[Site]) -> String {
    if sites.is_empty() {
        return format!("a site's id: {ID_FORM}");
    }
    let ids: Vec<_> = sites.iter().take(20).map(|site| site.id.as_str()).collect();
    format!("the id of a site ({})", ids.join(", "))
}
