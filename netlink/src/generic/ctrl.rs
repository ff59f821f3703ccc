//! Stage: the controller of generic netlink. Input: a family's name; output: its id and what it has ([`Family`]).
//! Next: `ethtool.rs`.

use super::{GenericHeader, connect};
use crate::error::Error;
use crate::socket::Connection;
use crate::wire::{Body, Bytes, Flags, Items, Nest, Request, Text, WireError, attributes};

/// Id of the controller itself (`GENL_ID_CTRL`); all other ids are given when a family registers.
pub const ID: u16 = 16;
/// `CTRL_CMD_GETFAMILY`.
const GET_FAMILY: u8 = 3;
const VERSION: u8 = 2;

attributes! {
    /// Attributes of a family.
    pub enum CtrlAttr: "CTRL_ATTR_" {
        /// The kind of its messages.
        FamilyId(u16) = 1 "FAMILY_ID",
        /// Its name.
        FamilyName(Text) = 2 "FAMILY_NAME",
        /// Its version.
        Version(u32) = 3 "VERSION",
        /// Bytes of its own fixed header.
        HdrSize(u32) = 4 "HDRSIZE",
        /// Its highest attribute.
        MaxAttr(u32) = 5 "MAXATTR",
        /// Its commands.
        Ops(Items<OpAttr>) = 6 "OPS",
        /// Its multicast groups.
        McastGroups(Items<GroupAttr>) = 7 "MCAST_GROUPS",
        /// What its attributes may be.
        Policy(Bytes) = 8 "POLICY",
    }
}

attributes! {
    /// Attributes of a command.
    pub enum OpAttr: "CTRL_ATTR_OP_" {
        /// Its number.
        Id(u32) = 1 "ID",
        /// What it takes (`GENL_CMD_CAP_*`).
        Flags(u32) = 2 "FLAGS",
    }
}

attributes! {
    /// Attributes of a multicast group.
    pub enum GroupAttr: "CTRL_ATTR_MCAST_GRP_" {
        /// Its name.
        Name(Text) = 1 "NAME",
        /// Its number.
        Id(u32) = 2 "ID",
    }
}

/// A message about a family.
pub type CtrlMessage = Body<GenericHeader, CtrlAttr>;

/// A family of generic netlink.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Family {
    /// The kind of its messages, valid until the next boot.
    pub id: u16,
    /// Name.
    pub name: String,
    /// Version.
    pub version: u32,
    /// Bytes of its own fixed header.
    pub header_size: u32,
    /// Its highest attribute.
    pub max_attr: u32,
    /// Numbers of its commands.
    pub commands: Vec<u32>,
    /// Names and numbers of its multicast groups.
    pub groups: Vec<(String, u32)>,
}

impl Family {
    /// Reads the kernel's description.
    ///
    /// # Errors
    /// When it has no id.
    pub fn from_message(message: &CtrlMessage) -> Result<Family, WireError> {
        let mut family = Family {
            id: 0,
            name: String::new(),
            version: 0,
            header_size: 0,
            max_attr: 0,
            commands: Vec::new(),
            groups: Vec::new(),
        };
        for attr in &message.attrs {
            match attr {
                CtrlAttr::FamilyId(id) => family.id = *id,
                CtrlAttr::FamilyName(name) => family.name = name.as_str().into_owned(),
                CtrlAttr::Version(version) => family.version = *version,
                CtrlAttr::HdrSize(size) => family.header_size = *size,
                CtrlAttr::MaxAttr(max) => family.max_attr = *max,
                CtrlAttr::Ops(ops) => family.commands = ops.nests().filter_map(command).collect(),
                CtrlAttr::McastGroups(groups) => family.groups = groups.nests().map(group).collect(),
                _ => {}
            }
        }
        if family.id == 0 { Err(WireError::Missing { name: "CTRL_ATTR_FAMILY_ID" }) } else { Ok(family) }
    }

    /// Whether this kernel's family has a command.
    #[must_use]
    pub fn has_command(&self, cmd: u8) -> bool {
        self.commands.contains(&u32::from(cmd))
    }
}

fn command(op: &Nest<OpAttr>) -> Option<u32> {
    op.attrs.iter().find_map(|attr| match attr {
        OpAttr::Id(id) => Some(*id),
        _ => None,
    })
}

fn group(group: &Nest<GroupAttr>) -> (String, u32) {
    let mut found = (String::new(), 0);
    for attr in &group.attrs {
        match attr {
            GroupAttr::Name(name) => found.0 = name.as_str().into_owned(),
            GroupAttr::Id(id) => found.1 = *id,
            GroupAttr::Unknown(_) => {}
        }
    }
    found
}

fn request(flags: Flags, attrs: Vec<CtrlAttr>, what: String) -> Request<GenericHeader, CtrlAttr> {
    Request::new(ID, flags, GenericHeader { cmd: GET_FAMILY, version: VERSION, reserved: 0 }, attrs, what)
}

/// Finds a family by name on an open socket.
pub(super) fn find(connection: &mut Connection, name: &str) -> Result<Family, Error> {
    let what = format!("find the generic netlink family {name:?}");
    let request = request(Flags::empty(), vec![CtrlAttr::FamilyName(Text::new(name))], what);
    let message = connection.get(&request)?;
    Family::from_message(&message).map_err(|source| Error::Wire { what: request.what, source })
}

/// A socket that speaks to the controller.
///
/// ```no_run
/// let family = netlink::generic::ctrl::Controller::open()?.family("ethtool")?;
/// println!("{} is family {} with {} commands", family.name, family.id, family.commands.len());
/// # Ok::<(), netlink::Error>(())
/// ```
#[derive(Debug)]
pub struct Controller {
    connection: Connection,
}

impl Controller {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn open() -> Result<Controller, Error> {
        connect().map(|connection| Controller { connection })
    }

    /// The connection underneath, for its port and its tap.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Finds a family by name. Some families are loaded as modules by this question.
    ///
    /// # Errors
    /// `ENOENT` when this kernel has none of that name.
    pub fn family(&mut self, name: &str) -> Result<Family, Error> {
        find(&mut self.connection, name)
    }

    /// All families registered now.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn families(&mut self) -> Result<Vec<Family>, Error> {
        let request = request(Flags::DUMP, Vec::new(), "list generic netlink families".to_owned());
        let all = self.connection.dump(&request)?;
        let all: Result<_, _> = all.iter().map(Family::from_message).collect();
        all.map_err(|source| Error::Wire { what: request.what, source })
    }
}
