//! How much of a soak went past the stack, by what the audit of `bypass` says of each pair.
//!
//! Stage: test support. Input: the maps of whoever is up at the moment, and a [`Soak`]. Output: [`Past`]. A soak in which everything goes by TCP
//! proves nothing, so tests want a least share. Next file to read: `stat.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use loader::map::{self, Map, RingBuf};
use progs::bypass::flows::{Flow, Received, Told, living, told};

use crate::soak::Soak;

/// So often it is looked who is up. A full ring buffer is the records of some hundred connections.
const OFTEN: Duration = Duration::from_millis(5);

/// What tells of pairs.
#[derive(Debug)]
pub struct Maps {
    /// `flows`: of those that have ended.
    pub flows: Map,
    /// `ends`, and with `inboxes`, of those that live.
    pub ends: Map,
    /// `inboxes`.
    pub inboxes: Map,
}

impl Maps {
    /// The maps of these names, by whatever finds them.
    pub fn find<E>(mut map: impl FnMut(&str) -> Result<Map, E>) -> Option<Arc<Self>> {
        Some(Arc::new(Self { flows: map("flows").ok()?, ends: map("ends").ok()?, inboxes: map("inboxes").ok()? }))
    }
}

/// What was played, and what the audit tells of it.
#[derive(Debug)]
pub struct Past {
    asked_for: u64,
    enrolled: Sum,
}

/// Connections, added up.
#[derive(Debug, Default)]
struct Sum {
    /// So many.
    connections: u64,
    /// Of which so many had any byte go past the stack.
    redirected_connections: u64,
    /// Bytes.
    bytes: u64,
    /// Of which so many went past the stack.
    redirected_bytes: u64,
    /// Bytes that went by TCP, and in how many directions, by why the last of these did.
    because: BTreeMap<&'static str, (u64, u64)>,
}

impl Past {
    /// Has it been a soak of what goes past the stack? `open`: whether anything may, on this kernel; if not, nothing has.
    ///
    /// One of `parts` of the connections that it was asked for had bytes that did, and so did a tenth of what the enrolled ones carried: a
    /// third or more does on a busy machine. What the audit had no room for is missing in both.
    ///
    /// # Panics
    ///
    /// If not.
    pub fn is_enough(&self, open: bool, parts: u64) {
        let Self { asked_for, enrolled } = self;
        let enough =
            parts * enrolled.redirected_connections >= *asked_for && 10 * enrolled.redirected_bytes >= enrolled.bytes;
        assert!(if open { enough } else { enrolled.redirected_bytes == 0 }, "of {asked_for} connections: {enrolled}");
    }
}

impl Sum {
    fn add(&mut self, flow: &Flow) {
        let ways = [&flow.client.received, &flow.server.received];
        let redirected: u64 = ways.iter().map(|way| way.redirected_bytes).sum();
        self.connections += 1;
        self.redirected_connections += u64::from(redirected > 0);
        self.redirected_bytes += redirected;
        for Received { redirected_bytes, passed_bytes, reason, .. } in ways {
            self.bytes += redirected_bytes + passed_bytes;
            let (bytes, ways) = self.because.entry(reason).or_default();
            (*bytes, *ways) = (*bytes + passed_bytes, *ways + 1);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, redirected_connections, bytes, redirected_bytes, because } = self;
        let percent = |part: &u64, of: &u64| part * 100 / of.max(&1);
        write!(
            f,
            "{} % of {connections} connections had bytes past the stack",
            percent(redirected_connections, connections)
        )?;
        write!(f, ", {} % of {bytes} bytes; by TCP, by the last reason:", percent(redirected_bytes, bytes))?;
        because.iter().try_for_each(|(reason, (bytes, ways))| write!(f, " {reason} {bytes} ({ways} directions)"))
    }
}

/// Adds up what the audit tells while `work` runs the soak, and prints it. `up` gives the maps of whoever is up at the moment.
///
/// # Panics
///
/// If a map cannot be read.
pub fn tally(soak: &Soak, up: impl FnMut() -> Option<Arc<Maps>> + Send, work: impl FnOnce()) -> Past {
    let done = AtomicBool::new(false);
    let flows = thread::scope(|scope| {
        let counting = scope.spawn(|| count(up, &done).expect("maps can be read"));
        let ends = Done(&done);
        work();
        drop(ends);
        counting.join().expect("it does not panic")
    });
    let (played, mut enrolled) = (soak.played(), Sum::default());
    flows.iter().filter(|flow| played.places.contains(&flow.server.local)).for_each(|flow| enrolled.add(flow));
    let never = [(played.connections, enrolled.connections), (played.bytes, enrolled.bytes)];
    let [connections, bytes] = never.map(|(all, part)| all.saturating_sub(part));
    println!("enrolled: {enrolled}");
    println!(
        "beside {connections} connections that were not enrolled, and {bytes} bytes that were sent before, or after that"
    );
    Past { asked_for: played.asked_for, enrolled }
}

/// The work is done, or has failed.
struct Done<'d>(&'d AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The pairs that have ended, and where somebody else comes up, those that live then: nothing more is told of them.
fn count(mut up: impl FnMut() -> Option<Arc<Maps>>, done: &AtomicBool) -> Result<Vec<Flow>, map::Error> {
    let (mut flows, mut watched) = (Vec::new(), None::<Watched>);
    loop {
        let last = done.load(Ordering::Relaxed);
        let now = up();
        let id = now.as_ref().map(|maps| maps.flows.info()).transpose()?.map(|info| info.id);
        if let Some(watched) = &mut watched {
            watched.read(&mut flows)?;
        }
        let is_over = |watched: &mut Watched| last || Some(watched.id) != id;
        if let Some(over) = watched.take_if(is_over) {
            flows.extend(living(&over.maps.ends, &over.maps.inboxes)?);
        }
        if last {
            return Ok(flows);
        }
        if let (None, Some(maps), Some(id)) = (&watched, now, id) {
            watched = Some(Watched { id, ring: RingBuf::new(&maps.flows)?, maps });
        }
        thread::sleep(OFTEN);
    }
}

/// Who is up.
struct Watched {
    id: u32,
    ring: RingBuf,
    maps: Arc<Maps>,
}

impl Watched {
    fn read(&mut self, flows: &mut Vec<Flow>) -> Result<(), map::Error> {
        let ended = |record: &[u8]| match told(record) {
            Some(Told::Pair(pair)) if pair.event == "ended" => Some(pair.flow),
            _ => None,
        };
        self.ring.read(|record| flows.extend(ended(record))).map(drop)
    }
}
