//! Programs that one test after another uses: to have them verified, and put at places of which the kernel lets go when it has waited for
//! everybody, takes longer than most tests.
//!
//! Input: ours, as a test has left it. Output: ours, as it was right after it was loaded: at no cgroup, every map with what it held then.
//! What cannot be brought there goes, and the next test loads its own. Next file to read: `rig.rs`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use asm::object::MapType;
use loader::map::{Error, Map, RingBuf};
use loader::sys::uapi::UpdateFlags;
use progs::bypass::control::{Bypass, Counting};

/// What its arrays held at first, by name.
#[derive(Debug)]
pub(crate) struct First(Vec<(String, Elements)>);

type Elements = Vec<(Vec<u8>, Vec<u8>)>;

/// Those that nobody uses, at most one of each way to count: one test at a time has programs.
static FREE: Mutex<Vec<(Bypass, First)>> = Mutex::new(Vec::new());

fn free() -> MutexGuard<'static, Vec<(Bypass, First)>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One that counts this way, of those that nobody uses, or else as `load` makes it.
pub(crate) fn take(counting: Counting, load: impl FnOnce() -> Bypass) -> (Bypass, First) {
    let mut free = free();
    if let Some(at) = free.iter().position(|(ours, _)| ours.counting() == counting) {
        return free.swap_remove(at);
    }
    drop(free);
    let ours = load();
    let first = First::of(&ours);
    (ours, first)
}

/// One that was loaded a moment ago is the next test's.
pub(crate) fn put(ours: Bypass) {
    let first = First::of(&ours);
    free().push((ours, first));
}

impl First {
    fn of(ours: &Bypass) -> Self {
        let arrays = ours.loaded().maps().filter(|(_, map)| is_array(map));
        let elements = |map: &Map| map.entries().expect("arrays can be read");
        Self(arrays.map(|(name, map)| (name.to_owned(), elements(map))).collect())
    }
}

/// One that was used is the next test's.
pub(crate) fn give_back(mut ours: Bypass, first: First) {
    if ours.leave().is_ok() && clear(&ours, &first).is_ok() {
        free().push((ours, first));
    }
}

/// Every map holds what it held at first. What sockets remember goes with them.
fn clear(ours: &Bypass, first: &First) -> Result<(), Error> {
    for (name, map) in ours.loaded().maps() {
        match map.map_type() {
            MapType::SK_STORAGE => {}
            MapType::RINGBUF => drop(RingBuf::new(map)?.read(|_| ())?),
            _ => match first.0.iter().find(|(array, _)| array == name) {
                Some((_, elements)) => restore(map, elements)?,
                None => empty(map)?,
            },
        }
    }
    Ok(())
}

fn is_array(map: &Map) -> bool {
    matches!(map.map_type(), MapType::ARRAY | MapType::PERCPU_ARRAY)
}

/// Writes what differs: constants can only be read.
fn restore(map: &Map, first: &Elements) -> Result<(), Error> {
    for ((key, value), (_, now)) in first.iter().zip(map.entries()?) {
        if *value != now {
            map.update(key, value, UpdateFlags::ANY)?;
        }
    }
    Ok(())
}

fn empty(map: &Map) -> Result<(), Error> {
    let keys: Vec<_> = map.keys().collect::<Result<_, _>>()?;
    keys.iter().try_for_each(|key| map.delete(key).map(drop))
}
