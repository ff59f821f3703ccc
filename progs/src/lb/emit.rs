//! Stage: kernel programs. The few turns of phrase that all of them share: constants, lookups, and how a program ends.
//!
//! Input: a builder. Output: instructions. Next file to read: `parse.rs`.

use asm::insn::{Builder, Cond, Label, R0, R1, R2, R3, R6, R10, Reg, Size, helper};

use super::types::{DecapReason, REASONS, Reason, Verdict};
use crate::net::disp;

/// A field's displacement from the start of a struct.
macro_rules! field {
    ($struct:ty, $field:ident) => {
        $crate::net::disp(::std::mem::offset_of!($struct, $field))
    };
}
/// An IP header field's displacement from the start of the frame.
macro_rules! ip_field {
    ($field:ident) => {
        $crate::net::disp($crate::net::eth::LEN + ::std::mem::offset_of!($crate::net::ip::Ipv4, $field))
    };
}
pub(super) use {field, ip_field};

/// A number of a packet as the program sees it after a plain 16-bit load. Programs are built for little-endian machines.
pub(super) const fn be16(number: u16) -> i32 {
    u16::from_le_bytes(number.to_be_bytes()) as i32
}

/// The context of an XDP program (`struct xdp_md`).
#[repr(C)]
pub(super) struct XdpMd {
    pub(super) data: u32,
    pub(super) data_end: u32,
    pub(super) data_meta: u32,
    pub(super) ingress_ifindex: u32,
}

/// `r0` = the value of `key` (on the stack) in `map`, or null. Loses `r1` to `r5`.
#[track_caller]
pub(super) fn lookup(b: &mut Builder, map: &'static str, key: i16) {
    b.mov(R2, R10);
    b.add(R2, i32::from(key));
    b.map(R1, map);
    b.call(helper::MAP_LOOKUP_ELEM);
}

/// Reloads the packet's bounds from the context in `r6` and leaves for `short` if there are not `len` bytes. Loses `scratch`.
///
/// Needed at the start and after each call that moves the packet: the old pointers are worthless then, and the verifier
/// knows it.
#[track_caller]
pub(super) fn packet(b: &mut Builder, data: Reg, end: Reg, scratch: Reg, len: usize, short: Label) {
    b.load(Size::W, data, R6, field!(XdpMd, data));
    b.load(Size::W, end, R6, field!(XdpMd, data_end));
    b.mov(scratch, data);
    b.add(scratch, i32::from(disp(len)));
    b.jmp_if(Cond::Gt, scratch, end, short);
}

/// Copies 14 bytes, an Ethernet header, through `scratch`.
///
/// Unaligned on purpose: three loads and stores. Machines that cannot do that are not supported.
#[track_caller]
pub(super) fn copy_eth(b: &mut Builder, to: (Reg, i16), from: (Reg, i16), scratch: Reg) {
    for (size, at) in [(Size::Dw, 0), (Size::W, 8), (Size::H, 12)] {
        b.load(size, scratch, from.0, from.1 + at);
        b.store(size, to.0, to.1 + at, scratch);
    }
}

/// Folds the sum in `sum` to its 16-bit complement: a checksum (see `csum::fold`). Loses `scratch`.
#[track_caller]
pub(super) fn fold(b: &mut Builder, sum: Reg, scratch: Reg) {
    for _ in 0..2 {
        b.mov(scratch, sum);
        b.rsh(scratch, 16);
        b.and(sum, 0xffff);
        b.add(sum, scratch);
    }
    b.xor(sum, 0xffff);
}

/// Adds one packet of `bytes` (a register) to the counters at `base`: their owner is one CPU, so no atomics. Loses `scratch`.
#[track_caller]
pub(super) fn count(b: &mut Builder, base: Reg, (packets_at, bytes_at): (i16, i16), bytes: Reg, scratch: Reg) {
    b.load(Size::Dw, scratch, base, packets_at);
    b.add(scratch, 1);
    b.store(Size::Dw, base, packets_at, scratch);
    b.load(Size::Dw, scratch, base, bytes_at);
    b.add(scratch, bytes);
    b.store(Size::Dw, base, bytes_at, scratch);
}

/// Why a program ends: what `Reason` and `DecapReason` have in common.
pub(super) trait Ending: Copy + PartialEq {
    fn key(self) -> u32;
    fn returns(self) -> Verdict;
    fn name(self) -> &'static str;
}

impl Ending for Reason {
    fn key(self) -> u32 {
        self.number()
    }
    fn returns(self) -> Verdict {
        self.verdict()
    }
    fn name(self) -> &'static str {
        self.word()
    }
}

impl Ending for DecapReason {
    fn key(self) -> u32 {
        self.number()
    }
    fn returns(self) -> Verdict {
        self.verdict()
    }
    fn name(self) -> &'static str {
        self.word()
    }
}

/// The ways out of a program, each counted. Made while the program is written, placed behind it.
pub(super) struct Exits<E> {
    map: &'static str,
    /// Where the row of `reasons` lies on the stack, for reasons that belong to a VIP.
    row: i16,
    /// A free word on the stack.
    key: i16,
    stubs: Vec<Stub<E>>,
}

struct Stub<E> {
    reason: E,
    of_vip: bool,
    label: Label,
}

impl<E: Ending> Exits<E> {
    /// `row` and `key` are displacements of 32-bit words on the stack.
    pub(super) fn new(map: &'static str, row: i16, key: i16) -> Self {
        Self { map, row, key, stubs: Vec::new() }
    }

    /// Where to jump to end for `reason`, before a VIP is known.
    pub(super) fn to(&mut self, b: &mut Builder, reason: E) -> Label {
        self.find(b, reason, false)
    }

    /// Where to jump to end for `reason`, counted for the VIP whose row is on the stack.
    pub(super) fn of_vip(&mut self, b: &mut Builder, reason: E) -> Label {
        self.find(b, reason, true)
    }

    fn find(&mut self, b: &mut Builder, reason: E, of_vip: bool) -> Label {
        if let Some(stub) = self.stubs.iter().find(|stub| stub.reason == reason && stub.of_vip == of_vip) {
            return stub.label;
        }
        let name = format!("{}_{}", reason.returns().word(), reason.name());
        let label = b.label(&name.replace('-', "_"));
        self.stubs.push(Stub { reason, of_vip, label });
        label
    }

    /// Writes the endings. The context is not needed any more, so `r6` keeps the verdict.
    pub(super) fn place(self, b: &mut Builder) {
        let (count, out) = (b.label("count"), b.label("out"));
        for stub in &self.stubs {
            b.bind(stub.label);
            let number = i32::try_from(stub.reason.key()).unwrap_or(0);
            if stub.of_vip {
                b.load(Size::W, R1, R10, self.row);
                b.lsh(R1, i32::try_from(REASONS.trailing_zeros()).unwrap_or(0));
                b.add(R1, number);
                b.store(Size::W, R10, self.key, R1);
            } else {
                b.store(Size::W, R10, self.key, number);
            }
            b.mov(R6, stub.reason.returns() as i32);
            b.jmp(count);
        }
        b.bind(count);
        lookup(b, self.map, self.key);
        b.jmp_if(Cond::Eq, R0, 0, out);
        b.load(Size::Dw, R3, R0, 0);
        b.add(R3, 1);
        b.store(Size::Dw, R0, 0, R3);
        b.bind(out);
        b.mov(R0, R6);
        b.exit();
    }
}
