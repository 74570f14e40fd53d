//! Bodies in slices, over several directories.

use super::Store;
use crate::volume::ObjectWriter;

impl Store {
    /// Begins a body in slices ([`crate::Volume::begin_object`]); `None` while its directory is set
    /// aside. Never waits.
    pub fn begin_object(&self, url: u64, key: &[u8], selecting: &[u8]) -> Option<ObjectWriter> {
        let volume = self.device(url).volume()?;
        Some(volume.begin_object(url, key, selecting))
    }
}
