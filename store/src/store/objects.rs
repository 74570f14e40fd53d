//! Bodies in slices, over several directories.

use super::Store;
use crate::volume::{ObjectWriter, Refused};

impl Store {
    /// Begins a body in slices ([`crate::Volume::begin_object`]); `None` while its directory is set
    /// aside. Never waits.
    pub fn begin_object(&self, url: u64, key: &[u8], selecting: &[u8]) -> Option<ObjectWriter> {
        let volume = self.device(url).volume()?;
        Some(volume.begin_object(url, key, selecting))
    }

    /// Begins further slices of a body that is stored ([`crate::Volume::extend_object`]). Never waits.
    ///
    /// # Errors
    /// As there; or its directory is set aside.
    pub fn extend_object(
        &self,
        url: u64,
        key: &[u8],
        selecting: &[u8],
        objects: &[u64],
    ) -> Result<ObjectWriter, Refused> {
        let volume = self.device(url).volume().ok_or(Refused::Failed)?;
        volume.extend_object(url, key, selecting, objects)
    }
}
