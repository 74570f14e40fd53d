//! Which form of a stored response a request gets.

use crate::store::{Form, Stored};
use http::{HeaderMap, header};
use std::sync::Arc;
use weir_rules::coding::{AcceptedCodings, Candidate, Coding, CodingRules, Uncoded};

/// What of a request decides the coding of its answer: only of a client's, at a site that compresses. Nodes
/// exchange originals.
#[derive(Clone, Copy)]
pub(crate) struct Codings<'a> {
    /// What it accepts.
    pub(crate) accepted: AcceptedCodings,
    /// What the site compresses.
    pub(crate) rules: &'a Arc<CodingRules>,
    /// Whether it has Authorization: then it gets originals.
    pub(crate) authorized: bool,
}

impl Codings<'_> {
    /// The coding that it gets of what is compressed.
    pub(crate) fn chosen(&self) -> Option<Coding> {
        if self.authorized { None } else { self.accepted.choose(&self.rules.order) }
    }

    /// The coding that a response has and that this client cannot read, if it is to be decoded for it.
    pub(crate) fn unread(&self, candidate: &Candidate<'_>) -> Option<Coding> {
        let coding = self.rules.decodable(candidate)?;
        (!self.accepted.reads(coding)).then_some(coding)
    }
}

/// The form of a stored response that a request gets.
#[derive(Debug)]
pub(crate) enum Choice {
    /// It has one form only.
    Plain,
    /// There are, or may be, several forms of it.
    Codable {
        /// The coding that the client gets of it.
        coding: Option<Coding>,
        /// The form in it, if it is made.
        form: Option<Arc<Stored>>,
    },
    /// The origin gave it this coding, which the client cannot read.
    Unread(Coding),
}

impl Choice {
    /// The coding that is still to be made.
    pub(crate) fn wanted(&self) -> Option<Coding> {
        match self {
            Self::Codable { coding, form: None } => *coding,
            _ => None,
        }
    }
}

/// Chooses.
pub(crate) fn choose(stored: &Arc<Stored>, codings: &Codings<'_>) -> Choice {
    let mut coding = codings.chosen();
    if let Some(chosen) = coding {
        match stored.forms.get(chosen, codings.rules) {
            Form::Coded(form) => return Choice::Codable { coding, form: Some(form) },
            Form::Useless => coding = None,
            Form::Absent => {}
        }
    }
    // It is known to have several, whatever this client gets: nothing has to be looked at.
    if coding.is_none() && stored.forms.are_of(codings.rules) {
        return Choice::Codable { coding: None, form: None };
    }
    let fields = match fields_of_text(stored, codings.rules) {
        Ok(fields) => fields,
        // In memory it would be compressed.
        Err(Uncoded::TooLong) if varies(stored, codings.rules) => {
            return Choice::Codable { coding: None, form: None };
        }
        Err(_) => return Choice::Plain,
    };
    let candidate = candidate(stored, &fields);
    match codings.rules.permit(&candidate) {
        Ok(()) => Choice::Codable { coding, form: None },
        Err(Uncoded::Encoded) => codings.unread(&candidate).map_or(Choice::Plain, Choice::Unread),
        Err(_) => Choice::Plain,
    }
}

/// Whether a stored response is compressed, or why not.
///
/// # Errors
/// It is not.
pub(crate) fn permit(stored: &Stored, rules: &CodingRules) -> Result<(), Uncoded> {
    rules.permit(&candidate(stored, &fields_of_text(stored, rules)?))
}

/// The fields of a response that is compressed unless they say otherwise.
///
/// # Errors
/// It is not compressed, whatever they say.
fn fields_of_text(stored: &Stored, rules: &CodingRules) -> Result<HeaderMap, Uncoded> {
    // Without a map of its fields: what has another type is most of what a site has.
    let content_type = stored.fields().first(&header::CONTENT_TYPE);
    if !content_type.is_some_and(|content_type| rules.types.take(content_type)) {
        return Err(Uncoded::Type);
    }
    if stored.body.kept_below().is_some() || !stored.body.is_complete() {
        return Err(Uncoded::TooLong);
    }
    Ok(stored.fields().to_map())
}

/// Whether there are, or may be at another time, several forms of a stored response.
pub(crate) fn varies(stored: &Stored, rules: &CodingRules) -> bool {
    match stored.body.kept_below() {
        Some(_) => rules.permit(&candidate(stored, &stored.fields().to_map())).is_ok(),
        None => permit(stored, rules).is_ok(),
    }
}

fn candidate<'a>(stored: &'a Stored, fields: &'a HeaderMap) -> Candidate<'a> {
    Candidate {
        status: stored.status,
        fields,
        length: stored.body.complete_length(),
        key: stored.key(),
        authorized: stored.forms.is_never(),
    }
}
