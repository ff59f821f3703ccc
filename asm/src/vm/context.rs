//! Contexts: the structure that `r1` points at when a program of some type starts, and the packet behind it.
//!
//! Input: packet bytes and what the host says about where they came in. Output: the verdict, and the packet as the
//! program left it. Read next: `helpers.rs` for the helpers that move a packet's ends.
//!
//! The kernel rewrites 4-byte reads of `data`, `data_end` and `data_meta` into pointer loads when it verifies a
//! program; here such a read of the context gives the pointer.

use super::fault::RegionKind;
use super::memory::RegionId;
use super::trace::{NoTrace, Tracer};
use super::{Fault, Vm};

/// Bytes before a packet that `bpf_xdp_adjust_head` may claim: the kernel's `XDP_PACKET_HEADROOM`.
pub const HEADROOM: usize = 256;
/// Bytes behind a packet that `bpf_xdp_adjust_tail` may claim: a page less headroom and `skb_shared_info` (320 bytes).
const FRAME: usize = 4096 - 320;

/// What an XDP program is told besides the packet. C: `struct xdp_md`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Xdp {
    /// Interface the packet came in on.
    pub ingress_ifindex: u32,
    /// Receive queue it came in on.
    pub rx_queue_index: u32,
    /// Interface it leaves by; only for programs on a device map.
    pub egress_ifindex: u32,
}

/// What a socket-buffer program is told besides the packet; the fields of `struct __sk_buff` that hosts set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Skb {
    /// EtherType, as it lies in the packet (network order).
    pub protocol: u16,
    /// Packet mark; programs may write it.
    pub mark: u32,
    /// Interface the packet came in on.
    pub ingress_ifindex: u32,
    /// Interface it is on now.
    pub ifindex: u32,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketRun {
    /// The program's result, `r0` as 32 bits: for XDP an `XDP_…` action.
    pub verdict: u32,
    /// The packet, from `data` to `data_end`.
    pub packet: Vec<u8>,
}

/// The packet of the running program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub(super) region: RegionId,
    /// Offsets into the region.
    pub(super) meta: usize,
    pub(super) data: usize,
    pub(super) end: usize,
    /// Bytes that the packet may grow to.
    pub(super) room: usize,
    layout: Layout,
}

impl Packet {
    /// Is the context a `struct __sk_buff`?
    pub(super) fn is_skb(&self) -> bool {
        self.layout == SK_BUFF
    }
}

/// Where the pointers lie in a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    data: u32,
    data_end: u32,
    data_meta: u32,
}

const XDP_MD: Layout = Layout { data: 0, data_end: 4, data_meta: 8 };
const SK_BUFF: Layout = Layout { data: 76, data_end: 80, data_meta: 140 };
/// Bytes of `struct __sk_buff` up to and including `hwtstamp`.
const SK_BUFF_SIZE: usize = 192;

impl Vm {
    /// Runs the first program as XDP on a copy of `packet`.
    ///
    /// # Errors
    /// [`Fault`] when the program does something no kernel would allow.
    pub fn run_xdp(&mut self, packet: &[u8], xdp: Xdp) -> Result<PacketRun, Fault> {
        self.trace_xdp(packet, xdp, &mut NoTrace)
    }

    /// As [`Vm::run_xdp`], and every step is told to `tracer`.
    ///
    /// # Errors
    /// As [`Vm::run_xdp`].
    pub fn trace_xdp<T: Tracer>(&mut self, packet: &[u8], xdp: Xdp, tracer: &mut T) -> Result<PacketRun, Fault> {
        let mut context = vec![0; 12];
        for field in [xdp.ingress_ifindex, xdp.rx_queue_index, xdp.egress_ifindex] {
            context.extend(field.to_le_bytes());
        }
        self.run_on_packet(packet, context, XDP_MD, false, tracer)
    }

    /// Runs the first program as tc classifier (or any other type over `struct __sk_buff`) on a copy of `packet`.
    ///
    /// # Errors
    /// [`Fault`] when the program does something no kernel would allow.
    pub fn run_skb(&mut self, packet: &[u8], skb: Skb) -> Result<PacketRun, Fault> {
        self.trace_skb(packet, skb, &mut NoTrace)
    }

    /// As [`Vm::run_skb`], and every step is told to `tracer`.
    ///
    /// # Errors
    /// As [`Vm::run_skb`].
    pub fn trace_skb<T: Tracer>(&mut self, packet: &[u8], skb: Skb, tracer: &mut T) -> Result<PacketRun, Fault> {
        let mut context = vec![0; SK_BUFF_SIZE];
        let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let fields = [(0, len), (8, skb.mark), (16, skb.protocol.into()), (36, skb.ingress_ifindex), (40, skb.ifindex)];
        for (at, value) in fields {
            context[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        self.run_on_packet(packet, context, SK_BUFF, true, tracer)
    }

    fn run_on_packet<T: Tracer>(
        &mut self,
        packet: &[u8],
        context: Vec<u8>,
        layout: Layout,
        writable: bool,
        tracer: &mut T,
    ) -> Result<PacketRun, Fault> {
        let room = FRAME.max(HEADROOM + packet.len());
        let mut bytes = vec![0; room];
        let (data, end) = (HEADROOM, HEADROOM + packet.len());
        bytes[data..end].copy_from_slice(packet);
        let before = self.memory.mark();
        let region = self.memory.add_window(RegionKind::Packet, bytes, data, end);
        let context = self.memory.add(RegionKind::Context, context, writable);
        self.packet = Some(Packet { region, meta: data, data, end, room, layout });
        self.context_pointers = context.address(0);
        let result = self.run(&[context.address(0)], tracer);
        self.context_pointers = 0;
        let left = self.packet.take().unwrap_or(Packet { region, meta: data, data, end, room, layout });
        let packet = self.memory.region(left.region)[left.data..left.end].to_vec();
        self.memory.release(before);
        #[expect(clippy::cast_possible_truncation, reason = "a verdict is 32 bits")]
        result.map(|r0| PacketRun { verdict: r0 as u32, packet })
    }

    /// The pointer that a 4-byte read at this address of the context stands for.
    pub(super) fn context_pointer(&self, address: u64) -> Option<u64> {
        let offset = u32::try_from(address.checked_sub(self.context_pointers)?).ok()?;
        let packet = self.packet.as_ref()?;
        let at = match offset {
            o if o == packet.layout.data => packet.data,
            o if o == packet.layout.data_end => packet.end,
            o if o == packet.layout.data_meta => packet.meta,
            _ => return None,
        };
        Some(packet.region.address(u32::try_from(at).ok()?))
    }

    /// Moves a packet's ends, and makes every pointer into it stale, as the verifier does. `false`, and nothing
    /// changed, when they would leave the room there is or leave less than an Ethernet header.
    pub(super) fn move_packet(&mut self, meta: i64, data: i64, end: i64, why: &'static str) -> bool {
        let Some(packet) = &mut self.packet else { return false };
        let place = |at: usize, by: i64| at.checked_add_signed(isize::try_from(by).ok()?);
        let (Some(meta), Some(data), Some(end)) =
            (place(packet.meta, meta), place(packet.data, data), place(packet.end, end))
        else {
            return false;
        };
        if meta > data || data + ETHERNET_HEADER > end || end > packet.room {
            return false;
        }
        if end > packet.end {
            self.memory.region_mut(packet.region)[packet.end..end].fill(0);
        }
        let metadata = packet.meta..packet.data;
        self.memory.region_mut(packet.region).copy_within(metadata, meta);
        packet.region = self.memory.renew(packet.region, why);
        (packet.meta, packet.data, packet.end) = (meta, data, end);
        self.memory.set_bounds(packet.region, meta, end);
        true
    }
}

/// Bytes of an Ethernet header: the kernel keeps at least that much of a packet.
const ETHERNET_HEADER: usize = 14;
