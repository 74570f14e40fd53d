//! The task that orders: what is due, one after another.

use super::ca::Ca;
use super::{Call, For, Trust, Wanted};
use crate::backoff::Failure;
use crate::ca::CaClient;
use crate::certificate::Issued;
use crate::hook::Records;
use crate::order::{Unissued, Wish};
use crate::schedule::{Next, Schedule};
use crate::served::{Listed, Served};
use crate::storage::{Kept, Replaced, Rotations};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use weir_config::{Acme, AcmeChallenge};
use weir_rules::time::Time;

/// The clock may be set, and a machine may sleep: it is read again at least so often.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// From one attempt to revoke a certificate to the next, milliseconds: the first one, and at most.
const FIRST_PAUSE: u64 = 10_000;
const LONGEST_PAUSE: u64 = 3_600_000;

/// From one attempt to keep something to the next, before anything is ordered.
const UNKEPT: Duration = Duration::from_secs(5);

/// From one look for an edge that serves a host to the next, milliseconds.
const PUT_OFF: u64 = 1000;

pub(super) struct Task {
    served: Arc<Served>,
    trust: Trust,
    of: For,
    records: Records,
    schedule: Schedule,
    ca: Option<Ca>,
    rotations: Rotations,
    /// No attempt to revoke before that, and the pause after the next one that fails.
    revoke_at: Time,
    pause: u64,
}

impl Task {
    pub(super) fn new(served: Arc<Served>, trust: Trust, of: For, records: Records) -> Self {
        Self {
            served,
            trust,
            of,
            records,
            schedule: Schedule::default(),
            ca: None,
            rotations: Rotations::default(),
            revoke_at: Time::default(),
            pause: FIRST_PAUSE,
        }
    }

    pub(super) async fn run(
        mut self,
        mut wanted: watch::Receiver<Option<Wanted>>,
        mut calls: mpsc::Receiver<Call>,
    ) {
        wanted.mark_changed();
        loop {
            if wanted.has_changed().unwrap_or(false) {
                let new = wanted.borrow_and_update().clone();
                self.take(new, &wanted).await;
            }
            while let Ok(call) = calls.try_recv() {
                self.answer(call).await;
            }
            self.list();
            let next = match self.of.stage.may_order() {
                true => self.next(),
                // Another process of control may be the one that orders.
                false => Some(now().plus_millis(1000)),
            };
            let Some(until) = next else {
                self.work().await;
                continue;
            };
            let wait = Duration::from_millis(until.millis_since(now()));
            tokio::select! {
                () = sleep(wait.min(LONGEST_SLEEP)) => {}
                changed = wanted.changed() => match changed {
                    Ok(()) => wanted.mark_changed(),
                    // Nobody is left to want anything.
                    Err(_) => return,
                },
                Some(call) = calls.recv() => self.answer(call).await,
            }
        }
    }

    /// When something is to be done; `None` if something is now.
    fn next(&self) -> Option<Time> {
        let revoke = (!self.rotations.replaced.is_empty())
            .then(|| self.revoke_at.max(self.schedule.pause()));
        match (self.schedule.next(now()), revoke) {
            (Next::Wait(until), Some(revoke)) if revoke > now() => Some(until.min(revoke)),
            (Next::Wait(until), None) => Some(until),
            _ => None,
        }
    }

    /// Does what is due: orders come first.
    async fn work(&mut self) {
        match self.schedule.next(now()) {
            Next::Order(host) => self.order(&host).await,
            Next::AskWindow(host) => self.ask_window(&host).await,
            Next::Wait(_) => self.revoke().await,
        }
    }

    async fn answer(&mut self, call: Call) {
        match call {
            Call::Renew(host) => drop(self.schedule.force(&host)),
            Call::Rotate(hosts) => {
                for host in hosts {
                    if self.schedule.force(&host) && !self.rotations.hosts.contains(&host) {
                        self.rotations.hosts.push(host);
                    }
                }
                self.keep_rotations().await;
            }
        }
    }

    /// Goes on by a configuration.
    async fn take(&mut self, wanted: Option<Wanted>, changes: &watch::Receiver<Option<Wanted>>) {
        let Some(wanted) = wanted else {
            self.ca = None;
            self.schedule = Schedule::default();
            self.served.put(HashMap::new());
            return self.of.stage.restore(Vec::new());
        };
        let before = self.ca.take();
        let of_another_ca =
            before.as_ref().is_some_and(|before| before.acme.directory != wanted.acme.directory);
        let kept = self.of.kept(&wanted.acme);
        // What cannot be read for a moment must not pass for what is not there, and be ordered anew.
        while self.of.edges
            && let Err(error) = kept.check().await
        {
            tracing::error!(error, "tls.acme: nothing is ordered; trying again");
            sleep(UNKEPT).await;
            if changes.has_changed().unwrap_or(true) {
                return;
            }
        }
        load(&wanted, &kept, &mut self.schedule, &self.served).await;
        // Read also where it is known, as the account is: whatever is read is sealed with the newest secret.
        let rotations = kept.rotations().await;
        let mut sealed = Vec::new();
        if self.of.edges {
            for host in wanted.hosts.keys() {
                sealed.extend(kept.certificate(host).await.and_then(|(_, sealed)| sealed));
            }
            kept.seal_account().await;
        }
        self.of.stage.restore(sealed);
        if of_another_ca {
            self.schedule.begin_anew();
        }
        if before.is_none() || of_another_ca {
            self.rotations = rotations;
            for host in &self.rotations.hosts {
                self.schedule.force(host);
            }
        }
        self.ca = match before {
            Some(before) if before.acme == wanted.acme => Some(before),
            _ => self.ca(wanted.acme, kept),
        };
    }

    fn ca(&self, acme: Acme, kept: Kept) -> Option<Ca> {
        let trust = (self.trust)(acme.ca.as_deref());
        match trust.and_then(|trust| CaClient::new(trust, acme.timeout)) {
            Ok(client) => {
                let (stage, records) = (self.of.stage.clone(), self.records.clone());
                Some(Ca { acme, kept, client, account: None, stage, records })
            }
            Err(error) => {
                tracing::error!(error, "tls.acme: nothing is ordered");
                None
            }
        }
    }

    /// Orders a certificate. Whatever comes of it, the old one stays in force until there is a new one.
    async fn order(&mut self, name: &str) {
        // A proof by DNS needs nobody.
        let asks_edges =
            |ca: &Ca| ca.acme.challenges.iter().any(|way| *way != AcmeChallenge::Dns01);
        if self.ca.as_ref().is_some_and(asks_edges) && !self.of.stage.reaches(name) {
            let why = "no edge that serves it is connected to control with tls.acme.secret_file";
            return self.schedule.postpone(name, now().plus_millis(PUT_OFF), why);
        }
        let old = self.served.all().get(name).cloned();
        let ended = match &mut self.ca {
            Some(ca) => {
                let host = self.schedule.host(name);
                let failures = host.map_or(0, |host| host.failures);
                // Only a CA that knows of windows knows of replacing; should it not like it, it is asked without.
                let told = host.is_some_and(|host| host.window.is_some());
                let replaces = old.as_ref().and_then(Issued::id);
                let replaces = replaces.filter(|_| told && failures == 0);
                ca.order(Wish { host: name, failures, replaces }).await
            }
            None => Err(Unissued {
                failure: Failure::Unavailable { retry_after: None },
                error: "tls.acme.ca cannot be used".to_owned(),
                unknown_account: false,
            }),
        };
        match ended {
            Ok((issued, sealed)) => {
                tracing::info!(
                    host = name,
                    expires = issued.held.validity.end.to_http_date(),
                    "tls.acme: a certificate was issued"
                );
                self.schedule.issued(name, issued.held);
                let mut certificates = HashMap::clone(&self.served.all());
                certificates.insert(name.to_owned(), issued);
                self.served.put(certificates);
                self.of.stage.issued(sealed).await;
                self.replaced(name, old).await;
            }
            Err(Unissued { failure, error, .. }) => {
                self.schedule.failed(name, now(), &failure, error.clone(), jitter());
                let host = self.schedule.host(name);
                let retries = host.map(|host| host.not_before.max(self.schedule.pause()));
                let retries = retries.map(Time::to_http_date).unwrap_or_default();
                let held = host.is_some_and(|host| host.held.is_some());
                let stays = if held { "the old certificate stays" } else { "there is none yet" };
                tracing::warn!(host = name, error, retries, "tls.acme: no certificate; {stays}");
            }
        }
    }

    /// A certificate was replaced: the old one is to be revoked if that was wished for.
    async fn replaced(&mut self, name: &str, old: Option<Issued>) {
        let Some(place) = self.rotations.hosts.iter().position(|host| host == name) else { return };
        self.rotations.hosts.remove(place);
        self.rotations.replaced.extend(old.and_then(|old| Replaced::new(name, &old)));
        self.keep_rotations().await;
        (self.revoke_at, self.pause) = (Time::default(), FIRST_PAUSE);
    }

    /// Has the first certificate revoked that is to be.
    async fn revoke(&mut self) {
        let Some(first) = self.rotations.replaced.first().cloned() else { return };
        let (host, now) = (first.host.as_str(), now());
        let ended = match (&mut self.ca, first.der()) {
            _ if first.ends <= now.as_secs() => Ok(()),
            (Some(ca), Some(der)) => ca.revoke(der).await,
            (None, _) => Err("tls.acme.ca cannot be used".to_owned()),
            // Nothing that was kept here.
            (_, None) => Ok(()),
        };
        match ended {
            Ok(()) => {
                tracing::info!(host, "tls.acme: the old certificate is revoked");
                self.rotations.replaced.remove(0);
                self.keep_rotations().await;
                self.pause = FIRST_PAUSE;
            }
            Err(error) => {
                tracing::error!(host, error, "tls.acme: the old certificate is not revoked yet");
                self.rotations.replaced.rotate_left(1);
                self.revoke_at = now.plus_millis(self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    async fn keep_rotations(&self) {
        let Some(ca) = &self.ca else { return };
        if let Err(error) = ca.kept.keep_rotations(&self.rotations).await {
            tracing::error!(error, "tls.acme: what is to be revoked is not kept over a restart");
        }
    }

    /// Asks the CA when to renew a certificate (RFC 9773). What it does not say, nobody misses.
    async fn ask_window(&mut self, name: &str) {
        let id = self.served.all().get(name).and_then(Issued::id);
        let told = match (&mut self.ca, id) {
            (Some(ca), Some(id)) => ca.window(&id).await,
            _ => None,
        };
        match told {
            Some((window, again)) => self.schedule.told(name, now(), window, again),
            None => self.schedule.not_told(name, now()),
        }
    }

    fn list(&self) {
        list(&self.schedule, &self.rotations, &self.served);
    }
}

/// Keeps these hosts in the schedule, and puts the certificates of new ones, as they were kept, in force. Those of
/// hosts that are not wanted are out of force.
pub(super) async fn load(wanted: &Wanted, kept: &Kept, schedule: &mut Schedule, served: &Served) {
    let before = served.all();
    let mut certificates: HashMap<String, Issued> = HashMap::new();
    for host in wanted.hosts.keys() {
        let issued = match before.get(host) {
            Some(issued) => Some(issued.clone()),
            None => kept.certificate(host).await.map(|(issued, _)| issued),
        };
        certificates.extend(issued.map(|issued| (host.clone(), issued)));
    }
    let first = millis(wanted.acme.retry);
    schedule.keep(wanted.hosts.clone(), first, |host| Some(certificates.get(host)?.held));
    served.put(certificates);
    list(schedule, &Rotations::default(), served);
}

/// Tells how each host stands.
fn list(schedule: &Schedule, rotations: &Rotations, served: &Served) {
    let unrevoked = |name: &str| {
        let replaced = rotations.replaced.iter().filter(|replaced| replaced.host == name);
        u32::try_from(replaced.count()).unwrap_or(u32::MAX)
    };
    let listed = schedule.hosts().map(|(name, host)| Listed {
        name: name.to_owned(),
        site: host.site.clone(),
        expires: host.held.map(|held| held.validity.end.as_secs()),
        renews: host.renew_at().map(Time::as_secs),
        failures: host.failures,
        error: host.error.clone(),
        retries: host.error.as_ref().map(|_| host.not_before.max(schedule.pause()).as_secs()),
        unrevoked: unrevoked(name),
    });
    served.list(listed.collect());
}

fn now() -> Time {
    SystemTime::now().into()
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A random number from 0 to 1, so that many nodes do not ask at once.
fn jitter() -> f64 {
    getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX))
}
