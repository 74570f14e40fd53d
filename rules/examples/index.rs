//! What an index of many purged targets takes: memory for each, and processor time for each stored
//! response that is judged. `cargo run --release -p weir-rules --example index [TARGETS]`

use std::time::Duration;
use weir_rules::invalidation::{Bounds, Index, KeyedPurge, Purge, Seq, Subject, Target, Validity};

/// Stored responses that are judged.
const RESPONSES: usize = 200_000;

type Make = fn(usize) -> Target;

const KINDS: [(&str, Make); 5] = [
    ("paths", |number| Target::Path(format!("/shop/item/{number}/page.html"))),
    ("tags", |number| Target::Tag(format!("product-{number}"))),
    ("prefixes", |number| Target::Prefix(format!("/shop/item/{number}"))),
    ("URLs", |number| Target::Url(format!("http://www.example.com/shop/{number}"))),
    ("patterns", |number| Target::Pattern(format!("/shop/{number}/*.jpg"))),
];

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let count = |at: usize| arguments.get(at).and_then(|text| text.parse().ok());
    if let Some((name, target)) =
        KINDS.iter().find(|(name, _)| arguments.get(1).is_some_and(|of| of == name))
    {
        measure(name, count(2).unwrap_or(1000), *target);
        return Ok(());
    }
    println!(
        "{RESPONSES} responses with a query and 3 tags, 4 segments deep, of which none was purged"
    );
    println!("no targets: {:?} for each response", judge(&Index::new(bounds())));
    for (name, _) in KINDS {
        // A process each, so that none uses memory that another one left.
        let targets = if name == "patterns" { 1000 } else { count(1).unwrap_or(1_000_000) };
        let mut kind = std::process::Command::new(std::env::current_exe()?);
        kind.args([name, &targets.to_string()]).status()?;
    }
    Ok(())
}

fn measure(name: &str, count: usize, target: Make) {
    let (before, begun) = (resident(), used());
    let mut index = Index::new(bounds());
    for number in 0..count {
        let targets = vec![target(number)];
        let seq = number as Seq + 1;
        let purge = Purge { seq, targets, site: None, soft: false, versions: false };
        let _ = index.apply(&KeyedPurge::as_sent(purge));
    }
    let applied = (used() - begun) / count as u32;
    let bytes = resident().saturating_sub(before) / count;
    assert_eq!(index.floor(), 0, "all of them fit");
    let cost = judge(&index);
    println!(
        "{count} {name}: {bytes} bytes each, {applied:?} to apply one, {cost:?} for each response"
    );
}

fn bounds() -> Bounds {
    Bounds { targets: 100_000_000, patterns: 1_000_000 }
}

/// Time of a processor to judge a response.
fn judge(index: &Index) -> Duration {
    let texts: Vec<(String, [String; 3])> = (0..RESPONSES)
        .map(|number| {
            let tags = ["category", "author", "page"].map(|tag| format!("{tag}-{number}"));
            (format!("/blog/2026/{}/{number}", number % 12), tags)
        })
        .collect();
    let begun = used();
    let mut valid = 0;
    for (path, tags) in &texts {
        let tags = tags.each_ref().map(|tag| &**tag);
        let subject = Subject {
            site: "shop",
            host: "www.example.com",
            path,
            query: Some("lang=en"),
            tags: &tags,
            filled_at: 0,
        };
        valid += usize::from(index.validity(&subject) == Validity::Valid);
    }
    assert_eq!(valid, RESPONSES, "nothing was purged");
    (used() - begun) / RESPONSES as u32
}

/// Time of a processor that this thread has used.
fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Bytes of memory that the process has.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}
