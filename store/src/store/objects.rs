//! Bodies in slices, over several directories.

use super::Store;
use crate::response::ResponseHead;
use crate::volume::{Hold, ObjectWriter, Refused};
use bytes::Bytes;

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

    /// Hands in a slice of a body that is stored ([`crate::Volume::add_slice`]). Never waits.
    ///
    /// # Errors
    /// As there; or its directory is set aside.
    pub fn add_slice(
        &self,
        url: u64,
        object: u64,
        number: u32,
        body: Bytes,
        hold: Option<Hold>,
    ) -> Result<(), Refused> {
        let life = self.device(url).life().ok_or(Refused::Failed)?;
        let added = life.volume().add_slice(url, object, number, body, hold);
        life.ring();
        added
    }

    /// Hands in a newer head of a body that is stored ([`crate::Volume::replace_head`]). Never waits.
    ///
    /// # Errors
    /// As there; or its directory is set aside.
    pub fn replace_head(
        &self,
        head: ResponseHead,
        objects: &[u64],
        length: u64,
        hold: Option<Hold>,
    ) -> Result<(), Refused> {
        let life = self.device(head.url).life().ok_or(Refused::Failed)?;
        let replaced = life.volume().replace_head(head, objects, length, hold);
        life.ring();
        replaced
    }
}
