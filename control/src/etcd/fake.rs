//! An etcd that does as it is told: it loses requests and answers, and does what it was asked later, or never.

use super::wire::encode;
use super::{Election, Etcd, Layout, WriterKey};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::Runtime;

/// What becomes of a transaction that writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not done, and not answered.
    Lost,
    /// It is done, and not answered.
    Unanswered,
    /// It is not answered, and done when it is [told](Fake::deliver).
    Held,
    /// There is no room.
    Full,
}

/// What it held.
pub(crate) struct Snapshot {
    revision: i64,
    keys: BTreeMap<Vec<u8>, Found>,
}

#[derive(Clone)]
struct Found {
    value: String,
    created: i64,
    written: i64,
    lease: i64,
}

#[derive(Default)]
struct Store {
    cluster: u64,
    revision: i64,
    keys: BTreeMap<Vec<u8>, Found>,
    leases: Vec<i64>,
    faults: VecDeque<Fault>,
    held: Vec<Value>,
}

/// See the module.
pub(crate) struct Fake {
    pub(crate) runtime: Runtime,
    url: String,
    store: Arc<Mutex<Store>>,
}

type Shared = Arc<Mutex<Store>>;

impl Fake {
    pub(crate) fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let store = Shared::default();
        let router = axum::Router::new()
            .route("/v3/kv/txn", post(txn))
            .route("/v3/kv/range", post(range))
            .route("/v3/lease/grant", post(grant))
            .route("/v3/lease/keepalive", post(keep))
            .route("/v3/lease/revoke", post(revoke))
            .with_state(store.clone());
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { runtime, url, store }
    }

    /// A process's part in the election.
    pub(crate) fn election(&self, instance: &str) -> Arc<Election> {
        let config = weir_config::Config::from_toml(&format!(
            "[control]\nlog = \"etcd\"\n[control.etcd]\nendpoints = [{:?}]\n",
            self.url
        ));
        let config = config.unwrap().control.etcd.unwrap();
        let http = reqwest::Client::builder().no_proxy();
        let roots = rustls::RootCertStore::empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let http = http.tls_backend_preconfigured(trust).build().unwrap();
        let own = WriterKey {
            instance: instance.to_owned(),
            url: "http://127.0.0.1:1".to_owned(),
            pass: "p".to_owned(),
        };
        Arc::new(Election {
            etcd: Arc::new(Etcd::new(http, &config)),
            layout: Layout::new(&config.prefix),
            own,
            seen: Mutex::default(),
        })
    }

    /// The next transactions that write fare like this.
    pub(crate) fn fault(&self, faults: &[Fault]) {
        self.store().faults = faults.iter().copied().collect();
    }

    /// Does what was held, in its order.
    pub(crate) fn deliver(&self) {
        let mut store = self.store();
        for held in std::mem::take(&mut store.held) {
            store.txn(&held);
        }
    }

    /// Ends all leases.
    pub(crate) fn end_leases(&self) {
        let mut store = self.store();
        let leases = std::mem::take(&mut store.leases);
        leases.into_iter().for_each(|lease| store.end(lease));
    }

    /// Another cluster, with what this one holds.
    pub(crate) fn move_cluster(&self) {
        self.store().cluster += 1;
    }

    /// The keys and their values.
    pub(crate) fn keys(&self) -> Vec<(String, String)> {
        let store = self.store();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let keys = store.keys.iter();
        keys.map(|(key, found)| (text(key), text(&STANDARD.decode(&found.value).unwrap())))
            .collect()
    }

    /// All that it holds without a lease, to be [taken back](Fake::restore).
    pub(crate) fn snapshot(&self) -> Snapshot {
        let store = self.store();
        let unleased = store.keys.iter().filter(|(_, found)| found.lease == 0);
        let keys = unleased.map(|(key, found)| (key.clone(), found.clone())).collect();
        Snapshot { revision: store.revision, keys }
    }

    /// Holds what it held at a snapshot.
    pub(crate) fn restore(&self, snapshot: Snapshot) {
        let mut store = self.store();
        store.leases.clear();
        (store.revision, store.keys) = (snapshot.revision, snapshot.keys);
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap()
    }
}

impl Store {
    fn header(&self) -> Value {
        json!({"cluster_id": self.cluster.to_string(), "revision": self.revision.to_string()})
    }

    fn shown(&self, key: &[u8], found: &Found) -> Value {
        json!({
            "key": encode(key), "value": found.value, "lease": found.lease.to_string(),
            "create_revision": found.created.to_string(), "mod_revision": found.written.to_string(),
        })
    }

    fn end(&mut self, lease: i64) {
        self.keys.retain(|_, found| found.lease != lease);
        self.leases.retain(|known| *known != lease);
        self.revision += 1;
    }

    fn txn(&mut self, txn: &Value) -> Value {
        let holds = |compare: &Value| {
            let found = self.keys.get(&key(&compare["key"]));
            match compare["target"].as_str().unwrap() {
                "CREATE" => {
                    int(&compare["create_revision"]) == found.map_or(0, |found| found.created)
                }
                _ => int(&compare["mod_revision"]) == found.map_or(0, |found| found.written),
            }
        };
        let succeeded = txn["compare"].as_array().unwrap().iter().all(holds);
        let operations = &txn[if succeeded { "success" } else { "failure" }];
        let operations = operations.as_array().unwrap();
        if operations.iter().any(|operation| !operation["request_range"].is_object()) {
            self.revision += 1;
        }
        let revision = self.revision;
        let mut responses = Vec::new();
        for operation in operations {
            let put = &operation["request_put"];
            let delete = &operation["request_delete_range"];
            let read = &operation["request_range"];
            if put.is_object() {
                let lease = put["lease"].as_str().map_or(0, |lease| lease.parse().unwrap());
                let value = put["value"].as_str().unwrap_or_default().to_owned();
                let found = self.keys.entry(key(&put["key"])).or_insert(Found {
                    value: String::new(),
                    created: revision,
                    written: revision,
                    lease,
                });
                (found.value, found.written, found.lease) = (value, revision, lease);
                responses.push(json!({"response_put": {}}));
            } else if delete.is_object() {
                let (from, to) = (key(&delete["key"]), key(&delete["range_end"]));
                self.keys.retain(|key, _| *key < from || *key >= to);
                responses.push(json!({"response_delete_range": {}}));
            } else {
                let key = key(&read["key"]);
                let found = self.keys.get(&key).map(|found| self.shown(&key, found));
                responses.push(
                    json!({"response_range": {"kvs": found.into_iter().collect::<Vec<_>>()}}),
                );
            }
        }
        json!({"header": self.header(), "succeeded": succeeded, "responses": responses})
    }
}

fn key(of: &Value) -> Vec<u8> {
    STANDARD.decode(of.as_str().unwrap()).unwrap()
}

fn int(of: &Value) -> i64 {
    of.as_str().unwrap().parse().unwrap()
}

async fn txn(State(store): State<Shared>, Json(asked): Json<Value>) -> Response {
    let mut store = store.lock().unwrap();
    let is_write = asked["success"]
        .as_array()
        .unwrap()
        .iter()
        .any(|operation| operation["request_put"]["key"] == encode("/weir/head"));
    let fault = if is_write { store.faults.pop_front() } else { None };
    match fault {
        None => Json(store.txn(&asked)).into_response(),
        Some(Fault::Full) => {
            let body = json!({"message": "etcdserver: mvcc: database space exceeded", "code": 8});
            (StatusCode::TOO_MANY_REQUESTS, Json(body)).into_response()
        }
        Some(fault) => {
            match fault {
                Fault::Unanswered => drop(store.txn(&asked)),
                Fault::Held => store.held.push(asked),
                Fault::Lost | Fault::Full => {}
            }
            let body = json!({"message": "etcdserver: request timed out", "code": 14});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn range(State(store): State<Shared>, Json(asked): Json<Value>) -> Json<Value> {
    let store = store.lock().unwrap();
    let (from, to) = (key(&asked["key"]), key(&asked["range_end"]));
    let limit = usize::try_from(int(&asked["limit"])).unwrap();
    let within = store.keys.range(from..to);
    let (shown, all): (Vec<_>, _) = (
        within.clone().take(limit).map(|(key, found)| store.shown(key, found)).collect(),
        within.count(),
    );
    Json(json!({"header": store.header(), "more": all > shown.len(), "kvs": shown}))
}

async fn grant(State(store): State<Shared>, Json(_): Json<Value>) -> Json<Value> {
    let mut store = store.lock().unwrap();
    store.revision += 1;
    let id = store.revision + 1000;
    store.leases.push(id);
    Json(json!({"header": store.header(), "ID": id.to_string(), "TTL": "2"}))
}

async fn keep(State(store): State<Shared>, Json(asked): Json<Value>) -> Json<Value> {
    let store = store.lock().unwrap();
    let ttl = if store.leases.contains(&int(&asked["ID"])) { "2" } else { "0" };
    Json(json!({"result": {"header": store.header(), "TTL": ttl}}))
}

async fn revoke(State(store): State<Shared>, Json(asked): Json<Value>) -> Json<Value> {
    let mut store = store.lock().unwrap();
    store.end(int(&asked["ID"]));
    Json(json!({"header": store.header()}))
}
