//! XDP: a packet as the driver received it, before the kernel's stack.
//!
//! Stage: contexts. Output: verdicts, and the packet with its ends moved. Read next: `skb.rs`.

use asm_macros::Layout;

use super::{Context, contexts};
use crate::dsl::map::Status;
use crate::dsl::packet::Packet;
use crate::dsl::rec;
use crate::dsl::value::IntoVal;
use crate::insn::helper;

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
