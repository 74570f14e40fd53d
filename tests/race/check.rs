//! What must hold for one answer.

use super::door::Door;
use super::world::{Floor, Kind, Resource};
use crate::support::{Answer, Client, pattern};

/// A request.
pub(crate) struct Asked {
    pub(crate) method: &'static str,
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The door's turns when the connection was made.
    pub(crate) turns: u64,
}

impl Asked {
    /// GET, as a browser does.
    pub(crate) fn plainly() -> Self {
        Self { method: "GET", fields: Vec::new(), turns: 0 }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) async fn send(&self, client: &mut Client, resource: &Resource) {
        let mut fields: Vec<(&str, &str)> = vec![("Host", resource.host)];
        fields.extend(self.fields.iter().map(|(name, value)| (*name, value.as_str())));
        client.request(self.method, &resource.target, &fields, "").await;
    }
}

/// What an answer was.
pub(crate) struct Seen {
    /// Whether it showed the resource, or why there is none: else it is an error.
    pub(crate) shown: bool,
    pub(crate) etag: Option<String>,
    /// By which it is counted.
    pub(crate) sorts: Vec<String>,
}

/// Checks an answer that came out of `door`; the error tells all about it.
pub(crate) fn check(
    door: &Door,
    resource: &Resource,
    asked: &Asked,
    floor: &Floor,
    answer: &Answer,
) -> Result<Seen, String> {
    let judge = Judge { door, resource, asked, floor, answer };
    judge.judge().map_err(|wrong| {
        format!(
            "{} ({}), {:?} {}{}: {wrong}\nasked {} {:?}\nfloor {floor:?}, now {}\nanswered {:?}\n\
             {} bytes of body, whole: {}\nits last purges:\n{}",
            door.name,
            door.node,
            resource.kind,
            resource.host,
            resource.target,
            asked.method,
            asked.fields,
            resource.version(),
            answer.head,
            answer.body.len(),
            answer.whole,
            resource.told(),
        )
    })
}

struct Judge<'a> {
    door: &'a Door,
    resource: &'a Resource,
    asked: &'a Asked,
    floor: &'a Floor,
    answer: &'a Answer,
}

/// `Err` with what is wrong unless it holds.
fn must(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}

impl Judge<'_> {
    fn judge(&self) -> Result<Seen, String> {
        let answer = self.answer;
        let status = answer.status;
        let mut seen = Seen { shown: false, etag: None, sorts: vec![status.to_string()] };
        if status >= 500 {
            let faulty = self.resource.kind == Kind::Faulty;
            must(faulty || self.was_ended() || self.door.has_parents, || {
                "an error from nowhere".into()
            })?;
            if !faulty {
                seen.sorts.push("error".into());
            }
            return Ok(seen);
        }
        seen.shown = true;
        let handled = answer.handled_by(&self.door.name);
        let by_parent = answer.values("cache-status").len() > 1;
        let breaks = matches!(self.resource.kind, Kind::Faulty | Kind::Large | Kind::Film);
        must(answer.whole || breaks || by_parent || self.was_ended(), || "broke off".into())?;
        if !answer.whole {
            seen.sorts.push("cut".into());
        }
        let version = self.version()?;
        self.is_recent(version, &handled)?;
        match status {
            200 if self.asked.method == "HEAD" => self.has_length(self.length(version))?,
            200 => {
                self.has_length(self.length(version))?;
                self.is_slice(version, 0, &answer.body, self.length(version))?;
            }
            206 => self.parts(version, &mut seen)?,
            304 => {
                let named = self.asked.field("If-None-Match").map(strong);
                let own = answer.field("etag").map(strong);
                must(named.is_some() && named == own, || "304 about another".into())?;
            }
            416 => self.is_unsatisfiable(version)?,
            _ => return Err("a status that nobody sent".into()),
        }
        seen.etag = answer.field("etag").map(str::to_owned);
        if handled == "hit" {
            seen.sorts.push("hit".into());
        }
        if handled == "hit; detail=disk" {
            seen.sorts.push("disk".into());
        }
        if self.resource.kind == Kind::Film {
            match handled.as_str() {
                "hit; detail=disk" => seen.sorts.push("film's hit".into()),
                _ if handled.starts_with("fwd=partial") => seen.sorts.push("film's part".into()),
                _ => {}
            }
        }
        if let [parent, _] = &answer.values("cache-status")[..] {
            let hit = parent.contains("; hit");
            seen.sorts.push(if hit { "parent's hit" } else { "parent's fetch" }.into());
        }
        for word in ["collapsed", "stale-while-revalidate", "stale-if-error"] {
            if handled.contains(word) {
                seen.sorts.push(word.into());
            }
        }
        Ok(seen)
    }

    /// Whether the node may have been ended meanwhile.
    fn was_ended(&self) -> bool {
        self.door.was_closed_since(self.asked.turns)
    }

    /// Which version it shows: its ETag says or, where there is none, its body.
    fn version(&self) -> Result<u64, String> {
        let resource = self.resource;
        let newest = resource.version();
        if resource.kind == Kind::Lying {
            let is_it = |version: &u64| {
                let (held, length) = (self.answer.body.len() as u64, resource.length(*version));
                let whole = if self.answer.whole { held } else { held.max(length) };
                whole == length
                    && self.answer.number("content-length").is_none_or(|told| told == length)
                    && pattern::first_difference(resource.seed(*version, ""), 0, &self.answer.body)
                        .is_none()
            };
            return (1..=newest).rev().find(is_it).ok_or_else(|| "the body of no version".into());
        }
        let etag = self.answer.field("etag").map(strong).ok_or("without an ETag")?;
        let version = etag.split('.').nth(1).and_then(|version| version.parse().ok());
        let version: u64 = version.ok_or("no ETag of the origin's")?;
        must(etag == resource.etag(version, self.variant()), || "the ETag of another".into())?;
        must(version <= newest, || "a version that is still to come".into())?;
        Ok(version)
    }

    /// I1.
    fn is_recent(&self, version: u64, handled: &str) -> Result<(), String> {
        let Floor { hard, soft, banned } = self.floor;
        must(version >= *hard, || format!("version {version} is older than a hard purge"))?;
        must(!banned.contains(&version), || format!("version {version} was purged by its tag"))?;
        let as_stale = handled.contains("detail=stale-while-revalidate")
            || (handled.starts_with("fwd=stale") && self.resource.kind == Kind::Faulty)
            || (handled.starts_with("fwd=stale; detail=") && !self.door.calm);
        must(version >= *soft || as_stale, || {
            format!("version {version}, older than a soft purge, was sent as fresh")
        })
    }

    fn parts(&self, version: u64, seen: &mut Seen) -> Result<(), String> {
        let answer = self.answer;
        must(self.asked.field("Range").is_some(), || "206 without a Range".into())?;
        if let Some(condition) = self.asked.field("If-Range") {
            must(answer.field("etag") == Some(condition), || "206 against If-Range".into())?;
        }
        let media_type = answer.field("content-type").unwrap_or_default();
        let Some(boundary) = media_type.strip_prefix("multipart/byteranges; boundary=") else {
            let (start, end) = self.span(version, answer.field("content-range"))?;
            self.has_length(end - start)?;
            return self.is_slice(version, start, &answer.body, end - start);
        };
        seen.sorts.push("multipart".into());
        if !answer.whole {
            return Ok(());
        }
        self.has_length(answer.body.len() as u64)?;
        let delimiter = format!("--{}", boundary.trim_matches('"')).into_bytes();
        self.multipart(version, &delimiter)
    }

    fn multipart(&self, version: u64, delimiter: &[u8]) -> Result<(), String> {
        let mut rest = &self.answer.body[..];
        let mut parts = 0;
        loop {
            // Before the first delimiter there may be a line break.
            rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
            rest = rest.strip_prefix(delimiter).ok_or("no delimiter where one is due")?;
            if rest.starts_with(b"--") {
                return must(parts > 1, || format!("{parts} parts"));
            }
            let end = rest.windows(4).position(|window| window == b"\r\n\r\n");
            let (head, body) = rest.split_at(end.ok_or("a part without a head")?);
            let head = String::from_utf8_lossy(head).to_ascii_lowercase();
            let range = head.lines().find_map(|line| line.strip_prefix("content-range: "));
            let (start, end) = self.span(version, range)?;
            let length = (end - start) as usize;
            let body = body.get(4..4 + length).ok_or("a part shorter than its range")?;
            self.is_slice(version, start, body, end - start)?;
            rest = &rest[rest.len() - (rest.len() - head.len() - 4 - length)..];
            parts += 1;
        }
    }

    /// A Content-Range, end exclusive: inside the version, and asked for.
    fn span(&self, version: u64, range: Option<&str>) -> Result<(u64, u64), String> {
        let range = range.ok_or("without Content-Range")?;
        let read = |range: &str| {
            let (span, length) = range.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = span.split_once('-')?;
            Some((first.parse().ok()?, last.parse::<u64>().ok()? + 1, length.parse().ok()?))
        };
        let (start, end, length): (u64, u64, u64) = read(range).ok_or("no Content-Range")?;
        must(length == self.length(version), || format!("{range} of {}", self.length(version)))?;
        let wanted = self.wanted(length);
        must(wanted.contains(&(start, end)), || format!("{range}, not one of {wanted:?}"))?;
        Ok((start, end))
    }

    /// The spans that were asked for and exist. The ones asked for here do not touch each other.
    fn wanted(&self, length: u64) -> Vec<(u64, u64)> {
        let range = self.asked.field("Range").unwrap_or_default();
        let specs = range.strip_prefix("bytes=").unwrap_or_default().split(',');
        let span = |spec: &str| {
            let (first, last) = spec.split_once('-')?;
            let last: Option<u64> = last.parse().ok();
            let span = match (first.parse::<u64>().ok(), last) {
                (Some(first), last) => (first, last.map_or(length, |last| length.min(last + 1))),
                (None, last) => (length.saturating_sub(last?), length),
            };
            (span.0 < span.1).then_some(span)
        };
        specs.filter_map(span).collect()
    }

    fn is_unsatisfiable(&self, version: u64) -> Result<(), String> {
        let length = self.length(version);
        let told = self.answer.field("content-range");
        must(told == Some(&format!("bytes */{length}")), || format!("not of {length} bytes"))?;
        must(self.wanted(length).is_empty(), || "416 for bytes that exist".into())
    }

    /// Bytes of the version from an offset on: `length` of them, or fewer of what broke off.
    fn is_slice(&self, version: u64, at: u64, body: &[u8], length: u64) -> Result<(), String> {
        let seed = self.resource.seed(version, self.variant());
        let difference = pattern::first_difference(seed, at, body);
        must(difference.is_none(), || format!("not of version {version} at {difference:?}"))?;
        let held = body.len() as u64;
        must(held <= length && (held == length || !self.answer.whole), || {
            format!("{held} bytes of {length} look whole")
        })
    }

    fn has_length(&self, length: u64) -> Result<(), String> {
        let told = self.answer.number("content-length");
        must(told.is_none_or(|told| told == length), || format!("Content-Length is not {length}"))
    }

    fn length(&self, version: u64) -> u64 {
        self.resource.length(version)
    }

    fn variant(&self) -> &'static str {
        self.resource.variant(self.asked.field("Accept-Encoding"))
    }
}

/// An entity tag without W/.
fn strong(etag: &str) -> &str {
    etag.strip_prefix("W/").unwrap_or(etag)
}
