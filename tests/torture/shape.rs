//! The topologies that are tortured.

use crate::door::Door;
use crate::program::{Folder, Line, Spec, Topology};
use std::fmt;
use std::sync::Arc;

/// Short, so that whoever is cut off or asleep is missed in good time.
const LEASE: &str = "lease = \"2s\"\n";

/// The same, and a log that keeps every purge of the longest run, which lists them at its end.
const CONTROL: &str = "lease = \"2s\"\nretention = 1000000\n";

/// A bound that some bodies pass, and a window that they do not fit into.
const TABLES: &str = "[limits]\nfill_window = \"64KiB\"\nvariants = 8";

/// A memory store that must evict; above a disk one that holds few bodies.
fn memory(disk: &str) -> &'static str {
    match disk.is_empty() {
        true => "[memory]\nsize = \"12MiB\"\nmax_object = \"256KiB\"",
        false => "[memory]\nsize = \"1MiB\"\nmax_object = \"4KiB\"",
    }
}

/// Running processes.
pub(crate) struct Shape {
    pub(crate) topology: Topology,
    /// Who is read from.
    pub(crate) doors: Vec<Arc<Door>>,
    /// The lines between tiers.
    pub(crate) between: Vec<Between>,
    /// What the nodes have stored on disk.
    pub(crate) disks: Vec<Folder>,
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
        let (mut doors, mut disks) = (Vec::new(), Vec::new());
        for number in 0..8 {
            let name = format!("edge-{number}");
            let (disk, folder) = disk("eight", &name, number);
            disks.extend(folder);
            topology.add(&name, &spec(Spec::edge(origin), number, &disk));
            let at = topology.node(&name).listen;
            doors.push(Arc::new(Door::disturbed(number, &name, at, false)));
        }
        Self { topology, doors, between: Vec::new(), disks }
    }

    /// Three edges and two parents in two regions, each edge with a line of its own to each parent.
    /// Parents are read from as well, by whoever is no node. Over half of the lines HTTP/2 is spoken,
    /// over the others HTTP/1.1.
    pub(crate) fn parents(origin: &str, seed: u64) -> Self {
        let mut topology = Topology::with("parents", CONTROL);
        let (mut doors, mut between, mut disks) = (Vec::new(), Vec::new(), Vec::new());
        for (number, region) in REGIONS.into_iter().enumerate() {
            let name = format!("parent-{number}");
            let (disk, folder) = disk("parents", &name, number + 1);
            disks.extend(folder);
            let parent = Spec::parent(origin).region(region);
            topology.add(&name, &spec(parent, number, &disk));
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
            let (disk, folder) = disk("parents", &name, number);
            disks.extend(folder);
            let edge = spec(edge, number, &disk).tables(&parents(&lines));
            topology.add(&name, &edge);
            let at = topology.node(&name).listen;
            doors.push(Arc::new(Door::disturbed(doors.len(), &name, at, true)));
            between.extend(lines);
        }
        Self { topology, doors, between, disks }
    }
}

/// The disk store of a node of this number, and where it is. One of four nodes has none, one has two
/// directories. They are so small that they evict.
fn disk(run: &str, name: &str, number: usize) -> (String, Option<Folder>) {
    if number.is_multiple_of(4) {
        return (String::new(), None);
    }
    let folder = Folder::new(&format!("{run}-{name}-disk"));
    let path = folder.path();
    let keys = match number % 4 {
        1 => format!("path = {path:?}\nsize = \"32MiB\"\nadmit = \"all\"\npromote = false"),
        2 => format!("path = {path:?}\nsize = \"64MiB\""),
        _ => format!(
            "directories = [{{ path = \"{path}/a\", size = \"32MiB\" }}, \
             {{ path = \"{path}/b\", size = \"32MiB\" }}]\nadmit = \"all\""
        ),
    };
    (format!("[disk]\n{keys}"), Some(folder))
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

/// A node of this number with this disk store. Some go on when control is lost, some ask the origin.
fn spec(spec: Spec, number: usize, disk: &str) -> Spec {
    let on_partition = if number.is_multiple_of(2) { "serve" } else { "validate" };
    spec.tables(&format!("{LEASE}on_partition = {on_partition:?}"))
        .tables(memory(disk))
        .tables(TABLES)
        .tables(disk)
        .node("drain = \"1s\"")
        .site("host_header = \"client\"")
}
