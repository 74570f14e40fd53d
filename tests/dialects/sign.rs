//! Signs requests as clients of AWS do (Signature Version 4).

use ring::{digest, hmac};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use weir_rules::sigv4::basic_time;

/// A key to sign with, and what about the signature is as it should be.
pub(crate) struct Signer<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) at: SystemTime,
    pub(crate) fields: &'a str,
    pub(crate) service: &'a str,
}

impl<'a> Signer<'a> {
    pub(crate) fn new(access_key: &'a str, secret: &'a str) -> Self {
        let at = SystemTime::now();
        Self { access_key, secret, at, fields: "host;x-amz-date", service: "cloudfront" }
    }

    /// As if it were so much later.
    pub(crate) fn later(self, by: Duration) -> Self {
        Self { at: self.at + by, ..self }
    }

    /// As if it were so much earlier.
    pub(crate) fn earlier(self, by: Duration) -> Self {
        Self { at: self.at - by, ..self }
    }

    /// The fields X-Amz-Date and Authorization for a request line without version.
    pub(crate) fn sign(&self, line: &str, host: &str, body: &str) -> [String; 2] {
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let time = basic(self.at);
        let values: String = self
            .fields
            .split(';')
            .map(|name| match name {
                "host" => format!("host:{host}\n"),
                "x-amz-date" => format!("x-amz-date:{time}\n"),
                other => panic!("{other} is not signed here"),
            })
            .collect();
        let fields = self.fields;
        let hash = sha256(body);
        // The paths here need no escapes, the parameters are sorted.
        let canonical = format!("{method}\n{path}\n{query}\n{values}\n{fields}\n{hash}");
        let (date, service) = (&time[..8], self.service);
        let scope = format!("{date}/eu-west-1/{service}/aws4_request");
        let signed = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(&canonical));
        let key = format!("AWS4{}", self.secret);
        let parts = [date, "eu-west-1", service, "aws4_request", &signed];
        let signature = parts.iter().fold(key.into_bytes(), |key, part| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
            hmac::sign(&key, part.as_bytes()).as_ref().to_vec()
        });
        let signature = hex(&signature);
        let access_key = self.access_key;
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={access_key}/{scope}, SignedHeaders={fields}, \
             Signature={signature}"
        );
        [time, authorization]
    }
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20261121T201500Z`.
fn basic(time: SystemTime) -> String {
    basic_time(time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs())
}
