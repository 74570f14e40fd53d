//! The files of a simulation, line by line.

use flate2::bufread::MultiGzDecoder;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use weir_simulation::{Line, log, trace};

/// The longest line that is read; what is longer is of no known format.
const LONGEST_LINE: u64 = 64 * 1024;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Of an access log.
    Log,
    /// Of a trace.
    Trace,
}

/// Files, in order.
pub(super) struct Source {
    files: Vec<PathBuf>,
    format: Format,
}

impl Source {
    /// These files, which must be there.
    pub(super) fn new(files: &[PathBuf], format: Format) -> Result<Self, String> {
        let source = Self { files: files.to_vec(), format };
        for file in source.named() {
            let opened = File::open(file).and_then(|file| file.metadata());
            match opened {
                Ok(metadata) if metadata.is_dir() => {
                    return Err(format!("{} is a directory", file.display()));
                }
                Ok(_) => {}
                Err(error) => return Err(unread(file, &error)),
            }
        }
        Ok(source)
    }

    fn named(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().filter(|file| !is_standard_input(file))
    }

    /// Whether it can be read only once: it is standard input, or a pipe.
    pub(super) fn is_read_once(&self) -> bool {
        let is_file = |file: &PathBuf| file.metadata().is_ok_and(|metadata| metadata.is_file());
        !self.files.iter().all(is_file)
    }

    /// Bytes of all files, if they are files.
    pub(super) fn bytes(&self) -> Option<u64> {
        match self.is_read_once() {
            true => None,
            false => self.files.iter().map(|file| file.metadata().map(|it| it.len()).ok()).sum(),
        }
    }

    /// The files, for messages.
    pub(super) fn name(&self) -> String {
        match &self.files[..] {
            [only] if is_standard_input(only) => "standard input".to_owned(),
            [only] => only.display().to_string(),
            files => format!("none of the {} files", files.len()),
        }
    }

    /// Reads all lines.
    pub(super) fn lines(
        &self,
        is_skipped: &dyn Fn(&str) -> bool,
        bar: &ProgressBar,
        each: &mut dyn FnMut(Line),
    ) -> Result<(), String> {
        for file in &self.files {
            let opened: Box<dyn Read> = match is_standard_input(file) {
                true => Box::new(std::io::stdin().lock()),
                false => Box::new(File::open(file).map_err(|error| unread(file, &error))?),
            };
            let plain = BufReader::with_capacity(256 * 1024, bar.wrap_read(opened));
            let read = unpacked(plain).and_then(|mut lines| {
                while let Some(line) = next_line(&mut lines)? {
                    each(match (&line, self.format) {
                        (None, _) => Line::Unknown,
                        (Some(line), Format::Log) => log::read(line, is_skipped),
                        (Some(line), Format::Trace) => trace::read(line),
                    });
                }
                Ok(())
            });
            read.map_err(|error| unread(file, &error))?;
        }
        Ok(())
    }
}

fn is_standard_input(file: &Path) -> bool {
    file == Path::new("-")
}

fn unread(file: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", file.display())
}

/// A reader of what is in it, where it is gzipped.
fn unpacked<'a>(mut plain: impl BufRead + 'a) -> std::io::Result<Box<dyn BufRead + 'a>> {
    let is_gzip = plain.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(match is_gzip {
        true => Box::new(BufReader::new(MultiGzDecoder::new(plain))),
        false => Box::new(plain),
    })
}

/// The next line; an empty answer inside is one that is too long.
fn next_line(lines: &mut dyn BufRead) -> std::io::Result<Option<Option<String>>> {
    let mut line = Vec::new();
    if lines.take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.len() as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
        lines.skip_until(b'\n')?;
        return Ok(Some(None));
    }
    Ok(Some(Some(String::from_utf8_lossy(&line).into_owned())))
}
