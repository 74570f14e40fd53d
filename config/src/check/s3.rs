//! `[site.origin.s3]`: how requests for a private bucket are signed.

use super::tls::present_file;
use crate::section::Section;
use crate::{S3, Secret};
use weir_rules::s3::credentials::{Credentials, PROFILE};
use weir_rules::s3::{PARAMETER_FORM, check_parameter};

const MOST_PARAMETERS: usize = 32;

/// The largest file of credentials that is read, bytes.
const LARGEST_FILE: u64 = 64 * 1024;

/// The variables that hold credentials where no file is named, as other programs have them.
const VARIABLES: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Reads the table, if it is written.
pub(super) fn s3(s: &mut Section<'_>) -> Option<S3> {
    let written = s.has("s3");
    let mut s = s.section("s3");
    let region_form =
        "the region of the bucket, such as eu-central-1; \"us-east-1\" for most others than AWS";
    let region = s.text("region", region_form, region);
    if written && !s.has("region") {
        s.mistake("region", format!("missing; accepted: {region_form}"));
    }
    let query = s.list("query", MOST_PARAMETERS, PARAMETER_FORM, |name| {
        check_parameter(name).map(|()| name.to_owned())
    });
    let credentials = credentials(&mut s, written);
    s.finish(&[]);
    let Credentials { access_key, secret_key, session_token } = credentials?;
    Some(S3 {
        region: region?,
        access_key,
        secret_key: Secret::new(secret_key),
        session_token: session_token.map(Secret::new),
        query: query.unwrap_or_default(),
    })
}

fn region(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match text {
        "" => Err("empty".into()),
        _ if text.len() > 64 => Err("too long".into()),
        _ if !text.bytes().all(fits) => {
            Err("has other than lower-case letters, digits and -".into())
        }
        _ => Ok(text.to_owned()),
    }
}

/// Those of the file, if one is named, or those of the environment.
fn credentials(s: &mut Section<'_>, written: bool) -> Option<Credentials> {
    let path = s.text("credentials_file", "the path of a file", present_file);
    let profile =
        s.text("profile", "the name of a section of credentials_file", |text| match text {
            "" => Err("empty".into()),
            text => Ok(text.to_owned()),
        });
    if !written {
        return None;
    }
    if !s.has("credentials_file") {
        if s.has("profile") {
            s.mistake("profile", "without credentials_file; accepted: both, or neither");
        }
        return match of_environment(|name| std::env::var(name).ok()) {
            Ok(credentials) => Some(credentials),
            Err(why) => {
                s.mistake("credentials_file", format!("missing, and {why}; accepted: one of both"));
                None
            }
        };
    }
    // Without a path the mistake is noted already.
    let path = path?;
    let read = match std::fs::metadata(&path) {
        Ok(found) if found.len() > LARGEST_FILE => Err("more than 64 KiB".into()),
        _ => std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}")),
    };
    let profile = profile.as_deref().unwrap_or(PROFILE);
    match read.and_then(|text| Credentials::parse(&text, profile)) {
        Ok(credentials) => Some(credentials),
        Err(why) => {
            s.mistake("credentials_file", why);
            None
        }
    }
}

fn of_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Credentials, String> {
    let [id, key, token] = VARIABLES;
    let of = |name: &str| variable(name).filter(|value| !value.is_empty());
    match (of(id), of(key)) {
        (Some(access_key), Some(secret_key)) => {
            Credentials { access_key, secret_key, session_token: of(token) }.checked()
        }
        _ => Err(format!("the environment has not both of {id} and {key}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::of_environment;
    use crate::{Config, HostHeader};
    use std::io::Write;

    /// A directory of its own that goes with the test.
    struct CredentialsFile(std::path::PathBuf);

    impl CredentialsFile {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("weir-s3-{}-{name}", std::process::id()));
            std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
            Self(path)
        }
    }

    impl Drop for CredentialsFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn config(keys: &str) -> Result<Config, String> {
        let pool = "[[site]]\n[[site.origin]]\nname = \"a\"\nurls = [\"http://127.0.0.1/b\"]\n";
        Config::from_toml(&format!("{pool}{keys}")).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn credentials_are_those_of_the_profile_and_are_shown_nowhere() {
        let file = CredentialsFile::new(
            "profile",
            "[default]\naws_access_key_id = A\naws_secret_access_key = first-secret\n\
             [other]\naws_access_key_id = B\naws_secret_access_key = other-secret\naws_session_token = T\n",
        );
        let keys = |more: &str| {
            let path = file.0.display();
            format!(
                "s3 = {{ region = \"eu-central-1\", credentials_file = \"{path}\", query = [\"versionId\"]{more} }}"
            )
        };
        let config_of = |more: &str| config(&keys(more)).unwrap();
        let first = config_of("");
        let pool = &first.sites[0].pools[0];
        let s3 = pool.s3.as_ref().unwrap();
        assert_eq!((s3.access_key.as_str(), s3.secret_key.reveal()), ("A", "first-secret"));
        assert_eq!(s3.query, ["versionId"]);
        assert_eq!((pool.host_header, pool.origins[0].visitors_host), (HostHeader::Origin, false));
        assert!(!format!("{first:?}").contains("first-secret"));
        let other = config_of(", profile = \"other\"");
        let s3 = other.sites[0].pools[0].s3.as_ref().unwrap();
        let token = s3.session_token.as_ref().map(|token| token.reveal());
        assert_eq!((s3.access_key.as_str(), token), ("B", Some("T")));
        let told = config(&keys(", profile = \"none\"")).unwrap_err();
        assert!(told.contains("no section [none]"), "{told}");
    }

    #[test]
    fn the_environment_has_them_where_no_file_is_named() {
        let known = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("A".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
            _ => None,
        };
        let read = of_environment(known).unwrap();
        assert_eq!((read.access_key.as_str(), read.session_token), ("A", None));
        let told = of_environment(|name| known(name).filter(|_| name.ends_with("ID"))).unwrap_err();
        assert!(told.contains("AWS_SECRET_ACCESS_KEY"), "{told}");
    }

    #[test]
    fn mistakes_are_told() {
        let file = CredentialsFile::new("wrong", "[default]\naws_access_key_id = A\n");
        let path = file.0.display().to_string();
        let with = |keys: &str| format!("s3 = {{ region = \"a\", {keys} }}");
        for (keys, parts) in [
            ("s3 = {}".to_owned(), &["s3.region: missing", "us-east-1"][..]),
            ("s3 = { region = \"EU\" }".into(), &["s3.region = \"EU\"", "lower-case"]),
            (with("profile = \"a\""), &["s3.profile", "without credentials_file"]),
            (
                with("credentials_file = \"/nowhere\""),
                &["credentials_file = \"/nowhere\"", "cannot be read"],
            ),
            (
                with(&format!("credentials_file = \"{path}\"")),
                &["credentials_file", "aws_secret_access_key"],
            ),
            (with("query = [\"X-Amz-Date\"]"), &["s3.query[0] = \"X-Amz-Date\"", "X-Amz-"]),
            (with("query = [\"acl\"]"), &["s3.query[0] = \"acl\"", "subresource"]),
            (with("query = [\"a*\"]"), &["s3.query[0] = \"a*\""]),
            (
                format!(
                    "host_header = \"client\"\n{}",
                    with(&format!("credentials_file = \"{path}\""))
                ),
                &["credentials_file"],
            ),
        ] {
            let told = config(&keys).unwrap_err();
            for part in parts {
                assert!(told.contains(part), "{keys}: {told}");
            }
        }
        let good = CredentialsFile::new(
            "good",
            "[default]\naws_access_key_id=A\naws_secret_access_key=b\n",
        );
        let keys = with(&format!("credentials_file = \"{}\"", good.0.display()));
        let told = config(&format!("host_header = \"client\"\n{keys}")).unwrap_err();
        assert!(told.contains("host_header = \"client\"") && told.contains("signature"), "{told}");
    }
}
