//! `[tls]`: certificates and where TLS clients connect.

use super::{ADDRESS_FORM, file_path};
use crate::section::Section;
use crate::{Certificate, Tls};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Most certificates.
const MOST_CERTIFICATES: usize = 10_000;

pub(super) fn tls(mut s: Section<'_>) -> Option<Tls> {
    let written = s.is_written();
    let day = Duration::from_secs(86_400);
    let tls = Tls {
        listen: s
            .text("listen", ADDRESS_FORM, |text| {
                text.parse().map_err(|_| "not a socket address".into())
            })
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8443))),
        certificates: s.sections("certificates", MOST_CERTIFICATES).into_iter().map(pair).collect(),
        reload: s.duration("reload", Duration::from_secs(60), Duration::ZERO..=day),
    };
    if written && tls.certificates.is_empty() {
        let accepted = "at least one [[tls.certificates]] with chain and key";
        s.mistake("certificates", format!("none; accepted: {accepted}"));
    }
    s.finish(&[]);
    written.then_some(tls)
}

fn pair(mut s: Section<'_>) -> Certificate {
    let certificate = Certificate { chain: pem(&mut s, "chain"), key: pem(&mut s, "key") };
    s.finish(&[]);
    certificate
}

/// A file that is there; what is in it is judged where it is loaded.
fn pem(s: &mut Section<'_>, name: &'static str) -> PathBuf {
    let accepted = "the path of a PEM file";
    if !s.has(name) {
        s.value(name);
        s.mistake(name, format!("missing; accepted: {accepted}"));
        return PathBuf::new();
    }
    s.text(name, accepted, present_file).unwrap_or_default()
}

/// `ca`: authorities beside those that browsers trust. They are of use only where something,
/// `whose`, is reached by https.
pub(super) fn ca(s: &mut Section<'_>, whose: &str, https: bool) -> Option<PathBuf> {
    let ca = s.text("ca", "the path of a PEM file with certificates", present_file);
    if ca.is_some() && !https {
        s.mistake("ca", format!("{whose} is https; accepted: only where one is"));
    }
    ca
}

/// A path where there is a file.
fn present_file(text: &str) -> Result<PathBuf, String> {
    let path = file_path(text)?;
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() => Ok(path),
        Ok(_) => Err("not a regular file".into()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}
