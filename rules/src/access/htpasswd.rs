//! Files of users and their passwords as Apache's `htpasswd -B` writes them: a user in a line, `name:hash`, with
//! hashes of bcrypt.

use std::collections::HashMap;

/// Largest file, bytes.
pub const LARGEST_FILE: u64 = 1 << 20;

/// Most users in a file.
pub const MOST_USERS: usize = 10_000;

/// Longest name of a user, bytes.
const LONGEST_NAME: usize = 255;

/// Costs of bcrypt that are accepted. Each step doubles the time of a check: 14 takes about a second.
const COSTS: std::ops::RangeInclusive<u8> = 4..=14;

/// What a line looks like, for messages.
pub const LINE_FORM: &str =
    "name:hash with a bcrypt hash of cost 4 to 14, as htpasswd -B writes it";

/// The users of a file.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    hashes: HashMap<Box<str>, Box<str>>,
}

/// Hashes are never shown.
impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Users").field("count", &self.hashes.len()).finish_non_exhaustive()
    }
}

impl Users {
    /// Reads a file. Empty lines and those that begin with `#` say nothing.
    ///
    /// # Errors
    /// All lines that are wrong, each with its number and the reason, without its content.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut users = Self::default();
        let mut wrong = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Err(reason) = users.add(line) {
                wrong.push(format!("line {}: {reason}", number + 1));
            }
        }
        match (wrong.is_empty(), users.hashes.is_empty()) {
            (true, false) => Ok(users),
            (true, true) => Err(vec!["no user at all".to_owned()]),
            (false, _) => Err(wrong),
        }
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (name, hash) = line.split_once(':').ok_or("no colon")?;
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(format!("the name does not have 1 to {LONGEST_NAME} bytes"));
        }
        check_hash(hash)?;
        if self.hashes.len() == MOST_USERS {
            return Err(format!("more than {MOST_USERS} users"));
        }
        match self.hashes.insert(name.into(), hash.into()) {
            None => Ok(()),
            Some(_) => Err("the name is there twice".to_owned()),
        }
    }

    /// The hash of a user's password.
    pub fn hash(&self, user: &str) -> Option<&str> {
        self.hashes.get(user).map(|hash| &**hash)
    }

    /// The hash of some user, so that a check for a name that nobody has takes as long as another.
    pub fn any_hash(&self) -> &str {
        self.hashes.values().next().map_or("", |hash| &**hash)
    }
}

/// `$2y$05$` and 53 characters of bcrypt's own base64.
fn check_hash(hash: &str) -> Result<(), String> {
    let bcrypt = ["$2a$", "$2b$", "$2y$"].iter().find_map(|version| hash.strip_prefix(version));
    let (cost, rest) = bcrypt.and_then(|rest| rest.split_once('$')).ok_or("not a bcrypt hash")?;
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    if cost.len() != 2 || rest.len() != 53 || !rest.bytes().all(is_digit) {
        return Err("not a bcrypt hash".to_owned());
    }
    match cost.parse::<u8>() {
        Ok(cost) if COSTS.contains(&cost) => Ok(()),
        _ => {
            Err(format!("the cost of its bcrypt hash is not {} to {}", COSTS.start(), COSTS.end()))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const REST: &str = "$5pIxhEnkUbJKzhTcOnJ1S.JoCe1pMfwqDZYRG1uW2lG1pTq5v2dFO";

    fn line(name: &str, cost: &str) -> String {
        format!("{name}:$2y${cost}{REST}\n")
    }

    #[test]
    fn users_are_read_with_their_hashes() {
        let text = format!("# staff\n\n{} {}", line("anna", "05"), line("ben", "12"));
        let users = Users::parse(&text).unwrap();
        assert_eq!(users.hash("anna"), Some(format!("$2y$05{REST}").as_str()));
        assert!(users.hash("ben").is_some() && users.hash("anna ").is_none());
        assert!(users.any_hash().starts_with("$2y$"));
        assert!(!format!("{users:?}").contains("$2y$"));
    }

    #[test]
    fn all_lines_that_are_wrong_are_told_without_their_content() {
        let md5 = "anna:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/\n";
        let text = format!(
            "{md5}nobody\n{}{}{}{}{}:x\n",
            line("", "05"),
            line("ben", "05"),
            line("ben", "05"),
            line("carl", "17"),
            "n".repeat(256),
        );
        let wrong = Users::parse(&text).unwrap_err();
        assert_eq!(
            wrong,
            [
                "line 1: not a bcrypt hash",
                "line 2: no colon",
                "line 3: the name does not have 1 to 255 bytes",
                "line 5: the name is there twice",
                "line 6: the cost of its bcrypt hash is not 4 to 14",
                "line 7: the name does not have 1 to 255 bytes",
            ]
        );
        assert_eq!(Users::parse("# none\n").unwrap_err(), ["no user at all"]);
    }
}
