//! Call frames: local calls, and the callbacks of `bpf_loop` and `bpf_for_each_map_elem`.
//!
//! Input: a call or an `exit`. Output: where the loop of `exec.rs` goes on. A callback is a frame that is entered again
//! until it wants no more, so each of its steps is counted and traced like any other. Read next: `helpers/mod.rs`.

use super::fault::RegionKind;
use super::memory::RegionId;
use super::program::FUNC_BASE;
use super::{FaultKind, MAX_FRAMES, MAX_LOOPS, Vm};

/// What a call keeps for its caller: `r6`–`r10`, and where to go on.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    back: usize,
    /// The caller's program: a tail call in a function ends that function only.
    program: usize,
    kept: [u64; 5],
    callback: Option<Box<Callback>>,
}

/// A function that a helper calls again and again.
#[derive(Debug, Clone)]
struct Callback {
    start: usize,
    context: u64,
    rounds: Rounds,
}

/// What a callback is called for.
#[derive(Debug, Clone)]
enum Rounds {
    /// `bpf_loop`: the number of the round, and how many there are.
    Count { next: u32, count: u32 },
    /// `bpf_for_each_map_elem`: the elements still to come.
    Elements { map: u64, index: usize, keys: std::vec::IntoIter<Vec<u8>>, seen: u64, key: Option<RegionId> },
}

impl Vm {
    /// Starts a call frame: `r6`–`r9` and the frame pointer are kept, 512 bytes of stack begin.
    pub(super) fn enter(&mut self, back: usize) -> Result<(), FaultKind> {
        if self.frames.len() + 1 >= MAX_FRAMES {
            return Err(FaultKind::CallDepth);
        }
        let kept = [self.regs[6], self.regs[7], self.regs[8], self.regs[9], self.regs[10]];
        self.frames.push(Frame { back, program: self.current, kept, callback: None });
        self.regs[10] = self.stack_top(self.frames.len());
        Ok(())
    }

    /// Ends a call frame and gives the slot to go on at: the caller's, or the callback's next round.
    pub(super) fn leave(&mut self) -> Result<usize, FaultKind> {
        let Some(frame) = self.frames.pop() else { return Ok(0) };
        self.regs[6..=10].copy_from_slice(&frame.kept);
        self.current = frame.program;
        match frame.callback {
            None => Ok(frame.back),
            Some(callback) => {
                let wants_more = self.regs[0] == 0;
                self.next_round(callback, frame.back, wants_more)
            }
        }
    }

    /// `bpf_loop`: the slot to go on at.
    pub(super) fn start_loop(&mut self, [count, function, context, flags, _]: [u64; 5], back: usize) -> Start {
        let start = self.function("bpf_loop", function)?;
        // The kernel's parameter is 32 bits wide.
        let count = u32::try_from(count & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        if flags != 0 || count > MAX_LOOPS {
            return self.no_round(if flags != 0 { EINVAL } else { E2BIG }, back);
        }
        let rounds = Rounds::Count { next: 0, count };
        self.next_round(Box::new(Callback { start, context, rounds }), back, true)
    }

    /// `bpf_for_each_map_elem`: the slot to go on at.
    pub(super) fn start_each(&mut self, [map, function, context, flags, _]: [u64; 5], back: usize) -> Start {
        let start = self.function("bpf_for_each_map_elem", function)?;
        let index = self.map_index("bpf_for_each_map_elem", map)?;
        if flags != 0 {
            return self.no_round(EINVAL, back);
        }
        let keys = self.maps[index].keys().into_iter();
        let rounds = Rounds::Elements { map, index, keys, seen: 0, key: None };
        self.next_round(Box::new(Callback { start, context, rounds }), back, true)
    }

    fn no_round(&mut self, errno: i64, back: usize) -> Start {
        self.regs[0] = errno.cast_unsigned();
        Ok(back)
    }

    /// Enters the callback once more, or puts the helper's result into `r0`.
    fn next_round(&mut self, mut callback: Box<Callback>, back: usize, wants_more: bool) -> Start {
        let args = match &mut callback.rounds {
            Rounds::Count { next, count } if wants_more && *next < *count => {
                *next += 1;
                Some([u64::from(*next - 1), callback.context, 0, 0])
            }
            Rounds::Count { next, .. } => {
                self.regs[0] = u64::from(*next);
                None
            }
            Rounds::Elements { map, index, keys, seen, key } => {
                if let Some(key) = key.take() {
                    self.memory.retire(key, "the callback's key is gone");
                }
                let (table, cpu) = (&mut self.maps[*index], self.host.cpu);
                let mut there = keys.filter_map(|bytes| Some((table.lookup(&bytes, cpu)?, bytes)));
                match there.next().filter(|_| wants_more) {
                    Some((value, bytes)) => {
                        *seen += 1;
                        let region = self.memory.add(RegionKind::Buffer, bytes, false);
                        *key = Some(region);
                        Some([*map, region.address(0), value, callback.context])
                    }
                    None => {
                        self.regs[0] = *seen;
                        None
                    }
                }
            }
        };
        let Some(args) = args else { return Ok(back) };
        self.enter(back)?;
        self.regs[1..=4].copy_from_slice(&args);
        let start = callback.start;
        if let Some(frame) = self.frames.last_mut() {
            frame.callback = Some(callback);
        }
        Ok(start)
    }

    /// The slot at which the function with this address starts.
    fn function(&self, helper: &'static str, address: u64) -> Result<usize, FaultKind> {
        let slot = usize::try_from(address ^ FUNC_BASE).ok();
        let inside = slot.filter(|slot| *slot < self.programs[self.current].steps.len());
        inside.ok_or_else(|| FaultKind::BadCall { helper, why: format!("{address:#x} is no function") })
    }
}

/// The slot to go on at.
type Start = Result<usize, FaultKind>;

/// `-EINVAL`.
const EINVAL: i64 = -22;
/// `-E2BIG`.
const E2BIG: i64 = -7;
