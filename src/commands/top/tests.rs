//! The screen at the sizes that matter, with figures that are believable and such as no control
//! should send.

use super::draw::draw;
use super::panes::Pane;
use super::poll::Call;
use super::printed;
use super::state::{State, Step};
use crate::text::Paint;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A time after which a test's clock goes on.
fn begin() -> Instant {
    Instant::now()
}

fn node(name: &str, tier: &str, state: &str, requests: Option<f64>) -> Value {
    json!({
        "name": name, "tier": tier, "region": "eu", "state": state, "applied_seq": 41,
        "lag": if state == "connected" { 0 } else { 3 },
        "requests_per_second": requests, "hit_ratio": requests.map(|_| 0.9321),
        "errors_per_second": requests.map(|_| 0.0), "bytes_per_second": requests.map(|r| r * 2e4),
        "upstream_per_second": requests.map(|r| r * 0.07), "p50_ms": requests.map(|_| 0.42),
        "p99_ms": requests.map(|_| 12.34), "results": requests.map(|r| json!({"hit": r})),
        "stored": 1200, "stored_bytes": 180_000_000, "capacity_bytes": 536_870_912,
        "evictions": 0, "connections": 17, "uptime_seconds": 90_000,
    })
}

fn stats() -> Value {
    let rates = |requests: f64| {
        let mut rates = node("", "", "connected", Some(requests));
        rates["results"] = json!({"hit": 116.0, "uri-miss": 7.9, "stale": 0.5});
        rates
    };
    let tier = |tier: &str, requests: f64| {
        let mut members = rates(requests);
        members["tier"] = tier.into();
        members["stored"] = 4800.into();
        members
    };
    json!({
        "log": {"head": 44}, "traffic": rates(124.4),
        "tiers": [tier("edge", 124.4), tier("parent", 8.7)],
        "by_node": [
            node("edge-eu-west", "edge", "connected", Some(61.0)),
            node("edge-eu-north", "edge", "connected", Some(40.2)),
            node("edge-us-east", "edge", "connected", Some(23.2)),
            node("edge-asia-se", "edge", "offline", None),
            node("parent-eu", "parent", "connected", Some(6.3)),
            node("parent-us", "parent", "silent", None),
        ],
    })
}

fn popular(count: u64) -> Value {
    let object = |n: u64| {
        json!({"url": format!("https://shop.example.com/catalogue/shoes/{n}.html?page=2"),
               "site": "shop", "hits": 20_000 - n, "bytes": 48_000, "status": 200,
               "age_seconds": 17, "ttl_seconds": 583 - n.cast_signed() * 20,
               "tags": ["shoes", "catalogue"], "variants": 1,
               "nodes": ["edge-eu-west", "edge-us-east"]})
    };
    json!({"nodes": [{"name": "edge-eu-west"}, {"name": "edge-asia-se", "error": "offline"}],
           "objects": (1..=count).map(object).collect::<Vec<_>>()})
}

fn uncached() -> Value {
    json!({
        "nodes": [{"name": "edge-eu-west"}],
        "reasons": [{"reason": "no-store", "sentence": "", "count": 1234},
                    {"reason": "set-cookie", "sentence": "", "count": 45}],
        "urls": [{"url": "https://shop.example.com/cart", "site": "shop", "reason": "no-store",
                  "sentence": "Cache-Control says no-store.", "status": 200, "seconds_ago": 3,
                  "nodes": ["edge-eu-west"]},
                 {"url": "https://shop.example.com/login", "site": "shop", "reason": "set-cookie",
                  "sentence": "It sets a cookie, and nothing says that it may be shared.",
                  "status": null, "seconds_ago": 190, "nodes": ["edge-eu-west", "edge-us-east"]}],
    })
}

fn purges() -> Value {
    let arrival = |name: &str, state: &str| {
        let matched = (state == "applied").then_some(3);
        json!({"name": name, "tier": "edge", "state": state, "matched": matched})
    };
    json!({"head": 44, "purges": [
        {"seq": 43, "created_at": "2026-11-21T21:47:52.372Z", "status": "completed",
         "elapsed_ms": 0.84, "paths": ["/img/*"], "tags": ["news"],
         "nodes": [arrival("edge-eu-west", "applied"), arrival("edge-us-east", "applied")]},
        {"seq": 44, "created_at": "2026-11-21T21:48:02.001Z", "status": "in_progress",
         "elapsed_ms": 64_000.0, "all": true, "soft": true,
         "nodes": [arrival("edge-eu-west", "applied"), arrival("edge-asia-se", "offline"),
                   arrival("parent-us", "pending")]},
    ]})
}

fn certificates() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    json!({"certificates": [
        {"source": "ordered", "name": "shop.example.com", "site": "shop", "expires": now + 5_190_000,
         "renews": now + 2_600_000, "error": null},
        {"source": "ordered", "name": "new.example.com", "site": "shop", "expires": null, "renews": null,
         "error": "http-01 failed: no\u{1b}route"},
        {"source": "file", "names": ["a.example", "*.a.example"], "expires": now - 7_300},
    ]})
}

fn traffic() -> Value {
    let point = |n: u32| {
        json!({"at": format!("2026-11-21T21:{:02}:{:02}.000Z", n / 30, n % 30 * 2),
               "requests_per_second": f64::from(n % 40)})
    };
    let totals = json!({
        "requests": 74_640, "hits": 69_564, "hit_ratio": 0.932, "bytes": 1_500_000_000, "bytes_saved": 1_400_000_000,
        "origin_requests": 5_076, "p50_ms": 0.42, "p99_ms": 12.3,
        "status": {"1xx": 0, "2xx": 74_000, "3xx": 600, "4xx": 37, "5xx": 3},
    });
    json!({"step_seconds": 2, "points": (0..300).map(point).collect::<Vec<_>>(), "totals": totals})
}

/// A state with these answers, all of now.
fn told(answers: [(Call, Value); 5], now: Instant) -> State {
    let mut state = State::new("http://127.0.0.1:9090".into(), Duration::from_secs(2), now);
    for (call, answer) in answers {
        state.figures.take(call, Ok(answer), now);
    }
    state.figures.take(Call::Certificates, Ok(json!({"certificates": []})), now);
    assert_eq!(state.trouble(now), None, "all of it is read");
    state
}

fn believable(now: Instant) -> State {
    let answers = [
        (Call::Stats, stats()),
        (Call::Traffic, traffic()),
        (Call::Popular, popular(50)),
        (Call::Uncached, uncached()),
        (Call::Purges, purges()),
    ];
    told(answers, now)
}

/// The cells of a screen of this size.
fn cells(state: &State, now: Instant, (width, height): (u16, u16), coloured: bool) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(state, now, coloured, frame.buffer_mut())).expect("it is drawn");
    terminal.backend().buffer().clone()
}

/// Its lines, without what is blank at their ends.
fn screen(state: &State, now: Instant, size: (u16, u16)) -> Vec<String> {
    let buffer = cells(state, now, size, false);
    let lines = buffer.content().chunks(usize::from(size.0).max(1));
    let line = |cells: &[ratatui::buffer::Cell]| {
        cells.iter().map(|cell| cell.symbol()).collect::<String>().trim_end().to_owned()
    };
    lines.map(line).collect()
}

fn press(state: &mut State, keys: &[KeyCode], size: (u16, u16)) {
    for key in keys {
        let step = state.press(KeyEvent::from(*key), Rect::new(0, 0, size.0, size.1));
        assert_eq!(step, Step::GoOn, "{key:?}");
    }
}

#[test]
fn at_80x24_nodes_and_one_more_pane_are_read_in_full() {
    let now = begin();
    let mut state = believable(now);
    let shown = screen(&state, now, (80, 24));
    for (line, parts) in [
        (0, &["weir http://127.0.0.1:9090  4 of 6 nodes connected, seq 44", "every 2s"][..]),
        (1, &["124 req/s  93.2 % hits  p50 0.42 ms  p99 12.3 ms  8.7 up/s  0 err/s  2.4 MiB/s"]),
        (2, &["r 10 min  74.6k req  93.2 % hits  5076 origin  3 5xx  37 4xx  1.3 GiB saved"]),
        (3, &["req/s ", "\u{2581}", "\u{2588}", "peak 39"]),
        (4, &["1 nodes 4 of 6 connected, by name"]),
        (5, &["NODE", "STATE", "REQ/S", "HITS", "P50 MS", "P99 MS", "UP/S", "ERR/S", "MEM", "LAG"]),
        (6, &["edge \u{d7}4", "3 of 4", "124", "93.2 %", "34 %", "3"]),
        (7, &["  edge-asia-se ", "offline", "-", "34 %", "3"]),
        (8, &["  edge-eu-north ", "connected", "40", "93.2 %", "0.42", "12.3", "2.8", "0"]),
        (23, &["1 nodes 2 URLs 3 misses 4 purges 5 TLS", "? help", "q quit", "s sort", "p pause"]),
    ] {
        for part in parts {
            assert!(shown[line].contains(part), "{line}: {part:?} in {:?}", shown[line]);
        }
    }
    let below = shown[14..].join("\n");
    assert!(below.contains("2 URLs popular stored responses, by hits, without edge-asia-se"));
    assert!(below.contains("1-7 of 50") && below.contains("20.0k"), "{below}");
    press(&mut state, &[KeyCode::Char('3')], (80, 24));
    let below = screen(&state, now, (80, 24))[13..].join("\n");
    for part in [
        "3 misses not stored, by latest",
        "now: uri-miss 7.9/s, stale 0.5/s; not stored: no-store 1234, set-cookie 45",
        "3 s   200  no-store    edge-eu-west  https://shop.example.com/cart",
        "3 min     -  set-cookie  2 nodes       https://shop.example.com/login",
    ] {
        assert!(below.contains(part), "{part}\n{below}");
    }
    let narrow = screen(&state, now, (60, 24)).join("\n");
    assert!(narrow.contains("\nnow: uri-miss 7.9/s, +1 more; not stored: +2 more"), "{narrow}");
    press(&mut state, &[KeyCode::Char('4')], (80, 24));
    let below = screen(&state, now, (80, 24))[13..].join("\n");
    for part in [
        "4 purges 1 open, latest",
        "44   1/3    64 s pending: edge-asia-se (offline), parent-us everything (soft)",
        "43   2/2 0.84 ms completed",
    ] {
        assert!(below.contains(part), "{part}\n{below}");
    }
}

#[test]
fn keys_change_the_range_and_what_was_of_another_is_not_shown() {
    let now = begin();
    let mut state = believable(now);
    press(&mut state, &[KeyCode::Char('p'), KeyCode::Char('r')], (80, 24));
    assert!(!state.paused, "its figures are asked for");
    let shown = screen(&state, now, (80, 24));
    assert_eq!(shown[2], "r 1 h  asking control\u{2026}");
    assert_eq!(shown[3], "");
    assert_eq!(state.trouble(now), None);
    state.figures.take(Call::Traffic, Ok(traffic()), now);
    let shown = screen(&state, now, (80, 24));
    assert!(shown[2].starts_with("r 1 h  74.6k req  93.2 % hits"), "{shown:#?}");
    press(&mut state, &[KeyCode::Char('R'), KeyCode::Char('R')], (80, 24));
    assert!(screen(&state, now, (80, 24))[2].starts_with("r 30 d "));
    // It is asked for every ten seconds only.
    state.figures.take(Call::Traffic, Ok(traffic()), now);
    for (call, answer) in [
        (Call::Stats, stats()),
        (Call::Popular, popular(1)),
        (Call::Uncached, uncached()),
        (Call::Purges, purges()),
        (Call::Certificates, certificates()),
    ] {
        state.figures.take(call, Ok(answer), now + Duration::from_secs(11));
    }
    assert_eq!(state.trouble(now + Duration::from_secs(12)), None);
    let trouble = state.trouble(now + Duration::from_secs(14)).unwrap_or_default();
    assert!(trouble.starts_with("figures are 14 s old"), "{trouble}");
    // As wide as the terminal is, whole figures.
    let wide = screen(&state, now, (160, 24));
    assert!(wide[2].ends_with("p99 12.3 ms  p50 0.42 ms  1.4 GiB sent"), "{wide:#?}");
    let narrow = screen(&state, now, (40, 24));
    assert_eq!(narrow[2], "r 30 d  74.6k req  93.2 % hits");
    // An older control tells no totals.
    state.figures.take(Call::Traffic, Ok(json!({"step_seconds": 2, "points": []})), now);
    assert_eq!(screen(&state, now, (80, 24))[2], "r 30 d");
}

#[test]
fn certificates_are_listed_with_their_expiry_and_what_went_wrong() {
    let now = begin();
    let mut state = believable(now);
    press(&mut state, &[KeyCode::Char('5')], (80, 24));
    let waiting = screen(&state, now, (80, 24)).join("\n");
    assert!(waiting.contains("5 TLS"), "{waiting}");
    state.figures.take(Call::Certificates, Ok(certificates()), now);
    for size in [(80, 24), (200, 60)] {
        let shown = screen(&state, now, size);
        let at = |text: &str| {
            let at = shown.iter().position(|line| line.contains(text));
            at.unwrap_or_else(|| panic!("{text}\n{}", shown.join("\n")))
        };
        let title = at("5 TLS certificates, 1 with an error, by expiry");
        assert_eq!(at("new.example.com"), title + 2, "nobody is served there");
        let failing = &shown[title + 2];
        assert!(failing.contains("none yet") && failing.contains("http-01"), "{failing}");
        assert!(shown[at("a.example, *.a.example")].contains("2 h ago"), "{shown:#?}");
        assert!(shown[at("shop.example.com  ")].contains("in 60 days"), "{shown:#?}");
    }
    press(&mut state, &[KeyCode::Char('s')], (80, 24));
    let shown = screen(&state, now, (80, 24)).join("\n");
    assert!(shown.contains("5 TLS certificates, 1 with an error, by name"), "{shown}");
    press(&mut state, &[KeyCode::Char('4')], (200, 60));
    assert!(screen(&state, now, (200, 60)).join("\n").contains("4 purges"));
    let none = json!({"certificates": []});
    state.figures.take(Call::Certificates, Ok(none), now);
    press(&mut state, &[KeyCode::BackTab, KeyCode::Char('1'), KeyCode::BackTab], (80, 24));
    let shown = screen(&state, now, (80, 24)).join("\n");
    assert!(shown.contains("no certificates: [tls] is not configured"), "{shown}");
}

#[test]
fn at_40x10_the_pane_that_is_looked_at_is_all_there_is() {
    let now = begin();
    let mut state = believable(now);
    let shown = screen(&state, now, (40, 10));
    assert!(shown[2].starts_with("1 nodes 4 of 6 connected"), "{shown:#?}");
    for part in ["NODE", "REQ/S", "HITS"] {
        assert!(shown[3].contains(part), "{shown:#?}");
    }
    assert!(shown[4].starts_with("edge \u{d7}4"), "{shown:#?}");
    press(&mut state, &[KeyCode::Tab], (40, 10));
    let shown = screen(&state, now, (40, 10));
    assert!(shown[2].starts_with("2 URLs") && shown[2].contains("1-5 of 50"), "{shown:#?}");
    assert!(shown[4].contains(".html?page=2"), "a URL's end is kept: {shown:#?}");
}

#[test]
fn at_200x60_everything_is_there_at_once() {
    let now = begin();
    let state = believable(now);
    let shown = screen(&state, now, (200, 60)).join("\n");
    for part in [
        "REGION",
        "STORED",
        "USED",
        "OUT/S",
        "CONNS",
        "UPTIME",
        "172 MiB",
        "25 h",
        "https://shop.example.com/catalogue/shoes/1.html?page=2",
        "3 misses not stored",
        "tag news",
        "everything (soft)",
        "pending: edge-asia-se (offline), parent-us",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let wider = screen(&state, now, (260, 60)).join("\n");
    assert!(wider.contains("Cache-Control says no-store."), "{wider}");
}

#[test]
fn whatever_is_told_any_size_is_drawn() {
    let now = begin();
    let nasty = "\u{1b}[2J\u{9b}31m\u{7}\r\n\u{202e}\u{4e16}\u{754c}".repeat(40);
    let many = |n: u32| {
        let mut node = node(&format!("{n}{nasty}"), "edge", "connected", Some(f64::MAX));
        node["lag"] = u64::MAX.into();
        node["stored_bytes"] = u64::MAX.into();
        node
    };
    let mut stats = stats();
    stats["by_node"] = (0..50).map(many).collect();
    let object = json!({"url": nasty, "hits": u64::MAX, "bytes": u64::MAX, "status": 65_535,
                        "age_seconds": u64::MAX, "ttl_seconds": i64::MIN, "tags": [nasty, nasty],
                        "nodes": []});
    let missed = json!({"url": nasty, "reason": nasty, "sentence": nasty, "status": null,
                        "seconds_ago": u64::MAX, "nodes": [nasty]});
    let mut uncached = uncached();
    uncached["urls"] = json!([missed]);
    uncached["reasons"] = json!([{"reason": nasty, "count": u64::MAX}]);
    let purge = json!({"seq": u64::MAX, "created_at": nasty, "status": nasty, "elapsed_ms": 1e300,
                       "paths": [nasty], "site": nasty, "nodes": [{"name": nasty}]});
    let asked = json!([{"name": nasty, "error": nasty}]);
    let answers = [
        (Call::Stats, stats),
        (
            Call::Traffic,
            json!({"step_seconds": 2, "points": [{"at": nasty}],
                               "totals": {"requests": u64::MAX, "bytes": u64::MAX, "p99_ms": 1e300, "status": {nasty.as_str(): 1}}}),
        ),
        (Call::Popular, json!({"nodes": asked, "objects": [object]})),
        (Call::Uncached, uncached),
        (Call::Purges, json!({"head": 1, "purges": [purge]})),
    ];
    let mut state = told(answers, now);
    let nothing = State::new(nasty.clone(), Duration::from_secs(2), now);
    for step in 0..6 {
        for width in (0..=9).chain([39, 40, 79, 80, 81, 160, 200]) {
            for height in (0..=12).chain([16, 17, 23, 24, 37, 38, 60]) {
                for state in [&state, &nothing] {
                    let buffer = cells(state, now, (width, height), true);
                    let sent = buffer.content().iter().flat_map(|cell| cell.symbol().chars());
                    assert_eq!(sent.into_iter().find(|c| c.is_control()), None);
                }
            }
        }
        match step {
            4 => press(&mut state, &[KeyCode::Char('?')], (80, 24)),
            _ => press(&mut state, &[KeyCode::Tab, KeyCode::End, KeyCode::Char('s')], (80, 24)),
        }
    }
    let failed = Err(nasty);
    state.figures.take(Call::Popular, failed, now);
    assert!(screen(&state, now, (80, 24))[3].starts_with("figures are 0 s old: \\u{1b}[2J"));
}

#[test]
fn nothing_of_a_url_reaches_what_is_printed_as_an_escape() {
    let escape = json!({"objects": [{"url": "http://h/\u{1b}]0;owned\u{7}", "hits": 1}]});
    let snapshot = Map::from_iter([("popular".to_owned(), escape)]);
    let state = State::new("http://h".into(), Duration::from_secs(2), begin());
    let text = printed(state, snapshot, Paint::plain());
    assert!(text.contains("http://h/\\u{1b}]0;owned\\u{7}\n"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
}

#[test]
fn without_nodes_and_traffic_that_is_said() {
    let now = begin();
    let rates = json!({"requests_per_second": 0.0, "hit_ratio": null, "p50_ms": null,
                       "p99_ms": null, "results": {}});
    let answers = [
        (Call::Stats, json!({"log": {"head": 0}, "traffic": rates, "tiers": [], "by_node": []})),
        (Call::Traffic, json!({"step_seconds": 2, "points": []})),
        (Call::Popular, json!({"nodes": [], "objects": []})),
        (Call::Uncached, json!({"nodes": [], "reasons": [], "urls": []})),
        (Call::Purges, json!({"head": 0, "purges": []})),
    ];
    let shown = screen(&told(answers, now), now, (100, 50)).join("\n");
    for part in [
        "0 req/s  - hits  p50 - ms  p99 - ms",
        "no node is expected: none has joined yet",
        "nothing is stored on any edge",
        "now: none; not stored: none",
        "all recent fetches were stored",
        "there are no purges",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[test]
fn what_is_old_is_said_with_its_age_and_why() {
    let now = begin();
    let mut state = believable(now);
    let later = now + Duration::from_secs(12);
    state.figures.take(Call::Stats, Err("cannot reach control".into()), later);
    let shown = screen(&state, later, (80, 24));
    assert!(shown[3].starts_with("figures are 12 s old: cannot reach control"), "{shown:#?}");
    assert!(shown[1].starts_with("124 req/s"), "what is known stays: {shown:#?}");
    for (call, answer) in [
        (Call::Stats, stats()),
        (Call::Traffic, traffic()),
        (Call::Popular, popular(1)),
        (Call::Uncached, uncached()),
        (Call::Certificates, certificates()),
    ] {
        state.figures.take(call, Ok(answer), later);
    }
    let shown = screen(&state, later, (80, 24));
    assert!(shown[3].starts_with("figures are 12 s old: control has not answered"), "{shown:#?}");
    state.figures.take(Call::Purges, Ok(json!({"purges": 1})), later);
    let shown = screen(&state, later, (80, 24));
    assert!(shown[3].contains("not an answer of weir's control"), "{shown:#?}");
    state.figures.take(Call::Purges, Ok(purges()), later);
    assert_eq!(state.trouble(later), None);
}

#[test]
fn what_never_came_is_said_beside_what_did() {
    let now = begin();
    let away = || Err("cannot reach control".to_owned());
    let answers = [
        (Call::Stats, stats()),
        (Call::Traffic, traffic()),
        (Call::Popular, popular(1)),
        (Call::Uncached, uncached()),
        (Call::Purges, purges()),
    ];
    // Control goes away after this many answers; the others are asked for in vain.
    for (count, said) in [
        (0, "no figures yet: cannot reach control"),
        (1, "some figures are missing: cannot reach control"),
        (4, "some figures are missing: cannot reach control"),
    ] {
        let mut state = State::new("http://h".into(), Duration::from_secs(2), now);
        let (came, missed) = answers.split_at(count);
        for (call, answer) in came {
            state.figures.take(*call, Ok(answer.clone()), now);
        }
        for (call, _) in missed {
            state.figures.take(*call, away(), now);
        }
        assert_eq!(state.trouble(now).as_deref(), Some(said));
        let later = now + Duration::from_secs(1);
        for (call, _) in came {
            state.figures.take(*call, away(), later);
        }
        let aged = "figures are 1 s old, some are missing: cannot reach control";
        let said = if count == 0 { said } else { aged };
        assert_eq!(state.trouble(later).as_deref(), Some(said));
    }
}

#[test]
fn keys_scroll_within_what_there_is() {
    let now = begin();
    let mut state = believable(now);
    let size = (80, 24);
    let range = |state: &State| {
        let shown = screen(state, now, size);
        let title = shown.iter().find(|line| line.starts_with("2 URLs")).expect("a title");
        title
            .trim_end_matches('\u{2500}')
            .trim()
            .rsplit("\u{2500} ")
            .next()
            .expect("a range")
            .to_owned()
    };
    press(&mut state, &[KeyCode::Char('2'), KeyCode::Up], size);
    assert_eq!(range(&state), "1-8 of 50");
    press(&mut state, &[KeyCode::Down, KeyCode::Down], size);
    assert_eq!(range(&state), "3-10 of 50");
    press(&mut state, &[KeyCode::PageDown], size);
    assert_eq!(range(&state), "11-18 of 50");
    press(&mut state, &[KeyCode::End, KeyCode::Down, KeyCode::Down], size);
    assert_eq!(range(&state), "43-50 of 50");
    press(&mut state, &[KeyCode::Up], size);
    assert_eq!(range(&state), "42-49 of 50");
    // There are fewer of a sudden.
    state.figures.take(Call::Popular, Ok(popular(20)), now);
    assert_eq!(range(&state), "13-20 of 20");
    press(&mut state, &[KeyCode::Up], size);
    assert_eq!(range(&state), "12-19 of 20");
    press(&mut state, &[KeyCode::Home], size);
    assert_eq!(range(&state), "1-8 of 20");
}

#[test]
fn each_pane_is_sorted_by_itself() {
    let now = begin();
    let mut state = believable(now);
    let first = |state: &State, pane: Pane, at: usize| {
        let listing = state.listing(pane).expect("it is told");
        let line = listing.lines(120, 0..listing.rows.len()).1.remove(at);
        line.into_iter().map(|(text, _)| text).collect::<String>()
    };
    assert!(first(&state, Pane::Nodes, 1).starts_with("  edge-asia-se"));
    press(&mut state, &[KeyCode::Char('s')], (80, 24));
    assert!(first(&state, Pane::Nodes, 1).starts_with("  edge-eu-west"), "most requests");
    assert!(first(&state, Pane::Nodes, 4).starts_with("  edge-asia-se"), "no figure: last");
    for _ in 1..Pane::Nodes.orders().len() {
        press(&mut state, &[KeyCode::Char('s')], (80, 24));
    }
    assert!(first(&state, Pane::Nodes, 1).starts_with("  edge-asia-se"), "all the way round");
    assert!(first(&state, Pane::Misses, 0).contains("/cart"));
    press(&mut state, &[KeyCode::Char('3'), KeyCode::Char('s'), KeyCode::Char('s')], (80, 24));
    assert!(first(&state, Pane::Misses, 1).contains("/login"), "by URL");
    assert!(first(&state, Pane::Urls, 0).contains("/1.html"), "as it was");
}

#[test]
fn quit_is_q_escape_and_control_c_but_escape_leaves_the_help_first() {
    let now = begin();
    let screen = Rect::new(0, 0, 80, 24);
    let mut state = believable(now);
    press(&mut state, &[KeyCode::Char('?'), KeyCode::Esc, KeyCode::Char('c')], (80, 24));
    assert!(!state.help);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    for key in [KeyEvent::from(KeyCode::Char('q')), KeyEvent::from(KeyCode::Esc), control_c] {
        assert_eq!(state.press(key, screen), Step::Quit);
    }
}

#[test]
fn without_colours_there_is_none() {
    let now = begin();
    let mut state = believable(now);
    state.figures.take(Call::Stats, Err("away".into()), now);
    let colours = |coloured| {
        let buffer = cells(&state, now, (120, 40), coloured);
        buffer
            .content()
            .iter()
            .filter(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset))
            .count()
    };
    assert!(colours(true) > 0);
    assert_eq!(colours(false), 0);
}

#[test]
fn a_token_of_some_sites_is_shown_what_it_is_told() {
    let now = begin();
    let mut stats = stats();
    let figures =
        ["requests_per_second", "stored", "stored_bytes", "capacity_bytes", "connections"];
    for part in ["tiers", "by_node"] {
        for of in stats[part].as_array_mut().expect("a list") {
            figures.iter().for_each(|figure| of[*figure] = Value::Null);
        }
    }
    let answers = [
        (Call::Stats, stats),
        (Call::Traffic, json!({"step_seconds": 2, "points": []})),
        (Call::Popular, popular(5)),
        (Call::Uncached, uncached()),
        (Call::Purges, purges()),
    ];
    let shown = screen(&told(answers, now), now, (200, 60)).join("\n");
    assert!(shown.contains("edge-eu-west") && shown.contains("edge \u{d7}4"), "{shown}");
    assert!(!shown.contains("not an answer"), "{shown}");
}

#[test]
fn a_disk_store_is_shown_and_a_directory_that_is_set_aside_is_told() {
    let now = begin();
    let mut figures = stats();
    let shown = |figures: &Value, size| {
        let answers = [
            (Call::Stats, figures.clone()),
            (Call::Traffic, traffic()),
            (Call::Popular, popular(5)),
            (Call::Uncached, uncached()),
            (Call::Purges, purges()),
        ];
        screen(&told(answers, now), now, size).join("\n")
    };
    let without = shown(&figures, (200, 60));
    assert!(!without.contains("DISK"), "{without}");
    let disk = |set_aside: u64| {
        json!({"stored": 7, "stored_bytes": 3_u64 << 30, "capacity_bytes": 8_u64 << 30, "hits": 5,
               "directories": 2, "set_aside": set_aside})
    };
    figures["by_node"][0]["disk"] = disk(0);
    figures["tiers"][0]["disk"] = disk(0);
    let wide = shown(&figures, (200, 60));
    let line = wide.lines().find(|line| line.starts_with("  edge-eu-west ")).expect("its line");
    assert!(line.contains("38 %") && line.contains("3.0 GiB"), "{line}");
    assert!(wide.contains("ON DISK") && !wide.contains("set aside"), "{wide}");
    let narrow = shown(&figures, (80, 24));
    assert!(narrow.contains("MEM"), "what matters more has the room: {narrow}");
    figures["by_node"][0]["disk"] = disk(1);
    figures["tiers"][0]["disk"] = disk(1);
    for size in [(200, 60), (80, 24)] {
        let shown = shown(&figures, size);
        assert!(shown.contains("by name; 1 disk directory set aside "), "{shown}");
        let line =
            shown.lines().find(|line| line.starts_with("  edge-eu-west ")).expect("its line");
        assert!(line.contains("1/2 out"), "{line}");
    }
    figures["by_node"][1]["disk"] = disk(2);
    assert!(shown(&figures, (80, 24)).contains("; 3 disk directories set aside "));
}
