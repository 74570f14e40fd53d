//! The threads that compress stored responses, in the background and at a low priority: each form once, from what
//! is stored, without a client that waits for it.
//!
//! INVARIANT: a form is published only if its original is still stored, as it was read, and valid at that moment,
//! under the lock of the key ([`Store::grow`](crate::store::Store::grow)). It has the stamps of the original.

use crate::byte_budget::Portion;
use crate::coding::{CodingJob, Undone, encode};
use crate::derived;
use crate::state::NodeState;
use crate::store::{Form, SLICE, Slice, Stored, StoredBody};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;
use weir_config::Config;
use weir_rules::coding::Coding;
use weir_rules::invalidation::Validity;

/// How nice the threads are (0 to 19).
const NICE: i32 = 10;

/// Of how many parts of the original a form must save at least one.
const WORTH: u64 = 20;

/// The threads. Dropping it ends them, each after the form that it is at.
pub(crate) struct Compressor {
    state: Arc<NodeState>,
    running: Mutex<bool>,
}

impl Compressor {
    /// No thread yet.
    pub(crate) fn new(state: &Arc<NodeState>) -> Self {
        Self { state: Arc::clone(state), running: Mutex::new(false) }
    }

    /// Starts the threads, once, if a site of this configuration compresses.
    ///
    /// # Errors
    /// The system has no thread.
    pub(crate) fn follow(&self, config: &Config) -> std::io::Result<()> {
        if !config.sites.iter().any(|site| site.compress.is_some()) {
            return Ok(());
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if *running {
            return Ok(());
        }
        for _ in 0..config.limits.compress_threads.max(1) {
            let (queue, state) = (Arc::clone(&self.state.coding), Arc::downgrade(&self.state));
            let work = move || {
                // Only of this thread, on Linux. Without it the threads work all the same.
                let _ = rustix::process::setpriority_process(None, NICE);
                while let Some(job) = queue.next() {
                    let begun = Instant::now();
                    if let Some(state) = Weak::upgrade(&state) {
                        make(&state, &job);
                    }
                    queue.done(&job);
                    queue.count_time(begun.elapsed());
                }
            };
            std::thread::Builder::new().name("weir-compress".into()).spawn(work)?;
            *running = true;
        }
        Ok(())
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.state.coding.close();
    }
}

/// Makes one form, and publishes it.
fn make(state: &NodeState, job: &CodingJob) {
    if let Err(why) = made(state, job) {
        state.coding.count_undone(why);
    }
}

fn made(state: &NodeState, job: &CodingJob) -> Result<(), Undone> {
    let original = job.stored.upgrade().ok_or(Undone::Gone)?;
    let publish = |form: Form| {
        state.store.grow(job.digest, &original, || {
            let is_valid = state.purges.validity(&original) == Validity::Valid;
            if is_valid {
                original.forms.publish(job.coding, &job.rules, form);
            }
            is_valid
        })
    };
    // What is read from below memory is not in it, and what was evicted or replaced is not either.
    if !state.store.has(job.digest, &original) {
        return Err(Undone::Gone);
    }
    let length = original.body.complete_length().ok_or(Undone::Gone)?;
    let mut room = Portion::of(&state.filling, None);
    room.take(length).map_err(|_| Undone::NoRoom)?;
    let Some(form) = form(&original, job.coding, job.rules.level(job.coding), length) else {
        publish(Form::Useless);
        return Err(Undone::Useless);
    };
    let bytes = form.body.complete_length().unwrap_or_default();
    if !publish(Form::Coded(Arc::new(form))) {
        return Err(Undone::Gone);
    }
    state.coding.count_made(job.coding, length, bytes);
    Ok(())
}

/// The form of a response in this coding; `None` if it would be hardly smaller.
fn form(original: &Stored, coding: Coding, level: u32, length: u64) -> Option<Stored> {
    let most = usize::try_from(length - length / WORTH).ok()?;
    let runs = original.body.slices().map(|slice| &**slice.bytes);
    let encoded = encode(coding, level, runs, length, most)?;
    derived::coded(original, coding, body(encoded))
}

/// A body of these bytes, in slices as any other.
fn body(bytes: Vec<u8>) -> StoredBody {
    let length = bytes.len() as u64;
    let mut start = 0;
    let slices = bytes.chunks(SLICE).map(|chunk| {
        let slice = Slice { start, bytes: Bytes::copy_from_slice(chunk) };
        start += chunk.len() as u64;
        slice
    });
    StoredBody::new(slices.collect(), Some(length))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use weir_rules::coding::{CodingRules, DEFAULT_TYPES, WhichTypes};
    use weir_rules::invalidation::{KeyedPurge, Purge, Target};

    fn rules() -> Arc<CodingRules> {
        let (types, order) = (WhichTypes::new(DEFAULT_TYPES), Coding::ALL.to_vec());
        Arc::new(CodingRules { types, min: 1, max: 1 << 20, order, levels: [6, 5, 3] })
    }

    fn original(text: &[u8], filled_at: u64) -> Arc<Stored> {
        let body = StoredBody::whole_of(Bytes::copy_from_slice(text));
        let valid_at = AtomicU64::new(filled_at);
        Arc::new(Stored { body, filled_at, valid_at, ..Stored::example() })
    }

    fn stored(state: &NodeState, original: &Arc<Stored>) -> CodingJob {
        let digest = state.digest(original.key());
        let made = state.store.insert_over(digest, original.key(), |_| Some(Arc::clone(original)));
        assert!(made.is_stored());
        let (stored, rules) = (Arc::downgrade(original), rules());
        CodingJob { digest, stored, rules, coding: Coding::Br }
    }

    fn form_of(original: &Stored, job: &CodingJob) -> Option<Arc<Stored>> {
        match original.forms.get(job.coding, &job.rules) {
            Form::Coded(form) => Some(form),
            Form::Absent | Form::Useless => None,
        }
    }

    fn purge(state: &NodeState, seq: u64, soft: bool) {
        let targets = vec![Target::All];
        let purge = Purge { seq, targets, site: None, soft, versions: false };
        state.purges.apply(&KeyedPurge::as_sent(purge));
    }

    #[test]
    fn a_form_is_published_only_while_its_original_is_stored_and_valid() {
        let state = NodeState::new(Config::for_origin("http://127.0.0.1:1").unwrap()).unwrap();
        let text = b"a line that comes again and again\n".repeat(100);
        let page = original(&text, 3);
        let job = stored(&state, &page);
        let before = page.weight();
        assert_eq!(made(&state, &job), Ok(()));
        let form = form_of(&page, &job).unwrap();
        assert_eq!((form.filled_at, form.key()), (3, page.key()));
        assert_eq!(form.fields().first(&http::header::CONTENT_ENCODING), Some(&b"br"[..]));
        let length = form.body.complete_length().unwrap();
        assert!(length < 200 && page.weight() >= before + length);
        // Replaced by a newer one, of which it says nothing.
        let newer = original(&text, 4);
        let (old, new) = (job, stored(&state, &newer));
        assert_eq!(made(&state, &old), Err(Undone::Gone));
        assert!(form_of(&newer, &new).is_none());
        // Purged at the very moment: while the form was made.
        for (seq, soft) in [(5, true), (6, false)] {
            let page = original(&text, seq - 1);
            let job = stored(&state, &page);
            purge(&state, seq, soft);
            assert_eq!(made(&state, &job), Err(Undone::Gone), "{seq}");
            assert!(form_of(&page, &job).is_none(), "{seq}");
        }
        let page = original(&text, 7);
        let job = stored(&state, &page);
        state.store.retain(job.digest, |_| false);
        assert_eq!(made(&state, &job), Err(Undone::Gone));
        assert!(form_of(&page, &job).is_none());
        drop(page);
        assert_eq!(made(&state, &job), Err(Undone::Gone), "it kept nothing alive");
    }

    #[test]
    fn what_becomes_hardly_smaller_is_not_tried_again() {
        let state = NodeState::new(Config::for_origin("http://127.0.0.1:1").unwrap()).unwrap();
        let mut number = 1_u64;
        let noise: Vec<u8> = (0..4000)
            .map(|_| {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (number >> 56) as u8
            })
            .collect();
        let page = original(&noise, 3);
        let job = stored(&state, &page);
        assert_eq!(made(&state, &job), Err(Undone::Useless));
        assert!(matches!(page.forms.get(job.coding, &job.rules), Form::Useless));
    }

    #[test]
    fn a_large_form_is_in_slices() {
        let bytes: Vec<u8> = (0..SLICE * 2 + 5).map(|n| n as u8).collect();
        let body = body(bytes.clone());
        assert!(body.is_complete());
        assert_eq!(body.slices().count(), 3);
        let again: Vec<u8> = body.slices().flat_map(|slice| slice.bytes.to_vec()).collect();
        assert_eq!(again, bytes);
    }

    #[test]
    fn an_update_takes_the_forms_over_under_its_own_fields_and_stamps() {
        let state = NodeState::new(Config::for_origin("http://127.0.0.1:1").unwrap()).unwrap();
        let page = original(&b"again and again ".repeat(100), 3);
        let html = |cache_control| {
            let fields = [
                (http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/html")),
                (http::header::CACHE_CONTROL, http::HeaderValue::from_static(cache_control)),
            ];
            let fields = http::HeaderMap::from_iter(fields);
            let head = crate::store::PackedHead::pack(page.key(), &fields).unwrap();
            Stored { head, body: page.body.clone(), filled_at: 2, ..Stored::example() }
        };
        let job = stored(&state, &page);
        assert_eq!(made(&state, &job), Ok(()));
        let updated = derived::with_forms_of(&page, html("max-age=9"), false);
        let form = form_of(&updated, &job).unwrap();
        assert_eq!(form.filled_at, 2, "the stamp of the update");
        assert_eq!(form.fields().first(&http::header::CACHE_CONTROL), Some(&b"max-age=9"[..]));
        // What may not be compressed any more has none.
        for (cache_control, authorized) in [("no-transform", false), ("max-age=9", true)] {
            let updated = derived::with_forms_of(&page, html(cache_control), authorized);
            assert!(form_of(&updated, &job).is_none());
            assert_eq!(updated.forms.is_never(), authorized);
            let again = derived::with_forms_of(&updated, html("max-age=9"), false);
            assert_eq!(again.forms.is_never(), authorized, "for ever");
        }
    }
}
