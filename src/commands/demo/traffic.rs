//! Visitors of the demo site: each request comes by itself, at an edge of its region, for a page
//! that is the likelier the more popular it is.

use super::topology::HOST;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;

/// Requests under way at once; beyond it visitors stay away.
const MOST_AT_ONCE: usize = 128;

/// How late visitors may come.
const LONGEST_DELAY: Duration = Duration::from_millis(200);

/// The longest that a visitor waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// Articles that visitors know of; the first, and the account itself, are left to whoever tries
/// things.
const ARTICLES: std::ops::RangeInclusive<usize> = 2..=400;

/// Of a hundred visitors so many come to the first edge, the second, and so on.
const SHARES: [f64; 3] = [45.0, 35.0, 20.0];

/// Of a hundred requests so many are for targets of this kind.
const KINDS: [(f64, Kind); 11] = [
    (52.0, Kind::Article),
    (10.0, Kind::One("/")),
    (8.0, Kind::One("/style.css")),
    (7.0, Kind::One("/app.3f9a1c.js")),
    (5.0, Kind::One("/logo.svg")),
    (6.0, Kind::Image),
    (5.0, Kind::One("/api/time")),
    (3.0, Kind::Search),
    (2.0, Kind::One("/account/orders")),
    (1.0, Kind::One("/basket")),
    (1.0, Kind::One("/old-page")),
];

const SEARCHES: [&str; 6] = ["weir", "river", "cache", "purge", "origin", "edge"];

/// What a request is for.
#[derive(Clone, Copy)]
enum Kind {
    One(&'static str),
    Article,
    Image,
    Search,
}

/// Visitors, until they are told to go.
pub(super) struct Traffic {
    stop: oneshot::Sender<()>,
    gone: oneshot::Receiver<()>,
}

impl Traffic {
    /// Has `rate` requests a second come to `edges`, from a thread with a runtime of its own: what
    /// is shown is measured beside it.
    ///
    /// # Errors
    /// The system gives no thread or runtime.
    pub(super) fn start(rate: u32, edges: Vec<SocketAddr>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel();
        let (leave, gone) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let trust = weir_edge::trust(None).map_err(io::Error::other)?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_backend_preconfigured(trust)
            .timeout(PATIENCE)
            .build()
            .map_err(io::Error::other)?;
        let visitors = Visitors { client, edges, random: Random::default() };
        thread::Builder::new().name("visitors".into()).spawn(move || {
            runtime.block_on(visitors.come(rate, stopped));
            // Dropped, the runtime ends what is under way.
            drop(runtime);
            // Nobody waits for it where the process ends at once.
            let _ = leave.send(());
        })?;
        Ok(Self { stop, gone })
    }

    /// Sends them away; returns when no request is under way.
    pub(super) async fn end(self) {
        // Both fail only where the thread has ended, which is what is asked for.
        let _ = self.stop.send(());
        let _ = self.gone.await;
    }
}

struct Visitors {
    client: reqwest::Client,
    edges: Vec<SocketAddr>,
    random: Random,
}

impl Visitors {
    async fn come(mut self, rate: u32, mut stopped: oneshot::Receiver<()>) {
        let room = Arc::new(Semaphore::new(MOST_AT_ONCE));
        let mut next = Instant::now();
        loop {
            // By the clock, so that a busy machine does not make them fewer; but those that a
            // sleeping one missed do not all come when it wakes.
            next = (next + self.pause(rate)).max(Instant::now() - LONGEST_DELAY);
            tokio::select! {
                _ = &mut stopped => return,
                () = tokio::time::sleep_until(next) => {}
            }
            let request = self.request();
            if let Ok(place) = room.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    // What goes wrong shows at the node, which counts it.
                    if let Ok(response) = request.send().await {
                        let _ = response.bytes().await;
                    }
                    drop(place);
                });
            }
        }
    }

    /// Until the next request, where requests come independently of one another.
    fn pause(&mut self, rate: u32) -> Duration {
        let mean = 1.0 / f64::from(rate);
        Duration::from_secs_f64(-(1.0 - self.random.unit()).ln() * mean)
    }

    fn request(&mut self) -> reqwest::RequestBuilder {
        let edge = self.edges[self.random.index(&SHARES[..self.edges.len()])];
        let target = self.target();
        self.client.get(format!("http://{edge}{target}")).header(http::header::HOST, HOST)
    }

    fn target(&mut self) -> String {
        let (_, kind) = KINDS[self.random.index(&KINDS.map(|(share, _)| share))];
        match kind {
            Kind::One(target) => target.to_owned(),
            Kind::Article => format!("/articles/{}", self.popular(ARTICLES)),
            Kind::Image => format!("/img/{}.svg", self.popular(1..=60)),
            Kind::Search => format!("/search?q={}", SEARCHES[self.popular(0..=5)]),
        }
    }

    /// One of these numbers: the second half as often as the first, the third a third, and so on
    /// (Zipf's law).
    fn popular(&mut self, numbers: std::ops::RangeInclusive<usize>) -> usize {
        let first = *numbers.start();
        let shares: Vec<f64> = (1..=numbers.count()).map(|rank| 1.0 / rank as f64).collect();
        first + self.random.index(&shares)
    }
}

/// Chance good enough for a demo: a keyed hash of a counter.
#[derive(Default)]
struct Random {
    key: RandomState,
    drawn: u64,
}

impl Random {
    /// From 0 to below 1.
    fn unit(&mut self) -> f64 {
        self.drawn += 1;
        // 53 bits are what a double holds.
        (self.key.hash_one(self.drawn) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An index, each as likely as its share says.
    fn index(&mut self, shares: &[f64]) -> usize {
        let mut rest = self.unit() * shares.iter().sum::<f64>();
        let past = shares.iter().position(|share| {
            rest -= share;
            rest < 0.0
        });
        // Rounding may leave a little of the last share.
        past.unwrap_or(shares.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_come_as_often_as_their_shares_say() {
        let mut random = Random::default();
        let mut drawn = [0; 3];
        for _ in 0..10_000 {
            drawn[random.index(&[70.0, 0.0, 30.0])] += 1;
        }
        // 70 % of 10,000 within ten times the standard deviation, 46.
        assert!((6540..=7460).contains(&drawn[0]), "{drawn:?}");
        assert_eq!((drawn[1], drawn.iter().sum::<i32>()), (0, 10_000));
    }
}
