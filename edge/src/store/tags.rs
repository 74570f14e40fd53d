//! The cache tags of a stored response. Most responses have none and pay one pointer.

use std::ops::Deref;

/// Cache tags.
#[derive(Clone, Debug, Default)]
#[allow(clippy::box_collection, reason = "a Vec's three words would be paid by every response")]
pub(crate) struct Tags(Option<Box<Box<[Box<str>]>>>);

impl From<Box<[Box<str>]>> for Tags {
    fn from(tags: Box<[Box<str>]>) -> Self {
        Self((!tags.is_empty()).then(|| Box::new(tags)))
    }
}

impl From<&Tags> for Box<[Box<str>]> {
    fn from(tags: &Tags) -> Self {
        tags.to_vec().into_boxed_slice()
    }
}

impl Deref for Tags {
    type Target = [Box<str>];

    fn deref(&self) -> &[Box<str>] {
        self.0.as_deref().map_or(&[], |tags| tags)
    }
}
