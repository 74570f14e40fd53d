//! A request that the store could not answer at once: wait for a running fill or start one, and
//! answer from its result.

use super::visit::{Held, Visit};
use super::{ON_DISK, Spine, pass, slices};
use crate::access_log::RequestRecord;
use crate::body::ResponseBody;
use crate::collapsing::{Answer, Collapse, Fill, FillHead, Keeping, Progress, Purpose, Reader};
use crate::derived::Stamps;
use crate::disk::DiskStore;
use crate::error::UpstreamError;
use crate::failure::Failure;
use crate::fill::{self, FillTask};
use crate::lookup::{Lookup, Stale, forwardable_range, lookup_again, lookup_among};
use crate::metrics::Event;
use crate::purge::Stamp;
use crate::respond;
use crate::store::{Selecting, Stored};
use crate::tier::NodeFields;
use http::{HeaderValue, Method, Response, StatusCode, header};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;
use weir_rules::freshness::State;
use weir_rules::outcome::{Handling, Outcome};
use weir_rules::range::{self, Span};
use weir_rules::withdrawal::Withdrawal;

/// Joined fills whose response may turn out not to answer a request before it starts its own.
const JOINS: usize = 2;

/// Bytes past those that a running fill has received at which a Range may begin and still wait for
/// it.
const AHEAD: u64 = 1 << 20;

/// Answers a request from what the lookup found and what the upstream sends.
pub(super) async fn fetch(
    spine: &Rc<Spine>,
    mut visit: Box<Visit>,
    found: Lookup,
    record: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Failure> {
    let mut found = found;
    let mut joins = 0;
    let mut alone = visit.sender.is_apart();
    // Whether what is missing of a file that is stored in slices is fetched by slices.
    let mut by_slices = !alone;
    loop {
        let from_disk = match &spine.state.disk {
            Some(disk) if matches!(found, Lookup::UriMiss | Lookup::VaryMiss(_)) => {
                Box::pin(look_on_disk(spine, &visit, disk, &mut found)).await
            }
            _ => false,
        };
        if let Some((mut response, stored)) = at_once(spine, &visit, &found, &mut record.outcome) {
            let told = NodeFields::of_stored(stored);
            visit.vouch(&spine.state, &mut response, stored.filled_at, told)?;
            if from_disk {
                record.outcome.detail = record.outcome.detail.or(Some(ON_DISK));
            }
            return Ok(response);
        }
        record.outcome.handling = handling(&found);
        if let Lookup::Partial(stored) = &found
            && by_slices
            && stored.body.kept_below().is_some()
        {
            match Box::pin(slices::answer(spine, &visit, stored, record)).await {
                Some(answered) => return answered,
                None => {
                    by_slices = false;
                    found = look_again(spine, &visit);
                    continue;
                }
            }
        }
        // RFC 9111 §5.2.1.7
        if visit.facts.directives.only_if_cached {
            return Err(Failure::NotCached);
        }
        if visit.method == Method::HEAD && (alone || !may_fill(spine, &visit, &found)) {
            let passed = Box::pin(pass::pass_safe(spine, &visit, record)).await;
            return or_stale(spine, &visit, &found, passed, &mut record.outcome);
        }
        if visit.anonymous.is_some()
            && spine.state.decisions.is_not_for_everyone(visit.digest, spine.state.now())
        {
            spine.metrics.count(Event::HitForMiss);
            return Box::pin(personal(spine, &visit, record)).await;
        }
        let known = spine.state.decisions.hit_for_miss(visit.digest, spine.state.now());
        let uncacheable = known.is_some();
        if uncacheable {
            spine.metrics.count(Event::HitForMiss);
            record.outcome.detail = known;
        }
        if uncacheable && (visit.facts.conditional || visit.facts.ranged) {
            return Box::pin(passed(spine, &visit, &found, record)).await;
        }
        let arrived = record.begun;
        let mut way = Way { alone: alone || uncacheable, by_slices, first_slice: None };
        if by_slices && !way.alone {
            way.first_slice = slices::asked_first(spine, &visit, &found);
        }
        let (mut reader, joined) = match place(spine, &visit, &found, arrived, way) {
            Some(place) => place,
            None => {
                found = look_again(spine, &visit);
                continue;
            }
        };
        let answer = loop {
            match until_answered(&visit, &mut reader).await {
                Some(answer) => break answer,
                None => visit.compact(),
            }
        };
        if visit.anonymous.is_some() && !is_for_this_client(&visit, &answer) {
            drop(reader);
            return Box::pin(personal(spine, &visit, record)).await;
        }
        let covered = covers_error(&found, &answer);
        let fits = || {
            is_current(spine, reader.started(), arrived)
                && is_preferred(&found, &answer)
                && is_for_us(spine, &visit, &answer)
                && answers_range(&visit, reader.purpose(), &answer)
        };
        if joined && !covered && !fits() {
            joins += 1;
            // The response may not be shared, or joining has failed too often: wait no more.
            let withheld = matches!(answer, Ok(Answer::NotForEveryone(_)));
            alone = joins >= JOINS || !(withheld || may_share(&visit, &answer));
            found = look_again(spine, &visit);
            continue;
        }
        record.outcome.collapsed = joined;
        record.source = answer.as_ref().ok().map(|answer| Arc::clone(answer.source()));
        if let Ok(Answer::Stored { stored, status, shared, cookies, .. }) = &answer
            && stored.body.kept_below().is_some()
        {
            record.outcome.fwd_status = Some(*status);
            record.outcome.stored = *shared;
            if let Some(response) = Box::pin(slices::answer(spine, &visit, stored, record)).await {
                let mut response = response?;
                for cookie in cookies.iter().filter(|_| !joined) {
                    response.headers_mut().append(header::SET_COOKIE, cookie.clone());
                }
                return Ok(response);
            }
            (by_slices, record.outcome.stored) = (false, false);
            found = look_again(spine, &visit);
            continue;
        }
        return answered(spine, &visit, &found, reader, answer, &mut record.outcome);
    }
}

/// Looks for what memory does not hold on disk; whether something of use was found there. What is to be
/// validated, completed or refreshed comes into memory, where its update will be.
async fn look_on_disk(spine: &Spine, visit: &Visit, disk: &DiskStore, found: &mut Lookup) -> bool {
    let state = &spine.state;
    let url = visit.url;
    // Several parts are put together in memory.
    let cached = visit.connection.outbox().is_some() && !visit.facts.ranged;
    let mut on_disk = disk.find(url, &visit.key, &visit.site.id, state.now(), cached).await;
    let mut looked = lookup_among(&on_disk.variants, &state.purges, &visit.query(state));
    let Some(stored) = looked.stored() else { return false };
    let must = !matches!(looked, Lookup::Fresh { early: false, .. });
    let wanted = disk.is_wanted(url, must);
    if wanted && on_disk.is_cached(stored) {
        on_disk = disk.find(url, &visit.key, &visit.site.id, state.now(), false).await;
        looked = lookup_among(&on_disk.variants, &state.purges, &visit.query(state));
    }
    let Some(stored) = looked.stored() else { return false };
    disk.hit(&state.store, visit.digest, &on_disk, stored, wanted);
    *found = looked;
    true
}

/// Passes a request on as it came, and removes what the answer withdraws.
async fn passed(
    spine: &Rc<Spine>,
    visit: &Visit,
    found: &Lookup,
    record: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Failure> {
    let withdrawable = visit.withdrawable(&spine.state, found.stored().cloned());
    let passed = pass::pass_safe(spine, visit, record).await;
    if let Ok(response) = &passed {
        let withdrawal = Withdrawal::of(response.status(), &visit.headers, response.headers());
        withdrawable.withdraw(&spine.state, visit.digest, withdrawal);
    }
    or_stale(spine, visit, found, passed, &mut record.outcome)
}

/// Whether a HEAD starts a fill, with a GET: nothing is stored that it could validate or update, and
/// nothing in it or known of its URL says that the response will not be stored.
fn may_fill(spine: &Spine, visit: &Visit, found: &Lookup) -> bool {
    let credentials = [header::AUTHORIZATION, header::COOKIE];
    matches!(found, Lookup::UriMiss | Lookup::VaryMiss(_))
        && !credentials.iter().any(|name| visit.headers.contains_key(name))
        && spine.state.decisions.hit_for_miss(visit.digest, spine.state.now()).is_none()
}

/// The response to a request that was passed on or, in place of an error, the stale one that may be
/// sent instead.
fn or_stale(
    spine: &Spine,
    visit: &Visit,
    found: &Lookup,
    passed: Result<Response<ResponseBody>, Failure>,
    outcome: &mut Outcome,
) -> Result<Response<ResponseBody>, Failure> {
    let Lookup::Stale { stored, stale } = found else { return passed };
    match &passed {
        Err(Failure::Upstream(error)) if stale.on_disconnect && error.is_disconnect() => {
            Ok(stale_hit(spine, visit, stored, error.word(), outcome))
        }
        Ok(response) if stale.on_error && is_origin_error(response.status()) => {
            Ok(stale_hit(spine, visit, stored, "stale-if-error", outcome))
        }
        _ => passed,
    }
}

/// Passes a request for a static asset on with all its headers: the response to an anonymous one is
/// not for this client.
async fn personal(
    spine: &Rc<Spine>,
    visit: &Visit,
    record: &mut RequestRecord,
) -> Result<Response<ResponseBody>, Failure> {
    record.outcome.detail = Some("not-for-everyone");
    pass::pass_safe(spine, visit, record).await
}

/// Whether the answer to an anonymous request may be given to the client whose request it was made
/// of: it is for everyone, and this client's own headers select it (RFC 9111 §4.1).
fn is_for_this_client(visit: &Visit, answer: &Result<Answer, UpstreamError>) -> bool {
    match answer {
        Ok(Answer::NotForEveryone(_)) => false,
        Ok(Answer::Response(head)) => head.selected_by(&visit.headers),
        Ok(Answer::Stored { stored, .. }) => stored.selected_by(&visit.headers),
        Ok(Answer::NoSlice(_)) | Err(_) => true,
    }
}

/// An answer that needs no upstream: a response that became fresh meanwhile, or a stale one that may
/// be sent while it is refreshed.
fn at_once<'a>(
    spine: &Rc<Spine>,
    visit: &Visit,
    found: &'a Lookup,
    outcome: &mut Outcome,
) -> Option<(Response<ResponseBody>, &'a Arc<Stored>)> {
    match found {
        Lookup::Fresh { stored, early } => {
            if *early {
                refresh(spine, visit, stored);
                spine.metrics.count(Event::EarlyRefresh);
            }
            outcome.handling = Handling::Hit;
            Some((spine.hit(stored, &visit.wish(), spine.state.now(), outcome), stored))
        }
        Lookup::Stale { stored, stale } if stale.while_revalidating && !stale.by_request => {
            refresh(spine, visit, stored);
            outcome.handling = Handling::Hit;
            Some((stale_hit(spine, visit, stored, "stale-while-revalidate", outcome), stored))
        }
        _ => None,
    }
}

/// Answers from a stale response, with the reason that allows it as detail. A soft-purged response
/// is stale whatever its lifetime, so its ttl is negative (RFC 9211 §2.4).
fn stale_hit(
    spine: &Spine,
    visit: &Visit,
    stored: &Arc<Stored>,
    why: &'static str,
    outcome: &mut Outcome,
) -> Response<ResponseBody> {
    let response = spine.hit(stored, &visit.wish(), spine.state.now(), outcome);
    outcome.detail = Some(why);
    outcome.ttl = outcome.ttl.map(|ttl| ttl.min(-1));
    response
}

/// Starts a fill in the background, unless one is running.
fn refresh(spine: &Spine, visit: &Visit, stored: &Arc<Stored>) {
    let state = &spine.state;
    let selected = Some(Arc::clone(stored));
    let held = Held { base: selected.clone(), selected };
    let stamp = state.purges.stamp();
    let purpose = || purpose(visit, None, base_selecting(stored), false);
    let start = || Some(new_fill(visit, &stamp, purpose()));
    let running = |_: &Fill| true;
    if let Collapse::Started(fill) =
        state.inflight.join_or_start(visit.place(), &visit.headers, None, running, start)
    {
        tokio::spawn(task(spine, visit, fill, held, stamp).run());
    }
}

fn base_selecting(stored: &Stored) -> Option<Selecting> {
    stored.selecting.as_deref().cloned()
}

/// How a request that goes to the upstream is fetched.
#[derive(Clone, Copy)]
struct Way {
    /// With nobody else.
    alone: bool,
    /// What is missing of a file that is stored in slices is fetched by slices.
    by_slices: bool,
    /// The slice that is asked for in place of its range.
    first_slice: Option<Span>,
}

/// A place at a running fill (`true`) or at one started for this request; `None` when a fill
/// ended between the lookup and now.
fn place(
    spine: &Spine,
    visit: &Visit,
    found: &Lookup,
    arrived: Instant,
    way: Way,
) -> Option<(Reader, bool)> {
    let Way { mut alone, by_slices, first_slice } = way;
    let (base, expects) = match found {
        Lookup::Stale { stored, stale } => {
            // Nobody may be answered with what another request validates: no use in waiting.
            alone |= stored.freshness.validates_each_use();
            (stale.validates.then(|| Arc::clone(stored)), base_selecting(stored))
        }
        // One that is stored in slices is not completed by the origin's answer to this request.
        Lookup::Partial(stored) => {
            let base = stored.body.kept_below().is_none().then(|| Arc::clone(stored));
            (base, base_selecting(stored))
        }
        Lookup::VaryMiss(selecting) => (None, Some(selecting.clone())),
        Lookup::Fresh { .. } | Lookup::UriMiss => (None, None),
    };
    // A whole stored response is validated whole; what is missing is fetched by its range.
    let whole = first_slice.is_none() && base.as_ref().is_some_and(|base| base.body.is_complete());
    let ranged = visit.facts.ranged && visit.method == Method::GET;
    let range = (ranged && !whole).then(|| forwardable_range(&visit.headers)).flatten();
    let base =
        base.filter(|base| range.is_none() || first_slice.is_some() || base.body.is_complete());
    let make = |expects, alone| Purpose { first_slice, ..purpose(visit, range, expects, alone) };
    let held = Held { base, selected: found.stored().cloned() };
    let state = &spine.state;
    // Taken before anything is asked of the upstream (invariant I2).
    let stamp = state.purges.stamp();
    if alone {
        let fill = new_fill(visit, &stamp, make(expects, true));
        let reader = fill.join()?;
        state.inflight.start_alone(visit.digest, &fill);
        tokio::spawn(task(spine, visit, fill, held, stamp).run());
        return Some((reader, false));
    }
    let acceptable = |fill: &Fill| {
        // Its tags, and what a parent says of when it was fetched, are known with its head: until
        // then it may turn out not to be for this request.
        let answer = fill.answer();
        let (stamps, tags) = match &answer {
            Some(Ok(Answer::Response(head))) => (head.stamps, &*head.tags),
            _ => (Stamps::fetched(fill.purpose.begun), &[][..]),
        };
        stamps.filled_at >= visit.least()
            && visit.is_valid(state, stamps, tags)
            && arrives_soon(visit, fill, range)
            // The origin is known to answer each range with its part: no use in waiting.
            && (answer.is_some()
                || fill.purpose.first_slice.is_some()
                || fill.purpose.asks_what(&visit.headers, range)
                || !state.decisions.answers_ranges(visit.digest))
            && answer.as_ref().is_none_or(|answer| {
                is_reusable(spine, visit, answer)
                    && is_preferred(found, answer)
                    && is_current(spine, fill.started, arrived)
            })
    };
    let start = || {
        let unchanged = match look_again(spine, visit) {
            Lookup::Fresh { .. } => false,
            Lookup::Partial(stored) => !by_slices || stored.body.kept_below().is_none(),
            Lookup::Stale { .. } | Lookup::UriMiss | Lookup::VaryMiss(_) => true,
        };
        unchanged.then(|| new_fill(visit, &stamp, make(expects.clone(), false)))
    };
    match state.inflight.join_or_start(visit.place(), &visit.headers, range, acceptable, start) {
        Collapse::Joined(reader) => Some((reader, true)),
        Collapse::Stored => None,
        Collapse::Started(fill) => {
            let reader = fill.join()?;
            tokio::spawn(task(spine, visit, fill, held, stamp).run());
            Some((reader, false))
        }
    }
}

/// Whether a fill that another request started may answer one that arrived then, as far as this node can
/// know. While it validates (invariant I5), purges are completed without it, so that neither its index nor
/// what it has applied says whether a fetch that ran by then is still good: only one that began later
/// is. Those that wait for an older one ask again together, so that they share the next.
fn is_current(spine: &Spine, started: Instant, arrived: Instant) -> bool {
    started >= arrived || !spine.state.lease.validates(spine.state.now())
}

/// Whether a fill whose answer is known already may still be joined: like a stored response it must
/// be fresh by now, or allowed stale.
fn is_reusable(spine: &Spine, visit: &Visit, answer: &Result<Answer, UpstreamError>) -> bool {
    let Ok(Answer::Response(head)) = answer else { return false };
    let Ok(terms) = &head.terms else { return false };
    match terms.freshness.state(spine.state.now()) {
        State::Fresh { .. } => true,
        State::Refreshable { .. } => !visit.sender.is_node(),
        State::Stale { .. } => false,
    }
}

/// Whether the answer of another request's fill comes before the stored response that this request
/// selected: one without Vary does not, if the Vary of the stored one matches (RFC 9111 §4.1).
fn is_preferred(found: &Lookup, answer: &Result<Answer, UpstreamError>) -> bool {
    let without_vary = match answer {
        Ok(Answer::Response(head)) => head.terms.is_ok() && head.selecting.is_none(),
        Ok(Answer::Stored { stored, .. }) => stored.selecting.is_none(),
        Ok(Answer::NotForEveryone(_) | Answer::NoSlice(_)) | Err(_) => false,
    };
    !without_vary || found.stored().is_none_or(|stored| stored.selecting.is_none())
}

/// Whether a request for a range should wait for a fill of the whole representation.
fn arrives_soon(visit: &Visit, fill: &Fill, range: Option<&HeaderValue>) -> bool {
    if range.is_none() || fill.purpose.range.is_some() {
        return true;
    }
    begins_within(visit, fill.arrived().saturating_add(AHEAD))
}

/// Whether every range that a request asks for begins within the first so many bytes.
fn begins_within(visit: &Visit, bytes: u64) -> bool {
    match range::requested(&visit.headers) {
        range::Requested::Whole => true,
        range::Requested::Bytes(specs) => specs.iter().all(|spec| match *spec {
            range::Spec::FromTo(first, _) | range::Spec::From(first) => first <= bytes,
            range::Spec::Suffix(_) => false,
        }),
    }
}

/// Whether the answer of a joined fill holds the bytes that this request asks for. A part answers
/// only those who asked for the same. The whole, if the origin ignored the Range of another, does not
/// hold what begins beyond the window, if no more than the window is kept.
fn answers_range(visit: &Visit, asked: &Purpose, answer: &Result<Answer, UpstreamError>) -> bool {
    let Ok(Answer::Response(head)) = answer else { return true };
    let ranged = visit.facts.ranged && visit.method == Method::GET;
    let range = ranged.then(|| forwardable_range(&visit.headers)).flatten();
    if asked.asks_what(&visit.headers, range) {
        return true;
    }
    let window = visit.live.limits().fill_window as u64;
    head.is_whole() && (head.is_stored() || begins_within(visit, window))
}

/// What a fill for this request is for.
fn purpose(
    visit: &Visit,
    range: Option<&HeaderValue>,
    expects: Option<Selecting>,
    alone: bool,
) -> Purpose {
    let if_range = range.and_then(|_| visit.headers.get(header::IF_RANGE).cloned());
    Purpose { range: range.cloned(), if_range, expects, alone, ..Purpose::default() }
}

fn new_fill(visit: &Visit, stamp: &Stamp, purpose: Purpose) -> Arc<Fill> {
    let purpose = Purpose { begun: stamp.seq(), url: visit.url, ..purpose };
    Fill::new(purpose, visit.live.limits().fill_window)
}

fn task(spine: &Spine, visit: &Visit, fill: Arc<Fill>, held: Held, stamp: Stamp) -> Box<FillTask> {
    spine.metrics.count(Event::Fill);
    visit.fill_task(spine, Method::GET, fill, held, stamp)
}

fn look_again(spine: &Spine, visit: &Visit) -> Lookup {
    let state = &spine.state;
    lookup_again(&state.store, &state.purges, &visit.query(state))
}

/// Waits for the answer of a fill; `None` when the request has waited for long, and is to be made compact.
async fn until_answered(
    visit: &Visit,
    reader: &mut Reader,
) -> Option<Result<Answer, UpstreamError>> {
    loop {
        let mut progress = pin!(reader.progress());
        let progress = poll_fn(|cx| match progress.as_mut().poll(cx) {
            Poll::Pending if visit.may_compact() => Poll::Ready(None),
            progress => progress.map(Some),
        });
        match progress.await? {
            Progress::Interim(interim) => {
                visit.connection.interim(interim.status, &interim.fields);
            }
            Progress::Answer(answer) => return Some(answer),
        }
    }
}

/// Whether the answer is an error that the stored stale response may replace.
fn covers_error(found: &Lookup, answer: &Result<Answer, UpstreamError>) -> bool {
    matches!(found, Lookup::Stale { stale: Stale { on_error: true, .. }, .. })
        && matches!(answer, Ok(Answer::Response(head)) if is_origin_error(head.status))
}

/// Whether the answer of a joined fill may be shared with requests that only waited for it, such as
/// this one.
fn may_share(visit: &Visit, answer: &Result<Answer, UpstreamError>) -> bool {
    match answer {
        // All that waited share a failure; later requests try again.
        Err(_) => true,
        Ok(answer) => {
            let authorization = visit.headers.contains_key(header::AUTHORIZATION);
            let node = visit.sender.is_node();
            answer.reuse().is_some_and(|reuse| reuse.permits(authorization, node))
        }
    }
}

/// Whether the answer of a joined fill also answers this request: it may be shared, this request's
/// headers select it, and no purge removed it since its fetch began, here or at a parent
/// (invariant I1).
fn is_for_us(spine: &Spine, visit: &Visit, answer: &Result<Answer, UpstreamError>) -> bool {
    let fits = |stamps: Stamps, selected: bool, tags| {
        stamps.filled_at >= visit.least() && selected && visit.is_valid(&spine.state, stamps, tags)
    };
    let fits = match answer {
        // It is about the client whose request started the fill.
        Err(UpstreamError::ClientShare) => false,
        Err(_) => true,
        Ok(Answer::NotForEveryone(_) | Answer::NoSlice(_)) => false,
        Ok(Answer::Stored { stored, .. }) => {
            let stamps = Stamps::fetched(stored.filled_at);
            fits(stamps, stored.selected_by(&visit.headers), &stored.tags)
        }
        Ok(Answer::Response(head)) => {
            fits(head.stamps, head.selected_by(&visit.headers), &head.tags)
        }
    };
    fits && may_share(visit, answer)
}

fn answered(
    spine: &Rc<Spine>,
    visit: &Visit,
    found: &Lookup,
    reader: Reader,
    answer: Result<Answer, UpstreamError>,
    outcome: &mut Outcome,
) -> Result<Response<ResponseBody>, Failure> {
    let stale = match found {
        Lookup::Stale { stored, stale } => Some((stored, *stale)),
        _ => None,
    };
    match answer {
        Err(error) => {
            spine.metrics.upstream_error(visit.site.slot, &error);
            match stale {
                Some((stored, Stale { on_disconnect: true, .. })) if error.is_disconnect() => {
                    Ok(stale_hit(spine, visit, stored, error.word(), outcome))
                }
                _ => Err(Failure::Upstream(error)),
            }
        }
        // Only requests that were made anonymous start such a fill, and they were passed on.
        Ok(Answer::NotForEveryone(_)) => Err(Failure::Internal("not-for-everyone")),
        // Nobody joins the fetch of a slice to be answered with its answer.
        Ok(Answer::NoSlice(_)) => Err(Failure::Internal("no-slice")),
        Ok(Answer::Stored { stored, status, shared, cookies, .. }) => {
            outcome.fwd_status = Some(status);
            outcome.stored = shared;
            let mut response = spine.hit(&stored, &visit.wish(), spine.state.now(), outcome);
            let told = NodeFields::of_stored(&stored);
            visit.vouch(&spine.state, &mut response, stored.filled_at, told)?;
            for cookie in cookies.into_iter().filter(|_| !outcome.collapsed) {
                response.headers_mut().append(header::SET_COOKIE, cookie);
            }
            Ok(response)
        }
        Ok(Answer::Response(head)) => {
            outcome.fwd_status = Some(head.status);
            if let Some((stored, Stale { on_error: true, .. })) = stale
                && is_origin_error(head.status)
            {
                return Ok(stale_hit(spine, visit, stored, "stale-if-error", outcome));
            }
            let mut response = follow(spine, visit, &head, reader, outcome);
            let told = NodeFields::of_head(&head);
            visit.vouch(&spine.state, &mut response, head.stamps.filled_at, told)?;
            Ok(response)
        }
    }
}

/// RFC 5861 §4: the statuses that stale-if-error is for.
fn is_origin_error(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Answers from a running fill.
fn follow(
    spine: &Rc<Spine>,
    visit: &Visit,
    head: &Arc<FillHead>,
    reader: Reader,
    outcome: &mut Outcome,
) -> Response<ResponseBody> {
    outcome.stored = head.is_stored();
    let mut age = None;
    match &head.terms {
        Ok(terms) => {
            outcome.detail = None;
            let seconds = terms.freshness.age(spine.state.now());
            outcome.ttl = Some(i64::from(terms.freshness.lifetime) - i64::from(seconds));
            age = head.age.is_some().then(|| spine.values.age(seconds));
        }
        Err(reason) => {
            outcome.detail = outcome.detail.or(Some(reason.word()));
            age = head.age.clone().or(age);
        }
    }
    // What fits into the window cannot be fallen out of. What is read on from disk may fail there.
    let long = head.keeping == Keeping::StoreOnDisk
        || head.end.is_some_and(|end| end - head.start > visit.live.limits().fill_window as u64);
    let context = || visit.fill_context(spine, Method::GET);
    let resume = long.then(|| fill::resume(head, context)).flatten();
    let wish = visit.wish();
    let answer = respond::from_fill(head, reader, &wish, &visit.key, resume);
    let mut response = spine.formed(answer, &wish, outcome);
    if outcome.collapsed
        && let Ok(terms) = &head.terms
    {
        // RFC 9111 §5.2.2.7: `private="field"` is for the one who asked.
        for name in &terms.omit {
            response.headers_mut().remove(name);
        }
    }
    if let Some(age) = age {
        response.headers_mut().insert(header::AGE, age);
    }
    response
}

/// Why a request goes to the upstream (RFC 9211 §2.2).
pub(super) fn handling(found: &Lookup) -> Handling {
    match found {
        Lookup::UriMiss => Handling::UriMiss,
        Lookup::VaryMiss(_) => Handling::VaryMiss,
        Lookup::Partial(_) => Handling::Partial,
        Lookup::Stale { stale, .. } if stale.by_request => Handling::Request,
        Lookup::Stale { .. } => Handling::Stale,
        Lookup::Fresh { .. } => Handling::Hit,
    }
}
