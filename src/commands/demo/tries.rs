//! What the demo prints: the addresses, and things to try, each ready to copy.

use super::topology::{HOST, Topology};
use crate::text::columns;
use std::env;
use std::fmt::Write;
use std::path::Path;

/// A page that no visitor asks for, so that whoever tries it meets it first.
const PAGE: &str = "/articles/1";

/// Something to try: what it shows, and the commands, or the address to open.
struct Try {
    shows: &'static str,
    commands: Vec<String>,
}

/// What to tell once everything runs.
pub(super) fn announcement(topology: &Topology, rate: u32) -> String {
    let mut rows: Vec<_> = topology
        .listening()
        .into_iter()
        .map(|it| {
            let taken = match it.at.port() == it.wanted {
                true => String::new(),
                false => format!(" (port {} is taken)", it.wanted),
            };
            (it.name, format!("http://{}{taken}", it.at))
        })
        .collect();
    rows.push((
        "traffic",
        match rate {
            0 => "off".to_owned(),
            rate => format!("{rate} requests per second for http://{HOST}, over all edges"),
        },
    ));
    let mut text = columns(&rows);
    text.push_str("\nFive things to try, in another terminal:\n");
    for (number, it) in (1..).zip(tries(topology)) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{number}. {}\n", it.shows);
        for command in it.commands {
            let _ = writeln!(text, "   {command}");
        }
    }
    text.push_str("\nPress Ctrl-C to stop it. Nothing is kept.\n");
    text
}

fn tries(topology: &Topology) -> [Try; 5] {
    let edges = topology.edges();
    let control = format!("--control http://{}", topology.control_at());
    let weir = how_to_call(env::current_exe().ok().as_deref(), env::var_os("PATH"));
    let get = |edge: usize| {
        let edge = edges[edge];
        format!(
            "curl -s -o /dev/null -D - -H 'Host: {HOST}' http://{edge}{PAGE} | grep -i cache-status"
        )
    };
    [
        Try {
            shows: "A page twice: a miss at the edge and at its parent, then a hit",
            commands: vec![get(0), get(0)],
        },
        Try {
            shows: "Why it is or is not a hit, at each node",
            commands: vec![format!("{weir} explain http://{HOST}{PAGE} {control}")],
        },
        Try {
            shows: "Purge it on all nodes: the next request goes to the origin, and another edge then \
                    finds it at the parent",
            commands: vec![format!("{weir} purge {PAGE} {control}"), get(0), get(1)],
        },
        Try {
            shows: "A live view in a browser: nodes, traffic, what is and is not stored, and why",
            commands: vec![format!("http://{}/", topology.control_at())],
        },
        Try { shows: "The same in the terminal", commands: vec![format!("{weir} top {control}")] },
    ]
}

/// How this program is called from a shell: by its name where that finds it, else by its path.
fn how_to_call(program: Option<&Path>, path: Option<std::ffi::OsString>) -> String {
    let Some(program) = program else { return "weir".to_owned() };
    let real = |path: &Path| path.canonicalize().ok();
    let found = path.as_ref().and_then(|path| {
        env::split_paths(path).map(|folder| folder.join("weir")).find(|file| file.is_file())
    });
    if found.is_some_and(|found| real(&found) == real(program)) {
        return "weir".to_owned();
    }
    let here = env::current_dir().ok();
    let below = here.as_ref().and_then(|here| program.strip_prefix(here).ok());
    let shown = below.unwrap_or(program).display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    match shown.chars().all(plain) {
        true => shown,
        false => format!("'{}'", shown.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_called_as_a_shell_finds_it() {
        let folder = env::temp_dir().join(format!("weir-{}-it's here", std::process::id()));
        let (one, other) = (folder.join("one"), folder.join("other"));
        for folder in [&one, &other] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("weir"), "").unwrap();
        }
        let program = one.join("weir");
        let quoted = format!("'{}'", program.display().to_string().replace('\'', r"'\''"));
        let path = |folders: &[&Path]| Some(env::join_paths(folders).unwrap());
        for (path, expected) in [
            (path(&[&one, &other]), "weir"),
            (path(&[&other, &one]), quoted.as_str()),
            (path(&[]), &quoted),
            (None, &quoted),
        ] {
            assert_eq!(how_to_call(Some(&program), path.clone()), expected, "{path:?}");
        }
        let below = env::current_dir().unwrap().join("target/release/weir");
        assert_eq!(how_to_call(Some(&below), None), "target/release/weir");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
