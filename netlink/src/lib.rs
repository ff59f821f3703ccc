//! Netlink, from bytes to the kernel's verdict: links, addresses, routes, rules, neighbours, traffic control and XDP ([`route`]);
//! features of drivers ([`generic`]); address translation ([`netfilter`]).
//!
//! # The road in ten lines
//!
//! What is asked is a value that prints, so it can be read before it is sent:
//!
//! ```
//! use netlink::route::{VethPeer, VethSpec};
//!
//! let spec = VethSpec { name: "lb0", peer: VethPeer { name: "eth0", ..VethPeer::default() }, ..VethSpec::default() };
//! assert_eq!(
//!     spec.request().to_string(),
//!     "RTM_NEWLINK create excl ifindex 0 { ifname lb0, \
//!      linkinfo { kind veth, data { peer ifindex 0 { ifname eth0 } } } }"
//! );
//! ```
//!
//! Sent through a socket it becomes a link, or a refusal in the kernel's own words:
//!
//! ```no_run
//! use netlink::route::{Mode, Replace, Socket, VethPeer, VethSpec};
//!
//! # fn example(prog: std::os::fd::BorrowedFd<'_>) -> Result<(), netlink::Error> {
//! # let spec = VethSpec::default();
//! let mut rt = Socket::open()?; // of the network namespace that this thread is in
//! let link = rt.link_create_veth(spec)?;
//! rt.link_set_up(link.ifindex)?;
//! rt.addr_add(link.ifindex, [10, 10, 0, 1].into(), 24)?;
//! if let Err(error) = rt.xdp_attach(link.ifindex, prog, Mode::Native, Replace::IfNone) {
//!     // attach XDP program to ifindex 5 in native mode: veth: Peer MTU is too large to set XDP (ERANGE: …); lower the …
//!     println!("{error}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # How it is built
//!
//! | stage | from | to | where |
//! |---|---|---|---|
//! | wire | bytes of a datagram | messages, attributes, typed values | [`wire`] |
//! | table | one row an attribute | its reader, writer, printer, and the name an error points at | `wire/table.rs` |
//! | exchange | a [request](wire::Request) and datagrams | answers and a verdict | `exchange.rs` |
//! | socket | an exchange | the kernel | [`Connection`] |
//! | objects | what a caller wants | requests, and their results | [`route`], [`generic`], [`netfilter`] |
//!
//! Nothing a kernel says is lost: attributes that no table knows are kept, written back and printed. No bytes make this crate
//! panic. Numbers are in the byte order of the machine unless their type says otherwise (`big_endian`).
//!
//! A socket stays in the network namespace in which it was opened, whatever its thread does later. Requests that name another
//! namespace take a descriptor of it (`/proc/…/ns/net`). Most changes need `CAP_NET_ADMIN` there; reading needs nothing.
//!
//! Read on in `wire/header.rs`.
#![forbid(unsafe_code)]

mod error;
mod exchange;
pub mod generic;
pub mod netfilter;
pub mod route;
mod socket;
pub mod wire;

pub use error::{Error, Refusal};
pub use nix::errno::Errno;
pub use socket::{Connection, Direction, Tap};
pub use wire::Mac;
