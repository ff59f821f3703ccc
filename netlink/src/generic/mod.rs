//! Stage: generic netlink: many protocols ("families") on one socket, each found by name. Input: a family's name and command;
//! output: its answers.
//!
//! | file | family |
//! |---|---|
//! | `ctrl.rs` | the controller, which knows the others' ids |
//! | `ethtool.rs`, `bitset.rs` | features, channels and rings of devices |
//! | `netdev.rs` | what a device's driver can do with XDP |
//!
//! Next: `generic/ctrl.rs`.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::error::Error;
use crate::socket::Connection;
use crate::wire::{Attribute, Body, FixedHeader, Flags, Request};

mod bitset;
pub mod ctrl;
pub mod ethtool;
pub mod netdev;

pub use bitset::{BitAttr, BitsAttr, BitsetAttr};

/// The fixed header of generic netlink (`struct genlmsghdr`).
#[doc(alias = "genlmsghdr")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GenericHeader {
    /// Command; numbers are the family's.
    pub cmd: u8,
    /// Version of the family.
    pub version: u8,
    /// Zero.
    pub reserved: u16,
}

const _: () = assert!(size_of::<GenericHeader>() == 4);

impl FixedHeader for GenericHeader {
    const NAME: &'static str = "genlmsghdr";

    fn kind_name(kind: u16) -> Option<&'static str> {
        (kind == ctrl::ID).then_some("GENL_ID_CTRL")
    }
}

impl fmt::Display for GenericHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cmd {} version {}", self.cmd, self.version)
    }
}

/// A family that we speak: its name, and since when kernels have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speaks {
    pub(crate) family: &'static str,
    pub(crate) feature: &'static str,
    pub(crate) first_kernel: &'static str,
}

/// A `NETLINK_GENERIC` socket and one family, found by name.
#[derive(Debug)]
pub(crate) struct FamilySocket {
    connection: Connection,
    id: u16,
    version: u8,
}

impl FamilySocket {
    /// Opens a socket in the calling thread's network namespace and finds the family.
    pub(crate) fn open(speaks: Speaks) -> Result<FamilySocket, Error> {
        let mut connection = connect()?;
        let family = ctrl::find(&mut connection, speaks.family).map_err(|error| match error.is_no_entry() {
            true => Error::NotSupported {
                what: format!("find the generic netlink family {:?}", speaks.family),
                feature: speaks.feature,
                first_kernel: speaks.first_kernel,
            },
            false => error,
        })?;
        Ok(FamilySocket { connection, id: family.id, version: u8::try_from(family.version).unwrap_or(1) })
    }

    pub(crate) fn request<A: Attribute>(&self, cmd: u8, attrs: Vec<A>, what: String) -> Request<GenericHeader, A> {
        let header = GenericHeader { cmd, version: self.version, reserved: 0 };
        Request::new(self.id, Flags::empty(), header, attrs, what)
    }

    /// Sends a request that has one answer.
    pub(crate) fn get<A: Attribute>(&mut self, cmd: u8, attrs: Vec<A>, what: String) -> Result<Vec<A>, Error> {
        let request = self.request(cmd, attrs, what);
        self.connection.get(&request).map(|body| body.attrs)
    }

    /// Sends a request that may have an answer.
    pub(crate) fn set<A: Attribute>(&mut self, cmd: u8, attrs: Vec<A>, what: String) -> Result<Option<Vec<A>>, Error> {
        let request = self.request(cmd, attrs, what);
        let answers = self.connection.exchange(&request)?;
        Ok(answers.bodies.into_iter().next().map(|body| body.attrs))
    }

    /// Sends a request for all there is.
    pub(crate) fn dump<A: Attribute>(&mut self, cmd: u8, what: String) -> Result<Vec<Vec<A>>, Error> {
        let mut request = self.request(cmd, Vec::new(), what);
        request.flags = Flags::DUMP;
        let bodies: Vec<Body<GenericHeader, A>> = self.connection.dump(&request)?;
        Ok(bodies.into_iter().map(|body| body.attrs).collect())
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

pub(crate) fn connect() -> Result<Connection, Error> {
    const NETLINK_GENERIC: isize = 16;
    Connection::open(NETLINK_GENERIC)
}
