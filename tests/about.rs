//! What the program tells of itself: help, version, completions and manual pages.

mod program;

use program::{Folder, run};
use std::path::Path;
use std::process::Command;

/// The commands that `weir --help` lists, but `help` itself.
fn commands() -> Vec<String> {
    let help = run(&["--help"], &[]).out;
    let (_, listed) = help.split_once("Commands:\n").expect("a list of commands");
    let listed = listed.lines().take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next().map(str::to_owned));
    let names: Vec<_> = names.filter(|name| name != "help").collect();
    assert!(names.len() >= 15, "{names:?}");
    names
}

#[test]
fn help_of_a_command_is_found_both_ways() {
    for command in commands() {
        let (by_name, by_option) = (run(&["help", &command], &[]), run(&[&command, "--help"], &[]));
        assert_eq!(by_name.status, Some(0), "{command}: {}", by_name.err);
        assert_eq!(by_name.out, by_option.out, "{command}");
    }
    assert_eq!(run(&["help", "nodes", "forget"], &[]).status, Some(0));
    assert_eq!(run(&["help", "nothing"], &[]).status, Some(2));
}

#[test]
fn serve_alone_says_what_it_may_be_given() {
    let ran = run(&["serve"], &[]);
    assert_eq!(ran.status, Some(2));
    assert!(ran.err.contains("--origin <URL>|--config <FILE>"), "{}", ran.err);
}

#[test]
fn version_shows_commit_features_and_target() {
    let ran = run(&["--version"], &[]);
    let shown: Vec<_> = ran.out.lines().collect();
    assert_eq!(shown[0], concat!("weir ", env!("CARGO_PKG_VERSION")), "{shown:?}");
    let names: Vec<_> = shown[1..].iter().filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(names, ["commit", "features", "target"]);
    assert_eq!(run(&["-V"], &[]).out.trim_end(), shown[0]);
    // tests/package.sh checks that of a release.
    assert_eq!(shown[1], concat!("commit    ", env!("WEIR_COMMIT")));
}

#[test]
fn bash_completes_commands_and_options() {
    let script = run(&["completions", "bash"], &[]).out;
    for (words, expected) in [
        ("weir purg", "purge purges"),
        ("weir serve --conf", "--config"),
        ("weir nodes fo", "forget"),
    ] {
        let ask = "COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
                   _weir weir \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
                   echo \"${COMPREPLY[*]}\"";
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &format!("{script}\n{ask}"), "bash", words]);
        let ran = bash.output().expect("bash runs");
        let completed = String::from_utf8_lossy(&ran.stdout);
        assert_eq!(completed.trim(), expected, "{words}: {}", String::from_utf8_lossy(&ran.stderr));
    }
}

#[test]
fn completions_are_for_the_shell_that_is_named() {
    for (shell, begin) in [("zsh", "#compdef weir\n"), ("fish", "# Print an optspec")] {
        let ran = run(&["completions", shell], &[]);
        assert_eq!(ran.status, Some(0), "{shell}: {}", ran.err);
        assert!(ran.out.starts_with(begin), "{shell}: {}", ran.out);
        assert!(ran.out.contains("purges"), "{shell}");
    }
    let refused = run(&["completions", "csh"], &[]);
    assert_eq!(refused.status, Some(2));
    assert!(refused.err.contains("[possible values: bash, zsh, fish]"), "{}", refused.err);
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = Folder::new("man");
    let pages = Path::new(folder.path()).join("man1");
    let ran = run(&["man", &pages.display().to_string()], &[]);
    assert_eq!((ran.status, ran.err.as_str(), ran.out.as_str()), (Some(0), "", ""));
    for page in commands().iter().map(|command| format!("weir-{command}")).chain(["weir".into()]) {
        let text = std::fs::read_to_string(pages.join(format!("{page}.1")));
        let text = text.unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(text.contains(&format!(".TH {page} 1")), "{page}: {text}");
    }
    let purge = std::fs::read_to_string(pages.join("weir-purge.1")).expect("it is there");
    assert!(purge.contains("WEIR_CONTROL"), "{purge}");
    let refused = run(&["man", "/dev/null/man"], &[]);
    assert_eq!(refused.status, Some(1));
    assert!(refused.err.starts_with("weir: /dev/null/man: "), "{}", refused.err);
}
