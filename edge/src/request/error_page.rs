//! The body of an error is replaced by a page of its site, at the first node. The request for a page goes the way of
//! any other: it finds what is stored, joins a running fill, and is stored. It has no page itself: what fails leaves
//! the error as it is.

use super::{Arrived, Spine};
use crate::access_log::RequestRecord;
use crate::body::ResponseBody;
use crate::error_page::Replacement;
use crate::metrics::Event;
use crate::server::Connection;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use std::rc::Rc;
use std::time::Instant;
use weir_rules::site_rules::{PageFile, PageSource, describe_page};

impl Spine {
    /// The response with a page in place of its body, if it is an error that has one. `is_own` says whether weir made
    /// the error.
    pub(super) async fn with_page(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        kept: Box<Replacement>,
        is_own: bool,
        response: Response<ResponseBody>,
        record: &mut RequestRecord,
    ) -> Response<ResponseBody> {
        let status = response.status();
        let Some(page) = kept.page(status, response.headers(), is_own) else { return response };
        let page = match &page.source {
            PageSource::File(file) => {
                record.outcome.coding = None;
                Some(of_file(file, kept.is_of_head()))
            }
            PageSource::Url(target) => self.fetch_page(connection, &kept, target, record).await,
        };
        let Some(page) = page else {
            self.metrics.count(Event::ErrorPageFailed);
            return response;
        };
        let (mut head, _) = response.into_parts();
        let (of_page, body) = page.into_parts();
        describe_page(status, &mut head.headers, &of_page.headers);
        Response::from_parts(head, body)
    }

    /// The page at a URL of the same host.
    async fn fetch_page(
        self: &Rc<Self>,
        connection: &Rc<Connection>,
        kept: &Replacement,
        target: &PathAndQuery,
        record: &mut RequestRecord,
    ) -> Option<Response<ResponseBody>> {
        let request = kept.request(target, Either::Right(Empty::new()))?;
        let mut of_page = RequestRecord::new(Instant::now());
        let arrived = Arrived { connection, request, notes: None, is_page: true };
        let begun = self.begin(arrived, None, None, &mut of_page).ok()?;
        let page = match self.go_on(connection, begun, None, &mut of_page) {
            Ok(page) => page,
            Err(waiting) => waiting.await.ok()?,
        };
        if page.status() != StatusCode::OK {
            return None;
        }
        record.outcome.coding = of_page.outcome.coding;
        record.memory = record.memory.take().or(of_page.memory.take());
        Some(page)
    }
}

fn of_file(file: &PageFile, is_of_head: bool) -> Response<ResponseBody> {
    let body = match is_of_head {
        true => ResponseBody::Empty,
        false => ResponseBody::from_bytes(file.content.clone()),
    };
    let mut response = Response::new(body);
    *response.headers_mut() = HeaderMap::from_iter([
        (header::CONTENT_TYPE, file.content_type.clone()),
        (header::CONTENT_LENGTH, HeaderValue::from(file.content.len())),
    ]);
    response
}
