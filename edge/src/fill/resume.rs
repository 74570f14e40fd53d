//! How a client that falls out of a body's window goes on (invariant I7).

use super::context::FillContext;
use super::head::strong;
use crate::body::Resume;
use crate::collapsing::FillHead;
use crate::error::UpstreamError;
use crate::upstream::UpstreamBody;
use http::{HeaderValue, StatusCode, header};
use weir_rules::range::{self, Span};

/// How to go on with a response of this head: by a Range request of the client's own under the same
/// strong validator. `None` unless it is a whole representation of known length with one.
pub(crate) fn resume(head: &FillHead, context: impl FnOnce() -> FillContext) -> Option<Resume> {
    let end = head.end?;
    let validator = strong(&head.fields).filter(|_| head.status == StatusCode::OK)?;
    let context = context();
    Some(Box::new(move |at| {
        Box::pin(async move {
            let mut ask = Box::new(context.ask.clone());
            if let Ok(range) = HeaderValue::from_str(&format!("bytes={at}-")) {
                ask.headers.set(header::RANGE, range);
            }
            ask.headers.set(header::IF_RANGE, validator.clone());
            let stamp = context.state.purges.stamp();
            let question = context.fetch_context(stamp.seq());
            let answer = context.sources.fetch(&question, &ask, &UpstreamBody::Empty).await?;
            let (status, fields) = (answer.response.status(), answer.response.headers().clone());
            let found = range::content_range(&fields);
            let fits = status == StatusCode::PARTIAL_CONTENT
                && strong(&fields).as_ref() == Some(&validator)
                && found.and_then(|found| found.span) == Span::new(at, end);
            match fits {
                true => Ok(context.ahead(answer.body, &fields)),
                false => Err(UpstreamError::BadHead("the representation has changed".into())),
            }
        })
    }))
}
