//! One client after another, each in its own way, and what they met.

#![allow(dead_code, reason = "each test file uses its part")]

use super::check::{Asked, Seen, check};
use super::door::Door;
use super::random::Random;
use super::tally::Tally;
use super::world::{Kind, Resource, World};
use crate::support::{Client, Head};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ENCODINGS: [Option<&str>; 5] =
    [None, Some("identity"), Some("gzip"), Some("br, gzip"), Some("gzip, deflate, br")];

/// What a reader calls whenever it is time that something changes.
pub(crate) type Changes = Arc<dyn Fn(&World, &mut Random) + Send + Sync>;

/// A task that reads until enough was read by all.
pub(crate) struct Reader {
    world: Arc<World>,
    door: Arc<Door>,
    random: Random,
    changes: Changes,
    left: Arc<AtomicU64>,
    /// A connection that is kept, and the door's turns when it was made.
    client: Option<(Client, u64)>,
    /// The entity tag last met, by resource.
    known: BTreeMap<u64, String>,
    tally: Tally,
}

impl Reader {
    /// Reads what comes out of `door`, while answers are left to be checked.
    pub(crate) fn new(
        world: Arc<World>,
        door: Arc<Door>,
        random: Random,
        changes: Changes,
        left: Arc<AtomicU64>,
    ) -> Self {
        let (client, known, tally) = (None, BTreeMap::new(), Tally::default());
        Self { world, door, random, changes, left, client, known, tally }
    }

    /// Reads while reads are left.
    pub(crate) async fn run(mut self) -> Result<Tally, String> {
        let world = Arc::clone(&self.world);
        while self.left.load(Ordering::Relaxed) > 0 {
            if self.random.once_in(40) {
                (self.changes)(&world, &mut self.random);
                self.tally.count("change");
            }
            if let Err(wrong) = self.step().await {
                self.left.store(0, Ordering::Relaxed);
                return Err(wrong);
            }
        }
        Ok(self.tally)
    }

    /// Reads all there is once, as a browser does.
    pub(crate) async fn read_all(mut self) -> Result<Tally, String> {
        let world = Arc::clone(&self.world);
        for resource in &world.resources {
            self.read(resource, Asked::plainly()).await?;
        }
        Ok(self.tally)
    }

    async fn step(&mut self) -> Result<(), String> {
        let world = Arc::clone(&self.world);
        // A few resources at a time are asked for by all, so that requests meet.
        let hot = self.random.below(3) > 0;
        let bound = world.resources.len() as u64;
        let resource =
            &world.resources[self.random.below(if hot { bound / 2 } else { bound }) as usize];
        match self.random.below(100) {
            0 => self.post(resource).await,
            1 => self.leave(resource).await,
            2 => self.dawdle(resource).await,
            _ => {
                let asked = self.choose(resource);
                self.read(resource, asked).await
            }
        }
    }

    /// What to ask of a resource.
    fn choose(&mut self, resource: &Resource) -> Asked {
        let random = &mut self.random;
        let mut asked = Asked::plainly();
        if resource.kind == Kind::Lying {
            return asked;
        }
        if let Some(encoding) = random.of(&ENCODINGS) {
            asked.fields.push(("Accept-Encoding", encoding.to_owned()));
        }
        let known = self.known.get(&resource.number).cloned();
        let known = known.unwrap_or_else(|| "\"unknown\"".to_owned());
        // Whole films are asked for now and then.
        let ways = if resource.kind == Kind::Film { 6 } else { 10 };
        match random.below(ways) {
            0 => asked.method = "HEAD",
            1 => asked.fields.push(("If-None-Match", known)),
            2..5 => {
                let length = resource.length(resource.version());
                let range = match resource.kind {
                    Kind::Film => scene(random, length),
                    _ => range(random, length),
                };
                asked.fields.push(("Range", range));
                if random.once_in(3) {
                    asked.fields.push(("If-Range", known));
                }
            }
            _ => {}
        }
        asked
    }

    async fn read(&mut self, resource: &Resource, mut asked: Asked) -> Result<(), String> {
        let (mut client, turns) = match self.client.take() {
            Some(kept) => kept,
            None => {
                let turns = self.door.turns();
                match Client::try_connect(self.door.at()).await {
                    Ok(client) => (client, turns),
                    Err(error) => return self.refused(&error).await,
                }
            }
        };
        asked.turns = turns;
        let floor = resource.floor(self.door.node);
        asked.send(&mut client, resource).await;
        let Some(head) = final_head(&mut client).await else { return self.cut(resource, turns) };
        let answer = client.rest(asked.method, head).await;
        let closes = answer.field("connection").is_some_and(|option| option == "close");
        if answer.whole && !closes {
            self.client = Some((client, turns));
        }
        let seen = check(&self.door, resource, &asked, &floor, &answer)?;
        self.note(resource, seen);
        Ok(())
    }

    /// Changes a resource by a POST.
    async fn post(&mut self, resource: &Resource) -> Result<(), String> {
        let mut client = match Client::try_connect(self.door.at()).await {
            Ok(client) => client,
            Err(error) => return self.refused(&error).await,
        };
        let fields = [("Host", resource.host)];
        client.request("POST", &resource.target, &fields, "new").await;
        let version = final_head(&mut client).await.and_then(|head| head.number("x-version"));
        match version {
            Some(version) if !self.door.has_parents => {
                self.world.posted(resource, version, self.door.node);
            }
            None if self.door.calm => {
                return Err(format!("{:?} {}: POST failed", resource.kind, resource.target));
            }
            _ => {}
        }
        self.tally.count("post");
        Ok(())
    }

    /// Goes away in the middle.
    async fn leave(&mut self, resource: &Resource) -> Result<(), String> {
        let asked = self.choose(resource);
        let mut client = match Client::try_connect(self.door.at()).await {
            Ok(client) => client,
            Err(error) => return self.refused(&error).await,
        };
        asked.send(&mut client, resource).await;
        if self.random.once_in(2)
            && let Some(head) = final_head(&mut client).await
            && asked.method == "GET"
            && head.number("content-length") > Some(300)
        {
            client.up_to(self.random.below(300) as usize).await;
        }
        self.tally.count("left");
        Ok(())
    }

    /// Takes its time: reads others while its own body waits.
    async fn dawdle(&mut self, resource: &Resource) -> Result<(), String> {
        let mut asked = Asked::plainly();
        asked.turns = self.door.turns();
        let turns = asked.turns;
        let mut slow = match Client::try_connect_slow(self.door.at()).await {
            Ok(slow) => slow,
            Err(error) => return self.refused(&error).await,
        };
        let floor = resource.floor(self.door.node);
        asked.send(&mut slow, resource).await;
        let Some(head) = final_head(&mut slow).await else { return self.cut(resource, turns) };
        for _ in 0..8 {
            let asked = self.choose(resource);
            Box::pin(self.read(resource, asked)).await?;
        }
        let answer = slow.rest("GET", head).await;
        let seen = check(&self.door, resource, &asked, &floor, &answer)?;
        self.tally.count("slow");
        self.note(resource, seen);
        Ok(())
    }

    /// Nobody listens: the node was killed, and comes again.
    async fn refused(&mut self, error: &std::io::Error) -> Result<(), String> {
        if self.door.calm {
            return Err(format!("no connection: {error}"));
        }
        self.tally.count("refused");
        // Somebody else's turn: the node is not back at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(())
    }

    /// Closed before the head was sent: the body broke off so early.
    fn cut(&mut self, resource: &Resource, turns: u64) -> Result<(), String> {
        let excused = self.door.has_parents || self.door.was_closed_since(turns);
        if resource.kind != Kind::Faulty && !excused {
            let Resource { kind, host, target, .. } = resource;
            return Err(format!("{}, {kind:?} {host}{target}: no answer", self.door.name));
        }
        self.tally.count("cut");
        Ok(())
    }

    fn note(&mut self, resource: &Resource, seen: Seen) {
        if seen.shown {
            let less = |left: u64| left.checked_sub(1);
            // None is left where others read the last meanwhile.
            let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            self.tally.count("checked");
        }
        if let Some(etag) = seen.etag {
            self.known.insert(resource.number, etag);
        }
        for sort in seen.sorts {
            self.tally.count(sort);
        }
    }
}

/// The head of an answer, interim ones left out; `None` where the connection ends before it is whole.
async fn final_head(client: &mut Client) -> Option<Head> {
    loop {
        let head = client.next_head().await?;
        if head.status >= 200 {
            return Some(head);
        }
    }
}

/// A Range as players ask for them: a part of a slice or over the border of two, where it begins, and its end.
fn scene(random: &mut Random, length: u64) -> String {
    const SLICE: u64 = 1 << 20;
    let first = match random.below(4) {
        0 => 0,
        // Over a border.
        1 => SLICE * (1 + random.below(length / SLICE)) - 10_000,
        2 => return format!("bytes=-{}", 1 + random.below(100_000)),
        _ => random.below(length),
    };
    format!("bytes={first}-{}", first + random.below(200_000))
}

/// A Range: inside, over the end, beyond it, a suffix, or several.
fn range(random: &mut Random, length: u64) -> String {
    let first = random.below(length);
    let last = first + random.below(length);
    match random.below(8) {
        0 => format!("bytes={first}-"),
        1 => format!("bytes=-{}", 1 + random.below(length)),
        2 => format!("bytes={}-", length + 200_000),
        3 => format!("bytes=0-9,{}-{},-7", 50 + random.below(50), 150 + random.below(50)),
        // Few, so that some are asked for by several at once.
        4 | 5 => random.of(&["bytes=0-99", "bytes=100-199", "bytes=50-149"]).to_owned(),
        _ => format!("bytes={first}-{last}"),
    }
}
