//! Accesses that no region allows, in words.
//!
//! Input: what `memory.rs` knows of an access. Output: errors that say which region was missed, and by how much.

use std::fmt;

/// What a region is for; the name that traces and faults show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegionKind {
    /// Plain memory handed to the program, as in `loader vm MEM_HEX`.
    Buffer,
    /// The program's context structure (`struct xdp_md`, `struct __sk_buff`).
    Context,
    /// Packet bytes, from `data_meta` to `data_end`, with room on both sides that only helpers can reach.
    Packet,
    /// 512 bytes of stack of the call frame with this depth; 0 is the entry function.
    Stack(u8),
    /// The values of the map with this index.
    MapValues(u32),
    /// The socket that the context points at (`struct bpf_sock`).
    Sock,
    /// A ring-buffer record that is reserved and not yet submitted.
    Record,
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffer => f.write_str("mem"),
            Self::Context => f.write_str("ctx"),
            Self::Packet => f.write_str("packet"),
            Self::Stack(0) => f.write_str("stack"),
            Self::Stack(depth) => write!(f, "stack of frame {depth}"),
            Self::MapValues(index) => write!(f, "values of map {index}"),
            Self::Sock => f.write_str("socket"),
            Self::Record => f.write_str("ring-buffer record"),
        }
    }
}

/// An access that no region allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MemoryFault {
    /// The address lies in no region.
    #[error("{access} of {size} bytes at {address:#x}: no memory there{}", null_hint(*.address))]
    Unmapped {
        /// `load`, `store` or what a helper did.
        access: Access,
        /// The address as the program computed it.
        address: u64,
        /// Bytes wanted.
        size: usize,
    },
    /// The region is there, but the access reaches over its bounds.
    #[error("{access} of {size} bytes at {region}{offset:+}: its bytes are {low}..{high}")]
    OutOfBounds {
        /// What was done.
        access: Access,
        /// Which region.
        region: RegionKind,
        /// Offset of the first byte, relative to the region.
        offset: i64,
        /// Bytes wanted.
        size: usize,
        /// First byte that may be touched.
        low: usize,
        /// One past the last byte that may be touched.
        high: usize,
    },
    /// The region may only be read.
    #[error("store of {size} bytes at {region}{offset:+}: it is read-only")]
    ReadOnly {
        /// Which region.
        region: RegionKind,
        /// Offset of the first byte, relative to the region.
        offset: i64,
        /// Bytes wanted.
        size: usize,
    },
    /// The context has no field there, or not one of that size.
    #[error("{access} of {size} bytes at ctx+{offset}: `struct {context}` has no field there that is read so")]
    NoField {
        /// What was done.
        access: Access,
        /// The context's structure.
        context: &'static str,
        /// Offset of the first byte.
        offset: u32,
        /// Bytes wanted.
        size: usize,
    },
    /// The pointer was good once; a helper has invalidated it.
    #[error("{access} of {size} bytes through a stale {region} pointer: {reason}")]
    Stale {
        /// What was done.
        access: Access,
        /// Which region.
        region: RegionKind,
        /// Bytes wanted.
        size: usize,
        /// What made it stale.
        reason: &'static str,
    },
}

fn null_hint(address: u64) -> &'static str {
    if address < 1 << 32 { " (a null pointer, or a number used as one)" } else { "" }
}

/// The kind of an access, for faults and traces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Load,
    /// Writing, atomics included.
    Store,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load => "load",
            Self::Store => "store",
        })
    }
}
