//! What sockets send, receive and ask for: `sk_msg`, `sk_skb`, addresses and sockets of a cgroup, `sk_lookup`.
//!
//! Stage: contexts. Output: fields with the byte order the kernel gives them. Read next: `ops.rs`.

use asm_macros::Layout;

use super::{Context, called, contexts, cookies, field};
use crate::dsl::be::{Be16, Be32};
use crate::dsl::map::{SkStorage, Status};
use crate::dsl::packet::Packet;
use crate::dsl::rec;
use crate::dsl::sock::{self, Maybe, Owner, Sock};
use crate::dsl::value::{IntoVal, Val};
use crate::insn::helper;
use crate::ir::{Ty, Value};

/// What becomes of a message or of a piece of a stream. C: `enum sk_action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout)]
#[repr(u32)]
pub enum SkAction {
    /// Dropped.
    Drop,
    /// On its way, or to where a redirecting call said.
    Pass,
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
    /// The context of programs that see a cgroup's `connect`, `bind`, `sendmsg`. C: `struct bpf_sock_addr`, Linux 4.17.
    SockAddr -> Access {
        user_family 0 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        user_ip4 4 Be32, "The IPv4 address that the caller gave.";
        family 28 u32, "The socket's address family.";
        kind 32 u32, "The socket's type: 1 is a stream, 2 datagrams. C: `type`.";
        protocol 36 u32, "The socket's protocol.";
    }
    /// The context of programs that see a cgroup's sockets begin and end. C: `struct bpf_sock`, Linux 4.10.
    CgroupSock -> Access {
        bound_dev_if 0 u32, "Interface it is bound to; 0 is none.";
        family 4 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        kind 8 u32, "Type: 1 is a stream, 2 datagrams. C: `type`.";
        protocol 12 u32, "IP protocol.";
        mark 16 u32, "Its mark.";
        priority 20 u32, "Its priority.";
    }
    /// The context of programs that see a cgroup's `setsockopt` and `getsockopt`. C: `struct bpf_sockopt`, Linux 5.3.
    SockOpt -> Access {
        level 24 u32, "Whose option: 1 is the socket's, 6 is TCP's.";
        optname 28 u32, "Which one.";
        optlen 32 u32, "Bytes of its value.";
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

cookies! {
    netns "5.15" SkMsg;
    netns "5.7" SockAddr;
    netns "5.7" CgroupSock;
    socket "5.7" SkSkb;
    socket "4.17" SockAddr;
    socket "5.7" CgroupSock;
}

impl SkMsg {
    /// The socket that sends. Linux 5.8.
    #[track_caller]
    pub fn sk(&self) -> Sock<'_> {
        sock::pointer(self.pointer(), 72)
    }

    /// The other end's IPv6 address.
    #[track_caller]
    pub fn remote_ip6(&self) -> Val<[u8; 16]> {
        sock::address(self.pointer(), 28)
    }

    /// This end's IPv6 address.
    #[track_caller]
    pub fn local_ip6(&self) -> Val<[u8; 16]> {
        sock::address(self.pointer(), 44)
    }

    /// The verdict holds for so many bytes. C: `bpf_msg_apply_bytes`, Linux 4.17.
    #[track_caller]
    pub fn apply_bytes(&self, bytes: impl IntoVal<u32>) -> Status {
        called(self, helper::MSG_APPLY_BYTES, bytes)
    }

    /// The program runs again when so many bytes are there. C: `bpf_msg_cork_bytes`, Linux 4.17.
    #[track_caller]
    pub fn cork_bytes(&self, bytes: impl IntoVal<u32>) -> Status {
        called(self, helper::MSG_CORK_BYTES, bytes)
    }

    /// Makes bytes `start..end` of the message what [`SkMsg::packet`] reads. C: `bpf_msg_pull_data`, Linux 4.17.
    #[track_caller]
    pub fn pull(&mut self, start: impl IntoVal<u32>, end: impl IntoVal<u32>) -> Status {
        let (start, end) = (start.into_val(), end.into_val());
        rec::with(|r| {
            let (start, end, flags) = (start.value(r), end.value(r), r.number(Ty::I64, 0));
            let result = r.b.call(helper::MSG_PULL_DATA, &[self.pointer(), start, end, flags]);
            Status::of(result.unwrap_or(flags))
        })
    }

    /// A cursor at the first byte that can be read: of the first piece of memory the message lies in, or of what
    /// [`SkMsg::pull`] asked for.
    #[must_use]
    #[track_caller]
    pub fn packet(&self) -> Packet<'_> {
        Packet::start()
    }
}

impl SockAddr {
    /// The socket. Linux 5.3.
    #[track_caller]
    pub fn sk(&self) -> Sock<'_> {
        sock::pointer(self.pointer(), 64)
    }

    /// The IPv6 address that the caller gave.
    #[track_caller]
    pub fn user_ip6(&self) -> Val<[u8; 16]> {
        sock::address(self.pointer(), 8)
    }
}

impl SockOpt {
    /// The socket.
    #[track_caller]
    pub fn sk(&self) -> Sock<'_> {
        sock::pointer(self.pointer(), 0)
    }

    /// The value stays what the caller gave. It must be said of one that is longer than a page, which the kernel shows in part and
    /// refuses otherwise. C: `optlen = 0`, Linux 5.8.
    #[track_caller]
    pub fn keep_value(&self) {
        super::set_field::<u32, _>(self, 32, 0);
    }
}

/// A socket of a cgroup's owns memory while it is being made. Linux 5.9.
impl<V> Owner<SkStorage<V>> for CgroupSock {
    fn owner(&self) -> Value {
        self.pointer()
    }
}

impl SkLookup {
    /// The socket that was chosen before, by another program. Linux 5.9.
    #[track_caller]
    pub fn sk(&self) -> Maybe<Sock<'_>> {
        sock::maybe(self.pointer(), 0)
    }
}
