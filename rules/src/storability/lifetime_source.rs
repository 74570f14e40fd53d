//! Where a lifetime came from, for people.

use super::LifetimeSource;
use crate::targeted::Source;
use std::fmt::{Display, Formatter, Result};

impl Display for LifetimeSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::SMaxage(source) => write!(f, "s-maxage of {}", field(*source)),
            Self::MaxAge(source) => write!(f, "max-age of {}", field(*source)),
            Self::Expires => f.write_str("Expires"),
            Self::Heuristic => f.write_str("heuristic, a tenth of the time since Last-Modified"),
            Self::Rule => f.write_str("ttl of a rule"),
            Self::Versioned => f.write_str("versioned_ttl of the site"),
            Self::SiteDefault => f.write_str("default_ttl of the site"),
            Self::Negative => f.write_str("negative_ttl of the site"),
            Self::ValidatorOnly => f.write_str("none, it is validated each time"),
        }
    }
}

fn field(source: Source) -> &'static str {
    match source {
        Source::CdnCacheControl => "CDN-Cache-Control",
        Source::SurrogateControl => "Surrogate-Control",
        Source::CacheControl => "Cache-Control",
    }
}
