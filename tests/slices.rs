//! Files that memory cannot hold, of which a node with a disk fetches and stores only the slices that clients
//! ask for.

mod program;
mod support;
use program::{Answer, Folder, Spec, Topology, Weir, try_exchange, until};
use serde_json::{Value, json};
use support::{Origin, Reply, reply};

/// Bytes of a slice.
const SLICE: usize = 1 << 20;

/// What is in front of an origin with a large file: a node that may hold 1 MiB of a body in memory.
struct Player {
    topology: Topology,
    origin: Origin,
    _folders: Vec<Folder>,
    file: String,
}

/// `[memory]` and `[disk]` of a node that has its disk store in this folder.
fn tables(folder: &Folder) -> String {
    let path = folder.path();
    format!(
        "[memory]\nsize = \"32MiB\"\nmax_object = \"1MiB\"\n\
         [disk]\npath = {path:?}\nsize = \"256MiB\"\nadmit = \"all\""
    )
}

/// A file of 8 MiB and three bytes: nine slices.
fn file(line: &str) -> String {
    let mut file: String = (0..SLICE).map(|n| format!("{line}{n:06x}\n")).collect();
    file.push_str("end");
    file
}

/// The origin's answers for a file.
fn video(file: &str, etag: &str) -> Reply {
    reply(file.to_owned()).etag(etag).ranges(true).conditional(true).max_age(600)
}

impl Player {
    async fn start(name: &str) -> Self {
        let origin = Origin::start().await;
        let file = file("a");
        origin.default_route(video(&file, "\"a\""));
        let (mut topology, folder) = (Topology::start(name), Folder::new(name));
        topology.add("edge", &Spec::edge(&origin.url()).tables(&tables(&folder)));
        Self { topology, origin, _folders: vec![folder], file }
    }

    fn edge(&self) -> &Weir {
        self.topology.node("edge")
    }

    /// A GET with these further fields.
    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.ask(&format!("GET {path}"), fields)
    }

    fn ask(&self, line: &str, fields: &[(&str, &str)]) -> Answer {
        let fields: Vec<_> = [("Host", "example.com")].iter().chain(fields).copied().collect();
        self.edge().ask(line, &fields)
    }

    /// What is said of how a range was handled; its bytes must be those of the file.
    fn seek(&self, path: &str, first: usize, last: usize) -> String {
        let answer = self.get(path, &[("range", &format!("bytes={first}-{last}"))]);
        assert_eq!(answer.status, 206, "{}", answer.head);
        let told = format!("content-range: bytes {first}-{last}/{}", self.file.len());
        assert!(answer.head.contains(&told), "{}", answer.head);
        assert!(answer.body == self.file[first..=last], "{path} {first}-{last}: other bytes");
        handled(&answer)
    }

    /// The slices that the origin was asked for, in order; `None`: something else.
    fn asked(&self, path: &str) -> Vec<Option<usize>> {
        let of = |range: Option<&str>| {
            let (first, last) = range?.strip_prefix("bytes=")?.split_once('-')?;
            let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
            let is_slice =
                first % SLICE == 0 && (last + 1 == first + SLICE || last + 1 == self.file.len());
            is_slice.then_some(first / SLICE)
        };
        let requests = self.origin.requests(path);
        let ranges = requests.iter().map(|request| request.header("range"));
        ranges.map(of).collect()
    }

    fn slices_on_disk(&self) -> u64 {
        metric(self.edge(), "weir_disk_slices")
    }

    /// Waits until so many slices of a file are stored: a client may have its bytes before all of their slice
    /// came.
    fn until_stored(&self, path: &str, slices: u64) {
        let held = || self.explain(path)["selected"]["bytes"].as_u64().unwrap_or(0);
        until("its slices to be stored", held, |held| held.div_ceil(SLICE as u64) == slices);
    }

    fn explain(&self, path: &str) -> Value {
        let line = format!("GET /v1/explain?url=http://example.com{path}");
        self.edge().json(&line, "").json()["nodes"][0]["explanation"].clone()
    }

    fn purge(&self, body: &Value) {
        let id = self.topology.purge(body).json()["id"].clone();
        self.topology.until_completed(&id);
    }
}

fn handled(answer: &Answer) -> String {
    let field = answer.head.lines().find_map(|line| line.strip_prefix("cache-status: "));
    field.expect("a Cache-Status").to_owned()
}

fn metric(weir: &Weir, name: &str) -> u64 {
    let text = weir.json("GET /metrics", "").body;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_fetches_and_stores_only_the_slices_around_it() {
    let player = Player::start("seek").await;
    let miss = player.seek("/v", 5 * SLICE + 7, 5 * SLICE + 16);
    assert!(miss.contains("fwd=uri-miss; fwd-status=206") && miss.contains("; stored"), "{miss}");
    assert_eq!(player.asked("/v"), [Some(5)]);
    player.until_stored("/v", 1);
    // The same slice, for whoever asks.
    for (first, last) in [(5 * SLICE + 7, 5 * SLICE + 16), (5 * SLICE, 6 * SLICE - 1)] {
        let hit = player.seek("/v", first, last);
        assert!(hit.contains("; hit") && hit.contains("detail=disk"), "{hit}");
    }
    // Two around it are missing.
    let partial = player.seek("/v", 5 * SLICE - 1, 6 * SLICE);
    assert!(partial.contains("fwd=partial; fwd-status=206"), "{partial}");
    player.until_stored("/v", 3);
    let mut asked = player.asked("/v");
    asked.sort_unstable();
    assert_eq!(asked, [Some(4), Some(5), Some(6)]);
    assert!(player.seek("/v", 4 * SLICE, 7 * SLICE - 1).contains("; hit"));
    let explained = player.explain("/v");
    assert_eq!(explained["state"], "partial", "{explained}");
    let selected = &explained["selected"];
    assert_eq!((&selected["stored_in"], &selected["bytes"]), (&json!("disk"), &json!(3 * SLICE)));
    assert_eq!(selected["complete_length"], player.file.len());
    // What needs no byte of it is answered, too.
    let head = player.ask("HEAD /v", &[]);
    assert!(handled(&head).contains("; hit"), "{}", head.head);
    assert!(head.head.contains(&format!("content-length: {}", player.file.len())), "{}", head.head);
    assert_eq!(player.get("/v", &[("if-none-match", "\"a\"")]).status, 304);
    let beyond = player.get("/v", &[("range", "bytes=99999999-")]);
    assert_eq!(beyond.status, 416, "{}", beyond.head);
    assert!(beyond.head.contains(&format!("content-range: bytes */{}", player.file.len())));
    assert_eq!(player.asked("/v").len(), 3);
    // The whole is fetched but for what is there, and then it is there.
    for told in ["; stored", "; hit"] {
        let whole = player.get("/v", &[("if-range", "\"other\""), ("range", "bytes=0-1")]);
        assert_eq!(whole.status, 200);
        assert!(whole.body == player.file && handled(&whole).contains(told), "{}", whole.head);
    }
    let mut asked = player.asked("/v");
    asked.sort_unstable();
    assert_eq!(asked, (0..9).map(Some).collect::<Vec<_>>(), "each slice once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_file_of_unknown_length_is_found() {
    let player = Player::start("suffix").await;
    let answer = player.get("/v", &[("range", "bytes=-500")]);
    assert_eq!(answer.status, 206, "{}", answer.head);
    assert!(answer.body == player.file[player.file.len() - 500..]);
    let mut asked = player.asked("/v");
    asked.sort_unstable();
    // The first one tells the length. The last two hold 500 bytes.
    assert_eq!(asked, [Some(0), Some(7), Some(8)]);
    // To the end, from a byte on.
    let from = 6 * SLICE + 5;
    let answer = player.get("/v", &[("range", &format!("bytes={from}-"))]);
    assert!(answer.status == 206 && answer.body == player.file[from..], "{}", answer.head);
    assert_eq!(player.asked("/v").len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_of_one_part_share_one_fetch_of_each_slice() {
    let player = Player::start("viewers").await;
    let slow = || video(&player.file, "\"a\"").delay(std::time::Duration::from_millis(300));
    player.origin.route("/v", slow());
    let (listen, file) = (player.edge().listen, &player.file);
    let get = |range: String| {
        let fields = [("Host", "example.com"), ("range", &range)];
        try_exchange(listen, "GET /v", &fields, "").expect("an answer").body
    };
    std::thread::scope(|scope| {
        // Nothing is known of the file when the first ones come, each at another place of the same slices.
        let seek = |viewer: usize| {
            let (first, last) = (2 * SLICE + viewer, 3 * SLICE + viewer);
            assert!(get(format!("bytes={first}-{last}")) == file[first..=last]);
        };
        (0..8).for_each(|viewer| drop(scope.spawn(move || seek(viewer))));
    });
    let mut asked = player.asked("/v");
    asked.sort_unstable();
    assert_eq!(asked, [Some(2), Some(3)]);
    std::thread::scope(|scope| {
        let whole = || assert!(get("bytes=0-".to_owned()) == *file);
        (0..4).for_each(|_| drop(scope.spawn(whole)));
    });
    assert_eq!(player.asked("/v").len(), 9, "each slice once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_bytes_of_a_slice_are_sent_before_the_others_came() {
    let player = Player::start("first-byte").await;
    player.origin.route("/v", video(&player.file, "\"a\"").held_after(1000));
    let first = player.get("/v", &[("range", &format!("bytes={}-{}", SLICE + 10, SLICE + 19))]);
    assert!(first.status == 206 && first.body == player.file[SLICE + 10..SLICE + 20]);
    player.origin.release("/v");
    player.until_stored("/v", 1);
    assert!(player.seek("/v", 2 * SLICE - 5, 2 * SLICE - 1).contains("; hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_is_never_sent_in_bytes_of_both() {
    let player = Player::start("changed").await;
    let other = file("b");
    player.seek("/v", 0, 9);
    player.seek("/v", 3 * SLICE, 3 * SLICE + 9);
    player.until_stored("/v", 2);
    player.origin.route("/v", video(&other, "\"b\""));
    // What is stored is fresh. What follows is of another file: the response is cut.
    let cut = player.get("/v", &[("range", &format!("bytes={}-{}", 3 * SLICE, 5 * SLICE))]);
    assert!(player.file[3 * SLICE..4 * SLICE].starts_with(&cut.body));
    assert!(cut.head.contains("etag: \"a\""), "{}", cut.head);
    // All slices are dropped then, and the next one is of the new file.
    for (first, last) in [(0, 9), (3 * SLICE, 3 * SLICE + 9)] {
        let answer = player.get("/v", &[("range", &format!("bytes={first}-{last}"))]);
        assert!(answer.head.contains("etag: \"b\""), "{}", answer.head);
        assert!(answer.body == other[first..=last]);
    }
    // Where a slice that is missing comes first, nothing need be cut.
    player.origin.route("/v", video(&player.file, "\"c\""));
    let answer = player.get("/v", &[("range", &format!("bytes={}-{}", 6 * SLICE, 7 * SLICE))]);
    assert!(answer.head.contains("etag: \"c\""), "{}", answer.head);
    assert!(answer.body == player.file[6 * SLICE..=7 * SLICE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_ignores_ranges_gets_one_fetch_of_the_whole() {
    let player = Player::start("ignores").await;
    player.origin.route("/v", video(&player.file, "\"a\"").ranges(false));
    for told in ["fwd=uri-miss; fwd-status=200", "; hit", "; hit"] {
        let seek = player.seek("/v", 20, 29);
        assert!(seek.contains(told), "{seek}");
        player.until_stored("/v", 9);
    }
    assert_eq!(player.origin.requests("/v").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_are_asked_for_as_the_client_asked() {
    let player = Player::start("others").await;
    let asked = |path: &str| {
        let requests = player.origin.requests(path);
        let ranges =
            requests.iter().map(|request| request.header("range").unwrap_or_default().to_owned());
        ranges.collect::<Vec<_>>()
    };
    // Without a strong validator nothing can be put together. That is found out once.
    player.origin.route("/weak", video(&player.file, "W/\"a\""));
    player.seek("/weak", SLICE - 5, SLICE + 4);
    player.seek("/weak", SLICE - 5, SLICE + 5);
    let slice = "bytes=0-1048575";
    assert_eq!(asked("/weak"), [slice, "bytes=1048571-1048580", "bytes=1048571-1048581"]);
    // Memory can hold a small one: one slice is all of it.
    let small = "0123456789".repeat(100);
    player.origin.route("/small", video(&small, "\"s\""));
    for (range, told) in [("bytes=10-19", "fwd=uri-miss"), ("bytes=500-", "; hit")] {
        let answer = player.get("/small", &[("range", range)]);
        assert_eq!((answer.status, &answer.body[..10]), (206, "0123456789"), "{}", answer.head);
        assert!(handled(&answer).contains(told), "{}", answer.head);
    }
    let whole = player.get("/small", &[]);
    assert!(handled(&whole).contains("; hit") && whole.body == small);
    assert_eq!(asked("/small"), [slice]);
    // What must not be stored, and several ranges at once.
    player.origin.route("/own", video(&player.file, "\"a\"").header("Cache-Control", "private"));
    player.seek("/own", 2 * SLICE, 3 * SLICE + 4);
    player.seek("/own", 2 * SLICE, 3 * SLICE + 4);
    let own = asked("/own");
    assert_eq!(own.iter().filter(|range| *range == "bytes=2097152-3145732").count(), 2, "{own:?}");
    assert_eq!(player.slices_on_disk(), 0);
    player.get("/several", &[("range", "bytes=0-1,5-6")]);
    assert_eq!(asked("/several"), ["bytes=0-1,5-6"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_all_slices_by_the_tags_of_any() {
    let player = Player::start("purged").await;
    let tagged = |tags: &str| video(&player.file, "\"a\"").header("Surrogate-Key", tags);
    for (round, purge) in
        [json!({"paths": ["/v"]}), json!({"tags": ["first"]}), json!({"tags": ["second"]})]
            .iter()
            .enumerate()
    {
        player.origin.reset_counters();
        player.origin.route("/v", tagged("first"));
        player.seek("/v", 0, 9);
        player.origin.route("/v", tagged("second"));
        player.until_stored("/v", 1);
        player.seek("/v", 4 * SLICE, 4 * SLICE + 9);
        player.until_stored("/v", 2);
        for at in [0, 4 * SLICE] {
            let hit = player.seek("/v", at, at + 9);
            assert!(hit.contains("; hit"), "{round}: {hit}");
        }
        player.purge(purge);
        for at in [0, 4 * SLICE] {
            let miss = player.seek("/v", at, at + 9);
            assert!(miss.contains("fwd="), "{round}: {miss}");
        }
        assert_eq!(player.asked("/v"), [Some(0), Some(4), Some(0), Some(4)], "{round}");
        player.ask("POST /v", &[("content-length", "0")]);
    }
    // An unsafe request, too.
    player.seek("/v", 0, 9);
    player.ask("POST /v", &[("content-length", "0")]);
    assert!(player.seek("/v", 0, 9).contains("fwd=uri-miss"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_the_slices_and_a_crash_no_wrong_one() {
    let mut player = Player::start("restarts").await;
    let seek = |player: &Player, slice: usize| player.seek("/v", slice * SLICE, slice * SLICE + 2);
    seek(&player, 1);
    seek(&player, 8);
    player.until_stored("/v", 2);
    assert_eq!(player.topology.drain_node("edge"), Some(0));
    player.topology.start_node("edge");
    for slice in [1, 8] {
        let hit = seek(&player, slice);
        assert!(hit.contains("; hit") && hit.contains("detail=disk"), "{hit}");
    }
    assert!(seek(&player, 4).contains("fwd=partial"));
    // Purged while the node was down.
    player.topology.kill_node("edge");
    let purge = player.topology.purge(&json!({"paths": ["/v"], "wait_ms": 0}));
    player.topology.start_node("edge");
    player.topology.until_completed(&purge.json()["id"]);
    let other = file("b");
    player.origin.default_route(video(&other, "\"b\""));
    for slice in [1, 4, 8] {
        let range = format!("bytes={}-{}", slice * SLICE, slice * SLICE + 2);
        let answer = player.get("/v", &[("range", &range)]);
        assert!(handled(&answer).contains("fwd="), "{}", answer.head);
        assert!(answer.body == other[slice * SLICE..slice * SLICE + 3]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_file_is_validated_and_keeps_its_slices() {
    let player = Player::start("stale").await;
    let short = |file: &str, etag| {
        reply(file.to_owned())
            .etag(etag)
            .ranges(true)
            .conditional(true)
            .header("Cache-Control", "max-age=1")
    };
    player.origin.route("/v", short(&player.file, "\"a\""));
    player.seek("/v", 2 * SLICE, 2 * SLICE + 9);
    player.until_stored("/v", 1);
    let again = || player.seek("/v", 2 * SLICE, 2 * SLICE + 9);
    let validated = until("it to be stale", again, |handled| !handled.contains("; hit"));
    assert!(validated.contains("fwd=stale; fwd-status=304"), "{validated}");
    // One request asks whether it is current and, if not, for the slice.
    let requests = player.origin.requests("/v");
    let asked = requests.last().expect("a request");
    assert_eq!(asked.header("if-none-match"), Some("\"a\""));
    assert_eq!(asked.header("range"), Some("bytes=2097152-3145727"));
    assert_eq!(player.slices_on_disk(), 1, "it is still there");
    // So is the whole, before what is missing is fetched.
    let whole = || player.get("/v", &[]);
    let answer = until("it to be stale", whole, |answer| handled(answer).contains("fwd=stale"));
    assert!(handled(&answer).contains("; stored"), "{}", answer.head);
    assert!(answer.body == player.file, "{} bytes", answer.body.len());
    let other = file("b");
    player.origin.route("/v", short(&other, "\"b\""));
    let changed = || player.get("/v", &[("range", "bytes=2097152-2097161")]);
    let answer = until("it to be stale", changed, |answer| !handled(answer).contains("; hit"));
    assert!(handled(&answer).contains("fwd=stale; fwd-status=206"), "{}", answer.head);
    assert!(answer.head.contains("etag: \"b\"") && answer.body == other[2 * SLICE..2 * SLICE + 10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_file_that_changed_is_sent_to_those_alone_who_did_not_name_the_old_one() {
    let player = Player::start("renamed").await;
    let short = |file: &str, etag| {
        let reply = reply(file.to_owned()).etag(etag).ranges(true).conditional(true);
        reply.header("Cache-Control", "max-age=1")
    };
    player.origin.route("/v", short(&player.file, "\"a\""));
    player.seek("/v", 0, 9);
    player.until_stored("/v", 1);
    // The new one is so small that it is stored in memory.
    let other = &file("b")[..100_000];
    player.origin.route("/v", short(other, "\"b\""));
    let resume = [("range", "bytes=10-19"), ("if-range", "\"a\"")];
    let asked = || player.get("/v", &resume);
    let answer = until("it to be stale", asked, |answer| !handled(answer).contains("; hit"));
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(answer.head.contains("etag: \"b\"") && answer.body == *other, "{}", answer.head);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_breaks_off_is_asked_for_the_rest_of_the_slice() {
    let player = Player::start("breaks").await;
    let broken = video(&player.file, "\"a\"").truncate_after(3000);
    player.origin.route("/v", broken.then(video(&player.file, "\"a\"")));
    player.seek("/v", SLICE + 1000, SLICE + 9000);
    assert_eq!(player.asked("/v"), [Some(1), Some(1)]);
    // Where it gives no answer, that is said, and what is stored is sent.
    player.until_stored("/v", 1);
    player.origin.route("/v", reply("busy").status(503));
    let answer = player.get("/v", &[("range", "bytes=0-9")]);
    assert_eq!((answer.status, &*answer.body), (503, "busy"), "{}", answer.head);
    assert!(player.seek("/v", SLICE, SLICE + 9).contains("; hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_asks_its_parent_for_slices_and_the_parent_the_origin() {
    let origin = Origin::start().await;
    let file = file("a");
    origin.default_route(video(&file, "\"a\""));
    let mut topology = Topology::start("slice-tiers");
    let folders: Vec<_> = ["parent", "one", "two"]
        .iter()
        .map(|name| Folder::new(&format!("slice-tiers-{name}")))
        .collect();
    topology.add("parent", &Spec::parent(&origin.url()).tables(&tables(&folders[0])));
    let parents = format!("[parents]\nurls = [\"http://{}\"]", topology.node("parent").listen);
    for (name, folder) in ["one", "two"].into_iter().zip(&folders[1..]) {
        let spec = Spec::edge(&origin.url()).tables(&tables(folder)).tables(&parents);
        topology.add(name, &spec);
    }
    let seek = |edge: &str, first: usize, last: usize| {
        let fields = [("Host", "example.com"), ("range", &*format!("bytes={first}-{last}"))];
        let answer = topology.node(edge).ask("GET /v", &fields);
        assert!(answer.status == 206 && answer.body == file[first..=last], "{}", answer.head);
        answer.head
    };
    seek("one", 5 * SLICE + 1, 6 * SLICE + 1);
    let head = seek("two", 5 * SLICE + 3, 5 * SLICE + 9);
    assert!(head.contains("parent; hit"), "{head}");
    assert_eq!(origin.requests("/v").len(), 2, "one for each slice");
    let held = || metric(topology.node("two"), "weir_disk_slices");
    until("the slice to be on disk", held, |held| *held == 1);
    assert!(seek("two", 5 * SLICE, 5 * SLICE + 9).contains("two; hit"));
    // A purge reaches all of them.
    let id = topology.purge(&json!({"paths": ["/v"]})).json()["id"].clone();
    topology.until_completed(&id);
    for edge in ["one", "two"] {
        let head = seek(edge, 5 * SLICE, 5 * SLICE + 9);
        assert!(!head.contains(&format!("{edge}; hit")), "{head}");
    }
    assert_eq!(origin.requests("/v").len(), 3, "the parent shares what it fetched anew");
}
