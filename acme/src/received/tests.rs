use super::*;
use crate::challenge::Way;
use crate::scratch::Scratch;
use crate::storage::version;
use weir_config::Secret;

impl Scratch {
    fn config(&self, secret: char, hosts: &str) -> Config {
        let secret = secret.to_string().repeat(32);
        let text = format!(
            "[node]\nstate = \"{}\"\n[control]\nurl = \"http://c\"\n[tls]\n[tls.acme]\nsecret = \"{secret}\"\n\
             [[site]]\nhosts = [{hosts}]\ntls = \"auto\"\norigins = [\"http://o\"]\n",
            self.0.display()
        );
        Config::from_toml(&text).unwrap()
    }

    fn edge(&self, secret: char, hosts: &str) -> (Received, Arc<Served>) {
        let served = Arc::<Served>::default();
        (Received::new(&self.config(secret, hosts), served.clone()), served)
    }
}

fn sealed(purpose: Purpose, host: &str, version: u64, plain: &str) -> Sealed {
    let seal = Seal::new(&Secret::new("a".repeat(32)), None);
    seal.seal(ItemName { purpose, host: host.to_owned(), version }, plain.as_bytes()).unwrap()
}

fn certificate(host: &str, version: u64) -> Sealed {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let pem = format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem());
    sealed(Purpose::Certificate, host, version, &pem)
}

fn tickets(version: u64) -> Sealed {
    let keys = TicketKeys::new(version).unwrap();
    sealed(Purpose::Tickets, "", version, &serde_json::to_string(&keys).unwrap())
}

fn challenge(host: &str) -> Sealed {
    let proof = Proof { way: Way::Http, token: "t".into(), key_authorization: "t.x".into() };
    sealed(Purpose::Challenge, host, version(), &serde_json::to_string(&proof).unwrap())
}

const PATH: &str = "/.well-known/acme-challenge/t";

#[test]
fn what_was_received_is_in_force_also_after_a_restart_and_sealed_on_disk() {
    let scratch = Scratch::new("restart");
    let hosts = "\"a.test\", \"b.test\"";
    let (received, served) = scratch.edge('a', hosts);
    let items = vec![certificate("a.test", 5), certificate("c.test", 5), tickets(5)];
    let names: Vec<_> = items.iter().map(|item| item.name.clone()).collect();
    let lacked = received.lacked(names.clone()).unwrap();
    assert_eq!(lacked, [names[0].clone(), names[2].clone()], "of hosts that it serves alone");
    received.take(items, &[]).unwrap();
    assert!(received.lacked(names).unwrap().is_empty());
    assert!(served.has("a.test") && !served.has("b.test") && !served.has("c.test"));
    let ticket = rustls::server::ProducesTickets::encrypt(&**served.tickets(), b"x").unwrap();
    drop((received, served));
    for file in std::fs::read_dir(scratch.0.join("acme/received")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(text.contains("sealed") && !text.contains("PRIVATE"), "{text}");
    }
    let (_received, served) = scratch.edge('a', hosts);
    assert!(served.has("a.test"));
    let taken = rustls::server::ProducesTickets::decrypt(&**served.tickets(), &ticket);
    assert_eq!(taken.as_deref(), Some(&b"x"[..]));
    // Whoever has the disk, but not the secret, has nothing.
    let (_received, served) = scratch.edge('b', hosts);
    assert!(!served.has("a.test"));
    // A host that is not served any more leaves no key behind.
    drop(scratch.edge('a', "\"b.test\""));
    assert!(!scratch.edge('a', hosts).1.has("a.test"));
}

#[test]
fn what_cannot_be_opened_or_is_older_changes_nothing() {
    let scratch = Scratch::new("older");
    let (received, served) = scratch.edge('a', "\"a.test\"");
    received.take(vec![certificate("a.test", 5)], &[]).unwrap();
    let before = served.certificate("a.test").unwrap();
    let told = received.take(vec![certificate("a.test", 4)], &[]).unwrap_err();
    assert!(told.contains("certificate a.test: this node has a newer one"), "{told}");
    let mut other = certificate("b.test", 6);
    other.name.host = "a.test".to_owned();
    let told = received.take(vec![other], &[]).unwrap_err();
    assert!(told.contains("cannot be opened with tls.acme.secret_file"), "{told}");
    assert!(Arc::ptr_eq(&before, &served.certificate("a.test").unwrap()));
    received.take(vec![certificate("a.test", 6)], &[]).unwrap();
    assert!(!Arc::ptr_eq(&before, &served.certificate("a.test").unwrap()));
}

#[test]
fn challenges_are_answered_while_they_run() {
    let scratch = Scratch::new("challenges");
    let (received, served) = scratch.edge('a', "\"a.test\", \"b.test\"");
    received.take(vec![challenge("a.test"), challenge("b.test")], &[]).unwrap();
    assert_eq!(served.answer("a.test", PATH).as_deref(), Some("t.x"));
    received.take(Vec::new(), &["a.test".to_owned()]).unwrap();
    assert_eq!(served.answer("a.test", PATH), None);
    assert!(served.answer("b.test", PATH).is_some());
    // One that ended while the node was away.
    received.lacked(Vec::new()).unwrap();
    assert_eq!(served.answer("b.test", PATH), None);
    let (_received, served) = scratch.edge('a', "\"a.test\", \"b.test\"");
    assert_eq!(served.answer("b.test", PATH), None);
}

#[test]
fn a_reload_goes_on_by_the_hosts_and_the_secret_that_it_has() {
    let scratch = Scratch::new("reload");
    let (received, served) = scratch.edge('a', "\"a.test\"");
    received.take(vec![certificate("a.test", 5), tickets(5)], &[]).unwrap();
    received.reload(&scratch.config('a', "\"a.test\", \"b.test\""));
    assert!(served.has("a.test"));
    received.reload(&scratch.config('a', "\"b.test\""));
    assert!(!served.has("a.test"));
    let without = "[tls]\n[[tls.certificates]]\nchain = \"Cargo.toml\"\nkey = \"Cargo.toml\"\n\
                   [[site]]\norigins = [\"http://o\"]\n";
    received.reload(&Config::from_toml(without).unwrap());
    assert_eq!(received.lacked(vec![tickets(6).name]), None);
    assert!(received.take(vec![tickets(6)], &[]).is_err());
}
