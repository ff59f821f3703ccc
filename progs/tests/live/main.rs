//! What programs see of their sockets when TCP is cut short: one test for each way in which it is known to go wrong. The same calls are
//! made on plain TCP, with the usual pair of programs (`progs/src/bypass/naive.rs`) and with ours, and compared: ours is as plain TCP, or
//! the test says where it is not.
//!
//! They need root (CAP_BPF, CAP_NET_ADMIN), a cgroup v2 hierarchy, and nothing else, so that the same binary runs in a guest. Each
//! test has a network namespace and a cgroup of its own. Next file to read: `rig.rs`, then `order.rs`.

mod audit;
mod calls;
mod closing;
mod duplex;
mod kinds;
mod order;
mod policy;
mod probe;
mod programs;
mod proxies;
mod quarantine;
mod queue;
mod received;
mod relay;
mod reuse;
mod rig;
mod roads;
mod soak;
mod strangers;
mod streams;
mod uncounted;
