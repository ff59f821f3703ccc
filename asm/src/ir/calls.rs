//! Stage: the intermediate representation. Calls, and the packet behind a context: what the kernel's tables say.
//!
//! Input and output: see `build.rs`, whose `impl` goes on here. What a helper returns follows from its row in
//! [`crate::insn::helper::ALL`] and from its arguments. Next: `print.rs`.

use super::build::FuncBuilder;
use super::error::ProblemKind;
use super::func::{Callee, Op};
use super::types::{MapId, Region, Ty, Value};
use crate::insn::Size;
use crate::insn::helper::{self, Arg, Helper, Ret};
use crate::object::{MapType, ProgType};

/// Where a context holds the pointers to its packet: offsets of start, end and metadata, and the size of the fields.
pub(crate) struct PacketFields {
    pub(crate) data: i32,
    pub(crate) end: i32,
    pub(crate) meta: Option<i32>,
    pub(crate) size: Size,
}

/// The packet fields of a type of program. C: `struct xdp_md`, `struct __sk_buff`, `struct sk_msg_md`, `struct bpf_sock_ops`.
pub(crate) fn packet_fields(prog_type: ProgType) -> Option<PacketFields> {
    Some(match prog_type {
        ProgType::XDP => PacketFields { data: 0, end: 4, meta: Some(8), size: Size::W },
        ProgType::SCHED_CLS | ProgType::SCHED_ACT => PacketFields { data: 76, end: 80, meta: Some(140), size: Size::W },
        ProgType::SK_SKB
        | ProgType::CGROUP_SKB
        | ProgType::LWT_IN
        | ProgType::LWT_OUT
        | ProgType::LWT_XMIT
        | ProgType::LWT_SEG6LOCAL
        | ProgType::FLOW_DISSECTOR => PacketFields { data: 76, end: 80, meta: None, size: Size::W },
        ProgType::SK_MSG => PacketFields { data: 0, end: 8, meta: None, size: Size::Dw },
        ProgType::SK_REUSEPORT => PacketFields { data: 0, end: 8, meta: None, size: Size::Dw },
        ProgType::SOCK_OPS => PacketFields { data: 192, end: 200, meta: None, size: Size::Dw },
        _ => return None,
    })
}

impl FuncBuilder {
    /// A field of the context that points to packet data.
    #[track_caller]
    fn packet_field(&mut self, what: &'static str, ty: Ty, pick: impl Fn(&PacketFields) -> Option<i32>) -> Value {
        let prog_type = self.prog_type().unwrap_or_default();
        let field = packet_fields(prog_type).and_then(|fields| Some((pick(&fields)?, fields.size)));
        let (off, size) = field.unwrap_or_else(|| {
            self.problem(ProblemKind::NotHere { what, prog: prog_type.to_string() });
            (0, Size::W)
        });
        self.load_as(ty, size, self.ctx(), off)
    }

    /// The start of the packet. Read it again after a helper that moves the packet, and never after a check.
    #[track_caller]
    pub fn packet(&mut self) -> Value {
        self.packet_field("a packet", Ty::Packet, |fields| Some(fields.data))
    }

    /// The end of the packet.
    #[track_caller]
    pub fn packet_end(&mut self) -> Value {
        self.packet_field("a packet", Ty::PacketEnd, |fields| Some(fields.end))
    }

    /// The start of the metadata before the packet.
    #[track_caller]
    pub fn packet_meta(&mut self) -> Value {
        self.packet_field("packet metadata", Ty::PacketMeta, |fields| fields.meta)
    }

    /// Calls a helper of the kernel; `None` when it gives nothing back.
    #[track_caller]
    pub fn call(&mut self, id: helper::Id, args: &[Value]) -> Option<Value> {
        let Some(helper) = id.helper() else {
            self.problem(ProblemKind::NoHelper(id.0));
            return None;
        };
        if helper.args.len() != args.len() && helper.id != helper::TRACE_PRINTK {
            let what = helper.id.to_string();
            self.problem(ProblemKind::Arguments { what, want: helper.args.len(), got: args.len() });
        }
        let ty = self.result(helper, args);
        self.push(Op::Call { callee: Callee::Helper(id), args: args.to_vec() }, ty)
    }

    /// Calls a function of this object.
    #[track_caller]
    pub fn call_fn(&mut self, name: &str, args: &[Value], ret: Option<Ty>) -> Option<Value> {
        self.push(Op::Call { callee: Callee::Func(name.into()), args: args.to_vec() }, ret)
    }

    /// Calls a function of the kernel. Linux 5.13.
    #[track_caller]
    pub fn call_kfunc(&mut self, name: &str, args: &[Value], ret: Option<Ty>) -> Option<Value> {
        self.push(Op::Call { callee: Callee::Kfunc(name.into()), args: args.to_vec() }, ret)
    }

    /// The type of what a helper gives back.
    fn result(&mut self, helper: &Helper, args: &[Value]) -> Option<Ty> {
        let map = args.iter().find_map(|arg| match self.ty(*arg) {
            Ty::Ptr(Region::Map(id)) => Some(id),
            _ => None,
        });
        Some(match helper.ret {
            Ret::Void => return None,
            Ret::Integer => Ty::I64,
            Ret::MapValue => Ty::Ptr(self.value_region(map)),
            Ret::MapValueOrNull => Ty::OrNull(self.value_region(map)),
            Ret::SocketOrNull => Ty::OrNull(Region::Sock),
            Ret::SockCommonOrNull => Ty::OrNull(Region::SockCommon),
            Ret::TcpSockOrNull => Ty::OrNull(Region::TcpSock),
            Ret::RecordOrNull => Ty::OrNull(Region::Record(self.alloc_size(helper, args))),
            Ret::DynptrMemOrNull => Ty::OrNull(Region::Mem(self.alloc_size(helper, args))),
            Ret::Btf | Ret::Var => Ty::Ptr(Region::Btf),
            Ret::BtfOrNull | Ret::VarOrNull => Ty::OrNull(Region::Btf),
        })
    }

    /// What a lookup in a map finds.
    fn value_region(&mut self, map: Option<MapId>) -> Region {
        let Some((id, decl)) = map.and_then(|id| Some((id, self.func.maps.get(id.index())?.clone()))) else {
            return Region::Mem(0);
        };
        match decl.map_type {
            MapType::SOCKMAP | MapType::SOCKHASH => Region::Sock,
            MapType::ARRAY_OF_MAPS | MapType::HASH_OF_MAPS => match &decl.inner {
                Some(inner) => Region::Map(self.map_id(inner)),
                None => Region::Mem(0),
            },
            _ => Region::MapValue(id),
        }
    }

    /// The constant size that a helper is asked for.
    fn alloc_size(&self, helper: &Helper, args: &[Value]) -> u32 {
        let size = helper.args.iter().position(|arg| *arg == Arg::AllocSize).and_then(|place| args.get(place));
        size.and_then(|value| self.constant(*value)).and_then(|size| u32::try_from(size).ok()).unwrap_or(0)
    }

    /// The number that a value is, where it is one.
    #[must_use]
    pub fn constant(&self, value: Value) -> Option<u64> {
        let insts = self.func.blocks.iter().flat_map(|block| &block.insts);
        insts.rev().find(|inst| inst.result == Some(value)).and_then(|inst| match inst.op {
            Op::Const(number) => Some(number),
            _ => None,
        })
    }
}
