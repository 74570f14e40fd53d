//! Token files that do not exist yet: control generates its own at startup, nodes wait for theirs.

use crate::settings::Settings;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use weir_config::mistakes::{Location, Mistake, Mistakes};
use weir_config::{Absent, Config};

/// Random bytes of a token; twice as many characters.
const BYTES: usize = 32;

/// Owner and group: who else is to read it shares the group.
const MODE: u32 = 0o640;

/// Of the directory that is made for it.
const DIRECTORY_MODE: u32 = 0o750;

/// How often an absent file is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// `config` once no token file is absent: those that this process makes are made, others are waited
/// for at most `control.token_wait`.
///
/// # Errors
/// A file cannot be made, or did not come; or meanwhile the configuration became wrong.
pub(crate) async fn complete(mut config: Config, settings: &Settings) -> Result<Config, Mistakes> {
    let end = Instant::now() + config.control.token_wait;
    for absent in config.absent.iter().filter(|absent| !absent.made) {
        let file = absent.file.display().to_string();
        tracing::info!(key = absent.key, file, "the file does not exist yet: waiting for it");
    }
    while config.absent.iter().any(|absent| !absent.made) && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
        config = settings.load()?;
    }
    complete_at_once(config, settings)
}

/// `config` once what this process makes is made; nothing is waited for.
///
/// # Errors
/// A file cannot be made, or is not there.
pub(crate) fn complete_at_once(config: Config, settings: &Settings) -> Result<Config, Mistakes> {
    if config.absent.is_empty() {
        return Ok(config);
    }
    let mut mistakes = Mistakes::default();
    for absent in config.absent.iter().filter(|absent| absent.made) {
        let file = absent.file.display().to_string();
        match make(&absent.file) {
            Ok(()) => {
                tracing::info!(key = absent.key, file, "token generated: its file did not exist")
            }
            // Somebody else was first; what they wrote is what counts.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => mistakes.0.push(told(absent, format!("cannot be created: {error}"))),
        }
    }
    let config = if mistakes.0.is_empty() { settings.load()? } else { return Err(mistakes) };
    if config.absent.is_empty() { Ok(config) } else { Err(missing(&config)) }
}

fn missing(config: &Config) -> Mistakes {
    let waited = config.control.token_wait.as_secs_f64();
    let words = |absent: &Absent| match absent.made {
        true => "a dangling link; accepted: a file, or no file (it is then generated)".into(),
        false => format!("does not exist, even after control.token_wait ({waited} s)"),
    };
    Mistakes(config.absent.iter().map(|absent| told(absent, words(absent))).collect())
}

fn told(absent: &Absent, message: String) -> Mistake {
    let value = Some(format!("{:?}", absent.file));
    Mistake { path: absent.key.clone(), place: Location::Nowhere, value, message }
}

/// Makes a token in `file`, which appears whole or not at all, and replaces nothing.
///
/// # Errors
/// It cannot be made; [`ErrorKind::AlreadyExists`] where it is there.
pub(crate) fn make(file: &Path) -> std::io::Result<()> {
    let (token, draft) = (random::<BYTES>()?, random::<8>()?);
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    // Linked into its place rather than renamed: a link never replaces.
    let draft = directory.join(format!(".weir-token-{draft}"));
    let placed = write(&draft, &token).and_then(|()| std::fs::hard_link(&draft, file));
    let removed = std::fs::remove_file(&draft);
    placed.and(removed)?;
    File::open(directory)?.sync_all()
}

fn write(draft: &Path, token: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(draft)?;
    // Whatever the umask says.
    file.set_permissions(Permissions::from_mode(MODE))?;
    writeln!(file, "{token}")?;
    file.sync_all()
}

fn random<const BYTES: usize>() -> std::io::Result<String> {
    let mut random = [0; BYTES];
    getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let name = format!("weir-tokens-{}-{name}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_token_is_made_whole_private_and_alone_in_its_directory() {
        let scratch = Scratch::new("made");
        let file = scratch.0.join("below").join("operator");
        make(&file).unwrap();
        let token = std::fs::read_to_string(&file).unwrap();
        assert_eq!(token.len(), 2 * BYTES + 1);
        assert!(token.trim_end().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_there_is_never_replaced() {
        let scratch = Scratch::new("kept");
        std::fs::create_dir_all(&scratch.0).unwrap();
        let file = scratch.0.join("operator");
        std::fs::write(&file, "given").unwrap();
        assert_eq!(make(&file).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "given");
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 1);
    }

    #[test]
    fn of_several_that_make_one_the_first_counts() {
        let scratch = Scratch::new("race");
        let file = scratch.0.join("operator");
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| make(&file).is_ok())).collect();
            threads.into_iter().map(|t| t.join().unwrap()).filter(|made| *made).count()
        });
        assert_eq!(made, 1);
        assert_eq!(std::fs::read_dir(&scratch.0).unwrap().count(), 1);
    }
}
