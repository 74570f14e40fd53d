//! The nearest known word to one that is not known, for messages.

/// Longer words than this are not compared: nobody mistypes them into a key.
const LONGEST: usize = 64;

/// What a message about an unknown word asks if a known one is near.
pub fn did_you_mean(meant: &str) -> String {
    format!("did you mean {meant}?")
}

/// The candidate that `word` most likely meant: at most a third of its letters wrong (at least
/// one, or two in words of five letters or more), or one that it begins or that begins it. `None`
/// also if several are as near: any of them would be a guess.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if word.is_empty() || length > LONGEST {
        return None;
    }
    let tolerated = (length / 3).max(if length >= 5 { 2 } else { 1 });
    let near: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter_map(|candidate| {
            let shorter = length.min(candidate.len());
            let begins = candidate.starts_with(word) || word.starts_with(candidate);
            match edits(word, candidate) {
                edits if edits <= tolerated => Some((edits, candidate)),
                edits if begins && shorter >= 3 => Some((edits + LONGEST, candidate)),
                _ => None,
            }
        })
        .collect();
    let (least, nearest) = *near.iter().min_by_key(|(edits, _)| *edits)?;
    let alone = near.iter().all(|(edits, other)| *edits > least || *other == nearest);
    alone.then_some(nearest)
}

/// Letters to insert, remove, replace or swap with their neighbour to make `b` of `a`, whatever
/// their case.
fn edits(a: &str, b: &str) -> usize {
    strsim::osa_distance(&a.to_lowercase(), &b.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_its_word() {
        let keys = ["listen", "admin", "drain", "max_object", "size"];
        for (word, meant) in [
            ("lisen", Some("listen")),
            ("litsen", Some("listen")),
            ("Listen", Some("listen")),
            ("drian", Some("drain")),
            ("max_objects", Some("max_object")),
            ("max", Some("max_object")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }

    #[test]
    fn of_several_that_are_as_near_none_is_meant() {
        assert_eq!(nearest("h3", ["h1", "h2"]), None);
        assert_eq!(nearest("h3", ["h1", "h1"]), Some("h1"));
        assert_eq!(nearest("size", ["side", "size"]), Some("size"));
    }

    #[test]
    fn edits_count_a_swap_as_one() {
        assert_eq!(edits("ab", "ba"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
