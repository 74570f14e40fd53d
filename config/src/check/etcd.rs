//! `[control.etcd]`: the etcd cluster that keeps the log of several processes of control.

use super::control::url;
use super::host::origin;
use super::secret::password;
use super::tls::{ca, present_file};
use crate::section::Section;
use crate::{Certificate, Etcd, LogEngine, Origin};
use std::net::SocketAddr;

/// Most members that are named.
const MOST_ENDPOINTS: usize = 16;

/// Longest prefix, bytes.
const LONGEST_PREFIX: usize = 256;

/// What `endpoints` takes, for messages.
const ENDPOINT_FORM: &str = "the URL of a member, such as http://10.0.0.1:2379";

/// What `advertise` takes, for messages.
const ADVERTISE_FORM: &str =
    "the URL at which the other processes of control reach this one, such as http://10.0.0.9:9090";

/// Reads the section; it is of use with `log = "etcd"` only.
pub(super) fn etcd(mut s: Section<'_>, log: LogEngine, listen: SocketAddr) -> Option<Etcd> {
    let etcd = read(&mut s, listen);
    let written = s.is_written();
    match log {
        LogEngine::Redb if written => {
            s.mistake("endpoints", "control.log is not \"etcd\"; accepted: only where it is");
        }
        LogEngine::Etcd if etcd.endpoints.is_empty() && !s.has("endpoints") => {
            s.mistake("endpoints", format!("missing; accepted: a list, each {ENDPOINT_FORM}"));
        }
        _ => {}
    }
    s.finish(&[]);
    (log == LogEngine::Etcd).then_some(etcd)
}

fn read(s: &mut Section<'_>, listen: SocketAddr) -> Etcd {
    let endpoints = s.list("endpoints", MOST_ENDPOINTS, ENDPOINT_FORM, origin).unwrap_or_default();
    if s.has_empty_list("endpoints") {
        s.mistake("endpoints", format!("empty; accepted: a list, each {ENDPOINT_FORM}"));
    }
    let https = endpoints.iter().any(|endpoint| endpoint.tls);
    let form = "up to 256 visible ASCII characters that end with \"/\", such as /weir/";
    let prefix = s.text("prefix", form, prefix).unwrap_or_else(|| "/weir/".to_owned());
    Etcd {
        user: user(s),
        ca: ca(s, "none of the endpoints", https),
        certificate: certificate(s, https),
        advertise: advertise(s, listen),
        endpoints,
        prefix,
    }
}

fn prefix(text: &str) -> Result<String, String> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("characters that are not visible ASCII".into());
    }
    if text.len() > LONGEST_PREFIX {
        return Err(format!("{} bytes", text.len()));
    }
    if !text.ends_with('/') {
        return Err("no \"/\" at its end".into());
    }
    Ok(text.to_owned())
}

fn user(s: &mut Section<'_>) -> Option<(String, crate::Secret)> {
    let name = s.text("user", "the name of a user of etcd", |text| match text {
        "" => Err("empty".into()),
        text => Ok(text.to_owned()),
    });
    let password = password(s, "password_file");
    both(s, "user", "password_file");
    name.zip(password)
}

/// A pair of files, both or neither.
fn certificate(s: &mut Section<'_>, https: bool) -> Option<Certificate> {
    let form = "the path of a PEM file";
    let (chain, key) = (s.text("cert", form, present_file), s.text("key", form, present_file));
    both(s, "cert", "key");
    if s.has("cert") && !https {
        s.mistake("cert", "none of the endpoints is https; accepted: only where one is");
    }
    Some(Certificate { chain: chain?, key: key? })
}

/// Notes where only one of two keys is written.
fn both(s: &Section<'_>, one: &str, other: &str) {
    for (name, other) in [(one, other), (other, one)] {
        if s.has(name) && !s.has(other) {
            s.mistake(name, format!("without {other}; accepted: both"));
        }
    }
}

/// Where other processes reach this one: where it listens, unless that is every address.
fn advertise(s: &mut Section<'_>, listen: SocketAddr) -> Option<Origin> {
    if s.is_written() && !s.has("advertise") && listen.ip().is_unspecified() {
        let message =
            format!("missing, and control.listen is every address; accepted: {ADVERTISE_FORM}");
        s.mistake("advertise", message);
    }
    s.text("advertise", ADVERTISE_FORM, url)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::Config;

    const LOG: &str = "[control]\nlog = \"etcd\"\n";

    fn told(keys: &str) -> String {
        Config::from_toml(&format!("{LOG}[control.etcd]\n{keys}\n")).unwrap_err().to_string()
    }

    #[test]
    fn one_member_is_enough() {
        let endpoints = "[control.etcd]\nendpoints = [\"http://10.0.0.1:2379\"]\n";
        let config = Config::from_toml(&format!("{LOG}{endpoints}")).unwrap();
        assert!(config.sites.is_empty(), "control needs none");
        let etcd = config.control.etcd.unwrap();
        assert_eq!((etcd.endpoints.len(), &*etcd.prefix, etcd.advertise), (1, "/weir/", None));
    }

    #[test]
    fn mistakes_are_told() {
        let with = |keys: &str| format!("endpoints = [\"http://a:1\"]\n{keys}");
        for (keys, parts) in [
            (String::new(), &["control.etcd.endpoints: missing", "http://10.0.0.1:2379"][..]),
            ("endpoints = []".into(), &["control.etcd.endpoints = []: empty"]),
            ("endpoints = [\"a:1\"]".into(), &["control.etcd.endpoints[0] = \"a:1\"", "no scheme"]),
            (with("prefix = \"weir\""), &["control.etcd.prefix = \"weir\"", "no \"/\" at its end"]),
            (with("prefix = \"we ir/\""), &["control.etcd.prefix", "not visible ASCII"]),
            (with("user = \"weir\""), &["control.etcd.user", "without password_file"]),
            (
                with("user = \"weir\"\npassword_file = \"/nowhere/at/all\""),
                &["control.etcd.password_file = \"/nowhere/at/all\": cannot be read"],
            ),
            (with("cert = \"/etc/hostname\""), &["control.etcd.cert", "without key"]),
            (
                with("ca = \"/etc/hostname\""),
                &["control.etcd.ca", "none of the endpoints is https"],
            ),
            (with("advertise = \"http://a/b\""), &["control.etcd.advertise", "a path"]),
            (with("endpoint = 1"), &["did you mean endpoints?"]),
        ] {
            let told = told(&keys);
            for part in parts {
                assert!(told.contains(part), "{keys}: {told}");
            }
        }
    }

    #[test]
    fn it_fits_what_else_is_written() {
        let etcd = "[control.etcd]\nendpoints = [\"http://a:1\"]\n";
        for (text, parts) in [
            (format!("[control]\n{etcd}"), &["control.log is not \"etcd\""][..]),
            (format!("{LOG}data = \"/d\"\n{etcd}"), &["control.data", "control.log is \"etcd\""]),
            (
                format!("{LOG}url = \"http://c\"\n{etcd}"),
                &["control.log", "control.url is set too"],
            ),
            (
                format!("{LOG}listen = \"0.0.0.0:9090\"\n{etcd}"),
                &["control.etcd.advertise: missing", "control.listen is every address"],
            ),
            (
                format!(
                    "{LOG}{etcd}[[token]]\nname = \"a\"\nsecret_file = \"/x\"\ngenerate = true\n\
                     scopes = [\"read\"]\n"
                ),
                &["generate", "several processes of control share one log"],
            ),
        ] {
            let told = Config::from_toml(&text).unwrap_err().to_string();
            for part in parts {
                assert!(told.contains(part), "{text}: {told}");
            }
        }
    }
}
