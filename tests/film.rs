//! A film in three renditions, watched by a crowd that seeks: playlists with short lifetimes,
//! segments with long ones, one rendition in a single file by byte ranges. Each node is a process
//! of the real program. The origin sends each byte of the film once.

mod program;
mod support;

use program::{Spec, Topology};
use std::net::SocketAddr;
use std::time::Duration;
use support::{Client, Origin, pattern, reply};
use tokio::task::JoinSet;

/// Renditions whose segments are files.
const RENDITIONS: u64 = 2;
const SEGMENTS: u64 = 12;
/// Bytes of a segment.
const SEGMENT: u64 = 60_000;
/// The rendition in one file: its segments are ranges of it.
const WHOLE: &str = "/film/whole.mp4";
const WHOLE_SEED: u64 = 1000;
const PLAYERS: u64 = 12;
const STEPS: u64 = 20;

fn segment(rendition: u64, number: u64) -> (String, u64) {
    (format!("/film/{rendition}/{number}.ts"), rendition * 100 + number)
}

fn playlist(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    format!("#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-TARGETDURATION:6\n{}\n", lines.join("\n"))
}

/// The film, slow enough that players meet within its segments.
async fn screening() -> Origin {
    let origin = Origin::start().await;
    let list = |text: String, age| {
        reply(text).max_age(age).content_type("application/vnd.apple.mpegurl").etag("\"1\"")
    };
    let renditions = (0..RENDITIONS).map(|n| format!("{n}/index.m3u8"));
    let master = playlist(renditions.chain(["whole.m3u8".to_owned()]));
    origin.route("/film/master.m3u8", list(master, 2).conditional(true));
    let media = |seed, bytes, etag: String| {
        let media = reply("").body_pattern(seed, bytes).max_age(86_400).etag(etag);
        media.content_type("video/mp2t").ranges(true).conditional(true)
    };
    for rendition in 0..RENDITIONS {
        let lines = (0..SEGMENTS).map(|n| format!("#EXTINF:6,\n{n}.ts"));
        let index = format!("/film/{rendition}/index.m3u8");
        origin.route(&index, list(playlist(lines), 1).conditional(true));
        for number in 0..SEGMENTS {
            let (target, seed) = segment(rendition, number);
            let part = media(seed, SEGMENT, format!("\"{seed}\""));
            origin.route(&target, part.pace(20_000, Duration::from_millis(2)));
        }
    }
    let lines = (0..SEGMENTS)
        .map(|n| format!("#EXTINF:6,\n#EXT-X-BYTERANGE:{SEGMENT}@{}\nwhole.mp4", n * SEGMENT));
    origin.route("/film/whole.m3u8", list(playlist(lines), 1).conditional(true));
    origin.route(WHOLE, media(WHOLE_SEED, SEGMENTS * SEGMENT, "\"whole\"".to_owned()));
    origin
}

/// One client, on one connection.
struct Player {
    connection: Client,
}

impl Player {
    async fn list(&mut self, target: &str) {
        self.connection.request("GET", target, &[], "").await;
        let answer = self.connection.answer("GET").await;
        assert!(answer.status == 200 && answer.text().starts_with("#EXTM3U"), "{answer:?}");
    }

    /// Gets bytes of what has this seed, from `from` up to `to`, or all of it; compares each.
    async fn bytes(&mut self, target: &str, seed: u64, part: Option<(u64, u64)>) {
        let range = part.map(|(from, to)| format!("bytes={from}-{}", to - 1));
        let fields: Vec<_> = range.iter().map(|range| ("Range", range.as_str())).collect();
        self.connection.request("GET", target, &fields, "").await;
        let answer = self.connection.answer("GET").await;
        let (status, from, bytes) = match part {
            Some((from, to)) => (206, from, to - from),
            None => (200, 0, SEGMENT),
        };
        let told = (answer.status, answer.body.len() as u64, answer.whole);
        assert_eq!(told, (status, bytes, true), "{target} {part:?}: {:?}", answer.head);
        assert_eq!(pattern::first_difference(seed, from, &answer.body), None, "{target}");
    }

    /// Watches from a place of its own, seeks, changes renditions, and goes back within segments.
    async fn watch(mut self, player: u64) {
        self.list("/film/master.m3u8").await;
        let mut at = player * 5 % SEGMENTS;
        for step in 0..STEPS {
            let rendition = (player + step / 4) % (RENDITIONS + 1);
            if rendition == RENDITIONS {
                self.list("/film/whole.m3u8").await;
                self.bytes(WHOLE, WHOLE_SEED, Some((at * SEGMENT, (at + 1) * SEGMENT))).await;
            } else {
                self.list(&format!("/film/{rendition}/index.m3u8")).await;
                let (target, seed) = segment(rendition, at);
                self.bytes(&target, seed, None).await;
                if step % 3 == 2 {
                    // Back to a place in what was just seen.
                    self.bytes(&target, seed, Some((SEGMENT / 3, SEGMENT))).await;
                }
            }
            at = if step % 5 == 4 { at * 7 + player + step } else { at + 1 } % SEGMENTS;
        }
        // What nobody has watched so far is watched to the end.
        for number in 0..SEGMENTS {
            let number = (number + player) % SEGMENTS;
            let (target, seed) = segment(player % RENDITIONS, number);
            self.bytes(&target, seed, None).await;
            let part = (number * SEGMENT, (number + 1) * SEGMENT);
            self.bytes(WHOLE, WHOLE_SEED, Some(part)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_byte_of_a_film_leaves_the_origin_once() {
    let origin = screening().await;
    let mut topology = Topology::start("film");
    for parent in ["parent-1", "parent-2"] {
        topology.add(parent, &Spec::parent(&origin.url()));
    }
    let urls =
        ["parent-1", "parent-2"].map(|name| format!("http://{}", topology.node(name).listen));
    let parents = format!("[parents]\nscope = \"global\"\nurls = {urls:?}");
    let edges: Vec<SocketAddr> = ["edge-1", "edge-2", "edge-3"]
        .map(|edge| {
            topology.add(edge, &Spec::edge(&origin.url()).tables(&parents));
            topology.node(edge).listen
        })
        .to_vec();
    let mut players = JoinSet::new();
    for player in 0..PLAYERS {
        let edge = edges[player as usize % edges.len()];
        players.spawn(async move {
            Player { connection: Client::connect(edge).await }.watch(player).await;
        });
    }
    players.join_all().await;
    for (rendition, number) in (0..RENDITIONS).flat_map(|r| (0..SEGMENTS).map(move |n| (r, n))) {
        let (target, _) = segment(rendition, number);
        let counts = origin.counts(&target);
        assert_eq!((counts.requests, counts.bytes), (1, SEGMENT), "{target}");
    }
    let whole = origin.counts(WHOLE);
    assert_eq!((whole.requests, whole.bytes), (SEGMENTS, SEGMENTS * SEGMENT), "{WHOLE}");
    // A playlist outlives its second nowhere: it is asked about again.
    let asked = origin.fetches("/film/0/index.m3u8");
    let fetches = || {
        topology.node("edge-1").get("/film/0/index.m3u8");
        origin.fetches("/film/0/index.m3u8")
    };
    program::until("a playlist is asked about again", fetches, |fetches| *fetches > asked);
}
