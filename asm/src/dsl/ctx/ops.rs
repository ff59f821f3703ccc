//! `sock_ops`: events in the life of TCP connections.
//!
//! Stage: contexts. Output: fields with the byte order the kernel gives them. Which events come, [`SockOps::set_cb_flags`]
//! says for each connection. Read next: `trace.rs`.

use asm_macros::Layout;

use super::{Context, called, contexts, cookies, field, set_field};
use crate::dsl::be::Be32;
use crate::dsl::bytes;
use crate::dsl::layout::Layout as _;
use crate::dsl::map::Status;
use crate::dsl::packet::Packet;
use crate::dsl::rec;
use crate::dsl::sock::{self, Maybe, Sock};
use crate::dsl::value::{IntoVal, Val};
use crate::insn::helper;
use crate::ir::Ty;

/// State of a TCP connection. C: `enum bpf_tcp_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout)]
#[repr(u32)]
pub enum TcpState {
    /// Data flows.
    Established = 1,
    /// A SYN was sent.
    SynSent,
    /// A SYN was received.
    SynRecv,
    /// This end has said that it sends no more.
    FinWait1,
    /// And the other end has acknowledged it.
    FinWait2,
    /// Both have ended.
    TimeWait,
    /// No connection.
    Close,
    /// The other end sends no more.
    CloseWait,
    /// And this end has said the same.
    LastAck,
    /// Waits for connections.
    Listen,
    /// Both have said so at the same time.
    Closing,
    /// A request that is no socket yet.
    NewSynRecv,
}

/// Whether the program has answered what the event asked. The verifier takes no other verdict of it than 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout)]
#[repr(u32)]
pub enum Reply {
    /// It has not, or there was no question: the kernel goes on as without it.
    None,
    /// With [`SockOps::set_reply`].
    Given,
}

contexts! {
    /// The context of `sock_ops` programs: events of TCP connections. C: `struct bpf_sock_ops`, Linux 4.13.
    SockOps -> Reply {
        op 0 u32, "What happened: one of [`SockOps`]'s constants. C: `BPF_SOCK_OPS_*`.";
        family 20 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        remote_ip4 24 Be32, "The other end's IPv4 address.";
        local_ip4 28 Be32, "This end's IPv4 address.";
        remote_port 64 Be32, "The other end's port, in network order of 32 bits.";
        local_port 68 u32, "This end's port.";
        is_fullsock 72 u32, "Is there a full socket? Only then the fields below say something.";
        snd_cwnd 76 u32, "Congestion window in segments.";
        srtt_us 80 u32, "Smoothed round trip in eighths of a microsecond.";
        cb_flags 84 u32, "Which events come. C: `bpf_sock_ops_cb_flags`.";
        state 88 TcpState, "State of the connection.";
        rtt_min 92 u32, "Shortest round trip in microseconds.";
        snd_ssthresh 96 u32, "Slow start's threshold in segments.";
        rcv_nxt 100 u32, "Next sequence number that is expected.";
        snd_nxt 104 u32, "Next sequence number that is sent.";
        snd_una 108 u32, "First byte that is not acknowledged.";
        mss_cache 112 u32, "Bytes of a segment.";
        ecn_flags 116 u32, "State of explicit congestion notification. C: `tcp_sock.ecn_flags`.";
        rate_delivered 120 u32, "Segments that were delivered in the last sample of the rate.";
        rate_interval_us 124 u32, "Microseconds of that sample.";
        packets_out 128 u32, "Segments on their way.";
        retrans_out 132 u32, "Segments sent again, on their way.";
        total_retrans 136 u32, "Segments sent again, ever.";
        segs_in 140 u32, "Segments received.";
        data_segs_in 144 u32, "Segments with data received.";
        segs_out 148 u32, "Segments sent.";
        data_segs_out 152 u32, "Segments with data sent.";
        lost_out 156 u32, "Segments on their way that are taken for lost.";
        sacked_out 160 u32, "Segments on their way that were acknowledged selectively.";
        sk_txhash 164 u32, "Hash of the flow, by which a path may be chosen.";
        bytes_received 168 u64, "Bytes received.";
        bytes_acked 176 u64, "Bytes that were acknowledged.";
        skb_len 208 u32, "Bytes of the packet of this event, with its header. Linux 5.10.";
        skb_tcp_flags 212 u32, "TCP flags of that packet. Linux 5.10.";
    }
}

cookies! {
    netns "5.15" SockOps;
    socket "4.19" SockOps;
}

/// Declares constants.
macro_rules! constants {
    ($($name:ident $number:literal $says:literal;)*) => {
        impl SockOps {
            $(#[doc = $says] pub const $name: u32 = $number;)*
        }
    };
}

constants! {
    TIMEOUT_INIT 1 "Which timeout shall a SYN have? C: `BPF_SOCK_OPS_TIMEOUT_INIT`.";
    RWND_INIT 2 "Which receive window shall be offered at first? C: `BPF_SOCK_OPS_RWND_INIT`.";
    TCP_CONNECT 3 "A connection is about to be opened. C: `BPF_SOCK_OPS_TCP_CONNECT_CB`.";
    ACTIVE_ESTABLISHED 4 "A connection that this host opened is established. C: `BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB`.";
    PASSIVE_ESTABLISHED 5 "A connection that this host accepted is established. C: `BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB`.";
    NEEDS_ECN 6 "Does the congestion control need ECN? C: `BPF_SOCK_OPS_NEEDS_ECN`.";
    BASE_RTT 7 "Which round trip has an empty path? C: `BPF_SOCK_OPS_BASE_RTT`.";
    RTO 8 "A timeout. C: `BPF_SOCK_OPS_RTO_CB`, with [`SockOps::WANT_RTO`].";
    RETRANS 9 "A segment is sent again. C: `BPF_SOCK_OPS_RETRANS_CB`, with [`SockOps::WANT_RETRANS`].";
    STATE 10 "The state changes: [`SockOps::old_state`], [`SockOps::new_state`]. C: `BPF_SOCK_OPS_STATE_CB`, with [`SockOps::WANT_STATE`].";
    TCP_LISTEN 11 "A socket listens. C: `BPF_SOCK_OPS_TCP_LISTEN_CB`.";
    RTT 12 "A round trip was measured. C: `BPF_SOCK_OPS_RTT_CB`, with [`SockOps::WANT_RTT`]. Linux 5.3.";
    PARSE_HDR_OPT 13 "A header has options. C: `BPF_SOCK_OPS_PARSE_HDR_OPT_CB`. Linux 5.10.";
    HDR_OPT_LEN 14 "How much room do options need? C: `BPF_SOCK_OPS_HDR_OPT_LEN_CB`. Linux 5.10.";
    WRITE_HDR_OPT 15 "Options can be written. C: `BPF_SOCK_OPS_WRITE_HDR_OPT_CB`. Linux 5.10.";
    WANT_RTO 1 "Flag: [`SockOps::RTO`] comes. C: `BPF_SOCK_OPS_RTO_CB_FLAG`.";
    WANT_RETRANS 2 "Flag: [`SockOps::RETRANS`] comes. C: `BPF_SOCK_OPS_RETRANS_CB_FLAG`.";
    WANT_STATE 4 "Flag: [`SockOps::STATE`] comes. C: `BPF_SOCK_OPS_STATE_CB_FLAG`.";
    WANT_RTT 8 "Flag: [`SockOps::RTT`] comes. C: `BPF_SOCK_OPS_RTT_CB_FLAG`.";
    WANT_ALL_HDR_OPT 16 "Flag: [`SockOps::PARSE_HDR_OPT`] comes for all headers. C: `BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG`.";
    WANT_UNKNOWN_HDR_OPT 32 "Flag: it comes for options that the kernel does not know. C: `BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG`.";
    WANT_WRITE_HDR_OPT 64 "Flag: [`SockOps::WRITE_HDR_OPT`] comes. C: `BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG`.";
}

impl SockOps {
    /// The socket, if there is a full one. Linux 5.3.
    #[track_caller]
    pub fn sk(&self) -> Maybe<Sock<'_>> {
        sock::maybe(self.pointer(), 184)
    }

    /// The other end's IPv6 address; of an IPv4 peer of an IPv6 socket, the mapped one.
    #[track_caller]
    pub fn remote_ip6(&self) -> Val<[u8; 16]> {
        sock::address(self.pointer(), 32)
    }

    /// This end's IPv6 address.
    #[track_caller]
    pub fn local_ip6(&self) -> Val<[u8; 16]> {
        sock::address(self.pointer(), 48)
    }

    /// Argument number `N` of the event, from 0; of four.
    #[track_caller]
    pub fn arg<const N: i32>(&self) -> Val<u32> {
        const { assert!(N >= 0 && N < 4, "an event has four arguments") };
        field(self, 4 + 4 * N)
    }

    /// At [`SockOps::STATE`]: the state that was.
    #[track_caller]
    pub fn old_state(&self) -> Val<TcpState> {
        field(self, 4)
    }

    /// At [`SockOps::STATE`]: the state that will be.
    #[track_caller]
    pub fn new_state(&self) -> Val<TcpState> {
        field(self, 8)
    }

    /// Says what the event asked for; counts with [`Reply::Given`] as the verdict.
    #[track_caller]
    pub fn set_reply(&self, reply: impl IntoVal<u32>) {
        set_field(self, 4, reply);
    }

    /// Chooses which events of the connection come: `SockOps::WANT_*`. C: `bpf_sock_ops_cb_flags_set`, Linux 4.16.
    #[track_caller]
    pub fn set_cb_flags(&self, flags: impl IntoVal<u32>) -> Status {
        called(self, helper::SOCK_OPS_CB_FLAGS_SET, flags)
    }

    /// Sets an option of the connection that is a number: level and name are those of `setsockopt`. Which ones may be set differs from kernel to kernel; a refusal is a status. C: `bpf_setsockopt`, Linux 4.13.
    #[track_caller]
    pub fn set_option(&self, level: u32, name: u32, value: impl IntoVal<u32>) -> Status {
        let value = value.into_val();
        rec::with(|r| {
            let (value, at) = (value.value(r), r.b.stack(u32::SIZE, bytes::STACK_ALIGN));
            r.b.store(at, 0, value);
            let [level, name, size] = [level, name, u32::SIZE].map(|number| r.number(Ty::I64, number.into()));
            Status::of(r.b.call(helper::SETSOCKOPT, &[self.pointer(), level, name, at, size]).unwrap_or(size))
        })
    }

    /// A cursor at the TCP header of the packet of this event. Linux 5.10.
    #[must_use]
    #[track_caller]
    pub fn packet(&self) -> Packet<'_> {
        Packet::start()
    }
}
