//! Packets in the kernel's stack: traffic control, and the packets of a cgroup.
//!
//! Stage: contexts. Output: fields, and the packet as far as it lies in the first buffer. Read next: `sock.rs`.

use asm_macros::Layout;

use super::{Access, Context, contexts, cookies};
use crate::dsl::packet::Packet;
use crate::dsl::rec;
use crate::dsl::sock::{self, Maybe, SockCommon};
use crate::dsl::value::{IntoVal, Val};
use crate::insn::helper;
use crate::ir::Ty;

/// What becomes of a packet in traffic control. C: `TC_ACT_*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout)]
#[repr(i32)]
pub enum TcAction {
    /// The next filter decides.
    Unspec = -1,
    /// On its way.
    Ok = 0,
    /// Dropped.
    Shot = 2,
    /// To where a redirecting call said.
    Redirect = 7,
}

contexts! {
    /// The context of traffic control programs. C: `struct __sk_buff`, Linux 4.1.
    Tc -> TcAction {
        len 0 u32, "Bytes of the packet.";
        mark 8 u32, "The packet's mark.";
        ingress_ifindex 36 u32, "Interface it came in on.";
        ifindex 40 u32, "Interface it is on.";
    }
    /// The context of programs that see a cgroup's packets. C: `struct __sk_buff`, Linux 4.10.
    CgroupSkb -> Access {
        len 0 u32, "Bytes of the packet.";
        mark 8 u32, "The packet's mark.";
        ifindex 40 u32, "Interface it is on.";
    }
}

cookies! {
    socket "4.12" Tc;
    socket "4.12" CgroupSkb;
}

/// What both have.
macro_rules! packets {
    ($($name:ident)*) => {$(
        impl $name {
            /// A cursor at the packet's first byte, as far as it lies in the first buffer: the Ethernet header in traffic
            /// control, the IP header in a cgroup.
            #[must_use]
            #[track_caller]
            pub fn packet(&self) -> Packet<'_> {
                Packet::start()
            }

            /// The packet's socket, if it has one. Linux 5.1.
            #[track_caller]
            pub fn sk(&self) -> Maybe<SockCommon<'_>> {
                sock::maybe(self.pointer(), 168)
            }

            /// Gives the packet a mark.
            #[track_caller]
            pub fn set_mark(&self, mark: impl IntoVal<u32>) {
                super::set_field(self, 8, mark);
            }
        }
    )*};
}

packets! { Tc CgroupSkb }

impl Tc {
    /// Sends the packet out by an interface, or with [`Toward::Ingress`](crate::dsl::Toward) in by it. C: `bpf_redirect`, Linux 4.4.
    #[track_caller]
    pub fn redirect(&self, ifindex: impl IntoVal<u32>, to: crate::dsl::Toward) -> Val<TcAction> {
        let ifindex = ifindex.into_val();
        rec::with(|r| {
            let (ifindex, flags) = (ifindex.value(r), r.number(Ty::I64, to as u64));
            let verdict = r.b.call(helper::REDIRECT, &[ifindex, flags]).unwrap_or(ifindex);
            Val::of(r.b.trunc(verdict, Ty::I32))
        })
    }
}
