//! XDP: a packet as the driver received it, before the kernel's stack.
//!
//! Stage: contexts. Output: verdicts, and the packet with its ends moved. Read next: `skb.rs`.

use asm_macros::Layout;

use super::{Context, contexts};
use crate::dsl::be::{Be16, Be32};
use crate::dsl::layout::Layout as _;
use crate::dsl::map::Status;
use crate::dsl::packet::Packet;
use crate::dsl::pointed::Pointed;
use crate::dsl::rec;
use crate::dsl::value::{IntoVal, Val};
use crate::insn::helper;
use crate::ir::Ty;

/// What becomes of a packet. C: `enum xdp_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout)]
#[repr(u32)]
pub enum Action {
    /// Dropped as a mistake of the program's: the tracepoint `xdp_exception` sees it.
    Aborted,
    /// Dropped.
    Drop,
    /// To the kernel's stack.
    Pass,
    /// Out by the interface it came in on.
    Tx,
    /// To where a redirecting call said.
    Redirect,
}

impl Action {
    /// The verdict of that number, which the program has computed.
    #[track_caller]
    pub fn of(number: impl IntoVal<u32>) -> Val<Self> {
        Val::new(number.into_val().repr)
    }
}

/// A question to the kernel's routing table, and its answer. C: `struct bpf_fib_lookup`, as IPv4 uses it; Linux 4.18.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Layout)]
#[repr(C)]
pub struct FibLookup {
    /// In: address family; 2 is IPv4.
    pub family: u8,
    /// In: IP protocol, for rules that look at it.
    pub l4_protocol: u8,
    /// In: source port, for rules that look at it.
    pub sport: Be16,
    /// In: destination port.
    pub dport: Be16,
    /// In: bytes that must fit the route's MTU, 0 for no comparison. Out, since Linux 5.12: the MTU.
    pub tot_len: u16,
    /// In: the interface the packet came in by. Out: the one it leaves by.
    pub ifindex: u32,
    /// In: type of service.
    pub tos: u32,
    /// In: source address.
    pub src: Be32,
    /// Zero: the rest of an IPv6 address.
    pub src_rest: [u8; 12],
    /// In: destination address. Out: the next hop's.
    pub dst: Be32,
    /// Zero: the rest of an IPv6 address.
    pub dst_rest: [u8; 12],
    /// Out: VLAN protocol and tag.
    pub vlan: u32,
    /// Out: this machine's MAC address on the way.
    pub smac: [u8; 6],
    /// Out: the next hop's MAC address.
    pub dmac: [u8; 6],
}
const _: () = assert!(size_of::<FibLookup>() == 64);

contexts! {
    /// The context of XDP programs. C: `struct xdp_md`, Linux 4.8.
    Xdp -> Action {
        ingress_ifindex 12 u32, "Interface it came in on.";
        rx_queue_index 16 u32, "Receive queue it came in on.";
    }
}

impl Xdp {
    /// A cursor at the packet's first byte. It and all it has read are stale once the packet moves.
    #[must_use]
    #[track_caller]
    pub fn packet(&self) -> Packet<'_> {
        Packet::start()
    }

    /// Moves the packet's start: forward by a positive number, which takes bytes away, or back, which makes room. C:
    /// `bpf_xdp_adjust_head`, Linux 4.10.
    #[track_caller]
    pub fn adjust_head(&mut self, by: impl IntoVal<i32>) -> Status {
        self.adjust(helper::XDP_ADJUST_HEAD, by)
    }

    /// Moves the packet's end: back by a negative number. C: `bpf_xdp_adjust_tail`, Linux 4.18.
    #[track_caller]
    pub fn adjust_tail(&mut self, by: impl IntoVal<i32>) -> Status {
        self.adjust(helper::XDP_ADJUST_TAIL, by)
    }

    /// Sends the packet out by another interface. C: `bpf_redirect`, Linux 4.14.
    #[track_caller]
    pub fn redirect(&self, ifindex: impl IntoVal<u32>) -> Val<Action> {
        let ifindex = ifindex.into_val();
        rec::with(|r| {
            let (ifindex, flags) = (ifindex.value(r), r.number(Ty::I64, 0));
            let verdict = r.b.call(helper::REDIRECT, &[ifindex, flags]).unwrap_or(flags);
            Val::of(r.b.trunc(verdict, Ty::I32))
        })
    }

    /// Asks the kernel's routing table: 0 when `question` holds the answer, else one of `BPF_FIB_LKUP_RET_*`. C:
    /// `bpf_fib_lookup`, Linux 4.18.
    #[track_caller]
    pub fn fib_lookup(&self, question: &impl Pointed<FibLookup>) -> Val<i64> {
        let question = question.pointer();
        rec::with(|r| {
            let (size, flags) = (r.number(Ty::I64, FibLookup::SIZE.into()), r.number(Ty::I64, 0));
            let result = r.b.call(helper::FIB_LOOKUP, &[self.pointer(), question, size, flags]);
            Val::of(result.unwrap_or(flags))
        })
    }

    #[track_caller]
    fn adjust(&mut self, id: helper::Id, by: impl IntoVal<i32>) -> Status {
        let by = by.into_val();
        rec::with(|r| {
            let by = by.value(r);
            let result = r.b.call(id, &[self.pointer(), by]);
            Status::of(result.unwrap_or(by))
        })
    }
}
