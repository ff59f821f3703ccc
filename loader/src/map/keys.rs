//! Stage: loaded maps. Input: a map. Output: its keys, one by one.
//! Read next: `typed.rs`.

use super::{Error, Map};
use crate::sys::Errno;
use crate::sys::uapi::Cmd;

/// The keys of a map, made by [`Map::keys`]. Ends after the first error.
///
/// A hash that loses the current key meanwhile starts over in the kernel, so the number of steps is limited to what a
/// map could hold twice over.
#[derive(Debug)]
pub struct Keys<'a> {
    map: &'a Map,
    last: Option<Vec<u8>>,
    steps_left: u64,
    done: bool,
}

impl<'a> Keys<'a> {
    pub(super) fn new(map: &'a Map) -> Self {
        let max = map.info().map_or(u64::from(u32::MAX), |info| u64::from(info.max_entries));
        Self { map, last: None, steps_left: max.saturating_mul(2).max(1), done: false }
    }
}

impl Iterator for Keys<'_> {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done || self.steps_left == 0 {
            return None;
        }
        self.steps_left -= 1;
        let mut next = vec![0; self.map.key_size()];
        match self.map.sys().next_key(self.last.as_deref(), &mut next) {
            Ok(()) => {
                self.last = Some(next.clone());
                Some(Ok(next))
            }
            Err(Errno::ENOENT) => {
                self.done = true;
                None
            }
            Err(errno) => {
                self.done = true;
                Some(Err(self.map.error(Cmd::MAP_GET_NEXT_KEY, errno)))
            }
        }
    }
}
