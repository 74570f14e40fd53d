//! What came of a request, as its answer says.

use http::{HeaderMap, StatusCode};
use weir_protocol::warm::{Cached, Fetched};
use weir_rules::tier::Tier;

/// What came of an answer with these fields to a request that was to warm `tier`.
pub(super) fn came_of(status: StatusCode, headers: &HeaderMap, tier: Tier) -> Fetched {
    let members = members(headers);
    // This node's own is the last, and before it stands that of the parent it asked.
    let back = match tier {
        Tier::Edge => 1,
        Tier::Parent => 2,
    };
    let own = members.last().cloned().unwrap_or_default();
    let asked = members.len().checked_sub(back).and_then(|at| members.get(at));
    let asked = asked.cloned().unwrap_or_default();
    let mut fetched = Fetched { status: Some(status.as_u16()), ..Fetched::default() };
    if status.is_client_error() || status.is_server_error() {
        // Of an error that came from further on, a detail says why it is not stored.
        let made_it = [own, asked].into_iter().find(|member| !member.came_from_further);
        let why = made_it.and_then(|member| member.detail);
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        fetched.error = Some(format!("answered with {}{why}", status.as_u16()));
        return fetched;
    }
    fetched.cache = asked.cached;
    if asked.cached.is_none() {
        let why = own.detail.or(asked.detail).map(|why| format!(": {why}")).unwrap_or_default();
        fetched.error = Some(format!("not stored{why}"));
    }
    fetched
}

/// What one cache says in Cache-Status (RFC 9211).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Member {
    cached: Option<Cached>,
    detail: Option<String>,
    /// Whether it passed on what came from further on.
    came_from_further: bool,
}

fn members(headers: &HeaderMap) -> Vec<Member> {
    let lines = headers.get_all("cache-status").iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    split(&lines.join(","), ',').map(member).collect()
}

fn member(text: &str) -> Member {
    let mut member = Member::default();
    let mut validated = (false, false);
    for parameter in split(text, ';').skip(1) {
        match parameter {
            "hit" => member.cached = Some(Cached::Hit),
            "stored" => member.cached = Some(Cached::Stored),
            "collapsed" => member.cached = member.cached.or(Some(Cached::Collapsed)),
            "fwd=stale" => validated.0 = true,
            "fwd-status=304" => {
                validated.1 = true;
                member.came_from_further = true;
            }
            _ => {
                member.came_from_further |= parameter.starts_with("fwd-status=");
                if let Some(detail) = parameter.strip_prefix("detail=") {
                    member.detail = Some(detail.trim_matches('"').to_owned());
                }
            }
        }
    }
    // What was validated is stored as it was before.
    if validated == (true, true) {
        member.cached = member.cached.or(Some(Cached::Stored));
    }
    member
}

/// The parts of a structured list or item, trimmed; quoted strings are left whole.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = text.split(move |c: char| {
        let here = c == at && !quoted;
        match c {
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = c == '\\' && quoted && !escaped;
        here
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn came(status: u16, lines: &[&'static str], tier: Tier) -> (Option<Cached>, Option<String>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("cache-status", http::HeaderValue::from_static(line));
        }
        let fetched = came_of(StatusCode::from_u16(status).unwrap(), &headers, tier);
        assert_eq!(fetched.status, Some(status));
        (fetched.cache, fetched.error)
    }

    #[test]
    fn this_nodes_word_counts_whatever_was_before_it() {
        let before = "cdn; hit, \"a, b\"; fwd=miss; stored";
        for (last, cached) in [
            ("e; hit; ttl=3", Cached::Hit),
            ("e; fwd=uri-miss; fwd-status=200; stored", Cached::Stored),
            ("e; fwd=uri-miss; fwd-status=200; stored; collapsed", Cached::Stored),
            ("e; fwd=uri-miss; collapsed", Cached::Collapsed),
            ("e; fwd=stale; fwd-status=304; ttl=9", Cached::Stored),
        ] {
            assert_eq!(came(200, &[before, last], Tier::Edge), (Some(cached), None), "{last}");
        }
        let (cached, error) =
            came(200, &["cdn; hit", "e; fwd=uri-miss; detail=no-store"], Tier::Edge);
        assert_eq!((cached, error.as_deref()), (None, Some("not stored: no-store")));
    }

    #[test]
    fn of_a_parent_that_is_warmed_the_parents_word_counts() {
        let own = "e; fwd=request; fwd-status=200";
        let stored = came(200, &["p; fwd=uri-miss; stored", own], Tier::Parent);
        assert_eq!(stored, (Some(Cached::Stored), None));
        let (cached, error) = came(200, &["p; fwd=uri-miss; detail=private", own], Tier::Parent);
        assert_eq!((cached, error.as_deref()), (None, Some("not stored: private")));
        assert_eq!(came(200, &[own], Tier::Parent).1.as_deref(), Some("not stored"));
    }

    #[test]
    fn an_error_is_a_failure_even_where_it_is_stored() {
        for last in
            ["e; fwd=uri-miss; fwd-status=404; stored", "e; fwd=uri-miss; fwd-status=404; detail=x"]
        {
            let (_, error) = came(404, &[last], Tier::Edge);
            assert_eq!(error.as_deref(), Some("answered with 404"));
        }
        let parent = ["p; fwd=uri-miss; detail=origin-timeout", "e; fwd=request; fwd-status=504"];
        let (_, error) = came(504, &parent, Tier::Parent);
        assert_eq!(error.as_deref(), Some("answered with 504 (origin-timeout)"));
        let (_, error) = came(502, &["e; fwd=uri-miss; detail=origin-connect"], Tier::Edge);
        assert_eq!(error.as_deref(), Some("answered with 502 (origin-connect)"));
        assert_eq!(came(204, &[], Tier::Edge).1.as_deref(), Some("not stored"));
    }
}
