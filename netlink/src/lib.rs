//! Netlink, from bytes to the kernel's verdict: links, addresses, routes, neighbours, rules, traffic control, XDP attachment
//! (`route`), and through generic netlink the features of drivers (`generic`).
#![forbid(unsafe_code)]

mod error;
pub mod generic;
pub mod route;
mod socket;
pub mod wire;

pub use error::{Error, Refusal};
pub use socket::{Connection, Direction, Tap};
pub use wire::Mac;
