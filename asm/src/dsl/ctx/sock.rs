//! Sockets and socket buffers: `sock_ops`, `sk_msg`, `sk_skb`, traffic control, cgroups.
//!
//! Stage: contexts. Output: fields with the byte order the kernel gives them. Read next: `trace.rs`.

use asm_macros::Layout;

use super::{contexts, field};
use crate::dsl::be::{Be16, Be32};
use crate::dsl::packet::Packet;
use crate::dsl::rec;
use crate::dsl::value::Val;
use crate::ir::Ty;

/// What becomes of a message or of a piece of a stream. C: `enum sk_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout)]
#[repr(u32)]
pub enum SkAction {
    /// Dropped.
    Drop,
    /// On its way, or to where a redirecting call said.
    Pass,
}

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

/// Whether a cgroup's program allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout)]
#[repr(u32)]
pub enum Access {
    /// Refused.
    Deny,
    /// Allowed.
    Allow,
}

contexts! {
    /// The context of `sock_ops` programs: events of TCP connections. C: `struct bpf_sock_ops`, Linux 4.13.
    SockOps -> u32 {
        op 0 u32, "What happened: one of [`SockOps`]'s constants. C: `BPF_SOCK_OPS_*`.";
        family 20 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        remote_ip4 24 Be32, "The other end's IPv4 address.";
        local_ip4 28 Be32, "This end's IPv4 address.";
        remote_port 64 Be32, "The other end's port, in network order of 32 bits.";
        local_port 68 u32, "This end's port.";
    }
    /// The context of `sk_msg` programs: a message that a socket sends. C: `struct sk_msg_md`, Linux 4.17.
    SkMsg -> SkAction {
        family 16 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        remote_ip4 20 Be32, "The other end's IPv4 address.";
        local_ip4 24 Be32, "This end's IPv4 address.";
        remote_port 60 Be32, "The other end's port, in network order of 32 bits.";
        local_port 64 u32, "This end's port.";
        size 68 u32, "Bytes of the message.";
    }
    /// The context of `sk_skb` programs: a piece of a stream that a socket receives. C: `struct __sk_buff`, Linux 4.14.
    SkSkb -> SkAction {
        len 0 u32, "Bytes.";
        family 88 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        remote_ip4 92 Be32, "The other end's IPv4 address.";
        local_ip4 96 Be32, "This end's IPv4 address.";
        remote_port 132 Be32, "The other end's port, in network order of 32 bits.";
        local_port 136 u32, "This end's port.";
    }
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
    /// The context of programs that see a cgroup's `connect`, `bind`, `sendmsg`. C: `struct bpf_sock_addr`, Linux 4.17.
    SockAddr -> Access {
        user_family 0 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        user_ip4 4 Be32, "The IPv4 address that the caller gave.";
        family 28 u32, "The socket's address family.";
        protocol 36 u32, "The socket's protocol.";
    }
    /// The context of programs that choose the socket for a connection. C: `struct bpf_sk_lookup`, Linux 5.9.
    SkLookup -> SkAction {
        family 8 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        protocol 12 u32, "IP protocol.";
        remote_ip4 16 Be32, "The client's IPv4 address.";
        local_ip4 40 Be32, "The IPv4 address it wants.";
        local_port 60 u32, "The port it wants.";
    }
}

impl SockOps {
    /// A connection that this host opened is established. C: `BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB`.
    pub const ACTIVE_ESTABLISHED: u32 = 4;
    /// A connection that this host accepted is established. C: `BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB`.
    pub const PASSIVE_ESTABLISHED: u32 = 5;
}

impl SockAddr {
    /// The port that the caller gave.
    #[track_caller]
    pub fn user_port(&self) -> Val<Be16> {
        let port: Val<u32> = field(self, 24);
        rec::with(|r| {
            let port = port.value(r);
            Val::of(r.b.trunc(port, Ty::I16))
        })
    }
}

impl Tc {
    /// A cursor at the packet's first byte, as far as it lies in the first buffer.
    #[must_use]
    #[track_caller]
    pub fn packet(&self) -> Packet<'_> {
        Packet::start()
    }
}

impl CgroupSkb {
    /// A cursor at the packet's IP header.
    #[must_use]
    #[track_caller]
    pub fn packet(&self) -> Packet<'_> {
        Packet::start()
    }
}
