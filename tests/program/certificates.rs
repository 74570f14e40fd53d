//! Certificates as an operator makes them with openssl: an authority, and what it signed, as files.

use super::{Folder, unconfigured, within_patience};
use std::process::Command;

/// See the module.
pub(crate) struct Certificates {
    folder: Folder,
}

impl Certificates {
    /// An authority, a certificate `server` of a member of etcd, which is a client of itself too, and a certificate
    /// `client` without a common name.
    pub(crate) fn new(name: &str) -> Self {
        let certificates = Self { folder: Folder::new(&format!("{name}-certificates")) };
        let (ca, key) = (certificates.ca(), certificates.key("ca"));
        openssl(
            &[
                &["req", "-x509", "-days", "30", "-subj", "/CN=a test's authority", "-out", &ca],
                &NEW_KEY[..],
                &["-keyout", &key],
            ]
            .concat(),
        );
        certificates.sign("server", "/CN=etcd", "serverAuth,clientAuth");
        certificates.sign("client", "/O=weir", "clientAuth");
        certificates
    }

    /// Signs a certificate, or another one in its place.
    pub(crate) fn sign(&self, name: &str, subject: &str, usage: &str) {
        let (request, extensions) = (self.file(name, "csr"), self.file(name, "ext"));
        let (key, chain) = (self.key(name), self.chain(name));
        openssl(
            &[&["req", "-subj", subject, "-out", &request], &NEW_KEY[..], &["-keyout", &key]]
                .concat(),
        );
        let text = format!("subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n");
        std::fs::write(&extensions, text).expect("the file can be written");
        let (ca, ca_key) = (self.ca(), self.key("ca"));
        openssl(&[
            "x509",
            "-req",
            "-days",
            "30",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &extensions,
            "-out",
            &chain,
        ]);
    }

    /// The file of the authority's certificate.
    pub(crate) fn ca(&self) -> String {
        self.chain("ca")
    }

    /// The file of a certificate.
    pub(crate) fn chain(&self, name: &str) -> String {
        self.file(name, "pem")
    }

    /// The file of its key.
    pub(crate) fn key(&self, name: &str) -> String {
        self.file(name, "key")
    }

    fn file(&self, name: &str, kind: &str) -> String {
        format!("{}/{name}.{kind}", self.folder.path())
    }
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

fn openssl(arguments: &[&str]) {
    let mut command = unconfigured(Command::new("openssl"));
    command.args(arguments);
    let output = within_patience(move || command.output()).expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
