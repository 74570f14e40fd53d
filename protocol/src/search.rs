//! What operators search for in lists of URLs.

use serde::{Deserialize, Serialize};

/// Words, each of which must be part of one of the texts, whatever the case of ASCII letters. Without words, everything
/// is found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Search {
    /// In lower case.
    words: Vec<String>,
}

impl Search {
    /// The longest text that is searched for, in bytes.
    pub const LONGEST: usize = 200;

    /// The words of a text, which white space separates; of a longer one than [`Search::LONGEST`] its beginning.
    pub fn new(text: &str) -> Self {
        let end = text.floor_char_boundary(Self::LONGEST);
        let words = text[..end].split_whitespace().map(str::to_ascii_lowercase);
        Self { words: words.collect() }
    }

    /// Whether it finds everything.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether each word is part of one of these texts.
    pub fn finds<'a>(&self, texts: impl IntoIterator<Item = &'a str> + Clone) -> bool {
        let is_part = |word: &String| {
            let mut texts = texts.clone().into_iter();
            texts.any(|text| has(text.as_bytes(), word.as_bytes()))
        };
        self.words.iter().all(is_part)
    }
}

/// Whether `word`, in lower case, is part of `text`. It makes no copy: all that a node stores is looked at.
fn has(text: &[u8], word: &[u8]) -> bool {
    word.is_empty() || text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_part_of_one_of_the_texts() {
        let texts = ["http://shop.example/Articles/1?page=2", "news"];
        for found in ["", " ", "articles", "ARTICLES/1", "shop page=2", "news /articles", "2"] {
            assert!(Search::new(found).finds(texts), "{found}");
        }
        for other in
            ["articles/2", "shop blog", "newspaper", "http://shop.example/articles/1?page=23"]
        {
            assert!(!Search::new(other).finds(texts), "{other}");
        }
        assert!(Search::new("  ").is_empty());
    }

    #[test]
    fn a_text_without_end_is_cut_between_characters() {
        let long = format!("{}\u{e9}", "a".repeat(Search::LONGEST - 1));
        assert_eq!(Search::new(&long), Search::new(&"a".repeat(Search::LONGEST - 1)));
    }
}
