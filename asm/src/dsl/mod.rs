//! The DSL: kernel programs in ordinary Rust.
//!
//! Stage: source. Input: functions under [`xdp`], [`sk_msg`] and their kin, maps under [`macro@map`], structs that derive
//! [`Layout`]. Output: a [`Module`], which becomes [`ir`](crate::ir), instructions and an object.
//!
//! ```
//! use asm::dsl::prelude::*;
//!
//! #[map]
//! static HITS: Array<u64, 1> = map();
//!
//! #[xdp(default = Action::Pass)]
//! fn hits(ctx: &mut Xdp) -> Result<Action> {
//!     let mut pkt = ctx.packet();
//!     let eth = pkt.read::<Eth>()?; // a packet too short leaves by `default`
//!     if eth.proto == ETH_IPV4 {
//!         HITS.get(&0)?.atomic_add(1);
//!     }
//!     Ok(Action::Pass)
//! }
//!
//! let ir = Module::new("Dual MIT/GPL").prog(hits()).ir()?;
//! assert!(ir.funcs[0].to_string().contains("check"), "{}", ir.funcs[0]);
//! # Ok::<(), asm::dsl::Error>(())
//! ```
//!
//! How it works: the attribute makes two twins of the body over one set of calls ([`rt`]). The *check twin* keeps the
//! control flow and is never run: rustc judges its types, moves and borrows. The *staged twin* runs once, in a straight line,
//! and records. So what rustc accepts the verifier accepts: a packet reference that is used after the packet moved is a
//! borrow error, a lookup cannot be read before it is tested, a ring-buffer record is released once.
//!
//! Read next: `rec.rs` (the recorder), `value.rs`, `layout.rs`, `packet.rs`, `map/mod.rs`, `flow.rs` and `check.rs` (the
//! twins), `object.rs`.

mod be;
mod bytes;
mod call;
mod check;
mod ctx;
mod flow;
mod global;
mod layout;
mod leak;
mod map;
pub mod net;
mod object;
mod ops;
mod packet;
mod pointed;
mod rec;
mod settle;
mod structs;
mod subprog;
mod value;

pub use asm_macros::{
    Layout, bpf_fn, bss, cgroup_skb, cgroup_sock_addr, data, fentry, fexit, kprobe, map, rodata, sk_lookup, sk_msg,
    sk_skb, sock_ops, subprog, tc, tracepoint, xdp,
};
pub use be::{Be16, Be32, Be64, Ordered};
pub use call::{cpu, ktime_ns, pid, random};
pub use ctx::{
    Access, Action, CgroupSkb, Context, Fentry, Kprobe, SkAction, SkLookup, SkMsg, SkSkb, SockAddr, SockOps, Tc,
    TcAction, Tracepoint, Xdp,
};
pub use global::{Global, Rodata};
pub use layout::{Addr, AnyPlace, ArrayPlace, Element, Layout, Num, Place, Scalar, Struct};
pub use map::{
    Array, Bloom, CpuMap, DevMap, HashMap, Lookup, LpmTrie, LruHashMap, LruPerCpuHashMap, PerCpuArray, PerCpuHashMap,
    PerfEventArray, ProgArray, Queue, Record, Reserve, RingBuf, SockHash, SockMap, Stack, Status, Toward, Update,
    ValRef, XskMap,
};
pub use object::{Error, Module, Program};
pub use packet::{Packet, PktRef, Read, Skip};
pub use pointed::Pointed;
pub use structs::{Obj, Parts};
pub use value::{IntoVal, Val};

/// What kernel programs are written with.
pub mod prelude {
    pub use super::net::*;
    pub use super::{
        Access, Action, Array, Be16, Be32, Be64, Bloom, CgroupSkb, CpuMap, DevMap, Fentry, HashMap, Kprobe, Layout,
        LpmTrie, LruHashMap, LruPerCpuHashMap, Module, Packet, PerCpuArray, PerCpuHashMap, PerfEventArray, PktRef,
        ProgArray, Queue, RingBuf, SkAction, SkLookup, SkMsg, SkSkb, SockAddr, SockHash, SockMap, SockOps, Stack, Tc,
        TcAction, Toward, Tracepoint, Update, ValRef, Xdp, XskMap, bpf_fn, bss, cgroup_skb, cgroup_sock_addr, cpu,
        data, fentry, fexit, kprobe, ktime_ns, map, pid, random, rodata, sk_lookup, sk_msg, sk_skb, sock_ops, subprog,
        tc, tracepoint, xdp,
    };
}

/// What the macros write: the operators and the control flow of both twins.
pub mod rt {
    pub use super::check::{Convert, Failure, Matched, chk, chk_bool, chk_option, chk_result, convert};
    pub use super::flow::{
        Fallible, Given, Item, Loop, Meeting, Okay, Range, ValMeeting, back, block, enter, give_back, goto, here, join,
        merge, open, question, range, require, some,
    };
    pub use super::object::{Text, program, verdict};
    pub use super::ops::{add, and, cast, div, eq, ge, gt, le, lt, mul, ne, neg, not, or, rem, shl, shr, sub, xor};
    pub use super::settle::{
        Assign, Indexed, Join, Mutable, Own, Refers, Stage, assign, deref, index, literal, mutable, own, stage, typed,
        value,
    };
    pub use super::structs::{Free, Moved, address, greatest, loaded, object, pointer, total, whole, write};
    pub use super::subprog::{Inline, Subprog};
    pub use super::value::constant;
}
