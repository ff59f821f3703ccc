//! What the programs and the control plane share: the state of a direction, what a socket remembers, settings.
//!
//! Stage: kernel programs. Input: nothing. Output: types, maps and variables, each with who writes it. Next file to read: `enrol.rs`.
//!
//! A connection has a pair of initial sequence numbers, and nothing else is needed to know it: each end sees both, whatever addresses
//! it sees, in whatever namespace. A socket's *key* is its own number in the upper half and the other end's in the lower one; the other
//! end's key is the same with its halves changed. A remote host cannot have the same pair but by a chance of 2⁻⁶⁴.

use asm::dsl::kernel::kernel_struct;
use asm::dsl::prelude::*;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One direction of a connection, under the key of the socket that receives.
///
/// Bytes sent and bytes read are counted from the same beginning, so `sent == read` says that nothing is on its way: neither in
/// TCP nor in the queue of the socket. Only then may a message change from TCP to the queue, because readers look into the queue first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Inbox {
    /// Bytes that the other end has offered, by both ways. Written by the sender, under its socket's lock.
    pub sent: u64,
    /// Bytes that were read. Written by readers, atomically.
    pub read: u64,
    /// Bytes of these that were redirected. Written by the sender.
    pub redirected: u64,
    /// Messages that were redirected. Written by the sender.
    pub messages: u64,
    /// Messages that went by TCP. Written by the sender.
    pub passed: u64,
    /// Where the stream was after the last redirected message: once so many bytes are read, the queue is empty. Written by the sender.
    pub tail: u64,
    /// `sent` as it was when the younger messages began. Written by the sender.
    pub mark: u64,
    /// Messages before the mark of which some may be in the queue. Written by the sender.
    pub old: u32,
    /// Messages since the mark. Written by the sender.
    pub young: u32,
    /// May anything be put into the queue? Written by the receiver: 1 when it is enrolled, 0 when it leaves.
    pub ready: u32,
    /// Has the receiver ever read by a call that sees the queue? Written by readers.
    pub heard: u32,
    /// Has something gone by TCP that may be unread? 1 at first, because it may have come with the SYN. Written by the sender.
    pub by_tcp: u32,
    /// Why the last message that went by TCP did: a [`Reason`]'s number. Written by the sender.
    pub reason: u32,
}

/// What a socket remembers. It goes with the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Layout)]
#[repr(C)]
pub struct Me {
    /// Its key.
    pub key: u64,
    /// The other end's.
    pub peer: u64,
    /// Bytes that it has sent by both ways since it was enrolled. Written by itself, under its lock.
    pub sent: u64,
    /// Where TCP's stream was when `sent` was counted: what TCP has taken since comes on top. Written by itself, under its lock.
    pub seq: u32,
    /// Small messages since it read last, or sent a large one.
    pub burst: u32,
    /// Bytes of the last message that went by TCP. Written by itself, under its lock.
    pub size: u32,
    /// Messages that were offered. Written by itself, under its lock.
    pub turns: u32,
    /// 1 once somebody was seen waiting for something to read while another thread sent, or closed its side.
    pub waited: u32,
    /// Nothing.
    pub pad: u32,
    /// When both ends were judged last, as `policy.rs` counts.
    pub judged: u32,
    /// Why the rules leave it with TCP now: a [`Refusal`](super::policy::Refusal)'s number, or 0.
    pub refused: u32,
}

/// What a socket of TCP's knows of itself.
#[kernel_struct("tcp_sock")]
pub(super) struct Tcp {
    /// Behind the last byte that TCP has taken.
    pub(super) write_seq: u32,
    /// So many bytes may wait unsent before the sender has to; 0 is the system's setting.
    pub(super) notsent_lowat: u32,
    /// The connection.
    pub(super) inet_conn: Connection,
}

/// A connection.
#[kernel_struct("inet_connection_sock")]
pub(super) struct Connection {
    /// Its socket, as IP knows it.
    pub(super) icsk_inet: Inet,
}

/// A socket of IP's.
#[kernel_struct("inet_sock")]
pub(super) struct Inet {
    /// The socket.
    pub(super) sk: Buffered,
}

/// A socket.
#[kernel_struct("sock")]
pub(super) struct Buffered {
    /// Bytes that may wait to be sent.
    pub(super) sk_sndbuf: i32,
    /// Bytes that wait to be sent or acknowledged, as memory.
    pub(super) sk_wmem_queued: i32,
    /// Bytes a second that may be sent.
    pub(super) sk_max_pacing_rate: u64,
    /// Writers who wait for room.
    pub(super) sk_write_pending: i32,
    /// Its lock.
    pub(super) sk_lock: Lock,
    /// What a process has of it.
    pub(super) sk_socket: Kptr<Socket>,
    /// Who waits for it.
    pub(super) sk_wq: asm::dsl::kernel::Address,
}

/// A socket's lock.
#[kernel_struct("socket_lock_t")]
pub(super) struct Lock {
    /// Somebody is in a call.
    pub(super) owned: i32,
}

/// A socket, as a process has it.
#[kernel_struct("socket")]
pub(super) struct Socket {
    /// `SOCK_NOSPACE`: it is to be told when there is room to write.
    pub(super) flags: u64,
    /// Its file.
    pub(super) file: Kptr<File>,
}

/// An open file.
#[kernel_struct("file")]
pub(super) struct File {
    /// `O_NONBLOCK`: calls do not wait.
    pub(super) f_flags: u32,
}

/// Why a message goes by TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    /// Something sent by TCP is not read yet.
    Order = 1,
    /// The reader has not shown yet that it reads by calls that see the queue: it may be one that splices.
    Unheard = 2,
    /// A stream of small messages, which TCP puts together better.
    Stream = 3,
    /// As many bytes or messages lie in the queue as may.
    Credit = 4,
    /// The other end leaves.
    Leaving = 5,
    /// All of it is switched off.
    Closed = 6,
    /// The rules have changed, and leave one of the ends with TCP.
    Policy = 7,
    /// Somebody waits for something to read while another thread sends.
    Duplex = 8,
    /// A sender that waits in calls went on with little room, and has left: the kernel would have told it of more in a read.
    Room = 9,
}

impl Reason {
    /// The number in [`Inbox::reason`].
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// In a word, by number.
    #[must_use]
    pub const fn word(number: u32) -> &'static str {
        match number {
            0 => "-",
            1 => "order",
            2 => "unheard",
            3 => "stream",
            4 => "credit",
            5 => "leaving",
            6 => "closed",
            7 => "policy",
            8 => "duplex",
            9 => "room",
            _ => "?",
        }
    }
}

/// Directions by the key of the socket that receives. An entry comes when its socket is established, before the other end can know of
/// it, and goes when the socket is closed. Where this is full, connections go by TCP.
#[map]
pub static INBOXES: HashMap<u64, Inbox, 65536> = map();

/// A direction in which nothing has happened: what a new one begins as. Nobody writes it.
#[map]
pub(super) static EMPTY: Array<Inbox, 1> = map();

/// What a socket remembers before it is told. Nobody writes it.
#[map]
pub(super) static NOTHING: Array<Me, 1> = map();

/// Enrolled sockets by key. The kernel takes a socket out when it is closed.
#[map]
pub static PEERS: SockHash<u64, 65536> = map();

/// What enrolled sockets remember.
#[map]
pub static ME: SkStorage<Me> = map();

/// Is there a program that counts what is read? User space sets it before the load. Without one, a direction is redirected from its first
/// byte until its credit is used up, and goes by TCP from then on.
#[rodata]
pub static COUNTED: u32 = 1;

/// May it be looked up who waits for a socket? It takes `bpf_probe_read_kernel`, which a kernel that is locked down does not give. User space
/// sets it before the load.
#[rodata]
pub static WATCHED: u32 = 1;

/// Parameters of the function that receives on enrolled sockets: five since Linux 5.19, six before. User space sets it before the load.
#[rodata]
pub static PARAMETERS: u32 = 5;

/// Large messages in bytes of which so many are on their way by TCP are a stream, which is held back; and so many may be on their way
/// whatever the sender's buffer is.
#[rodata]
pub static BULK: u64 = 64 << 10;

/// So many bytes fit into the smallest buffer that there is.
#[rodata]
pub static LITTLE: u64 = 4 << 10;

/// So much of a stream that is held back may wait unsent: `TCP_NOTSENT_LOWAT`.
pub const HELD: u32 = 64 << 10;

/// And TCP sends so many bytes of it in a second: `SO_MAX_PACING_RATE`. A reader reads several times as many from its queue.
pub const HELD_PACE: u32 = 1_000_000_000;

/// Messages that may lie in a queue: the kernel spends a kilobyte on each, however small it is.
#[rodata]
pub static CREDIT_MESSAGES: u32 = 512;

/// Below so many bytes a message is small: TCP, which puts several into a packet, is faster with a stream of these.
#[rodata]
pub static SMALL: u64 = 16 << 10;

/// So many small messages without reading in between are a stream.
#[rodata]
pub static STREAM: u32 = 16;

/// After so many it leaves the map.
#[rodata]
pub static LEAVE: u32 = 1024;

/// 0 when nothing new may be redirected: it is about to be taken down. Written by user space at any time.
#[data]
pub static OPEN: u32 = 1;
