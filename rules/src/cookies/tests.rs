use super::*;

fn request(lines: &[&[u8]]) -> HeaderMap {
    let value = |line: &&[u8]| (COOKIE, HeaderValue::from_bytes(line).unwrap());
    let mut request = HeaderMap::from_iter(lines.iter().map(value));
    for accepted in ["text/html", "text/plain"] {
        request.append("accept", HeaderValue::from_static(accepted));
    }
    request
}

#[test]
fn lines_become_one() {
    for (lines, one) in [
        (&[&b"a=1"[..]][..], &b"a=1"[..]),
        (&[b"session=abc", b"lang=de"], b"session=abc; lang=de"),
        (&[b"a=1; b=2", b"c=3"], b"a=1; b=2; c=3"),
        (&[b"", b"a=1", b" ", b"b=2", b""], b"a=1; b=2"),
        (&[b" a=1\t", b"b=2 "], b"a=1; b=2"),
        (&[b"", b""], b""),
        (&[b"a=\xff", b"\xfe", b"=;;=", b"a=1"], b"a=\xff; \xfe; =;;=; a=1"),
    ] {
        let mut request = request(lines);
        combine(&mut request);
        let left: Vec<_> = request.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(left, [one], "{lines:?}");
        assert_eq!(request.get_all("accept").iter().count(), 2, "others stay as they are");
    }
}

#[test]
fn without_a_cookie_there_is_none_after() {
    let mut request = request(&[]);
    combine(&mut request);
    assert!(!request.contains_key(COOKIE));
}

#[test]
fn a_line_that_compression_must_not_remember_makes_the_whole_so() {
    for sensitive in [false, true] {
        let mut request = request(&[b"a=1"]);
        let mut second = HeaderValue::from_static("b=2");
        second.set_sensitive(sensitive);
        request.append(COOKIE, second);
        combine(&mut request);
        assert_eq!(request[COOKIE].is_sensitive(), sensitive);
    }
}

#[test]
fn very_many_lines_are_no_longer_than_they_were() {
    let lines = vec![&b"a=1"[..]; 10_000];
    let mut request = request(&lines);
    combine(&mut request);
    assert_eq!(request.get_all(COOKIE).iter().count(), 1);
    assert_eq!(request[COOKIE].len(), lines.len() * 5 - 2);
}

#[test]
fn the_guide_shows_the_list_of_analytics() {
    let guide = include_str!("../../../docs/cookies.md");
    let list =
        guide.split("## The list of analytics").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = list.lines().filter_map(|line| line.strip_prefix("| ["));
    let names =
        rows.flat_map(|row| row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2));
    let (mut shown, mut known): (Vec<&str>, Vec<&str>) = (names.collect(), ANALYTICS.to_vec());
    shown.sort_unstable();
    known.sort_unstable();
    assert_eq!(shown, known);
}
