//! Responses of which there are several forms: the original, and those in content codings.
//!
//! - Every one of them says that it depends on Accept-Encoding, whichever form it is, and so do 304 and HEAD.
//! - If-None-Match may name any form: it says that the client has this content.
//! - A range is one of the original, unless If-Range names another form.

use super::heads::is_popular;
use super::{AnswerForm, Heads, Wish, answer, from_stored, plain_from_fill};
use crate::body::{ResponseBody, Resume};
use crate::coding::{Choice, Codings, DecodedBody};
use crate::collapsing::{FillHead, Keeping, Reader};
use crate::store::{Form, Stored};
use http::{HeaderMap, Method, Response, StatusCode, header};
use std::sync::Arc;
use weir_rules::coding::{Candidate, Coding, decoded_fields, marks, vary_by_coding};
use weir_rules::validation::{self, Precondition};

/// An answer, and what is special about its coding.
pub(crate) struct InForm {
    /// The answer.
    pub(crate) response: Response<ResponseBody>,
    /// The coding that this node gave it.
    pub(crate) coded: Option<Coding>,
    /// The coding that is to be taken off it.
    pub(crate) unread: Option<Coding>,
}

impl InForm {
    fn plain(response: Response<ResponseBody>) -> Self {
        Self { response, coded: None, unread: None }
    }

    fn varying(mut response: Response<ResponseBody>, coded: Option<Coding>) -> Self {
        vary_by_coding(response.headers_mut());
        Self { response, coded, unread: None }
    }
}

/// An answer from a stored response in the form that was chosen.
pub(crate) fn from_stored_in(
    stored: &Arc<Stored>,
    heads: &Heads,
    wish: &Wish<'_>,
    choice: &Choice,
) -> InForm {
    let (coding, form) = match choice {
        Choice::Plain => return InForm::plain(from_stored(stored, heads, wish)),
        Choice::Codable { coding, form } => (*coding, form.as_ref()),
        Choice::Unread(coding) => {
            let response = if_current(stored, heads, wish, None);
            let whole = || from_stored(stored, heads, &unconditional(wish, false));
            return unread(response.unwrap_or_else(whole), stored.status, *coding);
        }
    };
    if let Some(response) = if_current(stored, heads, wish, form.and(coding)) {
        return InForm::varying(response, None);
    }
    let is_by_range = wish.ranged && *wish.method == Method::GET && stored.status == StatusCode::OK;
    if is_by_range && let Some(answer) = by_range(stored, heads, wish, coding) {
        return answer;
    }
    let wish = unconditional(wish, false);
    match form {
        // Its fields say of themselves that they vary.
        Some(form) => {
            // Each answer counts for the response that the form was made of; the form's own count is for its head.
            if !is_popular(form) {
                form.served.count();
            }
            InForm { coded: coding, ..InForm::plain(from_stored(form, heads, &wish)) }
        }
        None => InForm::varying(from_stored(stored, heads, &wish), None),
    }
}

/// The answer to a request for a range; `None` if it gets the whole.
fn by_range(
    stored: &Arc<Stored>,
    heads: &Heads,
    wish: &Wish<'_>,
    coding: Option<Coding>,
) -> Option<InForm> {
    let wish_here = unconditional(wish, true);
    let Some(validator) = wish.headers.get(header::IF_RANGE) else {
        return Some(InForm::varying(from_stored(stored, heads, &wish_here), None));
    };
    if marks::if_range_is_marked(wish.headers) {
        let (rules, _) = stored.forms.made()?;
        return Coding::ALL.into_iter().find_map(|coding| {
            let Form::Coded(form) = stored.forms.get(coding, &rules) else { return None };
            let is_it = form.fields().first(&header::ETAG) == Some(validator.as_bytes());
            is_it.then(|| InForm {
                coded: Some(coding),
                ..InForm::plain(from_stored(&form, heads, &wish_here))
            })
        });
    }
    // The date is that of every form: it does not say of which the client has the beginning.
    if coding.is_some() && marks::if_range_is_date(wish.headers) {
        return None;
    }
    Some(InForm::varying(from_stored(stored, heads, &wish_here), None))
}

/// A 304, if the client has any form of what is stored. `coding` is that of a 200.
fn if_current(
    stored: &Arc<Stored>,
    heads: &Heads,
    wish: &Wish<'_>,
    coding: Option<Coding>,
) -> Option<Response<ResponseBody>> {
    if !wish.conditional {
        return None;
    }
    let compared = marks::compared_conditions(wish.headers);
    let request = compared.as_ref().unwrap_or(wish.headers);
    let fields = heads.fields(stored);
    let judged = validation::evaluate(request, stored.status, &fields);
    (judged == Precondition::NotModified).then(|| {
        let mut response =
            answer(stored.status, fields, AnswerForm::NotModified, ResponseBody::Empty);
        name_copy(&mut response, wish.headers, coding);
        response
    })
}

/// Has a 304 name the copy that the client has, in whatever form.
pub(crate) fn name_copy(
    response: &mut Response<ResponseBody>,
    request: &HeaderMap,
    coding: Option<Coding>,
) {
    let fields = response.headers_mut();
    let named = fields.get(header::ETAG).and_then(|etag| marks::named(request, etag, coding));
    if let Some(named) = named {
        fields.insert(header::ETAG, named);
    }
}

fn unconditional<'a>(wish: &Wish<'a>, ranged: bool) -> Wish<'a> {
    Wish { conditional: false, ranged, codings: None, ..*wish }
}

/// An answer whose coding the client cannot read: with the fields that it has once that is taken off.
fn unread(mut response: Response<ResponseBody>, status: StatusCode, coding: Coding) -> InForm {
    if response.status() != status {
        return InForm::varying(response, None);
    }
    let decoded = decoded_fields(response.headers());
    *response.headers_mut() = decoded;
    InForm { response, coded: None, unread: Some(coding) }
}

/// Has the body of an answer decoded as it goes.
pub(crate) fn decode(
    response: Response<ResponseBody>,
    decoding: DecodedBody,
) -> Response<ResponseBody> {
    response.map(|body| match body {
        ResponseBody::Empty => ResponseBody::Empty,
        body => ResponseBody::Decoded(Box::new((body, decoding))),
    })
}

/// An answer that follows a running fill, under this key. `resume` lets the client go on alone. The first clients of
/// a response get the original: it is compressed once it is stored.
pub(crate) fn from_fill(
    head: &FillHead,
    reader: Reader,
    wish: &Wish<'_>,
    key: &[u8],
    resume: Option<Resume>,
) -> InForm {
    let is_stored = head.terms.is_ok() && !matches!(head.keeping, Keeping::Pass(_));
    let Some(codings) = wish.codings.as_ref().filter(|_| is_stored) else {
        return InForm::plain(plain_from_fill(head, reader, wish, resume));
    };
    let candidate = Candidate {
        status: head.status,
        fields: &head.fields,
        length: head.complete_length,
        key,
        authorized: codings.authorized,
    };
    let unread_coding = codings.unread(&candidate);
    if unread_coding.is_none() && codings.rules.permit(&candidate).is_err() {
        return InForm::plain(plain_from_fill(head, reader, wish, resume));
    }
    let compared = wish.conditional.then(|| marks::compared_conditions(wish.headers)).flatten();
    let by_date = codings.chosen().is_some() && marks::if_range_is_date(wish.headers);
    let ranged = wish.ranged && !by_date && unread_coding.is_none();
    let here = Wish { headers: compared.as_ref().unwrap_or(wish.headers), ranged, ..*wish };
    let mut response = plain_from_fill(head, reader, &here, resume);
    if response.status() == StatusCode::NOT_MODIFIED && head.status != StatusCode::NOT_MODIFIED {
        name_copy(&mut response, wish.headers, None);
    }
    match unread_coding {
        Some(coding) => unread(response, head.status, coding),
        None => InForm::varying(response, None),
    }
}

/// What is added to the answer of an upstream to this client alone: to one that would be compressed if it were
/// stored, Vary; to a 304, the tag of the copy that the client has.
pub(crate) fn passed_on(
    response: &mut Response<ResponseBody>,
    codings: &Codings<'_>,
    request: &HeaderMap,
    key: &[u8],
) {
    if response.status() == StatusCode::NOT_MODIFIED {
        return name_copy(response, request, None);
    }
    let length = response.headers().get(header::CONTENT_LENGTH);
    let candidate = Candidate {
        status: response.status(),
        fields: response.headers(),
        length: length.and_then(|length| length.to_str().ok()?.parse().ok()),
        key,
        authorized: codings.authorized,
    };
    if codings.rules.permit(&candidate).is_ok() {
        vary_by_coding(response.headers_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise each hit would make its head anew, which is a fifth of it.
    #[test]
    fn a_form_that_is_sent_again_and_again_has_a_ready_made_head() {
        let (heads, headers) = (Heads::new(), HeaderMap::new());
        let (stored, form) = (Arc::new(Stored::example()), Arc::new(Stored::example()));
        let choice = Choice::Codable { coding: Some(Coding::Gzip), form: Some(Arc::clone(&form)) };
        let (method, codings) = (&Method::GET, None);
        let wish = Wish { method, headers: &headers, conditional: false, ranged: false, codings };
        for _ in 0..10 {
            let answer = from_stored_in(&stored, &heads, &wish, &choice);
            assert_eq!(answer.coded, Some(Coding::Gzip));
        }
        assert!(is_popular(&form) && form.served.times() < 10, "{}", form.served.times());
    }
}
