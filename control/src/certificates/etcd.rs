//! Keeping what is ordered in etcd, beside the log: the writer alone writes it.

use crate::etcd::{Operation, Tenure, Txn};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use weir_acme::{Pending, Storage};

/// How long it is tried to read or to write a key.
const PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct EtcdStorage {
    tenure: Arc<Tenure>,
    /// Where calls of etcd run.
    runtime: Handle,
}

impl EtcdStorage {
    pub(super) fn new(tenure: Arc<Tenure>, runtime: Handle) -> Self {
        Self { tenure, runtime }
    }

    fn key(&self, name: &str) -> String {
        self.tenure.election().layout.tls(name)
    }

    /// Has it done as long as this process is the writer, however late it arrives.
    fn write_with(&self, operation: Operation) -> Pending<'_, Result<(), String>> {
        let tenure = self.tenure.clone();
        let written = async move {
            let txn = Txn {
                compare: vec![tenure.compare()],
                success: vec![operation],
                failure: Vec::new(),
            };
            let outcome = tenure.election().etcd.txn(&txn, PATIENCE).await;
            match outcome {
                Ok(outcome) if outcome.succeeded => Ok(()),
                Ok(_) => Err("another process of control is the writer now".to_owned()),
                Err(failure) => Err(failure.to_string()),
            }
        };
        self.run(written)
    }

    fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Pending<'_, Result<T, String>> {
        let running = self.runtime.spawn(call);
        Box::pin(async move { running.await.unwrap_or_else(|error| Err(error.to_string())) })
    }
}

impl Storage for EtcdStorage {
    fn place(&self) -> String {
        let key = self.key("");
        format!("etcd: {key}")
    }

    fn read<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<String>, String>> {
        let (tenure, key) = (self.tenure.clone(), self.key(name));
        self.run(async move {
            // Nothing is between a key and the same with the least byte.
            let end = format!("{key}\0");
            let (found, _) = tenure
                .election()
                .etcd
                .range(key, &end, PATIENCE)
                .await
                .map_err(|failure| failure.to_string())?;
            let value = found.into_iter().next().map(|found| String::from_utf8(found.value));
            value.transpose().map_err(|_| "not a text".to_owned())
        })
    }

    fn write<'a>(&'a self, name: &'a str, text: &'a str) -> Pending<'a, Result<(), String>> {
        self.write_with(Operation::Put(self.key(name), text.as_bytes().to_vec()))
    }

    fn remove<'a>(&'a self, name: &'a str) -> Pending<'a, Result<(), String>> {
        let key = self.key(name);
        let end = format!("{key}\0");
        self.write_with(Operation::Delete(key, end))
    }
}
