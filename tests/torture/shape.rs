//! The topologies that are tortured.

use crate::door::Door;
use crate::program::{Line, Spec, Topology};
use std::fmt;
use std::sync::Arc;

/// A short lease, so that whoever is cut off or asleep is missed in good time; and a log that keeps
/// every purge of the longest run, which lists them at its end.
const CONTROL: &str = "lease = \"2s\"\nretention = 1000000\n";

/// A store that must evict, a bound that some bodies pass, and a window that they do not fit into.
const TABLES: &str = "[memory]\nsize = \"12MiB\"\nmax_object = \"256KiB\"\n\
    [limits]\nfill_window = \"64KiB\"\nvariants = 8";

/// Running processes.
pub(crate) struct Shape {
    pub(crate) topology: Topology,
    /// Who is read from.
    pub(crate) doors: Vec<Arc<Door>>,
    /// The lines between tiers.
    pub(crate) between: Vec<Between>,
}

/// The line over which an edge asks a parent.
pub(crate) struct Between {
    pub(crate) from: String,
    pub(crate) to: String,
    /// What is spoken over it.
    protocol: &'static str,
    pub(crate) line: Line,
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} over {}", self.from, self.to, self.protocol)
    }
}

impl Shape {
    /// Eight edges before the origin.
    pub(crate) fn eight_edges(origin: &str, _seed: u64) -> Self {
        let mut topology = Topology::with("eight", CONTROL);
        let mut doors = Vec::new();
        for number in 0..8 {
            let name = format!("edge-{number}");
            topology.add(&name, &spec(Spec::edge(origin), number));
            let at = topology.node(&name).listen;
            doors.push(Arc::new(Door::disturbed(number, &name, at, false)));
        }
        Self { topology, doors, between: Vec::new() }
    }

    /// Three edges and two parents in two regions, each edge with a line of its own to each parent.
    /// Parents are read from as well, by whoever is no node. Over half of the lines HTTP/2 is spoken,
    /// over the others HTTP/1.1.
    pub(crate) fn parents(origin: &str, seed: u64) -> Self {
        let mut topology = Topology::with("parents", CONTROL);
        let (mut doors, mut between) = (Vec::new(), Vec::new());
        for (number, region) in REGIONS.into_iter().enumerate() {
            let name = format!("parent-{number}");
            topology.add(&name, &spec(Spec::parent(origin).region(region), number));
            let at = topology.node(&name).listen;
            doors.push(Arc::new(Door::disturbed(number, &name, at, false)));
        }
        for number in 0..3 {
            let name = format!("edge-{number}");
            let lines: Vec<Between> = doors[..REGIONS.len()]
                .iter()
                .enumerate()
                .map(|(parent, door)| {
                    let (from, to) = (name.clone(), door.name.clone());
                    // Of the parents that are asked first, both sorts in each run.
                    let first = parent == number % REGIONS.len();
                    let turn = (seed % 2) as usize + number + usize::from(first);
                    let protocol = ["h1", "h2"][turn % 2];
                    Between { from, to, protocol, line: Line::to(door.at()) }
                })
                .collect();
            let edge = Spec::edge(origin).region(REGIONS[number % REGIONS.len()]);
            topology.add(&name, &spec(edge, number).tables(&parents(&lines)));
            let at = topology.node(&name).listen;
            doors.push(Arc::new(Door::disturbed(doors.len(), &name, at, true)));
            between.extend(lines);
        }
        Self { topology, doors, between }
    }
}

/// Where the parents are, in their order.
const REGIONS: [&str; 2] = ["east", "west"];

/// An edge's parents, which it asks over these lines.
fn parents(lines: &[Between]) -> String {
    let url = |(line, region): (&Between, &str)| {
        let (at, protocol) = (line.line.at(), line.protocol);
        format!("{{ url = \"http://{at}\", region = {region:?}, protocol = {protocol:?} }}")
    };
    let urls: Vec<String> = lines.iter().zip(REGIONS).map(url).collect();
    // Short enough that a parent that sleeps is passed by.
    format!("[parents]\nurls = [{}]\ntimeouts.first_byte = \"1s\"", urls.join(", "))
}

/// A node of this number. Some go on when control is lost, some ask the origin.
fn spec(spec: Spec, number: usize) -> Spec {
    let on_partition = if number.is_multiple_of(2) { "serve" } else { "validate" };
    spec.tables(&format!("{CONTROL}on_partition = {on_partition:?}"))
        .tables(TABLES)
        .node("drain = \"1s\"")
        .site("host_header = \"client\"")
}
