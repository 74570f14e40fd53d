//! The client of control that the commands use.

use reqwest::Url;
use reqwest::redirect::Policy;
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// To connect to control.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For an answer, beyond the wait that the call itself asks for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two parts of an answer that goes on; longer than a node may take.
const LONGEST_SILENCE: Duration = Duration::from_secs(600);

/// Largest answer that is read, bytes.
const LARGEST_ANSWER: usize = 64 << 20;

/// Control as a command sees it.
pub(crate) struct Client {
    http: reqwest::Client,
    control: Url,
    token: Option<String>,
}

/// An answer of control.
pub(crate) struct Answer {
    /// Its HTTP status.
    pub(crate) status: u16,
    /// Its body; `null` where that is no JSON.
    pub(crate) body: Value,
}

impl Client {
    /// A client of the control at `control`; `token` is sent with each call. Its certificate may
    /// come from the authorities in the PEM file `ca` too.
    ///
    /// # Errors
    /// `control` is no URL that can be called, the token no field value, or `ca` not what it has
    /// to be.
    pub(crate) fn new(
        control: &str,
        token: Option<String>,
        ca: Option<&Path>,
    ) -> Result<Self, String> {
        let accepted = "accepted: a URL such as http://127.0.0.1:9090 or https://control.example";
        let url =
            Url::parse(control).map_err(|e| format!("control {control:?}: {e}; {accepted}"))?;
        match url.scheme() {
            "http" if ca.is_some() => {
                return Err(format!("--ca is for a control with https, and {control:?} has http"));
            }
            "http" | "https" if url.has_host() => {}
            scheme => return Err(format!("control {control:?}: scheme {scheme}; {accepted}")),
        }
        if token.as_ref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            return Err("the token in WEIR_TOKEN or WEIR_TOKEN_FILE has characters that a token cannot have".into());
        }
        let trust = weir_edge::trust(ca).map_err(|why| format!("--ca {why}"))?;
        // Straight to control: no proxy from the environment, no redirect to elsewhere.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .tls_backend_preconfigured(trust)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { http, control: url, token })
    }

    /// GET with query parameters.
    ///
    /// # Errors
    /// Control cannot be reached, or does not answer in time; in words.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, String> {
        let mut url = self.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.call(self.http.get(url), Duration::ZERO).await
    }

    /// GET of a path given by its segments, each of which may hold anything.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn get_at(&self, segments: &[&str]) -> Result<Answer, String> {
        self.call(self.http.get(self.at(segments)), Duration::ZERO).await
    }

    /// DELETE of a path given by its segments.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn delete(&self, segments: &[&str]) -> Result<Answer, String> {
        self.call(self.http.delete(self.at(segments)), Duration::ZERO).await
    }

    /// DELETE of a path with parameters.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn delete_where(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, String> {
        let mut url = self.url(path);
        url.query_pairs_mut().extend_pairs(query);
        self.call(self.http.delete(url), Duration::ZERO).await
    }

    /// PUT of a JSON body to a path given by its segments; control may take `wait`.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn put(
        &self,
        segments: &[&str],
        body: &Value,
        wait: Duration,
    ) -> Result<Answer, String> {
        self.call(self.http.put(self.at(segments)).json(body), wait).await
    }

    /// POST of a purge, which control may take `wait` to see done and counted.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn purge(&self, body: &Value, wait: Duration) -> Result<Answer, String> {
        let mut url = self.url("/v1/purges");
        // A control of an older version looks at no query, and counts unasked.
        url.query_pairs_mut().append_pair("count", "true");
        self.call(self.http.post(url).json(body), wait).await
    }

    /// POST of a JSON body; control may take `wait` to do what it says.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn post(
        &self,
        path: &str,
        body: &Value,
        wait: Duration,
    ) -> Result<Answer, String> {
        self.call(self.http.post(self.url(path)).json(body), wait).await
    }

    /// POST of a JSON body that is answered with lines of JSON, which `read` takes as they come.
    /// Returns the answer where it is a refusal.
    ///
    /// # Errors
    /// Control cannot be reached, or is silent for too long; in words.
    pub(crate) async fn post_lines(
        &self,
        path: &str,
        body: &Value,
        mut read: impl FnMut(Value),
    ) -> Result<Option<Answer>, String> {
        let request = self.authorized(self.http.post(self.url(path)).json(body));
        let silent = |_| format!("no answer from control for {} s", LONGEST_SILENCE.as_secs());
        let sent = tokio::time::timeout(LONGEST_SILENCE, request.send()).await.map_err(silent)?;
        let mut response = sent.map_err(|error| self.unreachable(&error))?;
        if !response.status().is_success() {
            return self.whole(response).await.map(Some);
        }
        let mut rest = Vec::new();
        loop {
            let part = tokio::time::timeout(LONGEST_SILENCE, response.chunk()).await;
            let Some(part) = part.map_err(silent)?.map_err(|error| self.unreachable(&error))?
            else {
                return Ok(None);
            };
            rest.extend_from_slice(&part);
            let mut lines = rest.split_inclusive(|byte| *byte == b'\n').peekable();
            let mut left = 0;
            while let Some(line) = lines.next_if(|line| line.ends_with(b"\n")) {
                left += line.len();
                let line = serde_json::from_slice(line);
                read(line.map_err(|error| format!("not a valid answer of control: {error}"))?);
            }
            rest.drain(..left);
            if rest.len() > LARGEST_ANSWER {
                return Err(format!("a line of control's answer exceeds {LARGEST_ANSWER} bytes"));
            }
        }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.control.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}{path}"));
        url.set_query(None);
        url
    }

    /// Each segment is escaped by itself, so that none can lead elsewhere.
    fn at(&self, segments: &[&str]) -> Url {
        let mut url = self.url("");
        // Only URLs that cannot be a base have no segments, and control's has a host.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    async fn call(
        &self,
        request: reqwest::RequestBuilder,
        wait: Duration,
    ) -> Result<Answer, String> {
        let request = self.authorized(request).timeout(wait + ANSWER_TIMEOUT);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.whole(response).await
    }

    fn authorized(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> String {
        let (control, why) = (&self.control, root_cause(error));
        format!("cannot reach control at {control}: {why}; is weir serve running there?")
    }

    async fn whole(&self, mut response: reqwest::Response) -> Result<Answer, String> {
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + part.len() > LARGEST_ANSWER {
                return Err(format!("control's answer exceeds {LARGEST_ANSWER} bytes"));
            }
            body.extend_from_slice(&part);
        }
        let status = response.status().as_u16();
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) })
    }
}

impl Answer {
    /// Whether control did what it was asked.
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether control refused what it was asked for as wrong in itself.
    pub(crate) fn is_usage_error(&self) -> bool {
        let code = self.body["error"]["code"].as_str();
        matches!(
            (self.status, code),
            (400, Some("invalid" | "malformed"))
                | (404, Some("no_such_site"))
                | (413, Some("too_large"))
        )
    }

    /// The refusal in one line, with the field it is about.
    pub(crate) fn refusal(&self) -> String {
        let error = &self.body["error"];
        let status = self.status;
        match (error["message"].as_str(), error["field"].as_str()) {
            (Some(message), Some(field)) => format!("{status}: {field}: {message}"),
            (Some(message), None) => format!("{status}: {message}"),
            _ => format!("{status}: not an answer of weir's control"),
        }
    }
}

/// The innermost cause: the outer ones repeat the URL.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
