//! Headers of packets, as they lie on the wire.
//!
//! Stage: vocabulary of the DSL. Input: bytes of packets. Output: places with the fields' names and byte orders. The same
//! structs serve user space, through zerocopy. Read next: `packet.rs`.

use asm_macros::Layout;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::be::{Be16, Be32};
use super::layout::{AnyPlace, Place};
use super::ops;
use super::value::Val;

/// EtherType of IPv4.
pub const ETH_IPV4: Be16 = Be16::new(0x0800);
/// EtherType of IPv6.
pub const ETH_IPV6: Be16 = Be16::new(0x86dd);
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of IP in IP.
pub const IPIP: u8 = 4;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Declares headers: what every one of them derives.
macro_rules! headers {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }
    )*};
}

headers! {
    /// Ethernet. C: `struct ethhdr`.
    Eth {
        /// Destination address.
        dst: [u8; 6],
        /// Source address.
        src: [u8; 6],
        /// EtherType.
        proto: Be16,
    }
    /// IPv4 without options. C: `struct iphdr`.
    Ipv4 {
        /// Version in the upper half, length of the header in 4-byte words in the lower.
        version_ihl: u8,
        /// Type of service.
        tos: u8,
        /// Bytes of header and what follows.
        total_len: Be16,
        /// Which fragments belong together.
        id: Be16,
        /// Flags and offset of a fragment.
        fragment: Be16,
        /// Hops it may still go.
        ttl: u8,
        /// What follows: [`TCP`], [`UDP`], ..
        protocol: u8,
        /// Checksum of the header.
        checksum: Be16,
        /// Source address.
        src: Be32,
        /// Destination address.
        dst: Be32,
    }
    /// IPv6. C: `struct ipv6hdr`.
    Ipv6 {
        /// Version, traffic class, flow label.
        flow: Be32,
        /// Bytes of what follows.
        payload_len: Be16,
        /// What follows.
        next_header: u8,
        /// Hops it may still go.
        hop_limit: u8,
        /// Source address.
        src: [u8; 16],
        /// Destination address.
        dst: [u8; 16],
    }
    /// The first two bytes of an IPv6 extension header.
    Ipv6Ext {
        /// What follows.
        next_header: u8,
        /// Length in 8-byte words, without the first.
        len: u8,
    }
    /// TCP without options. C: `struct tcphdr`.
    Tcp {
        /// Source port.
        src: Be16,
        /// Destination port.
        dst: Be16,
        /// Sequence number.
        seq: Be32,
        /// Next byte expected.
        ack: Be32,
        /// Length of the header in 4-byte words, in the upper half.
        offset: u8,
        /// Flags: [`FIN`], [`SYN`], ..
        flags: u8,
        /// Receive window.
        window: Be16,
        /// Checksum.
        checksum: Be16,
        /// Urgent pointer.
        urgent: Be16,
    }
    /// Both ends of an IPv4 connection, the source being the one that sends. C: `struct bpf_sock_tuple`.
    Tuple4 {
        /// Source address.
        src: Be32,
        /// Destination address.
        dst: Be32,
        /// Source port.
        src_port: Be16,
        /// Destination port.
        dst_port: Be16,
    }
    /// Both ends of an IPv6 connection. C: `struct bpf_sock_tuple`.
    Tuple6 {
        /// Source address.
        src: [u8; 16],
        /// Destination address.
        dst: [u8; 16],
        /// Source port.
        src_port: Be16,
        /// Destination port.
        dst_port: Be16,
    }
    /// UDP. C: `struct udphdr`.
    Udp {
        /// Source port.
        src: Be16,
        /// Destination port.
        dst: Be16,
        /// Bytes of header and data.
        len: Be16,
        /// Checksum.
        checksum: Be16,
    }
    /// The ports that TCP and UDP begin with.
    Ports {
        /// Source port.
        src: Be16,
        /// Destination port.
        dst: Be16,
    }
    /// ICMP echo. C: `struct icmphdr`.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Checksum.
        checksum: Be16,
        /// Identifier.
        id: Be16,
        /// Sequence number.
        seq: Be16,
    }
}

/// TCP flag: no more data.
pub const FIN: u8 = 0x01;
/// TCP flag: opens a connection.
pub const SYN: u8 = 0x02;
/// TCP flag: resets a connection.
pub const RST: u8 = 0x04;
/// TCP flag: the acknowledgement number counts.
pub const ACK: u8 = 0x10;

impl Ipv4Place {
    /// Length of the header in 4-byte words.
    #[track_caller]
    pub fn ihl(&self) -> Val<u8> {
        ops::and(self.version_ihl, 0x0f)
    }

    /// The checksum of a header of 20 bytes whose checksum field is zero (RFC 1071), by 32 bits at a time.
    #[track_caller]
    pub fn sum(&self) -> Val<Be16> {
        let words = (0..5).map(|word| Place::<u32>::new(self.addr().offset(word * 4)));
        let mut sum = ops::cast::<u64, u64, _>(0u64);
        for word in words {
            sum = ops::add(sum, ops::cast::<u64, u32, _>(word));
        }
        // 35 bits become 33, then 18, 17 and 16.
        for (mask, bits) in [(0xffff_ffff_u64, 32_u64), (0xffff, 16), (0xffff, 16), (0xffff, 16)] {
            sum = ops::add(ops::and(sum, mask), ops::shr(sum, bits));
        }
        ops::cast::<u16, u64, _>(ops::not(sum)).as_be()
    }

    /// Bytes of options between the header and what follows; a header that claims less than 20 bytes gives a number over 40.
    #[track_caller]
    pub fn options_len(&self) -> Val<u32> {
        let words = ops::cast::<u32, _, _>(self.ihl());
        ops::sub(ops::mul(words, 4), 20)
    }
}
