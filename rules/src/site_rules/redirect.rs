//! Texts in which parts of the request stand: targets of redirects, and cache tags.

use http::{HeaderValue, StatusCode};

/// What a target may be, for messages.
pub const TARGET_FORM: &str = "a path that begins with / or {path}, or a URL, with {host}, {path}, {query} and {1} to {9} (what the \
                               stars of match.path stand for) in it; in the name of a host, {host} alone";

/// What a tag may be, for messages.
pub const TAG_FORM: &str = "a tag of printable ASCII without spaces and commas, with {1} to {9} (what the stars of match.path stand for) in it";

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// Where to.
    pub to: Template,
}

/// A text with parts of a request in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub(super) Vec<Part>);

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(String),
    Host,
    Path,
    Query,
    /// What the star of this number stands for, from 1.
    Capture(usize),
}

/// The parts of a request that stand in a target, as sent.
#[derive(Clone, Copy, Debug)]
pub struct RedirectedRequest<'a> {
    /// Lower case, with a port that is not the default one.
    pub host: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its query, without `?`.
    pub query: Option<&'a str>,
    /// What the stars of the pattern stand for.
    pub captures: &'a [&'a str],
}

impl Template {
    /// Reads a target.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let template = Self(Self::parts(text)?);
        template.check_host()?;
        Ok(template)
    }

    /// Reads a cache tag, in which only stars stand.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse_tag(text: &str) -> Result<Self, String> {
        let parts = Self::parts(text)?;
        let is_text = |part: &Part| match part {
            Part::Literal(text) => !text.contains(','),
            Part::Capture(_) => true,
            Part::Host | Part::Path | Part::Query => false,
        };
        match parts.iter().all(is_text) {
            true if !parts.is_empty() => Ok(Self(parts)),
            true => Err("empty".into()),
            false => Err("has more than letters and {1} to {9} in it".into()),
        }
    }

    /// The parts of a text.
    pub(super) fn parts(text: &str) -> Result<Vec<Part>, String> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("has characters that no URL has; percent-encode them".into());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("has a { without a }")?;
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(match name {
                "host" => Part::Host,
                "path" => Part::Path,
                "query" => Part::Query,
                digit if digit.len() == 1 && ("1"..="9").contains(&digit) => {
                    Part::Capture(usize::from(digit.as_bytes()[0] - b'0'))
                }
                _ => return Err(format!("has {{{name}}}, which stands for nothing")),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err("has a } without a {".into());
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(parts)
    }

    /// A client must not choose the host that it, or another client, is sent to.
    fn check_host(&self) -> Result<(), String> {
        let shown = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            // It is checked to be a host, and is that of the site.
            Part::Host => "host".to_owned(),
            Part::Path => "/path".to_owned(),
            Part::Query => "?query".to_owned(),
            Part::Capture(_) => "{}".to_owned(),
        };
        let whole: String = self.0.iter().map(shown).collect();
        let authority = match whole.split_once("://") {
            Some(("http" | "https", rest)) => rest,
            _ if whole.starts_with('/') && !whole.starts_with("//") => return Ok(()),
            _ => return Err("begins with neither / nor http:// nor https://".into()),
        };
        let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
        match &authority[..end] {
            "" => Err("has no host".into()),
            host if host.contains("{}") => Err("lets the request choose the host".into()),
            host if host.contains('@') => Err("has a user".into()),
            _ => Ok(()),
        }
    }

    /// The highest number of a star that stands in it; 0 if none does.
    pub fn captures(&self) -> usize {
        let captures = self.0.iter().map(|part| if let Part::Capture(n) = part { *n } else { 0 });
        captures.max().unwrap_or(0)
    }

    /// The tag for what the stars stand for: one, whatever that is. Commas, which part tags, are percent-encoded;
    /// spaces cannot be in a path.
    pub fn expand_tag(&self, captures: &[String]) -> String {
        let mut tag = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => tag.push_str(text),
                Part::Capture(n) => {
                    tag.push_str(
                        &captures.get(n - 1).map_or("", String::as_str).replace(',', "%2C"),
                    );
                }
                Part::Host | Part::Path | Part::Query => {}
            }
        }
        tag
    }

    /// The target for a request; `None` if it is no valid field value.
    pub fn expand(&self, request: &RedirectedRequest<'_>) -> Option<HeaderValue> {
        let mut target = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(text) => target.push_str(text),
                Part::Host => target.push_str(request.host),
                Part::Path => target.push_str(request.path),
                Part::Query => {
                    if let Some(query) = request.query {
                        target.push('?');
                        target.push_str(query);
                    }
                }
                Part::Capture(n) => target.push_str(request.captures.get(n - 1).unwrap_or(&"")),
            }
        }
        // Browsers take `//` and `/\` for the beginning of another host.
        if target.starts_with('/') {
            let path = target.trim_start_matches(['/', '\\']);
            let climbs = target.len() - path.len() > 1;
            target = if climbs { format!("/{path}") } else { target };
        }
        HeaderValue::from_str(&target).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_request_stand_in_the_target() {
        for (template, path, query, captures, expected) in [
            (
                "https://{host}{path}{query}",
                "/a",
                Some("b=c"),
                &[][..],
                "https://example.com/a?b=c",
            ),
            ("https://{host}{path}{query}", "/a", None, &[], "https://example.com/a"),
            ("https://other.example/{1}", "/old/a/b", None, &["a/b"], "https://other.example/a/b"),
            ("/new/{2}-{1}", "/x", None, &["a", "b"], "/new/b-a"),
            ("{path}/", "/a", None, &[], "/a/"),
            ("/{1}", "/x", None, &["/evil.example"], "/evil.example"),
            ("/{1}", "/x", None, &["\\evil.example"], "/evil.example"),
            ("{path}", "//evil.example", None, &[], "/evil.example"),
            ("/{1}{2}", "/x", None, &["", "//evil.example"], "/evil.example"),
        ] {
            let template = Template::parse(template).unwrap();
            let request = RedirectedRequest { host: "example.com", path, query, captures };
            assert_eq!(template.expand(&request).unwrap(), expected, "{template:?}");
        }
    }

    #[test]
    fn what_is_no_target_is_told() {
        for (text, part) in [
            ("", "neither / nor http"),
            ("a", "neither / nor http"),
            ("//a", "neither / nor http"),
            ("{1}", "neither / nor http"),
            ("{host}/a", "neither / nor http"),
            ("ftp://a/", "neither / nor http"),
            ("https://{1}/a", "lets the request choose the host"),
            ("https://a.example{1}", "lets the request choose the host"),
            ("https://{host}{1}", "lets the request choose the host"),
            ("https://u@a/", "user"),
            ("https:///a", "no host"),
            ("/{0}", "{0}, which stands for nothing"),
            ("/{10}", "stands for nothing"),
            ("/{a", "{ without"),
            ("/a}", "} without"),
            ("/a b", "percent-encode"),
        ] {
            let told = Template::parse(text).unwrap_err();
            assert!(told.contains(part), "{text:?}: {told}");
        }
        assert_eq!(Template::parse("/{3}{1}").unwrap().captures(), 3);
    }

    #[test]
    fn what_a_star_stands_for_makes_one_tag() {
        let tag = Template::parse_tag("product-{1}").unwrap();
        assert_eq!(tag.expand_tag(&["7,8".into()]), "product-7%2C8");
        assert_eq!(tag.expand_tag(&["a/b%20c".into()]), "product-a/b%20c");
        for (text, part) in [
            ("", "empty"),
            ("a,b", "more than letters"),
            ("a b", "percent-encode"),
            ("{path}", "more than letters"),
            ("{x}", "stands for nothing"),
        ] {
            let told = Template::parse_tag(text).unwrap_err();
            assert!(told.contains(part), "{text:?}: {told}");
        }
    }
}
