//! `[tls]`: certificates and where TLS clients connect.

use super::{ADDRESS_FORM, absolute_path, acme, file_path};
use crate::section::Section;
use crate::{Certificate, Control, Node, Tls};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Most certificates.
const MOST_CERTIFICATES: usize = 10_000;

pub(super) fn tls(mut s: Section<'_>, node: &Node, control: &Control) -> Option<Tls> {
    let written = s.is_written();
    let day = Duration::from_secs(86_400);
    let listen = s.text("listen", ADDRESS_FORM, |text| {
        text.parse().map_err(|_| "not a socket address".into())
    });
    let listen = listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 8443)));
    let tls = Tls {
        listen,
        certificates: s.sections("certificates", MOST_CERTIFICATES).into_iter().map(pair).collect(),
        reload: s.duration("reload", Duration::from_secs(60), Duration::ZERO..=day),
        public_port: s.count("public_port", listen.port(), 1..=u16::MAX),
        http3: http3(&mut s, cfg!(feature = "http3")),
        acme: acme::acme(&mut s, node, control),
        key_log: s.text(
            "key_log",
            "the absolute path of a file, for debugging alone",
            absolute_path,
        ),
    };
    if written && tls.certificates.is_empty() && !s.has("acme") {
        let accepted = "at least one [[tls.certificates]] with chain and key, or [tls.acme]";
        s.mistake("certificates", format!("none; accepted: {accepted}"));
    }
    s.finish(&[]);
    written.then_some(tls)
}

/// `http3`, in a build that has it or not.
fn http3(s: &mut Section<'_>, is_built: bool) -> bool {
    let wanted = s.boolean("http3", false);
    if wanted && !is_built {
        let accepted = "false, or a program built with the cargo feature http3";
        s.mistake("http3", format!("this program has no HTTP/3; accepted: {accepted}"));
    }
    wanted && is_built
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
pub(super) fn present_file(text: &str) -> Result<PathBuf, String> {
    let path = file_path(text)?;
    match std::fs::metadata(&path) {
        Ok(found) if found.is_file() => Ok(path),
        Ok(_) => Err("not a regular file".into()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}
