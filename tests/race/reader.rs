//! One client after another, each in its own way, and what they met.

use super::check::{Asked, Seen, check};
use super::random::Random;
use super::world::{Kind, Resource, World};
use crate::support::{Client, Head};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_edge::node::Node;

const ENCODINGS: [Option<&str>; 5] =
    [None, Some("identity"), Some("gzip"), Some("br, gzip"), Some("gzip, deflate, br")];

/// A task that reads until enough was read by all.
pub(crate) struct Reader {
    world: Arc<World>,
    node: Arc<Node>,
    random: Random,
    client: Option<Client>,
    /// The entity tag last met, by resource.
    known: BTreeMap<u64, String>,
    tally: Tally,
}

/// How many answers of which sort there were.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<String, u64>);

impl Tally {
    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        for (what, count) in &other.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
    }

    /// A run that met none of some sort has shown nothing about it.
    pub(crate) fn must_have_covered(&self, reads: u64) {
        let least = |what: &str, count: u64| {
            let met = self.0.get(what).copied().unwrap_or_default();
            assert!(met >= count, "{met} of {what:?} in {reads} reads, not {count}: {self:?}");
        };
        least("hit", reads / 20);
        least("collapsed", reads / 200);
        least("200", reads / 4);
        for what in ["206", "304", "416", "multipart", "purge", "post", "left", "slow"] {
            least(what, reads / 1000);
        }
        for what in ["stale-while-revalidate", "stale-if-error", "502", "cut"] {
            least(what, reads / 5000);
        }
    }
}

impl Reader {
    pub(crate) fn new(world: Arc<World>, node: Arc<Node>, random: Random) -> Self {
        let (client, known, tally) = (None, BTreeMap::new(), Tally::default());
        Self { world, node, random, client, known, tally }
    }

    /// Reads while reads are left.
    pub(crate) async fn run(mut self, left: Arc<AtomicU64>) -> Result<Tally, String> {
        let take = |left: u64| left.checked_sub(1);
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            if self.random.once_in(40) {
                let world = Arc::clone(&self.world);
                world.change_and_purge(&self.node, &mut self.random);
                self.tally.count("purge");
            }
            if let Err(wrong) = self.step().await {
                left.store(0, Ordering::Relaxed);
                return Err(wrong);
            }
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
        let mut asked = Asked { method: "GET", fields: Vec::new() };
        if resource.kind == Kind::Lying {
            return asked;
        }
        if let Some(encoding) = random.of(&ENCODINGS) {
            asked.fields.push(("Accept-Encoding", encoding.to_owned()));
        }
        let known = self.known.get(&resource.number).cloned();
        let known = known.unwrap_or_else(|| "\"unknown\"".to_owned());
        match random.below(10) {
            0 => asked.method = "HEAD",
            1 => asked.fields.push(("If-None-Match", known)),
            2..5 => {
                asked.fields.push(("Range", range(random, resource.length(resource.version()))));
                if random.once_in(3) {
                    asked.fields.push(("If-Range", known));
                }
            }
            _ => {}
        }
        asked
    }

    async fn read(&mut self, resource: &Resource, asked: Asked) -> Result<(), String> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.node.listen()).await,
        };
        let floor = resource.floor();
        asked.send(&mut client, resource).await;
        let Some(head) = final_head(&mut client).await else { return self.cut(resource) };
        let answer = client.rest(asked.method, head).await;
        let closes = answer.field("connection").is_some_and(|option| option == "close");
        if answer.whole && !closes {
            self.client = Some(client);
        }
        let seen = check(resource, &asked, &floor, &answer)?;
        self.note(resource, seen);
        Ok(())
    }

    /// Changes a resource by a POST.
    async fn post(&mut self, resource: &Resource) -> Result<(), String> {
        let mut client = Client::connect(self.node.listen()).await;
        let fields = [("Host", resource.host)];
        client.request("POST", &resource.target, &fields, "new").await;
        let answer = client.answer("POST").await;
        let version = answer.number("x-version");
        let version = version.ok_or_else(|| format!("POST was not answered: {answer:?}"))?;
        self.world.posted(resource, version);
        self.tally.count("post");
        Ok(())
    }

    /// Goes away in the middle.
    async fn leave(&mut self, resource: &Resource) -> Result<(), String> {
        let asked = self.choose(resource);
        let mut client = Client::connect(self.node.listen()).await;
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
        let asked = Asked { method: "GET", fields: Vec::new() };
        let mut slow = Client::connect_slow(self.node.listen()).await;
        let floor = resource.floor();
        asked.send(&mut slow, resource).await;
        let Some(head) = final_head(&mut slow).await else { return self.cut(resource) };
        for _ in 0..8 {
            let asked = self.choose(resource);
            Box::pin(self.read(resource, asked)).await?;
        }
        let answer = slow.rest("GET", head).await;
        let seen = check(resource, &asked, &floor, &answer)?;
        self.tally.count("slow");
        self.note(resource, seen);
        Ok(())
    }

    /// Closed before the head was sent: the body broke off so early.
    fn cut(&mut self, resource: &Resource) -> Result<(), String> {
        if resource.kind != Kind::Faulty {
            return Err(format!("{:?} {}: no answer", resource.kind, resource.target));
        }
        self.tally.count("cut");
        Ok(())
    }

    fn note(&mut self, resource: &Resource, seen: Seen) {
        if let Some(etag) = seen.etag {
            self.known.insert(resource.number, etag);
        }
        for sort in seen.sorts {
            self.tally.count(sort);
        }
    }
}

/// The head of an answer, interim ones left out; `None` where the connection ends before.
async fn final_head(client: &mut Client) -> Option<Head> {
    while !client.is_closed().await {
        let head = client.head().await;
        if head.status >= 200 {
            return Some(head);
        }
    }
    None
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
