//! What can be done about a response that was not stored, by the word of the reason.
//!
//! The words are those of [`Reason::word`](crate::storability::Reason::word) and those that a node adds: its bounds,
//! what overtook a fetch, and how a fetch failed. `docs/not-cached.md` says the same at length.

/// What to do about the reason with this word, in a sentence or two; `None` of a word that is not known here.
pub fn remedy(word: &str) -> Option<&'static str> {
    Some(match word {
        "method" => {
            "Offer cacheable content by GET. A response to POST needs explicit freshness and its own URL as \
             Content-Location."
        }
        "status" => {
            "If responses with this status may be cached, have the origin send Cache-Control: max-age=... with them. \
             For 404, 410 and 5xx, you can set negative_ttl instead. Some are never stored: 304, 412, 416, 429 and \
             others that answer one request only."
        }
        "no-store" | "private" => {
            "If everyone may have it, have the origin change the header that is named; CDN-Cache-Control applies to \
             shared caches only."
        }
        "authorization" => {
            "If the response is the same for all users, have the origin send public or s-maxage. Otherwise \
             nothing is to be done."
        }
        "set-cookie" => {
            "Do not set cookies on shared pages. If the cookie is meant for everyone, have the origin send public or \
             s-maxage."
        }
        "cookie-without-freshness" => {
            "Have the origin send max-age or s-maxage, or name cookies that the origin does not read in \
             cookies.ignore of the site."
        }
        "vary-any" => {
            "Have the origin name in Vary the headers that the response varies on, in place of *."
        }
        "nothing-to-go-by" => {
            "Have the origin send max-age, ETag or Last-Modified; or set default_ttl of the site, for status 200, or \
             negative_ttl, for 404, 410 and 5xx."
        }
        "not-understood" => "Have the origin leave out must-understand for this status.",
        "partial-content" => "Correct the Content-Range that the origin sends with 206.",
        "already-stale" => {
            "Check the max-age or Expires that the origin sends, its clock, and the Age of a cache in front of it; or \
             have it send an ETag."
        }
        "no-cache" => {
            "Have the origin send an ETag or Last-Modified, with which each request can be validated; or \
             max-age in place of no-cache."
        }
        "second-opinion" => {
            "Please report it, with the headers of the request and the response: weir's rules and the library that \
             checks them should agree."
        }
        "too-many-tags" => {
            "Send fewer or shorter tags, or raise limits.tags; a tag has at most 1024 bytes."
        }
        "too-large" => {
            "Raise memory.max_object, or max_object of the rule that applies; or set up [disk], which takes larger \
             bodies."
        }
        "no-room" => {
            "Wait, if it was a peak. If it goes on, raise memory.size or, with [disk], disk.queue, and look whether \
             a directory of the disk store is set aside."
        }
        "no-room-for-client" => {
            "Nothing, if it was one client that fetched very much: others were not affected. If that client is a \
             proxy of yours, name it in node.trusted_proxies; if many users share its address, raise memory.size."
        }
        "field-too-long" => "Have the origin send a shorter header.",
        "overtaken" => "Nothing: the next request stores it.",
        "not-admitted" => {
            "Nothing, if the URL is rarely requested. If popular URLs are refused, raise memory.size or set up [disk]."
        }
        "not-for-everyone" => {
            "Nothing, if the file is for logged-in users only. Otherwise have the origin send it to clients without \
             cookies, too; or set anonymous_assets = false for the site."
        }
        "client-share" => {
            "Nothing, if it was one client that asked for very much: others were not affected. If that client is a \
             proxy of yours, name it in node.trusted_proxies; if many users share its address, raise \
             limits.origin_queue."
        }
        "origin-connect" => {
            "Check that the origin runs, that this node can reach its address, and its certificate if it is asked by \
             https."
        }
        "origin-connect-timeout" => {
            "Check the network between this node and the origin, and whether the origin accepts connections; or \
             raise timeouts.connect."
        }
        "origin-first-byte-timeout" => {
            "Find out why the origin answers so late, or raise timeouts.first_byte."
        }
        "origin-idle-timeout" => {
            "Find out why the origin pauses amid the body, or raise timeouts.idle."
        }
        "origin-total-timeout" => {
            "Find out why the origin sends so slowly, or raise timeouts.total."
        }
        "origin-bad-head" => {
            "Correct the head of the origin's response; what is wrong with it is named."
        }
        "origin-bad-body" => {
            "Look in the origin's log for why its response ended early: it broke off, or does not fit its \
             Content-Length or chunks."
        }
        "origin-reset" => {
            "Look in the origin's log for why it closed the connection: a crash, a restart, or a limit of its own."
        }
        "origin-head-too-large" => {
            "Have the origin send fewer or shorter headers, or raise limits.origin_header_bytes or \
             limits.origin_header_fields."
        }
        "origin-busy" => {
            "Give the site more origins or faster ones. If the origin can take more at once, raise \
             limits.origin_connections."
        }
        "no-parent" => {
            "Check that the parents run and can be reached; with parents.origin_fallback = true, edges ask the origin \
             meanwhile."
        }
        "loop" => {
            "Correct the chain of nodes: a parent or an origin leads back to a node that had the request before."
        }
        "client" => "Nothing: the client left, or its request could not be passed on.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storability::Reason;

    #[test]
    fn every_reason_of_the_rules_has_a_remedy_in_sentences() {
        for word in Reason::WORDS {
            let remedy = remedy(word).unwrap_or_else(|| panic!("{word} has none"));
            assert!(remedy.ends_with('.') && !remedy.contains("  "), "{word}: {remedy}");
        }
        assert_eq!(remedy("no such word"), None);
    }
}
