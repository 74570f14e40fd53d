//! Names of cookies, compiled: a request is held against a whole list by two searches for each cookie.

/// A list of names of cookies, each exact or, with a `*` at its end, the beginning of names. Case counts
/// (RFC 6265 §5.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CookieNames {
    /// Whether other spellings of a name count that PHP reads as the same.
    any_spelling: bool,
    /// Those that no beginning covers; sorted.
    exact: Vec<Box<[u8]>>,
    /// Beginnings of names, of which none begins another; sorted.
    beginnings: Vec<Box<[u8]>>,
}

impl CookieNames {
    /// These names, as they are spelled.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::compiled(names, false)
    }

    /// These names, and others that PHP reads as one of them: it takes a space, `.` or `[` in the name of a
    /// cookie for `_`. Who reads a cookie by another name than the origin does overlooks it.
    pub fn in_any_spelling<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::compiled(names, true)
    }

    fn compiled<N: AsRef<str>>(names: impl IntoIterator<Item = N>, any_spelling: bool) -> Self {
        let (mut exact, mut beginnings) = (Vec::new(), Vec::new());
        for name in names {
            let name = name.as_ref();
            let (list, name) = match name.strip_suffix('*') {
                Some(beginning) => (&mut beginnings, beginning),
                None => (&mut exact, name),
            };
            let spelled = name.bytes().map(|b| if any_spelling { as_php_reads(b) } else { b });
            list.push(spelled.collect::<Box<[u8]>>());
        }
        beginnings.sort_unstable();
        // In this order, what another one begins comes somewhere after it.
        beginnings.dedup_by(|later, kept| later.starts_with(kept));
        let mut names = Self { any_spelling, exact: Vec::new(), beginnings };
        exact.retain(|name| !names.begins(name));
        exact.sort_unstable();
        exact.dedup();
        names.exact = exact;
        names
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.beginnings.is_empty()
    }

    /// Whether a cookie that was sent by this name is in the list.
    pub fn has(&self, sent: &[u8]) -> bool {
        let found =
            self.exact.binary_search_by(|name| name.iter().copied().cmp(self.spelled(sent)));
        found.is_ok() || self.begins(sent)
    }

    /// Whether all cookies that a name stands for are in the list; one may end in `*`.
    pub fn covers(&self, name: &str) -> bool {
        match name.strip_suffix('*') {
            Some(beginning) => self.begins(beginning.as_bytes()),
            None => self.has(name.as_bytes()),
        }
    }

    /// The names, as far as none of them covers another: first those that are exact.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        let beginnings = self.beginnings.iter().map(move |name| text(name) + "*");
        self.exact.iter().map(move |name| text(name)).chain(beginnings)
    }

    /// Whether one of the beginnings begins a name. As none begins another, it can only be the last one
    /// that is not after the name.
    fn begins(&self, sent: &[u8]) -> bool {
        let after =
            self.beginnings.partition_point(|name| name.iter().copied().le(self.spelled(sent)));
        let last = after.checked_sub(1).map(|last| &self.beginnings[last]);
        last.is_some_and(|name| {
            sent.len() >= name.len() && name.iter().copied().eq(self.spelled(sent).take(name.len()))
        })
    }

    fn spelled(&self, sent: &[u8]) -> impl Iterator<Item = u8> {
        let any_spelling = self.any_spelling;
        sent.iter().map(move |&b| if any_spelling { as_php_reads(b) } else { b })
    }
}

/// A byte of a cookie's name as PHP reads it (`php_register_variable_ex` in `main/php_variables.c`).
pub(crate) fn as_php_reads(byte: u8) -> u8 {
    match byte {
        b' ' | b'.' | b'[' => b'_',
        byte => byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_exact_or_a_beginning() {
        let names = CookieNames::new(["lang", "wp_*", "wp_x", "_ga", "_ga_*", "_g"]);
        for (sent, is_in) in [
            ("lang", true),
            ("Lang", false),
            ("lang2", false),
            ("lan", false),
            ("wp_", true),
            ("wp_session", true),
            ("wp", false),
            ("wp.session", false),
            ("_ga", true),
            ("_ga_X1", true),
            ("_gat", false),
            ("_g", true),
            ("", false),
        ] {
            assert_eq!(names.has(sent.as_bytes()), is_in, "{sent}");
        }
        assert_eq!(names.names().collect::<Vec<_>>(), ["_g", "_ga", "lang", "_ga_*", "wp_*"]);
    }

    #[test]
    fn other_spellings_of_php_are_the_same_name_where_they_count() {
        let names = CookieNames::in_any_spelling(["wordpress_logged_in_*", "a.b"]);
        for sent in ["wordpress_logged_in_1", "wordpress.logged in[1", "a_b", "a.b", "a b", "a[b"] {
            assert!(names.has(sent.as_bytes()), "{sent}");
        }
        for sent in ["wordpress-logged-in-1", "a]b", "ab"] {
            assert!(!names.has(sent.as_bytes()), "{sent}");
        }
    }

    #[test]
    fn all_cookies_are_a_beginning_of_nothing() {
        let all = CookieNames::new(["*", "lang"]);
        assert!(all.has(b"") && all.has(b"lang") && all.covers("x*") && all.covers("*"));
        assert_eq!(all.names().collect::<Vec<_>>(), ["*"]);
        assert!(CookieNames::default().is_empty() && !CookieNames::default().has(b""));
    }

    #[test]
    fn a_name_is_covered_if_all_its_cookies_are() {
        let names = CookieNames::new(["wp_*", "lang"]);
        for (name, covered) in
            [("wp_x", true), ("wp_x*", true), ("wp_*", true), ("w*", false), ("lang*", false)]
        {
            assert_eq!(names.covers(name), covered, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn the_searches_find_what_looking_at_each_name_finds(
            names in proptest::collection::vec("[a_.]{0,3}[*]?", 0..6),
            sent in "[a_. ]{0,4}",
            any_spelling in any::<bool>(),
        ) {
            let spelled = |text: &str| -> Vec<u8> {
                text.bytes().map(|b| if any_spelling { as_php_reads(b) } else { b }).collect()
            };
            let is_in = names.iter().any(|name| match name.strip_suffix('*') {
                Some(beginning) => spelled(&sent).starts_with(&spelled(beginning)),
                None => spelled(&sent) == spelled(name),
            });
            let compiled = CookieNames::compiled(&names, any_spelling);
            prop_assert_eq!(compiled.has(sent.as_bytes()), is_in);
            let again = CookieNames::compiled(compiled.names(), any_spelling);
            prop_assert_eq!(again, compiled);
        }
    }
}
