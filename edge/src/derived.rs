//! Responses that are made from stored ones: updated by a HEAD, joined from parts, compressed.
//!
//! INVARIANT (I2): a derived response carries the lowest stamp of its sources and the tags of each,
//! so that a purge that takes a source takes it too. It is stored among the variants of its source
//! and only while the source is still there, so that a removal of the source (by a purge, an unsafe
//! request, a reload) removes it too.

use crate::store::{
    Digest, Form as CodedForm, Forms, PackedHead, Served, Store, Stored, StoredBody,
};
use http::HeaderMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_rules::coding::{Candidate, Coding, coded_fields};
use weir_rules::invalidation::Seq;
use weir_rules::storability::Terms;

/// The purges that a response has been judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamps {
    /// filled_at_seq: a purge up to here came before its fetch.
    pub(crate) filled_at: Seq,
    /// Every purge up to here has been judged; at least `filled_at`.
    pub(crate) valid_at: Seq,
}

impl Stamps {
    /// Those of a response whose fetch began at this seq.
    pub(crate) fn fetched(filled_at: Seq) -> Self {
        Self { filled_at, valid_at: filled_at }
    }

    /// Those of a response joined from this one and a stored one. By the tags of both it is judged
    /// again by all purges since the older fetch.
    pub(crate) fn joined(self, other: &Stored) -> Self {
        Self::fetched(self.filled_at.min(other.filled_at))
    }
}

/// The tags of a response made from two answers about one representation: the new ones and, until
/// the whole is fetched again, the old ones too. A purge by an old tag may have been ordered before
/// the new answer was sent and yet reach this node after it.
pub(crate) fn joined_tags(old: &[Box<str>], new: Box<[Box<str>]>) -> Box<[Box<str>]> {
    if new.is_empty() {
        return old.into();
    }
    let kept: Vec<_> = old.iter().filter(|tag| !new.contains(tag)).cloned().collect();
    new.into_iter().chain(kept).collect()
}

/// The form of a derived response.
pub(crate) struct Form<'a> {
    /// Its fields.
    pub(crate) fields: &'a HeaderMap,
    /// Its bytes.
    pub(crate) body: StoredBody,
    /// The terms on which it is stored.
    pub(crate) terms: &'a Terms,
}

/// The seq up to which a stored response was judged, and the last soft purge that took it.
fn judged(source: &Stored) -> (AtomicU64, AtomicU64) {
    // Who judges it writes them in the other order: with the seq up to which it was judged, the soft purge is seen.
    let valid_at = source.valid_at.load(Ordering::Acquire);
    (valid_at.into(), source.soft_at.load(Ordering::Relaxed).into())
}

/// The response of another form that a stored one makes, under the same stamps and tags. `None` if
/// a field is too long to be stored.
fn derive(source: &Stored, form: Form<'_>) -> Option<Stored> {
    let (valid_at, soft_at) = judged(source);
    let derived = Stored {
        head: PackedHead::pack(source.key(), form.fields).ok()?,
        site: Arc::clone(&source.site),
        status: source.status,
        body: form.body,
        forms: Forms::default(),
        freshness: form.terms.freshness,
        lifetime_source: form.terms.lifetime_source,
        selecting: source.selecting.clone(),
        tags: source.tags.clone(),
        filled_at: source.filled_at,
        valid_at,
        soft_at,
        served: Served::already(source.served.times()),
    };
    Some(with_forms_of(source, derived, false))
}

/// The form of a stored response in a content coding, under the same stamps and tags. `None` if a field is too long
/// to be stored.
pub(crate) fn coded(source: &Stored, coding: Coding, body: StoredBody) -> Option<Stored> {
    let length = body.complete_length()?;
    let fields = coded_fields(&source.fields().to_map(), coding, length);
    let (valid_at, soft_at) = judged(source);
    Some(Stored {
        head: PackedHead::pack(source.key(), &fields).ok()?,
        site: Arc::clone(&source.site),
        status: source.status,
        body,
        forms: Forms::default(),
        freshness: source.freshness,
        lifetime_source: source.lifetime_source,
        selecting: source.selecting.clone(),
        tags: source.tags.clone(),
        filled_at: source.filled_at,
        valid_at,
        soft_at,
        served: Served::default(),
    })
}

/// An updated response with the forms of the one that it updates: their bytes, under its own fields and stamps, as
/// far as it may still be compressed. `authorized` says that the update answered a request with Authorization.
pub(crate) fn with_forms_of(base: &Stored, mut updated: Stored, authorized: bool) -> Stored {
    if authorized || base.forms.is_never() {
        updated.forms = Forms::never();
        return updated;
    }
    let Some((rules, made)) = base.forms.made() else { return updated };
    let fields = updated.fields().to_map();
    let candidate = Candidate {
        status: updated.status,
        fields: &fields,
        length: updated.body.complete_length(),
        key: updated.key(),
        authorized,
    };
    if rules.permit(&candidate).is_err() {
        return updated;
    }
    for (coding, form) in made {
        let form = match form {
            CodedForm::Coded(form) => {
                let body = form.body.clone();
                coded(&updated, coding, body)
                    .map_or(CodedForm::Absent, |form| CodedForm::Coded(Arc::new(form)))
            }
            other => other,
        };
        // Nobody else knows it yet.
        updated.forms.publish(coding, &rules, form);
    }
    updated
}

/// Stores a derived response in the place of its source, if that is still stored.
pub(crate) fn replace(store: &Store, digest: Digest, source: &Arc<Stored>, form: Form<'_>) -> bool {
    let Some(derived) = derive(source, form).map(Arc::new) else { return false };
    let insertion = store.insert_over(digest, source.key(), |held| {
        held.iter().any(|held| Arc::ptr_eq(held, source)).then(|| Arc::clone(&derived))
    });
    insertion.is_stored()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::purge::Purges;
    use crate::store::DigestSecret;
    use http::{HeaderValue, header};
    use weir_config::Memory;
    use weir_rules::invalidation::{Bounds, KeyedPurge, Purge, Target, Validity};
    use weir_rules::storability::Reuse;
    use weir_rules::vary::Vary;

    const DIGEST: Digest = 1;

    fn tags(tags: &[&str]) -> Box<[Box<str>]> {
        tags.iter().map(|tag| Box::from(*tag)).collect()
    }

    fn stored(filled_at: Seq) -> Arc<Stored> {
        let tags = tags(&["shop"]).into();
        let valid_at = AtomicU64::new(filled_at);
        Arc::new(Stored { tags, filled_at, valid_at, ..Stored::example() })
    }

    fn store(held: &Arc<Stored>) -> Store {
        let memory = Memory { size: 1 << 20, max_object: 1 << 10, connections: None };
        let store = Store::new(&memory, 4, &DigestSecret::from([0; 16]), None);
        assert!(store.insert_over(DIGEST, held.key(), |_| Some(Arc::clone(held))).is_stored());
        store
    }

    fn held(store: &Store) -> Option<Arc<Stored>> {
        store.get(DIGEST, Stored::example().key())?.variants().first().cloned()
    }

    /// Replaces `source` by its own bytes with another field.
    fn derive_from(store: &Store, source: &Arc<Stored>) -> bool {
        let fields = HeaderMap::from_iter([(header::ETAG, HeaderValue::from_static("\"b\""))]);
        let form = Form { fields: &fields, body: source.body.clone(), terms: &terms() };
        replace(store, DIGEST, source, form)
    }

    fn terms() -> Terms {
        let Stored { freshness, lifetime_source, .. } = Stored::example();
        Terms {
            freshness,
            vary: Vary::Nothing,
            lifetime_source,
            omit: Vec::new(),
            no_transform: false,
            reuse: Reuse::Fresh,
        }
    }

    #[test]
    fn a_derived_response_is_purged_as_its_source_is() {
        let source = stored(3);
        let store = store(&source);
        assert!(derive_from(&store, &source));
        let derived = held(&store).unwrap();
        assert_eq!(derived.fields().first(&header::ETAG), Some(&b"\"b\""[..]));
        assert_eq!((derived.filled_at, &*derived.tags), (3, &*tags(&["shop"])));
        for (seq, soft, validity) in [(4, true, Validity::Soft(4)), (5, false, Validity::Hard(5))] {
            let purges = Purges::new(Bounds::default());
            let targets = vec![Target::parse_tag("shop").unwrap()];
            let purge = Purge { seq, targets, site: None, soft, versions: false };
            purges.apply(&KeyedPurge::as_sent(purge));
            assert_eq!(purges.validity(&derived), validity);
        }
        let soft = stored(3);
        soft.soft_at.store(2, Ordering::Relaxed);
        let (fields, body) = (HeaderMap::new(), soft.body.clone());
        let derived = derive(&soft, Form { fields: &fields, body, terms: &terms() }).unwrap();
        assert_eq!(derived.soft_at.into_inner(), 2, "a soft-purged response stays so");
    }

    #[test]
    fn a_derived_response_is_not_stored_once_its_source_is_gone() {
        let source = stored(3);
        let store = store(&source);
        store.retain(DIGEST, |_| false);
        assert!(!derive_from(&store, &source));
        assert!(held(&store).is_none());
        let newer = stored(4);
        assert!(store.insert_over(DIGEST, newer.key(), |_| Some(Arc::clone(&newer))).is_stored());
        assert!(!derive_from(&store, &source));
        assert!(Arc::ptr_eq(&held(&store).unwrap(), &newer));
    }

    #[test]
    fn what_is_joined_has_the_lowest_stamp_and_all_tags() {
        for (new, old, lowest) in [(5, 3, 3), (3, 5, 3)] {
            let stamps = Stamps { filled_at: new, valid_at: 9 };
            assert_eq!(stamps.joined(&stored(old)), Stamps::fetched(lowest));
        }
        let joined = joined_tags(&tags(&["a", "b"]), tags(&["b", "c"]));
        assert_eq!(joined, tags(&["b", "c", "a"]));
        assert_eq!(joined_tags(&tags(&["a"]), tags(&[])), tags(&["a"]));
    }
}
