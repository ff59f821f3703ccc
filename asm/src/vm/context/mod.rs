//! Contexts: the structure that `r1` points at when a program starts, and the packet behind it.
//!
//! Input: a program type, values for the fields a test cares about, a packet. Output: the program's result, the context and
//! the packet as it left them. Read next: `fields.rs` for the structures, `packet.rs` for XDP and tc in short form.
//!
//! The kernel rewrites reads of pointer fields (`data`, `sk`) into pointer loads when it verifies a program; here such a
//! read gives the pointer. Everything that is not a field is refused, as the verifier does.

mod fields;
mod packet;

use fields::SK_BUFF;
pub use fields::{CONTEXTS, ContextType, Field, Meaning};
pub(super) use packet::Packet;
pub use packet::{HEADROOM, PacketRun, Skb, Xdp};

use super::fault::{Access, MemoryFault, RegionKind};
use super::memory::RegionId;
use super::trace::{NoTrace, Tracer};
use super::{Fault, FaultKind, Vm};
use crate::object::ProgType;

/// A context ready for a run: which structure, what its fields hold, and what is behind its pointers.
///
/// ```
/// use asm::insn::{Builder, R0, R1, Size};
/// use asm::object::ProgType;
/// use asm::vm::{Context, Vm};
///
/// let mut b = Builder::new();
/// b.load(Size::W, R0, R1, 64); // sk_msg_md.local_port
/// b.exit();
/// let mut vm = Vm::new(&b.finish()?.insns)?;
/// let context = Context::new(ProgType::SK_MSG)?.with("local_port", 8080)?;
/// assert_eq!(vm.run_context(&context)?.r0, 8080);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    kind: &'static ContextType,
    bytes: Vec<u8>,
    packet: Vec<u8>,
    metadata: Vec<u8>,
    sock: Option<Vec<u8>>,
}

/// Why a context cannot be made as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// There is no such context here.
    #[error("the interpreter has no context for programs of type {0}")]
    NoContext(ProgType),
    /// The structure has no such field, or it is a pointer.
    #[error("`struct {context}` has no field `{field}` that can be set; it has {known}")]
    NoField {
        /// The structure.
        context: &'static str,
        /// The name asked for.
        field: String,
        /// Those there are.
        known: String,
    },
    /// The value does not fit.
    #[error("`{context}.{field}` has {size} bytes; the value has {got}")]
    Size {
        /// The structure.
        context: &'static str,
        /// The field.
        field: String,
        /// Its bytes.
        size: u32,
        /// Bytes of the value.
        got: usize,
    },
}

/// What a run left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextRun {
    /// The program's result.
    pub r0: u64,
    /// Fields and packet as the program left them.
    pub context: Context,
}

impl Context {
    /// All zero, no packet, no socket.
    ///
    /// # Errors
    /// [`ContextError::NoContext`].
    pub fn new(prog_type: ProgType) -> Result<Self, ContextError> {
        let kind = ContextType::of(prog_type).ok_or(ContextError::NoContext(prog_type))?;
        Ok(Self::of(kind, &[]))
    }

    /// A context with these fields; names that it does not have are left out.
    fn of(kind: &'static ContextType, fields: &[(&str, u32)]) -> Self {
        let mut context =
            Self { kind, bytes: vec![0; kind.size as usize], packet: Vec::new(), metadata: Vec::new(), sock: None };
        for (name, value) in fields {
            context.put(name, *value);
        }
        context
    }

    /// Writes a field of four bytes; nothing where there is none of that name.
    fn put(&mut self, name: &str, value: u32) {
        if let Some(field) = self.kind.field(name).filter(|field| field.size == 4) {
            self.bytes[field.off as usize..][..4].copy_from_slice(&value.to_le_bytes());
        }
    }

    /// With a number in a field; what does not fit into it is cut off.
    ///
    /// # Errors
    /// [`ContextError::NoField`].
    pub fn with(self, field: &str, value: u64) -> Result<Self, ContextError> {
        let size = self.settable(field)?.size.min(8) as usize;
        self.with_bytes(field, &value.to_le_bytes()[..size])
    }

    /// With bytes at the start of a field: addresses, arguments.
    ///
    /// # Errors
    /// [`ContextError::NoField`], [`ContextError::Size`].
    pub fn with_bytes(mut self, field: &str, bytes: &[u8]) -> Result<Self, ContextError> {
        let Field { off, size, .. } = *self.settable(field)?;
        if bytes.len() > size as usize {
            let (context, got) = (self.kind.name, bytes.len());
            return Err(ContextError::Size { context, field: field.into(), size, got });
        }
        self.bytes[off as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(self)
    }

    /// With these bytes between the pointers to its data: a packet, a message, an option's value. A socket buffer also gets
    /// its length and EtherType from them.
    #[must_use]
    pub fn with_packet(mut self, packet: &[u8]) -> Self {
        self.packet = packet.to_vec();
        if self.kind == SK_BUFF {
            let len = u32::try_from(packet.len()).unwrap_or(u32::MAX);
            self.put("len", len);
            if let Some([a, b]) = packet.get(12..14) {
                self.put("protocol", u16::from_le_bytes([*a, *b]).into());
            }
        }
        self
    }

    /// With a socket behind its socket pointers: a context of [`ProgType::CGROUP_SOCK`], which is a `struct bpf_sock`.
    #[must_use]
    pub fn with_sock(mut self, sock: &Context) -> Self {
        self.sock = Some(sock.bytes.clone());
        self
    }

    /// The number in a field (the first eight bytes of a longer one); `None` when there is no such field.
    #[must_use]
    pub fn get(&self, field: &str) -> Option<u64> {
        let field = self.kind.field(field)?;
        let size = field.size.min(8) as usize;
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(&self.bytes[field.off as usize..][..size]);
        Some(u64::from_le_bytes(wide))
    }

    /// The packet, message or option.
    #[must_use]
    pub fn packet(&self) -> &[u8] {
        &self.packet
    }

    /// What an XDP program has put in front of the packet; empty before a run.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    fn settable(&self, name: &str) -> Result<&'static Field, ContextError> {
        let can = |field: &&Field| matches!(field.meaning, Meaning::Read | Meaning::Write);
        self.kind.field(name).filter(can).ok_or_else(|| {
            let known: Vec<_> = self.kind.fields.iter().filter(can).map(|field| field.name).collect();
            ContextError::NoField { context: self.kind.name, field: name.into(), known: known.join(", ") }
        })
    }
}

/// The context of the running program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub(super) kind: &'static ContextType,
    pub(super) region: RegionId,
    /// The address of the socket behind it, or 0.
    pub(super) sock: u64,
}

impl Vm {
    /// Runs the first program on a context.
    ///
    /// # Errors
    /// [`Fault`] when the program does something no kernel would allow.
    pub fn run_context(&mut self, context: &Context) -> Result<ContextRun, Fault> {
        self.trace_context(context, &mut NoTrace)
    }

    /// As [`Vm::run_context`], and every step is told to `tracer`.
    ///
    /// # Errors
    /// As [`Vm::run_context`].
    pub fn trace_context<T: Tracer>(&mut self, context: &Context, tracer: &mut T) -> Result<ContextRun, Fault> {
        self.in_context(context, |vm, address| vm.run(&[address], tracer))
    }

    /// Puts a context in place, lets `run` do something with its address, and takes away what that left.
    pub(crate) fn in_context<E>(
        &mut self,
        context: &Context,
        run: impl FnOnce(&mut Self, u64) -> Result<u64, E>,
    ) -> Result<ContextRun, E> {
        let before = self.memory.mark();
        let mut packet = Packet::place(&mut self.memory, &context.packet);
        let region = self.memory.add(RegionKind::Context, context.bytes.clone(), false);
        let sock = context.sock.clone().map(|sock| self.memory.add(RegionKind::Sock, sock, false));
        let sock = sock.map_or(0, |sock| sock.address(0));
        self.packet = Some(packet);
        self.context = Some(Live { kind: context.kind, region, sock });
        self.context_page = region.address(0) >> 32;
        let result = run(self, region.address(0));
        self.context_page = NO_CONTEXT;
        self.context = None;
        packet = self.packet.take().unwrap_or(packet);
        let mut left = context.clone();
        left.bytes.copy_from_slice(self.memory.region(region));
        let bytes = self.memory.region(packet.region);
        left.packet = bytes[packet.data..packet.end].to_vec();
        left.metadata = bytes[packet.meta.min(packet.data)..packet.data].to_vec();
        self.memory.release(before);
        result.map(|r0| ContextRun { r0, context: left })
    }

    /// What a load of `size` bytes at this address of the context gives.
    #[cold]
    pub(super) fn load_context(&self, address: u64, size: usize) -> Result<u64, FaultKind> {
        let (live, off, field) = self.context_field(Access::Load, address, size)?;
        let packet = self.packet.filter(|_| field.size as usize == size && field.off == off);
        let pointer = |at: usize| packet.map_or(0, |p| p.region.address(u32::try_from(at).unwrap_or(u32::MAX)));
        let at = packet.map_or((0, 0, 0), |p| (p.data, p.end, p.meta));
        Ok(match field.meaning {
            Meaning::Data => pointer(at.0),
            Meaning::DataEnd => pointer(at.1),
            Meaning::DataMeta => pointer(at.2),
            Meaning::Sock => live.sock,
            Meaning::Read | Meaning::Write => {
                let mut wide = [0; 8];
                wide[..size].copy_from_slice(&self.memory.region(live.region)[off as usize..][..size]);
                u64::from_le_bytes(wide)
            }
        })
    }

    /// A store of `size` bytes at this address of the context.
    #[cold]
    pub(super) fn store_context(&mut self, address: u64, size: usize, value: u64) -> Result<(), FaultKind> {
        let (live, off, field) = self.context_field(Access::Store, address, size)?;
        if field.meaning != Meaning::Write {
            let fault = MemoryFault::ReadOnly { region: RegionKind::Context, offset: off.into(), size };
            return Err(fault.into());
        }
        let bytes = &mut self.memory.region_mut(live.region)[off as usize..][..size];
        bytes.copy_from_slice(&value.to_le_bytes()[..size]);
        Ok(())
    }

    /// The field behind an access, whole or in part.
    fn context_field(
        &self,
        access: Access,
        address: u64,
        size: usize,
    ) -> Result<(Live, u32, &'static Field), FaultKind> {
        // The caller has compared the upper half of the address.
        let off = u32::try_from(address & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let live = self.context.ok_or(MemoryFault::Unmapped { access, address, size })?;
        let want = u32::try_from(size).unwrap_or(u32::MAX);
        let field = live.kind.at(off, want).filter(|field| is_whole(field, off, want));
        let context = live.kind.name;
        let field = field.ok_or(MemoryFault::NoField { access, context, offset: off, size })?;
        Ok((live, off, field))
    }

    /// Writes a number field of the running context; nothing where it has no such field.
    pub(super) fn set_context_field(&mut self, name: &str, value: u32) {
        let Some(live) = self.context else { return };
        let Some(field) = live.kind.field(name).filter(|field| field.size == 4) else { return };
        self.memory.region_mut(live.region)[field.off as usize..][..4].copy_from_slice(&value.to_le_bytes());
    }

    /// Is the context a `struct __sk_buff`?
    pub(super) fn is_skb(&self) -> bool {
        self.context.is_some_and(|live| live.kind.name == "__sk_buff")
    }
}

/// Pointers are read whole; numbers also in part.
fn is_whole(field: &Field, off: u32, size: u32) -> bool {
    match field.meaning {
        Meaning::Read | Meaning::Write => off.is_multiple_of(size),
        _ => field.off == off && field.size == size,
    }
}

/// The upper half of no address.
pub(super) const NO_CONTEXT: u64 = u64::MAX;
