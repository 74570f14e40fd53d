#![allow(clippy::unwrap_used)]

use super::saved::HistoryFile;
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::path::PathBuf;
use weir_protocol::stats::SiteStats;

/// 2026-11-21, at the begin of an hour.
const BEGIN: u64 = 1_795_291_200_000;
const MIB: usize = 1 << 20;

/// A history, and the clocks.
struct Bench {
    history: History,
    begun: Instant,
    /// Milliseconds of both clocks since the begin.
    passed: u64,
    /// Milliseconds by which the system's clock is off.
    off: i64,
}

impl Bench {
    fn new(bound: usize) -> Self {
        let begun = Instant::now();
        let history = History::new(bound, Now { instant: begun, wall: BEGIN });
        Self { history, begun, passed: 0, off: 0 }
    }

    fn now(&self) -> Now {
        let wall = BEGIN.checked_add(self.passed).unwrap().checked_add_signed(self.off).unwrap();
        Now { instant: self.begun + Duration::from_millis(self.passed), wall }
    }

    fn pass(&mut self, millis: u64) {
        self.passed += millis;
        self.history.close(self.now());
    }

    fn hear(&self, who: (&str, &str, Tier), stats: &Stats) {
        let (instance, node, tier) = who;
        self.history.hear(Teller { instance, node, tier }, stats, self.now());
    }

    fn ask(&self, question: &Question<'_>) -> Value {
        self.history.answer(question).told()
    }

    fn all(&self) -> Value {
        self.ask(&EVER)
    }
}

const EVER: Question<'static> = Question {
    from: BEGIN / 1000 - 7200,
    to: u64::MAX / 4,
    step: 1,
    sites: &[],
    site: None,
    node: None,
    tier: None,
    by: None,
};

const ONE: (&str, &str, Tier) = ("1", "one", Tier::Edge);

/// What a process tells that answered so many requests of the site `shop`, half of them from its store.
fn told(uptime_ms: u64, requests: u64) -> Stats {
    of_sites(uptime_ms, &[("shop", requests)])
}

fn of_sites(uptime_ms: u64, sites: &[(&str, u64)]) -> Stats {
    let site = |requests: u64| SiteStats {
        requests,
        hits: requests / 2,
        bytes: requests * 10,
        bytes_saved: requests / 2 * 10,
        statuses: vec![0, requests],
        upstream_requests: requests - requests / 2,
        origin_requests: requests - requests / 2,
        latency: vec![requests],
        ..SiteStats::default()
    };
    let sites = sites.iter().map(|(id, requests)| ((*id).to_owned(), Some(site(*requests))));
    let sites = Some(sites.collect());
    Stats { uptime_ms, sites, other: Some(SiteStats::default()), ..Stats::default() }
}

#[test]
fn what_is_told_is_counted_at_its_time_in_steps_of_every_length() {
    let mut bench = Bench::new(4 * MIB);
    for second in 0..=200 {
        bench.hear(ONE, &told(second * 1000, second * 4));
        bench.pass(1000);
    }
    bench.pass(2000);
    let counted = bench.all();
    assert_eq!(
        counted["totals"],
        json!({
            "requests": 800, "hits": 400, "hit_ratio": 0.5, "errors": 0, "bytes": 8000, "bytes_saved": 4000,
            "upstream_requests": 400, "upstream_errors": 0, "origin_requests": 400,
            "status": {"1xx": 0, "2xx": 800, "3xx": 0, "4xx": 0, "5xx": 0},
            "p50_ms": 0.008, "p99_ms": 0.016,
        })
    );
    let points = counted["points"].as_array().unwrap();
    assert_eq!(points.len(), 201);
    assert_eq!(points[1]["at"], "2026-11-21T20:00:01.000Z");
    assert_eq!(
        (&points[1]["requests"], &points[1]["requests_per_second"]),
        (&json!(4), &json!(4.0))
    );
    for step in [5, 60, 120, 3600] {
        let told = bench.ask(&Question { from: EVER.from / step * step, step, ..EVER });
        assert_eq!(told["totals"], counted["totals"], "{step}");
        let points = told["points"].as_array().unwrap();
        // Nobody is heard in the last two seconds.
        assert_eq!(points.len() as u64, 201_u64.div_ceil(step), "{step}");
        let sum: u64 = points.iter().map(|point| point["requests"].as_u64().unwrap()).sum();
        assert_eq!(sum, 800, "{step}");
        // Also of a step that is not over yet.
        let rate = points.last().unwrap()["requests_per_second"].as_f64().unwrap();
        assert!((1.9..=4.1).contains(&rate), "{step}: {rate}");
    }
    let told = bench.ask(&Question { from: BEGIN / 1000 + 10, to: BEGIN / 1000 + 20, ..EVER });
    assert_eq!(
        (&told["totals"]["requests"], &told["begins"]),
        (&json!(40), &json!("2026-11-21T20:00:00.000Z"))
    );
}

#[test]
fn counts_are_told_by_node_tier_and_site() {
    let mut bench = Bench::new(4 * MIB);
    for (requests, millis) in [(0, 1000), (1, 2000)] {
        bench.hear(ONE, &of_sites(millis, &[("shop", requests), ("blog", 2 * requests)]));
        bench.hear(("2", "two", Tier::Edge), &of_sites(millis, &[("shop", 4 * requests)]));
        bench.hear(("3", "top", Tier::Parent), &of_sites(millis, &[("shop", 8 * requests)]));
        bench.pass(1000);
    }
    bench.pass(3000);
    let requests = |question: &Question<'_>| bench.ask(question)["totals"]["requests"].clone();
    assert_eq!(requests(&EVER), 7, "of edges");
    assert_eq!(requests(&Question { tier: Some(Tier::Parent), ..EVER }), 8);
    assert_eq!(requests(&Question { node: Some("two"), ..EVER }), 4);
    assert_eq!(requests(&Question { node: Some("top"), ..EVER }), 8);
    assert_eq!(requests(&Question { site: Some("blog"), ..EVER }), 2);
    assert_eq!(requests(&Question { node: Some("one"), site: Some("shop"), ..EVER }), 1);
    // All that origins are asked, whichever tier asks: 1, 1, 2 by edges and 4 by the parent.
    let origin = |question: &Question<'_>| bench.ask(question)["totals"]["origin_requests"].clone();
    assert_eq!(
        (origin(&EVER), origin(&Question { tier: Some(Tier::Edge), ..EVER })),
        (json!(8), json!(4))
    );
    let groups = |by: By, sites: &[String]| {
        let told = bench.ask(&Question { by: Some(by), sites, ..EVER });
        let groups = told["groups"].as_array().unwrap().clone();
        let name = |group: &Value| {
            ["node", "tier", "site"]
                .iter()
                .filter_map(|name| group[*name].as_str())
                .collect::<Vec<_>>()
                .join(" ")
        };
        groups
            .iter()
            .map(|group| (name(group), group["requests"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let expected = |list: &[(&str, u64)]| {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>()
    };
    assert_eq!(
        groups(By::Node, &[]),
        expected(&[("one edge", 3), ("two edge", 4), ("top parent", 8)])
    );
    assert_eq!(groups(By::Tier, &[]), expected(&[("edge", 7), ("parent", 8)]));
    assert_eq!(groups(By::Site, &[]), expected(&[("", 0), ("blog", 2), ("shop", 5)]));
    // Who may see one site sees the nodes, and of them this site.
    let blog = ["blog".to_owned()];
    assert_eq!(
        groups(By::Node, &blog),
        expected(&[("one edge", 2), ("two edge", 0), ("top parent", 0)])
    );
    assert_eq!(groups(By::Site, &blog), expected(&[("blog", 2)]));
    assert_eq!(requests(&Question { sites: &blog, ..EVER }), 2);
    let csv = bench.history.answer(&Question { by: Some(By::Node), ..EVER }).csv();
    let lines: Vec<_> = csv.split("\r\n").collect();
    assert_eq!(
        lines[0],
        "node,tier,requests,hits,hit_ratio,errors,bytes,bytes_saved,upstream_requests,upstream_errors,origin_requests,status_1xx,status_2xx,status_3xx,status_4xx,status_5xx,p50_ms,p99_ms"
    );
    assert_eq!(lines[1], "one,edge,3,1,0.333,0,30,10,2,0,2,0,3,0,0,0,0.008,0.016");
    assert_eq!(lines.len(), 5);
    let csv = bench.history.answer(&Question { step: 3600, from: 0, ..EVER }).csv();
    assert!(
        csv.lines().nth(1).unwrap().starts_with("2026-11-21T20:00:00.000Z,7,3,0.429,0,"),
        "{csv}"
    );
}

#[test]
fn restarts_and_absences_count_nothing_twice_and_leave_nothing_out() {
    let mut bench = Bench::new(4 * MIB);
    bench.hear(ONE, &told(500, 3));
    bench.pass(1000);
    // Away for long; meanwhile it went on, or was forgotten.
    bench.pass(100_000);
    bench.hear(ONE, &told(101_500, 10));
    // It tells older counts again: another connection of the same process.
    bench.hear(ONE, &told(1500, 5));
    bench.hear(ONE, &told(102_500, 12));
    // A new process of the node, which has already answered more than the old one, beside it for a while.
    let new = ("1b", "one", Tier::Edge);
    bench.pass(1000);
    bench.hear(new, &told(800, 20));
    bench.hear(ONE, &told(103_500, 13));
    bench.pass(1000);
    bench.hear(new, &told(1800, 21));
    bench.pass(3000);
    assert_eq!(bench.all()["totals"]["requests"], 13 + 21);
    // One that is older than the history is not counted from its start.
    bench.hear(("9", "old", Tier::Edge), &told(1000 * 3600 * 5, 1_000_000));
    bench.pass(1000);
    bench.hear(("9", "old", Tier::Edge), &told(1000 * 3600 * 5 + 1000, 1_000_001));
    bench.pass(3000);
    assert_eq!(bench.all()["totals"]["requests"], 13 + 21 + 1);
}

#[test]
fn a_clock_that_jumps_takes_nothing_back() {
    let mut bench = Bench::new(4 * MIB);
    let mut requests = 0;
    let mut go = |bench: &mut Bench, off: i64| {
        bench.off = off;
        for _ in 0..5 {
            requests += 10;
            bench.hear(ONE, &told(1000 + bench.passed, requests));
            bench.pass(1000);
        }
        bench.pass(3000);
        requests
    };
    go(&mut bench, 0);
    // An hour back, within what is kept: the same steps count more.
    let sum = go(&mut bench, -1_800_000);
    assert_eq!(bench.all()["totals"]["requests"], sum);
    let sum = go(&mut bench, 1_800_000);
    assert_eq!(bench.all()["totals"]["requests"], sum);
    // Years ahead, and back: what was counted then is forgotten, and nothing before it.
    go(&mut bench, 200_000_000_000);
    let both = go(&mut bench, 0);
    let whole = bench.ask(&Question { step: 3600, ..EVER });
    assert_eq!(whole["totals"]["requests"], both - 50);
}

#[test]
fn steps_are_kept_as_long_as_is_said() {
    let mut bench = Bench::new(16 * MIB);
    // An hour of seconds, and then a month of hours.
    for second in 0..3600 {
        bench.hear(ONE, &told(1000 + bench.passed, second));
        bench.pass(1000);
    }
    let points = |bench: &Bench, step: u64| {
        let asked = Question { from: 0, step, ..EVER };
        bench.ask(&asked)["points"].as_array().unwrap().len()
    };
    assert_eq!((points(&bench, 1), points(&bench, 60), points(&bench, 3600)), (610, 60, 1));
    for hour in 0..800 {
        bench.hear(ONE, &told(1000 + bench.passed, 3600 + hour));
        bench.pass(1_800_000);
        bench.hear(ONE, &told(1000 + bench.passed, 3600 + hour));
        bench.pass(1_800_000);
    }
    assert_eq!((points(&bench, 1), points(&bench, 60), points(&bench, 3600)), (610, 1450, 730));
}

#[test]
fn beyond_its_bytes_the_oldest_are_kept_without_their_nodes_and_then_not_at_all() {
    let mut bench = Bench::new(MIB);
    let nodes: Vec<_> = (0..40).map(|n| (format!("i{n}"), format!("n{n}"))).collect();
    for second in 1..=600 {
        for (instance, node) in &nodes {
            bench.hear((instance, node, Tier::Edge), &told(second * 1000, second * 100_003));
        }
        bench.pass(1000);
    }
    bench.pass(3000);
    assert!(!bench.history.left_out());
    let told = bench.all();
    assert_eq!(told["totals"]["requests"], 40 * 600 * 100_003_u64);
    assert_eq!(told["points"].as_array().unwrap().len(), 600, "all of them together");
    let one = bench.ask(&Question { node: Some("n1"), ..EVER });
    let points = one["points"].as_array().unwrap().len();
    assert!((50..500).contains(&points), "{points}");
    assert!(one["points"][0]["requests"].as_u64().unwrap() > 90_000);
    let kept = bench.history.kept();
    assert!(kept.levels.iter().all(|level| level.bytes() <= MIB / 4));
    drop(kept);
    // More series than have room.
    let many: Vec<_> = (0..200).map(|n| format!("site{n}")).collect();
    let many: Vec<_> = many.iter().map(|id| (&**id, 1)).collect();
    bench.hear(("new", "new", Tier::Edge), &of_sites(1000, &many));
    assert!(bench.history.left_out());
    assert!(bench.history.bytes() <= MIB, "{}", bench.history.bytes());
}

#[test]
fn many_requests_are_divided_between_the_seconds_in_which_they_were_counted() {
    let mut bench = Bench::new(4 * MIB);
    bench.pass(10_900);
    for second in 0..4 {
        bench.hear(ONE, &told(bench.passed, second * 1000));
        bench.passed += if second == 1 { 400 } else { 1000 };
    }
    bench.pass(3000);
    let told = bench.all();
    let points: Vec<_> = told["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["requests"].as_u64().unwrap())
        .collect();
    // At 10.9, 11.9, 12.3 and 13.3.
    assert_eq!(points, [100, 900 + 250, 750 + 700, 300]);
}

/// A directory that is gone with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weir-history-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_restart_of_control_goes_on_from_what_was_written() {
    let directory = Directory::new("restart");
    let mut bench = Bench::new(4 * MIB);
    let (file, history) = HistoryFile::open(&directory.0, 4 * MIB, bench.now());
    bench.history = history;
    for second in 1..=100 {
        bench.hear(ONE, &told(second * 1000, second * 40));
        bench.pass(1000);
    }
    // Also what is not closed yet.
    file.save(&bench.history).unwrap();
    let before = bench.ask(&Question { by: Some(By::Node), step: 60, ..EVER });
    // What is counted now is lost with the process.
    bench.hear(ONE, &told(101_000, 5000));
    bench.pass(60_000);
    let (file, history) = HistoryFile::open(&directory.0, 4 * MIB, bench.now());
    bench.history = history;
    let after = bench.ask(&Question { by: Some(By::Node), step: 60, ..EVER });
    assert_eq!(after, before);
    // The node tells it again.
    bench.hear(ONE, &told(161_000, 5001));
    bench.pass(3000);
    assert_eq!(bench.all()["totals"]["requests"], 5001);
    // A process that began meanwhile is counted from its start.
    bench.hear(("2", "two", Tier::Edge), &told(30_000, 7));
    bench.pass(3000);
    assert_eq!(bench.all()["totals"]["requests"], 5008);
    file.close(&bench.history).unwrap();
    // Then the directory is another's.
    bench.hear(ONE, &told(162_000, 9000));
    assert_eq!(file.save(&bench.history), Ok(0));
    let (_, history) = HistoryFile::open(&directory.0, 4 * MIB, bench.now());
    bench.history = history;
    assert_eq!(bench.all()["totals"]["requests"], 5008);
}

#[test]
fn a_file_that_cannot_be_used_is_set_aside() {
    let directory = Directory::new("broken");
    let bench = Bench::new(4 * MIB);
    let path = directory.0.join("history");
    let (file, _) = HistoryFile::open(&directory.0, 4 * MIB, bench.now());
    bench.hear(ONE, &told(500, 3));
    file.save(&bench.history).unwrap();
    let good = std::fs::read(&path).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] ^= byte;
        bytes
    };
    let wrong = [
        Vec::new(),
        good[..20].to_vec(),
        good[..good.len() - 1].to_vec(),
        changed(0, 1),
        changed(11, 2),
        changed(20, 1),
        changed(good.len() - 1, 1),
    ];
    for bytes in wrong {
        std::fs::write(&path, &bytes).unwrap();
        let (_, history) = HistoryFile::open(&directory.0, 4 * MIB, bench.now());
        assert_eq!(history.answer(&EVER).told()["points"], json!([]));
        assert_eq!(std::fs::read(directory.0.join("history.set-aside")).unwrap(), bytes);
        assert!(!path.exists());
    }
    std::fs::write(&path, &good).unwrap();
    let (_, history) = HistoryFile::open(&directory.0, 4 * MIB, bench.now());
    assert!(history.has_node("one") && history.has_site("shop") && !history.has_site(""));
}

proptest! {
    /// Whatever processes tell, and whatever clocks do: each request is counted once.
    #[test]
    fn each_request_is_counted_once(
        steps in prop::collection::vec((0usize..4, 0u64..100, 0u64..3000, -5000i64..5000, any::<bool>()), 1..60)
    ) {
        let mut bench = Bench::new(4 * MIB);
        bench.passed = 20_000_000;
        let begun = bench.now();
        bench.history = History::new(4 * MIB, begun);
        let mut counted = [0; 4];
        let mut uptime = [0; 4];
        let mut processes = [0; 4];
        let mut most = [0; 4];
        for (node, more, millis, off, restarts) in steps {
            bench.off = off.max(-i64::try_from(bench.passed - 20_000_000).unwrap());
            if restarts {
                processes[node] += 1;
                (counted[node], uptime[node]) = (0, 0);
            }
            counted[node] += more;
            most[node] += more;
            let instance = format!("{node}-{}", processes[node]);
            bench.hear((&instance, &format!("n{node}"), Tier::Edge), &told(uptime[node], counted[node]));
            bench.pass(millis);
            uptime.iter_mut().for_each(|uptime| *uptime += millis);
        }
        bench.pass(10_000);
        let all = bench.ask(&Question { from: 0, step: 3600, ..EVER });
        prop_assert_eq!(all["totals"]["requests"].as_u64().unwrap(), most.iter().sum::<u64>());
    }

    /// What is in a file does no harm, whatever it is.
    #[test]
    fn any_file_is_read_without_harm(bytes: Vec<u8>, at: usize, change: u8) {
        let bench = Bench::new(MIB);
        bench.hear(ONE, &told(500, 3));
        let _ = saved::tests_read(&bytes, bench.now());
        let mut contents = saved::tests_write(&bench.history);
        let at = at % contents.len();
        contents[at] ^= change;
        let _ = saved::tests_read(&contents, bench.now());
    }
}
