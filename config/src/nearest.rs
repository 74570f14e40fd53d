//! The nearest known word to one that is not known, for messages.

/// Longer words than this are not compared: nobody mistypes them into a key.
const LONGEST: usize = 64;

/// The candidate that `word` most likely meant: at most a third of its letters wrong (at least
/// one, or two in words of five letters or more), or one that it begins or that begins it.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.chars().count() > LONGEST {
        return None;
    }
    let length = word.chars().count();
    let tolerated = (length / 3).max(if length >= 5 { 2 } else { 1 });
    candidates
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
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Letters to insert, remove, replace or swap with their neighbour to make `b` of `a`.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before_last = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
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
    fn edits_count_a_swap_as_one() {
        assert_eq!(edits("ab", "ba"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
