//! The kinds of targets, as the index tells them apart.

use super::{Subject, Target};
use strum::{EnumCount, IntoStaticStr, VariantArray};

/// A kind of targets, with those of a site among the others' a bound and a floor of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumCount, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum IndexKind {
    /// A path.
    Path,
    /// A path with its query.
    Query,
    /// A path in all its versions.
    Version,
    /// A tag.
    Tag,
    /// A tag in any case.
    AnyCaseTag,
    /// A prefix.
    Prefix,
    /// A URL.
    Url,
    /// A host.
    Host,
    /// A pattern.
    Pattern,
}

impl IndexKind {
    /// Its name, as metrics and logs have it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// That of a target; `None` for everything, which is one target.
    pub(super) fn of(target: &Target, versions: bool) -> Option<Self> {
        Some(match target {
            Target::All => return None,
            Target::Path(_) if versions => Self::Version,
            // A `?` is no text that is normalised to another one, or comes of another one.
            Target::Path(path) if path.contains('?') => Self::Query,
            Target::Path(_) => Self::Path,
            Target::Pattern(_) => Self::Pattern,
            Target::Prefix(_) => Self::Prefix,
            Target::Url(_) => Self::Url,
            Target::Tag(_) => Self::Tag,
            Target::AnyCaseTag(_) => Self::AnyCaseTag,
            Target::Host(_) => Self::Host,
        })
    }

    /// Whether any target of this kind could take a response.
    pub(super) fn could_take(self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Tag | Self::AnyCaseTag => !subject.tags.is_empty(),
            Self::Query => subject.query.is_some(),
            Self::Path | Self::Version | Self::Prefix | Self::Url | Self::Host | Self::Pattern => {
                true
            }
        }
    }
}
