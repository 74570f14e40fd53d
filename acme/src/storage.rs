//! What is kept for one CA: the account, keys with certificates, and what is still to be revoked. Where control
//! and edges share a secret, it is sealed.

use crate::certificate::Issued;
use crate::seal::Seal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use weir_protocol::sealed::{ItemName, Purpose, Sealed};
use weir_rules::time::Time;

/// What is waited for.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Keeps texts by their names, such as `ca.test_directory/a.test.pem`, durably.
pub trait Storage: Send + Sync {
    /// Where, for messages.
    fn place(&self) -> String;

    /// A text, if it is there.
    fn read<'a>(&'a self, name: &'a str) -> Pending<'a, Result<Option<String>, String>>;

    /// Keeps a text, as a whole or not at all.
    fn write<'a>(&'a self, name: &'a str, text: &'a str) -> Pending<'a, Result<(), String>>;

    /// Removes a text, if it is there.
    fn remove<'a>(&'a self, name: &'a str) -> Pending<'a, Result<(), String>>;
}

/// A text that is written to see whether one can be.
const PROBE: &str = "probe";

/// The account's key.
const ACCOUNT: &str = "account.json";

/// See [`Rotations`].
const ROTATIONS: &str = "rotations.json";

/// Names whose certificates are to be replaced and revoked, and certificates that are still to be revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rotations {
    /// Hosts whose certificate is to be replaced by one with another key, and then revoked.
    pub(crate) hosts: Vec<String>,
    /// Those that were replaced, and are still to be revoked.
    pub(crate) replaced: Vec<Replaced>,
}

/// A certificate that is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replaced {
    /// The host.
    pub(crate) host: String,
    /// The certificate, DER in base64.
    pub(crate) certificate: String,
    /// When it ends, seconds since the Unix epoch.
    pub(crate) ends: u64,
}

impl Replaced {
    pub(crate) fn new(host: &str, issued: &Issued) -> Option<Self> {
        let certificate = STANDARD_NO_PAD.encode(issued.key.cert.first()?);
        let (host, ends) = (host.to_owned(), issued.held.validity.end.as_secs());
        Some(Self { host, certificate, ends })
    }

    pub(crate) fn der(&self) -> Option<Vec<u8>> {
        STANDARD_NO_PAD.decode(&self.certificate).ok()
    }
}

/// What is kept for one CA. Clones are the same.
#[derive(Clone)]
pub(crate) struct Kept {
    storage: Arc<dyn Storage>,
    /// The CA, as a part of names.
    ca: String,
    seal: Option<Arc<Seal>>,
}

impl Kept {
    pub(crate) fn new(storage: Arc<dyn Storage>, directory: &str, seal: Option<Arc<Seal>>) -> Self {
        Self { storage, ca: name_of(directory), seal }
    }

    /// Whether something can be kept: what a CA issues is counted, and must not be lost.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let name = self.named(PROBE);
        let unkept =
            |error: String| format!("{}: nothing can be kept there: {error}", self.storage.place());
        self.storage.write(&name, "").await.map_err(unkept)?;
        self.storage.remove(&name).await.map_err(unkept)
    }

    /// The account, as it was kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) async fn account(&self) -> Result<Option<String>, String> {
        let read = self.read(ACCOUNT, Purpose::Account, "").await?;
        Ok(read.map(|(text, _)| text))
    }

    /// Keeps the account.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(crate) async fn keep_account(&self, text: &str) -> Result<(), String> {
        self.write(ACCOUNT, Purpose::Account, "", text).await.map(drop)
    }

    /// Forgets the account.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) async fn forget_account(&self) -> Result<(), String> {
        self.storage.remove(&self.named(ACCOUNT)).await
    }

    /// The certificate for a host, and how edges get it; one that cannot be used is logged.
    pub(crate) async fn certificate(&self, host: &str) -> Option<(Issued, Option<Sealed>)> {
        let unusable = |error: String| {
            let (place, name) = (self.storage.place(), file_of(host));
            tracing::error!(place, name, error, "tls.acme: the certificate cannot be used");
        };
        let read = self.read(&file_of(host), Purpose::Certificate, host).await;
        let (pem, sealed) = read.map_err(unusable).ok()??;
        Issued::read(&pem, host).map_err(unusable).ok().map(|issued| (issued, sealed))
    }

    /// Keeps a key and its chain, in PEM; how edges get them.
    ///
    /// # Errors
    /// They cannot be kept.
    pub(crate) async fn keep_certificate(
        &self,
        host: &str,
        pem: &str,
    ) -> Result<Option<Sealed>, String> {
        let kept = self.write(&file_of(host), Purpose::Certificate, host, pem).await;
        kept.map_err(|error| {
            format!("{}: nothing can be kept there: {error}", self.storage.place())
        })
    }

    /// What is to be replaced and revoked.
    pub(crate) async fn rotations(&self) -> Rotations {
        let read = self.read(ROTATIONS, Purpose::Rotations, "").await;
        let parsed = read.and_then(|read| match read {
            Some((text, _)) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            None => Ok(Rotations::default()),
        });
        parsed.unwrap_or_else(|error| {
            tracing::error!(error, "tls.acme: what is to be revoked cannot be read");
            Rotations::default()
        })
    }

    /// Keeps that.
    ///
    /// # Errors
    /// It cannot be kept.
    pub(crate) async fn keep_rotations(&self, rotations: &Rotations) -> Result<(), String> {
        let text = serde_json::to_string(rotations).map_err(|error| error.to_string())?;
        self.write(ROTATIONS, Purpose::Rotations, "", &text).await.map(drop)
    }

    /// Has the account sealed with the newest secret, before anybody takes the old one away: it may not
    /// be read for months.
    pub(crate) async fn seal_account(&self) {
        if let Err(error) = self.account().await {
            tracing::error!(error, "tls.acme: the account cannot be read");
        }
    }

    fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.ca)
    }

    /// A text as it was before it was sealed, and how it is sealed with the newest secret, if it is.
    /// It is sealed anew if it was sealed with the old secret, or kept in the clear by a node that
    /// ordered for itself: nobody needs the old secret any more once everything was read.
    async fn read(
        &self,
        name: &str,
        purpose: Purpose,
        host: &str,
    ) -> Result<Option<(String, Option<Sealed>)>, String> {
        let Some(text) = self.storage.read(&self.named(name)).await? else { return Ok(None) };
        let Some(seal) = &self.seal else { return Ok(Some((text, None))) };
        let Ok(sealed) = serde_json::from_str::<Sealed>(&text) else {
            let sealed = self.seal_anew(name, purpose, host, &text).await;
            return Ok(Some((text, sealed)));
        };
        if (sealed.name.purpose, sealed.name.host.as_str()) != (purpose, host) {
            return Err("it is sealed for something else".to_owned());
        }
        let (plain, is_new) = seal.open(&sealed)?;
        seen(sealed.name.version);
        let plain = String::from_utf8(plain).map_err(|_| "not a text".to_owned())?;
        let sealed = match is_new {
            true => Some(sealed),
            false => self.seal_anew(name, purpose, host, &plain).await,
        };
        Ok(Some((plain, sealed)))
    }

    /// How a text is sealed from now on; one that cannot be kept so stays as it is, which is logged.
    async fn seal_anew(
        &self,
        name: &str,
        purpose: Purpose,
        host: &str,
        text: &str,
    ) -> Option<Sealed> {
        self.write(name, purpose, host, text).await.unwrap_or_else(|error| {
            let place = self.storage.place();
            tracing::error!(place, name, error, "tls.acme: it cannot be sealed anew");
            None
        })
    }

    async fn write(
        &self,
        name: &str,
        purpose: Purpose,
        host: &str,
        text: &str,
    ) -> Result<Option<Sealed>, String> {
        let Some(seal) = &self.seal else {
            return self.storage.write(&self.named(name), text).await.map(|()| None);
        };
        let version = version();
        let sealed =
            seal.seal(ItemName { purpose, host: host.to_owned(), version }, text.as_bytes())?;
        let text = serde_json::to_string(&sealed).map_err(|error| error.to_string())?;
        self.storage.write(&self.named(name), &text).await?;
        Ok(Some(sealed))
    }
}

/// The highest version so far.
static LATEST: AtomicU64 = AtomicU64::new(0);

/// A version for something new: the time, milliseconds since the Unix epoch, but higher than any that this process
/// has made or read, should the clock be set back.
pub fn version() -> u64 {
    let now = Time::from(SystemTime::now()).as_millis();
    let next = |latest: u64| Some(now.max(latest.saturating_add(1)));
    let before = LATEST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    now.max(before.unwrap_or_else(|same| same).saturating_add(1))
}

/// There is something of this version.
fn seen(version: u64) {
    LATEST.fetch_max(version, Ordering::Relaxed);
}

/// The name under which a host's certificate is kept; a wildcard's begins with `_`, which no host has.
fn file_of(host: &str) -> String {
    match host.strip_prefix('*') {
        Some(rest) => format!("_{rest}.pem"),
        None => format!("{host}.pem"),
    }
}

/// The name of a directory for a CA: its URL without the scheme, with `_` for what names of files should not
/// have.
fn name_of(directory: &str) -> String {
    let rest = directory.split_once("://").map_or(directory, |(_, rest)| rest);
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' };
    let name: String = rest.chars().map(plain).take(200).collect();
    // Neither the directory itself, nor the one above.
    name.trim_start_matches('.').to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::files::Files;
    use crate::scratch::Scratch;
    use weir_config::Secret;

    impl Scratch {
        fn kept(&self, directory: &str, secrets: &[char]) -> Kept {
            let secret = |letter: &char| Secret::new(letter.to_string().repeat(32));
            let secrets: Vec<_> = secrets.iter().map(secret).collect();
            let seal = secrets.first().map(|new| Arc::new(Seal::new(new, secrets.get(1))));
            Kept::new(Arc::new(Files::new(&self.0)), directory, seal)
        }
    }

    const CA: &str = "https://ca.test/directory";

    fn pem(host: &str) -> String {
        let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
        format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())
    }

    #[tokio::test]
    async fn each_ca_has_its_own_account_and_certificates() {
        let scratch = Scratch::new("plain");
        let kept = scratch.kept(CA, &[]);
        assert!(kept.certificate("a.test").await.is_none());
        assert!(kept.account().await.unwrap().is_none());
        kept.check().await.unwrap();
        kept.keep_certificate("a.test", &pem("a.test")).await.unwrap();
        kept.keep_certificate("*.a.test", &pem("*.a.test")).await.unwrap();
        kept.keep_account("{}").await.unwrap();
        let again = scratch.kept(CA, &[]);
        assert!(again.certificate("a.test").await.is_some());
        assert!(again.certificate("*.a.test").await.is_some());
        assert_eq!(again.account().await.unwrap().as_deref(), Some("{}"));
        again.forget_account().await.unwrap();
        assert!(again.account().await.unwrap().is_none());
        assert!(scratch.kept("https://other.test/", &[]).certificate("a.test").await.is_none());
        let nowhere = Kept::new(Arc::new(Files::new("/dev/null".as_ref())), CA, None);
        let told = nowhere.check().await.unwrap_err();
        assert!(told.contains("tls.acme.state: /dev/null: nothing can be kept there"), "{told}");
    }

    #[tokio::test]
    async fn with_a_secret_nothing_is_kept_in_the_clear() {
        let scratch = Scratch::new("sealed");
        let kept = scratch.kept(CA, &['a']);
        let text = pem("a.test");
        let sealed = kept.keep_certificate("a.test", &text).await.unwrap().unwrap();
        kept.keep_account("{\"key\":\"the account's\"}").await.unwrap();
        for file in std::fs::read_dir(scratch.0.join("ca.test_directory")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(!text.contains("PRIVATE") && !text.contains("account's"), "{text}");
        }
        let (_, again) = kept.certificate("a.test").await.unwrap();
        assert_eq!(again, Some(sealed.clone()), "edges that have it need no other");
        assert!(scratch.kept(CA, &['b']).certificate("a.test").await.is_none());
        assert!(scratch.kept(CA, &['b']).account().await.is_err());
        // Under a new secret it is sealed anew.
        let (_, anew) = scratch.kept(CA, &['b', 'a']).certificate("a.test").await.unwrap();
        assert!(anew.unwrap().name.version >= sealed.name.version);
        assert!(scratch.kept(CA, &['b']).certificate("a.test").await.is_some());
        // So is all else, once it was read.
        kept.keep_rotations(&Rotations { hosts: vec!["a.test".to_owned()], replaced: vec![] })
            .await
            .unwrap();
        let both = scratch.kept(CA, &['b', 'a']);
        both.seal_account().await;
        both.rotations().await;
        let new = scratch.kept(CA, &['b']);
        assert!(new.account().await.unwrap().unwrap().contains("the account's"));
        assert_eq!(new.rotations().await.hosts, ["a.test"]);
    }

    #[tokio::test]
    async fn what_a_node_kept_for_itself_is_sealed_once_there_is_a_secret() {
        let scratch = Scratch::new("upgraded");
        let clear = scratch.kept(CA, &[]);
        clear.keep_certificate("a.test", &pem("a.test")).await.unwrap();
        clear.keep_account("{\"key\":\"PRIVATE\"}").await.unwrap();
        let sealing = scratch.kept(CA, &['a']);
        let (_, sealed) = sealing.certificate("a.test").await.unwrap();
        assert!(sealed.is_some());
        assert!(sealing.account().await.unwrap().unwrap().contains("PRIVATE"));
        for name in ["a.test.pem", "account.json"] {
            let path = scratch.0.join("ca.test_directory").join(name);
            assert!(!std::fs::read_to_string(path).unwrap().contains("PRIVATE"), "{name}");
        }
    }

    #[tokio::test]
    async fn a_clock_that_was_set_back_makes_no_older_version() {
        let scratch = Scratch::new("clock");
        let kept = scratch.kept(CA, &['a']);
        let mut sealed = kept.keep_certificate("a.test", &pem("a.test")).await.unwrap().unwrap();
        let seal = Seal::new(&Secret::new("a".repeat(32)), None);
        let (plain, _) = seal.open(&sealed).unwrap();
        // As of a clock that is an hour ahead.
        sealed.name.version += 3_600_000;
        let ahead = seal.seal(sealed.name.clone(), &plain).unwrap();
        let path = scratch.0.join("ca.test_directory/a.test.pem");
        std::fs::write(path, serde_json::to_string(&ahead).unwrap()).unwrap();
        kept.certificate("a.test").await.unwrap();
        let next = kept.keep_certificate("a.test", &pem("a.test")).await.unwrap().unwrap();
        assert!(next.name.version > ahead.name.version);
    }

    #[test]
    fn a_directory_url_names_one_directory_below() {
        for (url, name) in [
            (
                "https://acme-v02.api.letsencrypt.org/directory",
                "acme-v02.api.letsencrypt.org_directory",
            ),
            ("https://127.0.0.1:14000/dir", "127.0.0.1_14000_dir"),
            ("https://../../etc", "_.._etc"),
        ] {
            assert_eq!(name_of(url), name);
        }
    }
}
