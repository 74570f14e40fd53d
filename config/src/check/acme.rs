//! `[tls.acme]`: the CA that certificates are ordered from.

use super::absolute_path;
use super::secret::{Found, IfAbsent, secret};
use super::tls::ca;
use crate::section::Section;
use crate::words::Word;
use crate::{Acme, AcmeChallenge, Control, DnsHook, ExternalAccount, Node, Secret};
use http::Uri;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_rules::tier::Tier;

/// Let's Encrypt.
const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// What [`directory`] takes, for messages.
const DIRECTORY_FORM: &str = "the https URL of a CA's ACME directory";

/// What [`email`] takes, for messages.
const EMAIL_FORM: &str = "one email address such as ops@example.com";

/// What [`token`] takes, for messages.
const TOKEN_FORM: &str = "1 to 256 visible ASCII characters";

/// What [`dns_hook`] takes, for messages.
const HOOK_FORM: &str = "the absolute path of a program, and its first arguments";

/// Least bytes of the secret that control and edges share: keys that are recorded can be guessed at for ever.
const SHORTEST_SECRET: usize = 32;

/// Most arguments of the hook.
const MOST_ARGUMENTS: usize = 32;

pub(super) fn acme(s: &mut Section<'_>, node: &Node, control: &Control) -> Option<Acme> {
    let written = s.has("acme");
    let mut s = s.section("acme");
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let hour = 60 * minute;
    let secret = shared_secret(&mut s, "secret", "secret_file");
    let old_secret = shared_secret(&mut s, "old_secret", "old_secret_file");
    if written && !control.url.is_empty() && !names_secret(&s) {
        s.mistake(
            "secret_file",
            "missing, and this node follows control.url: a CA may reach another node of the same name; \
             accepted: the file with the secret that control has, too, or [[tls.certificates]]",
        );
    }
    if names_secret(&s) && node.tier == Tier::Parent {
        let key = if s.has("secret") { "secret" } else { "secret_file" };
        s.hidden_mistake(
            key,
            "this node is a parent, which serves no browser; accepted: on edges and control",
        );
    }
    if old_secret.is_some() && !names_secret(&s) {
        s.hidden_mistake("old_secret_file", "without secret_file; accepted: beside a new secret");
    }
    let dns_hook = dns_hook(&mut s);
    let acme = Acme {
        directory: s
            .text("directory", DIRECTORY_FORM, directory)
            .unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned()),
        email: s.text("email", EMAIL_FORM, email),
        external_account: external_account(&mut s),
        ca: ca(&mut s, "the directory", true),
        profile: s.text("profile", TOKEN_FORM, token),
        challenges: challenges(&mut s, dns_hook.is_some()),
        state: state(&mut s, (node, control), written),
        timeout: s.duration("timeout", 2 * minute, second..=hour),
        retry: s.duration("retry", minute, second..=hour),
        secret,
        old_secret,
        ticket_rotation: s.duration("ticket_rotation", 12 * hour, second..=7 * 24 * hour),
        dns_hook,
    };
    s.finish(&[]);
    written.then_some(acme)
}

fn names_secret(s: &Section<'_>) -> bool {
    s.has("secret") || s.has("secret_file")
}

/// A secret that control and edges share.
fn shared_secret(s: &mut Section<'_>, text: &'static str, file: &'static str) -> Option<Secret> {
    let Found::Secret(secret) = secret(s, text, file, IfAbsent::Refused) else { return None };
    let length = secret.reveal().len();
    if length < SHORTEST_SECRET {
        let key = if s.has(text) { text } else { file };
        let accepted =
            format!("accepted: {SHORTEST_SECRET} to 512, random, as of \"openssl rand -hex 32\"");
        s.hidden_mistake(key, format!("a secret of {length} characters; {accepted}"));
    }
    Some(secret)
}

/// `dns_hook` and `dns_timeout`.
fn dns_hook(s: &mut Section<'_>) -> Option<DnsHook> {
    let minute = Duration::from_secs(60);
    let timeout = s.duration("dns_timeout", minute, Duration::from_secs(1)..=60 * minute);
    let command = s.list("dns_hook", MOST_ARGUMENTS, HOOK_FORM, |text| {
        let fits = (1..=1024).contains(&text.len()) && !text.contains('\0');
        if fits { Ok(text.to_owned()) } else { Err("not accepted".into()) }
    });
    match command.as_deref() {
        None if s.has("dns_timeout") && !s.has("dns_hook") => {
            s.mistake("dns_timeout", "without dns_hook; accepted: beside it");
            None
        }
        None => None,
        Some([program, ..]) if Path::new(program).is_absolute() => {
            if let Err(error) = std::fs::metadata(program) {
                s.mistake("dns_hook", format!("{program}: {error}; accepted: {HOOK_FORM}"));
            }
            Some(DnsHook { command: command.unwrap_or_default(), timeout })
        }
        Some(_) => {
            s.mistake("dns_hook", format!("no program; accepted: {HOOK_FORM}"));
            None
        }
    }
}

fn directory(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|_| "not a URL")?;
    match (uri.scheme_str(), uri.authority()) {
        // RFC 8555 §6.1
        (Some("https"), Some(_)) if !text.contains('#') => Ok(text.to_owned()),
        (Some("http"), _) => Err("http: a CA is reached by https".into()),
        _ => Err("not https:// with a host".into()),
    }
}

fn email(text: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"<>,;:\"?&%".contains(&b);
    let fits = text.len() <= 254
        && text.bytes().all(plain)
        && text.split_once('@').is_some_and(|(user, host)| {
            !user.is_empty() && !host.is_empty() && !host.contains('@')
        });
    if fits { Ok(text.to_owned()) } else { Err("not an email address".into()) }
}

fn token(text: &str) -> Result<String, String> {
    let fits = (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("not accepted".into()) }
}

/// `eab_key_id` with `eab_hmac_key` or `eab_hmac_key_file`: both or neither.
fn external_account(s: &mut Section<'_>) -> Option<ExternalAccount> {
    let key_id = s.text("eab_key_id", TOKEN_FORM, token);
    let found = secret(s, "eab_hmac_key", "eab_hmac_key_file", IfAbsent::Refused);
    let key = if s.has("eab_hmac_key") { "eab_hmac_key" } else { "eab_hmac_key_file" };
    match (key_id, found) {
        (Some(key_id), Found::Secret(hmac_key)) => {
            let url_safe = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
            let text = hmac_key.reveal().trim_end_matches('=');
            if !text.bytes().all(url_safe) || text.len() % 4 == 1 {
                s.hidden_mistake(key, "not base64url; accepted: the key as the CA shows it");
            }
            Some(ExternalAccount { key_id, hmac_key })
        }
        (None, Found::Secret(_)) if !s.has("eab_key_id") => {
            s.hidden_mistake(key, "without eab_key_id; accepted: both, or neither");
            None
        }
        (Some(_), _) if !s.has(key) => {
            let accepted = "eab_hmac_key_file or eab_hmac_key with it";
            s.mistake("eab_key_id", format!("alone; accepted: {accepted}"));
            None
        }
        _ => None,
    }
}

/// `challenges`; where there is a hook for DNS, that alone unless others are named, too.
fn challenges(s: &mut Section<'_>, by_dns: bool) -> Vec<AcmeChallenge> {
    let unknown = "not a challenge that weir answers";
    let all = || match by_dns {
        true => vec![AcmeChallenge::Dns01],
        false => vec![AcmeChallenge::TlsAlpn01, AcmeChallenge::Http01],
    };
    let mut listed = s.words("challenges", 3, unknown).unwrap_or_else(all);
    if s.has_empty_list("challenges") {
        s.mistake("challenges", format!("none; accepted: {}", AcmeChallenge::accepted()));
    }
    match (listed.contains(&AcmeChallenge::Dns01), by_dns) {
        (true, false) if !s.has("dns_hook") => s.mistake(
            "challenges",
            "dns-01 without dns_hook; accepted: with the command that sets the DNS record",
        ),
        (false, true) if s.has("challenges") => {
            s.mistake("dns_hook", "challenges does not name dns-01; accepted: both, or neither");
        }
        _ => {}
    }
    listed.dedup();
    listed
}

/// `state`, or `acme` in `node.state`, or in `control.data`. Control on etcd keeps all there.
fn state(s: &mut Section<'_>, (node, control): (&Node, &Control), needed: bool) -> PathBuf {
    let accepted = "the absolute path of a directory";
    let path = s.text("state", accepted, absolute_path);
    let within = node.state.as_ref().or(control.data.as_ref()).map(|state| state.join("acme"));
    let needed = needed && control.etcd.is_none();
    if needed && !s.has("state") && within.is_none() {
        s.mistake("state", format!("missing, and so is node.state; accepted: {accepted}"));
    }
    path.or(within).unwrap_or_default()
}
