//! Credentials for buckets, and the file that has them: the `credentials` file of AWS, which other programs read too.

/// The section that is read where none is named.
pub const PROFILE: &str = "default";

/// Longest value, bytes. Session tokens are the long ones.
const LONGEST: usize = 8192;

/// Credentials for buckets.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The id of the key.
    pub access_key: String,
    /// The key.
    pub secret_key: String,
    /// The token of temporary credentials.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the section `profile` of a file: lines `name = value` under `[profile]`. Lines that begin with `#` or
    /// `;` say nothing, and other names are not looked at.
    ///
    /// # Errors
    /// What is missing, or cannot be sent. It has nothing of what the file says.
    pub fn parse(text: &str, profile: &str) -> Result<Self, String> {
        let mut section = None;
        let mut is_there = false;
        let [mut access_key, mut secret_key, mut session_token] = [const { None }; 3];
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = Some(name.trim());
                is_there |= section == Some(profile);
                continue;
            }
            if section != Some(profile) {
                continue;
            }
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match name.trim().to_ascii_lowercase().as_str() {
                "aws_access_key_id" => access_key = value,
                "aws_secret_access_key" => secret_key = value,
                "aws_session_token" => session_token = value,
                _ => {}
            }
        }
        if !is_there {
            return Err(format!("it has no section [{profile}]"));
        }
        match (access_key, secret_key) {
            (Some(access_key), Some(secret_key)) => {
                Self { access_key, secret_key, session_token }.checked()
            }
            (None, _) => Err(format!("[{profile}] has no aws_access_key_id")),
            (_, None) => Err(format!("[{profile}] has no aws_secret_access_key")),
        }
    }

    /// The same, if all of it can be sent.
    ///
    /// # Errors
    /// What cannot.
    pub fn checked(self) -> Result<Self, String> {
        let plain = |value: &str| {
            value.len() <= LONGEST && value.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let is_name = |byte: u8| byte.is_ascii_graphic() && !b"/,=".contains(&byte);
        match &self {
            Self { access_key, .. } if !plain(access_key) || !access_key.bytes().all(is_name) => {
                Err("the access key has characters that it cannot have".into())
            }
            Self { secret_key, .. } if !plain(secret_key) => {
                Err("the secret key has characters that it cannot have".into())
            }
            Self { session_token: Some(token), .. } if !plain(token) => {
                Err("the session token has characters that it cannot have".into())
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "# made by hand\n[default]\naws_access_key_id = A\naws_secret_access_key=s3/cr+et==\n\
                        region = eu-central-1\n\n[ temporary ]\nAWS_ACCESS_KEY_ID=B\n\
                        aws_secret_access_key = b\r\naws_session_token = t\n[half]\naws_access_key_id = C\n\
                        [wrong]\naws_access_key_id = C/D\naws_secret_access_key = e\n";

    #[test]
    fn a_file_is_read_as_other_programs_read_it() {
        let first = Credentials::parse(FILE, PROFILE).unwrap();
        assert_eq!((first.access_key.as_str(), first.secret_key.as_str()), ("A", "s3/cr+et=="));
        assert_eq!(first.session_token, None);
        let other = Credentials::parse(FILE, "temporary").unwrap();
        assert_eq!((other.access_key.as_str(), other.session_token.as_deref()), ("B", Some("t")));
        assert!(!format!("{first:?}").contains("s3/cr+et"));
    }

    #[test]
    fn what_is_missing_is_told() {
        for (text, profile, why) in [
            (FILE, "none", "no section [none]"),
            (FILE, "half", "[half] has no aws_secret_access_key"),
            (FILE, "wrong", "the access key"),
            ("", PROFILE, "no section [default]"),
            ("[default]\n", PROFILE, "no aws_access_key_id"),
            (
                "[default]\naws_access_key_id=a\naws_secret_access_key=b c",
                PROFILE,
                "the secret key",
            ),
        ] {
            let told = Credentials::parse(text, profile).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
