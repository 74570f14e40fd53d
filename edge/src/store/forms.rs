//! The coded forms of a stored response: a place for them in every response, one pointer wide, and empty in most.
//!
//! INVARIANT: a form is found through its original alone. Whatever removes the original, or makes it stale or
//! invalid, does so to its forms.

use super::Stored;
use arc_swap::ArcSwap;
use once_cell::race::OnceBox;
use std::sync::Arc;
use weir_rules::coding::{Coding, CodingRules};

/// The forms of one stored response.
#[derive(Default)]
pub(crate) struct Forms(OnceBox<ArcSwap<FormSet>>);

#[derive(Clone, Default)]
struct FormSet {
    /// The rules that they were made by. `None`: none is ever made.
    rules: Option<Arc<CodingRules>>,
    /// By [`Coding::index`].
    forms: [Form; Coding::ALL.len()],
}

/// Forms by coding, and the rules that they were made by.
pub(crate) type Made = (Arc<CodingRules>, Vec<(Coding, Form)>);

/// One form.
#[derive(Clone, Debug, Default)]
pub(crate) enum Form {
    /// It was not made.
    #[default]
    Absent,
    /// It would be hardly smaller than the original.
    Useless,
    /// Its fields and its bytes, under the stamps of the original.
    Coded(Arc<Stored>),
}

impl Forms {
    /// Those of a response of which none is ever made: it answered a request with Authorization.
    pub(crate) fn never() -> Self {
        let forms = Self::default();
        forms.put(FormSet::default());
        forms
    }

    /// Whether none is ever made.
    pub(crate) fn is_never(&self) -> bool {
        self.0.get().is_some_and(|set| set.load().rules.is_none())
    }

    /// The form in this coding, as these rules make it.
    pub(crate) fn get(&self, coding: Coding, rules: &Arc<CodingRules>) -> Form {
        let Some(set) = self.0.get() else { return Form::Absent };
        let set = set.load();
        match &set.rules {
            Some(made_by) if is_same(made_by, rules) => set.forms[coding.index()].clone(),
            _ => Form::Absent,
        }
    }

    /// Whether these rules made any, or found one useless: then they permit it.
    pub(crate) fn are_of(&self, rules: &Arc<CodingRules>) -> bool {
        let made_by = |set: &ArcSwap<FormSet>| {
            set.load().rules.as_ref().is_some_and(|own| is_same(own, rules))
        };
        self.0.get().is_some_and(made_by)
    }

    /// Puts a form that these rules made, in place of all that others made. To be called under the lock of the
    /// key: no other form may be put at the same time.
    pub(crate) fn publish(&self, coding: Coding, rules: &Arc<CodingRules>, form: Form) {
        let before = self.0.get().map(|set| FormSet::clone(&set.load()));
        let mut set = match before {
            Some(set) if set.rules.is_none() => return,
            Some(set) if set.rules.as_ref().is_some_and(|made_by| is_same(made_by, rules)) => set,
            _ => FormSet { rules: Some(Arc::clone(rules)), ..FormSet::default() },
        };
        set.forms[coding.index()] = form;
        self.put(set);
    }

    fn put(&self, set: FormSet) {
        let set = Arc::new(set);
        let place = self.0.get_or_init(|| Box::new(ArcSwap::new(Arc::clone(&set))));
        place.store(set);
    }

    /// The rules that they were made by, and those that were.
    pub(crate) fn made(&self) -> Option<Made> {
        let set = self.0.get()?.load();
        let rules = Arc::clone(set.rules.as_ref()?);
        let forms = Coding::ALL.into_iter().zip(set.forms.iter().cloned());
        Some((rules, forms.filter(|(_, form)| !matches!(form, Form::Absent)).collect()))
    }

    /// Bytes that they take of `memory.size`.
    pub(super) fn weight(&self) -> u64 {
        /// The set, and its place.
        const SET: u64 = 128;
        let Some(set) = self.0.get() else { return 0 };
        let set = set.load();
        let forms = set.forms.iter().map(|form| match form {
            Form::Coded(stored) => stored.weight(),
            Form::Absent | Form::Useless => 0,
        });
        SET + forms.sum::<u64>()
    }
}

/// A reload keeps what did not change.
fn is_same(a: &Arc<CodingRules>, b: &Arc<CodingRules>) -> bool {
    Arc::ptr_eq(a, b)
}

impl std::fmt::Debug for Forms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let codings = self.made().map(|(_, forms)| {
            forms.into_iter().map(|(coding, _)| coding.name()).collect::<Vec<_>>()
        });
        f.debug_tuple("Forms").field(&codings).finish()
    }
}
