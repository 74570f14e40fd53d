//! Spellings of a request, which a seed determines.

/// Some of the ways to write the path `/admin/users/list` and the host `example.com`.
pub(crate) struct Spellings(u64);

impl Spellings {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `bound` (SplitMix64).
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % bound as u64) as usize
    }

    fn one_of(&mut self, words: &[&'static str]) -> &'static str {
        words[self.below(words.len())]
    }

    /// The host as a Host field has it.
    pub(crate) fn host(&mut self) -> String {
        let host = self.one_of(&["example.com", "EXAMPLE.com", "eXaMpLe.CoM"]);
        let dot = self.one_of(&["", "", "."]);
        let port = self.one_of(&["", ":80", ":8080"]);
        format!("{host}{dot}{port}")
    }

    /// The target.
    pub(crate) fn target(&mut self) -> String {
        let mut path = String::new();
        for segment in ["admin", "users", "list"] {
            let separator = self.one_of(&[
                "/",
                "/",
                "//",
                "/./",
                "/%2e/",
                "/zz/../",
                "/zz/%2E%2e/",
                "/zz/..%2f",
                "/zz;v/../",
                "/zz/..;v/",
                "/zz%2f../",
                "/zz/%252e%252e/",
                "/;v/../",
            ]);
            path.push_str(separator);
            let spelled = self.segment(segment);
            path.push_str(&spelled);
        }
        if self.below(4) == 0 {
            // Not the first: a target begins with a slash.
            let rest = path.split_off(1).replacen('/', self.one_of(&["%2F", "%5c", "\\"]), 1);
            path.push_str(&rest);
        }
        let query = self.one_of(&["", "", "?", "?a=b", "?/../x"]);
        let absolute = self.one_of(&["", "", "", "http://example.com", "http://Example.COM:80"]);
        format!("{absolute}{path}{query}")
    }

    /// The head of a request for `/page` with one of three things by which a rule refuses it: the client
    /// `BadBot/1`, the cookie `banned`, or the host `other.example.com`.
    pub(crate) fn refused_head(&mut self) -> String {
        let (host, mut lines) = match self.below(3) {
            0 => {
                let name = self.in_any_case("user-agent");
                let agent = self.in_any_case("BadBot/1");
                let before = self.one_of(&["", "", "Mozilla/5.0 (", "x "]);
                let after = self.one_of(&["", "", ".2", ") x", " \u{e9}", "\u{2603}"]);
                let (left, right) = (self.space(), self.space());
                (self.host(), vec![format!("{name}:{left}{before}{agent}{after}{right}")])
            }
            1 => {
                let cookie =
                    self.one_of(&["banned=1", "banned=", "banned", "banned =1", "banned=\"a\""]);
                let before = self.one_of(&["", "", "a=b; ", "a=b;", ";", "a=b;;  "]);
                let after = self.one_of(&["", "", "; c=d", ";c=d", ";"]);
                let (name, left) = (self.in_any_case("cookie"), self.space());
                (self.host(), vec![format!("{name}:{left}{before}{cookie}{after}")])
            }
            _ => {
                let host = self.in_any_case("other.example.com");
                let dot = self.one_of(&["", "", "."]);
                let port = self.one_of(&["", ":80", ":8080"]);
                (format!("{host}{dot}{port}"), Vec::new())
            }
        };
        // Lines around it, also of its own name, hide nothing.
        for other in ["Accept: */*", "Cookie: e=f", "X-User-Agent: x", "Cookie:"] {
            if self.below(3) == 0 {
                lines.insert(self.below(lines.len() + 1), other.to_owned());
            }
        }
        let field = self.in_any_case("host");
        lines.insert(self.below(lines.len() + 1), format!("{field}: {host}"));
        let method = self.one_of(&["GET", "HEAD", "OPTIONS"]);
        format!("{method} /page HTTP/1.1\r\n{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
    }

    fn in_any_case(&mut self, word: &str) -> String {
        let cased = |character: char, upper| match upper {
            true => character.to_ascii_uppercase(),
            false => character.to_ascii_lowercase(),
        };
        word.chars().map(|character| cased(character, self.below(2) == 0)).collect()
    }

    fn space(&mut self) -> &'static str {
        self.one_of(&[" ", "", "  ", "\t", " \t "])
    }

    fn segment(&mut self, segment: &str) -> String {
        let mut spelled = String::new();
        for character in segment.chars() {
            match self.below(12) {
                0 => spelled.push_str(&format!("%{:02x}", character as u32)),
                1 => spelled.push_str(&format!("%{:02X}", character.to_ascii_uppercase() as u32)),
                2 => spelled.push(character.to_ascii_uppercase()),
                3 => spelled.push_str(&format!("%25{:02x}", character as u32)),
                _ => spelled.push(character),
            }
        }
        if self.below(6) == 0 {
            spelled.push_str(self.one_of(&[";v=1", ";", "%3bv=1"]));
        }
        spelled
    }
}
