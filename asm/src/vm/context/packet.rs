//! Packets: where they lie, how helpers move their ends, and XDP and tc programs in short form.
//!
//! Input: packet bytes and what the host says about where they came in. Output: the verdict, and the packet as the
//! program left it. Read next: `../helpers/packet.rs` for the helpers that move a packet's ends.

use super::fields::{SK_BUFF, XDP_MD};
use super::{Context, ContextRun};
use crate::vm::fault::RegionKind;
use crate::vm::memory::{Memory, RegionId};
use crate::vm::trace::{NoTrace, Tracer};
use crate::vm::{Fault, Vm};

/// Bytes before a packet: the kernel's `XDP_PACKET_HEADROOM`.
pub const HEADROOM: usize = 256;
/// Bytes of the headroom that the kernel keeps for itself: `struct xdp_frame`.
const FRAME_HEADER: usize = 40;
/// Bytes from the start of the headroom that a packet may reach: a page less `skb_shared_info` (320 bytes).
const FRAME: usize = 4096 - 320;
/// Bytes of an Ethernet header: the kernel keeps at least that much of a packet.
const ETHERNET_HEADER: usize = 14;

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

impl Xdp {
    /// The whole context: this, and a packet.
    pub(crate) fn context(self, packet: &[u8]) -> Context {
        let fields = [
            ("ingress_ifindex", self.ingress_ifindex),
            ("rx_queue_index", self.rx_queue_index),
            ("egress_ifindex", self.egress_ifindex),
        ];
        Context::of(XDP_MD, &fields).with_packet(packet)
    }
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

impl From<ContextRun> for PacketRun {
    fn from(run: ContextRun) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "a verdict is 32 bits")]
        Self { verdict: run.r0 as u32, packet: run.context.packet }
    }
}

/// The packet of the running program.
#[derive(Debug, Clone, Copy)]
pub(in crate::vm) struct Packet {
    pub(in crate::vm) region: RegionId,
    /// Offsets into the region.
    pub(in crate::vm) meta: usize,
    pub(in crate::vm) data: usize,
    pub(in crate::vm) end: usize,
    /// Bytes that the packet may grow to.
    room: usize,
}

impl Packet {
    /// Puts a packet into memory, with the room around it that drivers leave.
    pub(super) fn place(memory: &mut Memory, packet: &[u8]) -> Self {
        let room = FRAME.max(HEADROOM + packet.len());
        let mut bytes = vec![0; room];
        let (data, end) = (HEADROOM, HEADROOM + packet.len());
        bytes[data..end].copy_from_slice(packet);
        let region = memory.add_window(RegionKind::Packet, bytes, data, end);
        Self { region, meta: data, data, end, room }
    }
}

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
        self.trace_context(&xdp.context(packet), tracer).map(PacketRun::from)
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
        let mut context = Context::of(SK_BUFF, &[]).with_packet(packet);
        let fields = [
            ("mark", skb.mark),
            ("protocol", skb.protocol.into()),
            ("ingress_ifindex", skb.ingress_ifindex),
            ("ifindex", skb.ifindex),
        ];
        for (field, value) in fields {
            context.put(field, value);
        }
        self.trace_context(&context, tracer).map(PacketRun::from)
    }

    /// Moves a packet's ends, and makes every pointer into it stale, as the verifier does. `false`, and nothing
    /// changed, when they would leave the room there is or leave less than an Ethernet header.
    pub(in crate::vm) fn move_packet(&mut self, meta: i64, data: i64, end: i64, why: &'static str) -> bool {
        let Some(packet) = &mut self.packet else { return false };
        let place = |at: usize, by: i64| at.checked_add_signed(isize::try_from(by).ok()?);
        let (Some(meta), Some(data), Some(end)) =
            (place(packet.meta, meta), place(packet.data, data), place(packet.end, end))
        else {
            return false;
        };
        if meta < FRAME_HEADER || meta > data || data + ETHERNET_HEADER > end || end > packet.room {
            return false;
        }
        if end > packet.end {
            self.memory.region_mut(packet.region)[packet.end..end].fill(0);
        }
        // Metadata moves with the packet's head.
        if data != packet.data {
            self.memory.region_mut(packet.region).copy_within(packet.meta..packet.data, meta);
        }
        packet.region = self.memory.renew(packet.region, why);
        (packet.meta, packet.data, packet.end) = (meta, data, end);
        self.memory.set_bounds(packet.region, meta, end);
        true
    }
}
