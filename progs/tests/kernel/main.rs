//! Tests of the kernel programs in the running kernel; they need root (CAP_BPF, CAP_NET_ADMIN) and nothing else: no program, no
//! configuration file, so that the same binary runs as the only process of a guest.
//!
//! A test is a name, a packet in, a verdict, a packet out, and the counter that went up. Packets are put together by
//! `packets.rs` with etherparse, which shares no code with the programs. Next file to read: `balance.rs`.

#[path = "../cases/mod.rs"]
mod cases;
#[path = "../corpus/mod.rs"]
mod corpora;

mod balance;
mod corpus;
mod decap;
mod examples;
mod fields;
mod kinds;
mod live;
mod random;
mod sockets;
mod socks;
mod support;
mod twins;
mod update;

use corpora::packets;
