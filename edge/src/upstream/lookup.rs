//! Who is asked for the addresses of names: the system, or DNS servers of the configuration.

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::net::lookup_host;
use tokio::sync::{Semaphore, mpsc, oneshot};

/// Questions that wait for the thread that asks; who asks more waits.
const QUESTIONS: usize = 256;

/// Questions under way at once.
const AT_ONCE: usize = 64;

/// What one try of one server takes at most, and how many there are.
const TRY: Duration = Duration::from_secs(2);
const TRIES: usize = 2;

/// Who is asked for the addresses of names.
#[derive(Clone, Default)]
pub(crate) enum Lookup {
    /// The system, as it is configured: its files, its DNS servers.
    #[default]
    System,
    /// DNS servers of the configuration.
    Servers(Arc<Resolver>),
}

/// The addresses of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// In the order of the answer.
    pub(crate) addresses: Vec<IpAddr>,
    /// Until when they are valid, where that is known.
    pub(crate) until: Option<Instant>,
}

impl Lookup {
    /// As the configuration says. Whoever was asked `before` goes on, if it is the same.
    pub(crate) fn of(servers: &[SocketAddr], before: Option<&Lookup>) -> Self {
        match before {
            _ if servers.is_empty() => Self::System,
            Some(Self::Servers(known)) if known.servers == servers => {
                Self::Servers(Arc::clone(known))
            }
            _ => Self::Servers(Arc::new(Resolver::new(servers))),
        }
    }

    /// The addresses of a host, which may be an address itself (IPv6 without brackets).
    pub(crate) async fn addresses(&self, host: &str) -> io::Result<Found> {
        if let Ok(address) = host.parse() {
            return Ok(Found { addresses: vec![address], until: None });
        }
        match self {
            Self::System => {
                let addresses = lookup_host((host, 0)).await?.map(|address| address.ip()).collect();
                Ok(Found { addresses, until: None })
            }
            Self::Servers(resolver) => resolver.ask(host).await,
        }
    }
}

/// Asks DNS servers, on a thread of its own: workers come and go with what they run, its sockets do not. It ends with
/// the last that may ask it.
pub(crate) struct Resolver {
    servers: Vec<SocketAddr>,
    questions: OnceLock<Result<mpsc::Sender<Question>, String>>,
}

struct Question {
    host: String,
    answer: oneshot::Sender<io::Result<Found>>,
}

impl Resolver {
    /// No thread is started before somebody asks.
    fn new(servers: &[SocketAddr]) -> Self {
        Self { servers: servers.to_vec(), questions: OnceLock::new() }
    }

    async fn ask(&self, host: &str) -> io::Result<Found> {
        let started = self.questions.get_or_init(|| start(&self.servers));
        let questions = started.as_ref().map_err(|why| io::Error::other(why.clone()))?;
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the thread that asks DNS servers has ended");
        let question = Question { host: host.to_owned(), answer };
        questions.send(question).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn start(servers: &[SocketAddr]) -> Result<mpsc::Sender<Question>, String> {
    let no_thread =
        |error: &dyn std::fmt::Display| format!("no thread to ask DNS servers: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| no_thread(&error))?;
    let resolver = resolver(servers).map_err(|error| no_thread(&error))?;
    let (questions, asked) = mpsc::channel(QUESTIONS);
    std::thread::Builder::new()
        .name("weir-resolver".into())
        .spawn(move || {
            runtime.block_on(answer(resolver, asked));
            runtime.shutdown_background();
        })
        .map_err(|error| no_thread(&error))?;
    Ok(questions)
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, hickory_resolver::net::NetError> {
    let server = |address: &SocketAddr| {
        let [mut udp, mut tcp] = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        (udp.port, tcp.port) = (address.port(), address.port());
        NameServerConfig::new(address.ip(), true, vec![udp, tcp])
    };
    let servers = servers.iter().map(server).collect();
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = TRY;
    options.attempts = TRIES;
    // What is remembered, and for how long, is the pool's to say.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    builder.build()
}

async fn answer(resolver: TokioResolver, mut asked: mpsc::Receiver<Question>) {
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    while let Some(Question { host, answer }) = asked.recv().await {
        let Ok(permit) = Arc::clone(&at_once).acquire_owned().await else { return };
        let resolver = resolver.clone();
        tokio::spawn(async move {
            // A name is whole: no domain of this machine is put after it.
            let found = resolver.lookup_ip(format!("{host}.")).await;
            let found = found.map_err(io::Error::other).map(|found| Found {
                addresses: found.iter().collect(),
                until: Some(found.valid_until()),
            });
            // Who asked may be gone.
            let _ = answer.send(found);
            drop(permit);
        });
    }
}
