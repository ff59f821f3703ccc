//! The kernel's log, read record by record so that a complaint is charged to the test that ran.
//!
//! In: `/dev/kmsg`. Out: the complaints since the last look. Next to read: `item.rs`.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use nix::libc::O_NONBLOCK;

use crate::is_splat;

/// How many lines of the log are kept from a complaint on: enough for a call trace.
const LINES_AFTER: usize = 40;

/// A reading position in the kernel's log.
pub(crate) struct Log {
    file: File,
}

impl Log {
    /// Opens the log at its beginning.
    ///
    /// # Errors
    /// `/dev/kmsg` is missing.
    pub(crate) fn open() -> Result<Self> {
        let file =
            OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open("/dev/kmsg").context("open /dev/kmsg")?;
        Ok(Self { file })
    }

    /// The complaints logged since the last call, with the lines that follow them; empty when there are none.
    pub(crate) fn splats(&mut self) -> String {
        let mut found = String::new();
        let mut left = 0;
        while let Some(line) = self.next() {
            if is_splat(&line) {
                left = LINES_AFTER;
            }
            if left > 0 {
                left -= 1;
                found.push_str(&line);
                found.push('\n');
            }
        }
        found
    }

    /// The text of the next record. `None` when there is none yet.
    fn next(&mut self) -> Option<String> {
        let mut record = [0; 8192];
        loop {
            match self.file.read(&mut record) {
                Ok(length) => return record.get(..length).and_then(text_of),
                // EPIPE: records were overwritten before we read them; the next read continues after the gap.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                Err(_) => return None,
            }
        }
    }
}

/// `priority,sequence,microseconds,flags;text` and then lines of key=value.
fn text_of(record: &[u8]) -> Option<String> {
    let record = String::from_utf8_lossy(record);
    let (_, text) = record.split_once(';')?;
    Some(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_its_text() {
        let record = b"4,123,4567,-;veth0: renamed\n SUBSYSTEM=net\n";
        assert_eq!(text_of(record).as_deref(), Some("veth0: renamed"));
        assert_eq!(text_of(b"no separator"), None);
    }
}
