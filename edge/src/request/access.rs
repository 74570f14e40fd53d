//! Whether a client may send a request at all: the access settings of the rules that match it, before anything
//! else is made of it.
//!
//! INVARIANT: this is judged once for each request, at the first node that its client reached, with what the client
//! sent. Nothing that a stored response, a running fill or the origin says comes before it. Nodes that ask, and this
//! node itself, are not judged: who asked them was.

use super::facts::RequestFacts;
use super::sender::Sender;
use super::{Arrived, Disposition, RequestBody, Spine, rules};
use crate::access::Check;
use crate::access_log::RequestRecord;
use crate::clock::wall;
use crate::closing::Notes;
use crate::error_page::Replacement;
use crate::failure::Failure;
use crate::server::{Connection, Intake};
use crate::state::{Live, NodeState, Site};
use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri};
use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use weir_config::Config;
use weir_rules::access::credentials::Credentials;
use weir_rules::access::signed::{self, Message, SignatureError};
use weir_rules::access::spellings::EverySpelling;
use weir_rules::access::{BasicAuth, Refusal};
use weir_rules::client_share::Prefix;
use weir_rules::site_rules::{Rule, RuleRequest};

/// A request whose client asks for admission.
pub(super) struct Visitor<'a> {
    pub(super) config: &'a Config,
    pub(super) site: &'a Site,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) intake: &'a Intake<'a>,
    pub(super) facts: &'a RequestFacts,
    pub(super) sender: &'a Sender,
    pub(super) peer: IpAddr,
}

/// How a request goes on.
#[derive(Default)]
pub(super) struct Verdict {
    /// Whether its response is for this client alone.
    pub(super) is_private: bool,
    /// What is removed of it before it gets a key.
    pub(super) removed: Removed,
    /// The password that has to be checked first.
    pub(super) password: Option<Password>,
}

/// What is removed of a request: neither keys nor origins see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    tokens: bool,
    credentials: bool,
}

/// A password that has to be checked, for each realm that demands one.
pub(super) struct Password {
    credentials: Credentials,
    realms: Vec<BasicAuth>,
    prefix: Prefix,
}

/// Judges a request.
///
/// # Errors
/// Why it is refused.
pub(super) fn judge(state: &NodeState, visitor: &Visitor<'_>) -> Result<Verdict, Refusal> {
    let mut verdict = Verdict::default();
    let Visitor { site, headers, intake, sender, .. } = visitor;
    if !site.access.keys.is_empty() {
        verdict.removed.tokens = has_tokens(intake.query, headers);
    }
    if sender.warms.is_some() {
        return Ok(verdict);
    }
    let rules = matching(visitor);
    if rules.is_empty() {
        return Ok(verdict);
    }
    let client = sender.client(visitor.config, visitor.peer, headers);
    let demands = || rules.iter().map(|rule| &rule.settings.access);
    for access in demands() {
        access.judge_client(client)?;
        verdict.is_private |= access.is_personal();
    }
    let host = intake.host_name();
    if demands().any(|access| access.referer.as_ref().is_some_and(|of| !of.accepts(host, headers)))
    {
        return Err(Refusal::Referer);
    }
    if demands().any(|access| access.signed) {
        judge_signature(visitor, client).map_err(Refusal::Signature)?;
    }
    let prefix = Prefix::of(client.unwrap_or(visitor.peer));
    for rates in rules.iter().filter_map(|rule| site.access.rates(rule)) {
        rates.take(prefix, headers).map_err(Refusal::Rate)?;
    }
    let realms: Vec<BasicAuth> = demands().filter_map(|access| access.basic_auth.clone()).collect();
    if let Some(first) = realms.first() {
        let refused = || Refusal::Credentials {
            realm: first.realm.clone(),
            shown: headers.contains_key(AUTHORIZATION),
        };
        let credentials = Credentials::of(headers).ok_or_else(refused)?;
        verdict.removed.credentials = !realms.iter().any(|realm| realm.forward);
        let password = Password { credentials, realms, prefix };
        verdict.password = (!password.is_known(state)).then_some(password);
    }
    Ok(verdict)
}

impl Visitor<'_> {
    /// What an error page in place of a refusal needs of this request.
    pub(super) fn replacement(&self) -> Option<Box<Replacement>> {
        let Visitor { config, site, method, headers, intake, facts, sender, peer } = *self;
        if sender.warms.is_some() {
            return None;
        }
        let asked = (method, headers);
        let matching = rules::matching(config, site, asked, intake, facts, sender, peer).ok()?;
        Replacement::of((&site.config.rules, matching), method, &intake.host, headers)
    }
}

/// The rules with access settings that match.
fn matching<'a>(visitor: &Visitor<'a>) -> Vec<&'a Rule> {
    let Visitor { config, site, method, headers, intake, facts, sender, peer } = *visitor;
    let rules = &site.config.rules;
    let request = RuleRequest {
        method,
        scheme: facts.scheme.as_str(),
        host: &intake.host,
        query: intake.query,
        client: sender.address(config, peer, headers),
        country: facts.country,
        headers,
    };
    rules.those(rules.access(&request, &EverySpelling::of(intake.path, intake.query))).collect()
}

fn has_tokens(query: Option<&str>, headers: &HeaderMap) -> bool {
    signed::tokens(query, headers).is_none_or(|tokens| !tokens.is_empty())
}

/// One token that holds is enough: a client may have cookies for several prefixes.
fn judge_signature(visitor: &Visitor<'_>, client: Option<IpAddr>) -> Result<(), SignatureError> {
    let Visitor { site, method, headers, intake, .. } = visitor;
    let tokens = signed::tokens(intake.query, headers).ok_or(SignatureError::Malformed)?;
    let query = intake.query.map(signed::remaining_query).unwrap_or_default();
    let message = Message {
        site: &site.id,
        method: method.as_str(),
        host: intake.host_name(),
        path: intake.path,
        query: query.as_deref(),
    };
    let mut judged = Err(SignatureError::Missing);
    for token in tokens {
        judged = message.judge(&token, &site.access.keys, client, wall());
        if judged.is_ok() {
            break;
        }
    }
    judged
}

impl Verdict {
    /// Whether the request goes on as it came, at once.
    pub(super) fn is_plain(&self) -> bool {
        self.password.is_none() && self.removed == Removed::default()
    }
}

impl Removed {
    /// Removes it from a request.
    pub(super) fn from<B>(self, request: &mut Request<B>) {
        if self.credentials {
            request.headers_mut().remove(AUTHORIZATION);
        }
        if self.tokens {
            signed::remove_cookies(request.headers_mut());
            let uri = request.uri_mut();
            let left = uri.query().map(|query| signed::remaining_query(query).map(Cow::into_owned));
            if let Some(left) = left {
                let path = uri.path().to_owned();
                let target = left.map_or(path.clone(), |left| format!("{path}?{left}"));
                let mut parts = std::mem::take(uri).into_parts();
                // A part of a valid target is valid.
                parts.path_and_query = PathAndQuery::try_from(target).ok();
                *uri = Uri::from_parts(parts).unwrap_or_default();
            }
        }
    }
}

impl Password {
    /// What its user's password is compared with in each realm.
    fn checks(&self) -> impl Iterator<Item = (&BasicAuth, Check<'_>)> {
        self.realms.iter().map(|realm| {
            let hash = realm.users.hash(&self.credentials.user);
            let check = Check {
                password: &self.credentials.password,
                hash: hash.unwrap_or(realm.users.any_hash()),
                is_of_user: hash.is_some(),
                prefix: self.prefix,
            };
            (realm, check)
        })
    }

    fn is_known(&self, state: &NodeState) -> bool {
        self.checks().all(|(_, check)| state.passwords.is_known(&check))
    }

    /// Checks it.
    ///
    /// # Errors
    /// It is wrong, or is not checked now.
    pub(super) async fn check(&self, state: &NodeState) -> Result<(), Refusal> {
        let queue = state.live.load().limits().password_queue;
        for (realm, check) in self.checks() {
            if !state.passwords.is_right(&check, queue, state.now()).await? {
                return Err(Refusal::Credentials { realm: realm.realm.clone(), shown: true });
            }
        }
        Ok(())
    }
}

/// A request that goes on once its password was checked.
pub(super) struct Admission {
    /// The request, as it came.
    request: Request<RequestBody>,
    /// How it goes on.
    verdict: Verdict,
    /// The configuration that it was judged under, and stays with.
    live: Arc<Live>,
}

impl Spine {
    /// Begins again with a request that is changed before, at once or when its password was checked.
    pub(super) fn admit(
        &self,
        arrived: Arrived<'_>,
        verdict: Verdict,
        live: &Arc<Live>,
        record: &mut RequestRecord,
    ) -> Result<Disposition, Failure> {
        if verdict.password.is_none() {
            return self.admitted(arrived, &verdict, live, record);
        }
        let admission = Admission { request: arrived.request, verdict, live: Arc::clone(live) };
        Ok(Disposition::Admit(Box::new(admission)))
    }

    /// The same, at the end of that wait.
    pub(super) async fn once_checked(
        &self,
        connection: &Rc<Connection>,
        admission: Admission,
        notes: Option<&Notes>,
        record: &mut RequestRecord,
    ) -> Result<Disposition, Failure> {
        let Admission { request, verdict, live } = admission;
        if let Some(password) = &verdict.password {
            password.check(&self.state).await.map_err(|refusal| self.refused(refusal))?;
        }
        let arrived = Arrived { connection, request, notes, is_page: false };
        self.admitted(arrived, &verdict, &live, record)
    }

    fn admitted(
        &self,
        mut arrived: Arrived<'_>,
        verdict: &Verdict,
        live: &Arc<Live>,
        record: &mut RequestRecord,
    ) -> Result<Disposition, Failure> {
        verdict.removed.from(&mut arrived.request);
        self.begin(arrived, None, Some(live), record)
    }

    /// A refusal, counted.
    pub(super) fn refused(&self, refusal: Refusal) -> Failure {
        self.metrics.refused(refusal.setting());
        Failure::Access(refusal)
    }
}
