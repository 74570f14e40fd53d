//! The top-level modules of this crate depend on each other in layers, without a cycle: each can be
//! read and tested with only the modules below it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The modules that each module needs.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_modules_need_each_other() {
    let graph = graph(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for (module, needed) in [("request", "state"), ("state", "store"), ("follow", "standing")] {
        assert!(graph[module].contains(needed), "{module} needs {needed}: that must be found");
    }
    for (module, needs) in &graph {
        let unknown = needs.iter().find(|needed| !graph.contains_key(*needed));
        assert_eq!(unknown, None, "{module} names this by another path than its module's");
    }
    let cycles = cycles(&graph);
    assert!(cycles.is_empty(), "these modules need each other: {cycles:?}");
}

#[test]
fn a_cycle_is_found_through_any_number_of_modules() {
    let mut graph = Graph::new();
    for (module, needed) in [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "d")] {
        graph.entry(module.to_owned()).or_default().insert(needed.to_owned());
    }
    let cycle = ["a", "b", "c"].map(str::to_owned);
    assert_eq!(cycles(&graph), BTreeSet::from([BTreeSet::from(cycle)]));
}

#[test]
fn a_module_needs_what_its_code_names_outside_of_it() {
    let source = "//! [`crate::a`]\nuse crate::b::{C, d};\nfn f() -> super::super::e::G {\n    \
                  my_crate::h() + super::i()\n}\n#[cfg(test)]\nmod tests {\n    use crate::j;\n}\n";
    assert_eq!(needs(source, "x::y"), BTreeSet::from(["b", "e"].map(str::to_owned)));
    let named = needs("use super::frame::A;\nuse crate::{b, c};", "follow::session");
    assert_eq!(named, BTreeSet::from(["crate".to_owned()]));
}

/// The modules of the sources below `folder`, without tests.
fn graph(folder: &Path) -> Graph {
    let mut graph = Graph::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(folder).expect("below it").with_extension("");
            let names: Vec<_> = inside.iter().map(|name| name.to_string_lossy()).collect();
            let module = names.join("::").replace("::mod", "");
            if module != "lib" && names.iter().all(|name| name != "tests") {
                let source = std::fs::read_to_string(&path).expect("a source");
                graph.entry(top(&module)).or_default().extend(needs(&source, &module));
            }
        }
    }
    graph
}

/// The top-level modules other than its own that the code of `module` names by paths from `crate`
/// or `super`.
fn needs(source: &str, module: &str) -> BTreeSet<String> {
    let is_path = |c: char| c == ':' || c == '_' || c.is_alphanumeric();
    // A module's tests are the last item of its file.
    let code = source.split("\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = lines.flat_map(|line| line.split(|c| !is_path(c)));
    let paths = paths.filter(|path| path.starts_with("crate::") || path.starts_with("super::"));
    let named = paths.map(|path| {
        let mut place: Vec<&str> = module.split("::").collect();
        for name in path.split("::").filter(|name| !name.is_empty()) {
            match name {
                "crate" => place.clear(),
                "super" => drop(place.pop()),
                name => place.push(name),
            }
        }
        top(&place.join("::"))
    });
    named.filter(|named| *named != top(module)).collect()
}

/// The top-level module that a path is in; `crate` where it names none.
fn top(path: &str) -> String {
    let first = path.split("::").next().filter(|name| !name.is_empty());
    first.unwrap_or("crate").to_owned()
}

/// The largest sets of modules of which each needs, in whatever number of steps, all the others.
fn cycles(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &str| {
        let mut reached = BTreeSet::new();
        let mut next = vec![from];
        while let Some(module) = next.pop() {
            for needed in graph.get(module).into_iter().flatten() {
                if reached.insert(needed.as_str()) {
                    next.push(needed);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&str, _> =
        graph.keys().map(|name| (name.as_str(), reached(name))).collect();
    let cycle = |(name, others): (&&str, &BTreeSet<&str>)| {
        let back = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(name));
        others.iter().filter(back).map(ToString::to_string).collect::<BTreeSet<_>>()
    };
    reached.iter().map(cycle).filter(|cycle| cycle.len() > 1).collect()
}
