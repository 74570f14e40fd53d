//! The JSON of etcd's gateway: 64-bit numbers are texts, keys and values are in base64.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// What is compared before a transaction's operations are done.
#[derive(Clone, Debug)]
pub(crate) enum Compare {
    /// The revision at which the key was created; 0 if it does not exist.
    Created(String, i64),
    /// The revision at which the key was last written; 0 if it does not exist.
    Written(String, i64),
}

/// What a transaction does.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Writes a key.
    Put(String, Vec<u8>),
    /// Writes a key that goes with this lease.
    PutLeased(String, Vec<u8>, i64),
    /// Removes the keys from the first up to, but not with, the second.
    Delete(String, String),
    /// Reads a key.
    Read(String),
}

/// A transaction: if all that is compared is so, `success` is done, else `failure`, at once either way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Txn {
    pub(crate) compare: Vec<Compare>,
    pub(crate) success: Vec<Operation>,
    pub(crate) failure: Vec<Operation>,
}

impl Compare {
    fn written(&self) -> Value {
        match self {
            Self::Created(key, at) => json!({
                "target": "CREATE", "result": "EQUAL", "key": encode(key), "create_revision": at.to_string(),
            }),
            Self::Written(key, at) => json!({
                "target": "MOD", "result": "EQUAL", "key": encode(key), "mod_revision": at.to_string(),
            }),
        }
    }
}

impl Operation {
    /// About its bytes on the way.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Put(key, value) | Self::PutLeased(key, value, _) => key.len() + value.len(),
            Self::Delete(from, to) => from.len() + to.len(),
            Self::Read(key) => key.len(),
        }
    }

    fn written(&self) -> Value {
        match self {
            Self::Put(key, value) => {
                json!({"request_put": {"key": encode(key), "value": encode(value)}})
            }
            Self::PutLeased(key, value, lease) => json!({"request_put": {
                "key": encode(key), "value": encode(value), "lease": lease.to_string(),
            }}),
            Self::Delete(from, to) => {
                json!({"request_delete_range": {"key": encode(from), "range_end": encode(to)}})
            }
            Self::Read(key) => json!({"request_range": {"key": encode(key)}}),
        }
    }
}

impl Txn {
    /// As it is sent.
    pub(super) fn written(&self) -> Value {
        let operations = |of: &[Operation]| of.iter().map(Operation::written).collect::<Vec<_>>();
        json!({
            "compare": self.compare.iter().map(Compare::written).collect::<Vec<_>>(),
            "success": operations(&self.success),
            "failure": operations(&self.failure),
        })
    }
}

/// What stands at the head of each answer.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Header {
    #[serde(default)]
    pub(super) cluster_id: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: i64,
}

/// A key and its value.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KeyValue {
    #[serde(deserialize_with = "text")]
    pub(crate) key: String,
    #[serde(default, deserialize_with = "bytes")]
    pub(crate) value: Vec<u8>,
    #[serde(default, deserialize_with = "number")]
    pub(crate) create_revision: i64,
    #[serde(default, deserialize_with = "number")]
    pub(crate) mod_revision: i64,
}

/// The answer to a range.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Range {
    #[serde(default)]
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
    #[serde(default)]
    pub(super) more: bool,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct TxnAnswer {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<OperationAnswer>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct OperationAnswer {
    pub(super) response_range: Option<Range>,
}

/// The answer to a grant of a lease.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Granted {
    #[serde(rename = "ID", deserialize_with = "number")]
    pub(super) id: i64,
    #[serde(rename = "TTL", default, deserialize_with = "number")]
    pub(super) ttl: i64,
}

/// The answer to a lease that is kept alive: a stream, of which one element comes.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Kept {
    pub(super) result: KeptLease,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct KeptLease {
    /// 0 of a lease that is gone.
    #[serde(rename = "TTL", default, deserialize_with = "number")]
    pub(super) ttl: i64,
}

/// The answer to a name and a password.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Authenticated {
    pub(super) token: String,
}

/// Why the gateway refuses.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Refused {
    #[serde(default)]
    pub(super) message: String,
    /// A status of gRPC.
    #[serde(default)]
    pub(super) code: i64,
}

/// In base64.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

fn number<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| D::Error::custom(format!("{text:?} is no number")))
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::from_utf8(bytes(from)?).map_err(D::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_written_as_the_gateway_reads_it() {
        let txn = Txn {
            compare: vec![Compare::Created("a".into(), 0), Compare::Written("b".into(), 7)],
            success: vec![
                Operation::PutLeased("a".into(), b"v".to_vec(), 9),
                Operation::Delete("c".into(), "d".into()),
            ],
            failure: vec![Operation::Read("a".into())],
        };
        let expected = json!({
            "compare": [
                {"target": "CREATE", "result": "EQUAL", "key": "YQ==", "create_revision": "0"},
                {"target": "MOD", "result": "EQUAL", "key": "Yg==", "mod_revision": "7"},
            ],
            "success": [
                {"request_put": {"key": "YQ==", "value": "dg==", "lease": "9"}},
                {"request_delete_range": {"key": "Yw==", "range_end": "ZA=="}},
            ],
            "failure": [{"request_range": {"key": "YQ=="}}],
        });
        assert_eq!(txn.written(), expected);
    }

    #[test]
    fn what_etcd_leaves_out_is_nothing() {
        // As etcd 3.4 answers: 0, false and empty are not written.
        let answer: TxnAnswer = serde_json::from_str(
            r#"{"header":{"cluster_id":"15","revision":"2"},"responses":[{"response_range":
               {"header":{"revision":"2"},"kvs":[{"key":"YQ==","create_revision":"2","mod_revision":"2"}]}}]}"#,
        )
        .unwrap();
        assert!(!answer.succeeded);
        let range = answer.responses[0].response_range.as_ref().unwrap();
        assert_eq!((range.kvs[0].key.as_str(), range.kvs[0].value.len()), ("a", 0));
        let gone: Kept = serde_json::from_str(r#"{"result":{"header":{},"ID":"123"}}"#).unwrap();
        assert_eq!(gone.result.ttl, 0);
        assert!(serde_json::from_str::<KeyValue>(r#"{"key":"?"}"#).is_err());
    }
}
