//! Stage: the family `netdev` (Linux 6.3): what a device's driver can do with XDP. Input: ifindex; output: [`NetDev`].
//! Next: back to `lib.rs`; who uses this crate goes on in the loader.

use super::{FamilySocket, Speaks};
use crate::error::Error;
use crate::socket::Connection;
use crate::wire::{WireError, attributes};

/// `NETDEV_CMD_DEV_GET`.
const DEV_GET: u8 = 1;

attributes! {
    /// Attributes of a device.
    pub enum NetDevAttr: "NETDEV_A_DEV_" {
        /// The link.
        IfIndex(u32) = 1 "IFINDEX",
        /// See [`XdpFeatures`].
        XdpFeatures(u64) = 3 "XDP_FEATURES",
        /// Most fragments of a packet that `AF_XDP` takes without copying (Linux 6.6).
        XdpZcMaxSegs(u32) = 4 "XDP_ZC_MAX_SEGS",
        /// What the driver tells XDP programs about a packet received (Linux 6.7).
        XdpRxMetadataFeatures(u64) = 5 "XDP_RX_METADATA_FEATURES",
        /// What `AF_XDP` can ask of the driver (Linux 6.8).
        XskFeatures(u64) = 6 "XSK_FEATURES",
    }
}

bitflags::bitflags! {
    /// What a driver can do with XDP in native mode (`NETDEV_XDP_ACT_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct XdpFeatures: u64 {
        /// Drop, pass, abort, and send back (`XDP_TX`).
        const BASIC = 1;
        /// Send on by another device (`XDP_REDIRECT`).
        const REDIRECT = 2;
        /// Take what others send on to it.
        const NDO_XMIT = 4;
        /// `AF_XDP` without copying.
        const XSK_ZEROCOPY = 8;
        /// Offload to the device.
        const HW_OFFLOAD = 16;
        /// Packets in several buffers.
        const RX_SG = 32;
        /// Take packets in several buffers from others.
        const NDO_XMIT_SG = 64;
        const _ = !0;
    }
}

/// A device and what its driver can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NetDev {
    /// The link.
    pub ifindex: u32,
    /// XDP in native mode; empty when the driver has none.
    pub xdp: XdpFeatures,
    /// Most fragments of a packet that `AF_XDP` takes without copying; 0 when unknown.
    pub zero_copy_max_segs: u32,
}

impl NetDev {
    fn from_attrs(attrs: &[NetDevAttr]) -> NetDev {
        let mut dev = NetDev::default();
        for attr in attrs {
            match attr {
                NetDevAttr::IfIndex(ifindex) => dev.ifindex = *ifindex,
                NetDevAttr::XdpFeatures(bits) => dev.xdp = XdpFeatures::from_bits_retain(*bits),
                NetDevAttr::XdpZcMaxSegs(segs) => dev.zero_copy_max_segs = *segs,
                _ => {}
            }
        }
        dev
    }
}

/// A socket that speaks `netdev`, in the namespace it was opened in.
#[derive(Debug)]
pub struct NetDevSocket {
    family: FamilySocket,
}

impl NetDevSocket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Error::NotSupported`] before Linux 6.3.
    pub fn open() -> Result<NetDevSocket, Error> {
        let feature = "generic netlink family netdev (XDP features of drivers)";
        FamilySocket::open(Speaks { family: "netdev", feature, first_kernel: "6.3" })
            .map(|family| NetDevSocket { family })
    }

    /// The connection underneath, for its port and its tap.
    pub fn connection(&mut self) -> &mut Connection {
        self.family.connection()
    }

    /// What the driver of a link can do.
    ///
    /// # Errors
    /// `ENODEV` when there is no such link.
    pub fn device(&mut self, ifindex: u32) -> Result<NetDev, Error> {
        let what = format!("read the XDP features of ifindex {ifindex}");
        let attrs = self.family.get(DEV_GET, vec![NetDevAttr::IfIndex(ifindex)], what.clone())?;
        let dev = NetDev::from_attrs(&attrs);
        match dev.ifindex {
            0 => Err(Error::Wire { what, source: WireError::Missing { name: "NETDEV_A_DEV_IFINDEX" } }),
            _ => Ok(dev),
        }
    }

    /// What the drivers of all links of the namespace can do.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn devices(&mut self) -> Result<Vec<NetDev>, Error> {
        let all = self.family.dump(DEV_GET, "list XDP features of links".to_owned())?;
        Ok(all.iter().map(|attrs| NetDev::from_attrs(attrs)).collect())
    }
}
