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
//! Read next: `rec.rs` (the recorder), `value.rs`, `layout.rs`, `packet.rs`, `sock.rs`, `map/mod.rs`, `flow.rs` and `check.rs` (the
//! twins), `object.rs`.

mod atomic;
mod be;
mod bytes;
mod call;
mod check;
mod ctx;
mod flow;
mod global;
mod held;
pub mod kernel;
mod layout;
mod leak;
mod loops;
mod map;
mod meet;
mod named;
pub mod net;
mod object;
mod ops;
mod outcome;
mod packet;
mod pointed;
mod rec;
mod settle;
mod sock;
mod structs;
mod subprog;
mod value;
mod word;

pub use asm_macros::{
    Layout, bpf_fn, bss, cgroup_skb, cgroup_sock, cgroup_sock_addr, cgroup_sockopt, data, fentry, fexit, kprobe, map,
    raw_tracepoint, rodata, sk_lookup, sk_msg, sk_skb, sock_ops, subprog, tc, tp_btf, tracepoint, xdp,
};
pub use atomic::Atomic;
pub use be::{Be16, Be32, Be64, Ordered};
pub use call::{
    ancestor_cgroup_id, cgroup_id, comm, cpu, jiffies, ktime_ns, ones_sum, pid, random, task, tid, uid, user_regs,
};
pub use check::Failure;
pub use ctx::{
    Access, Action, CgroupSkb, CgroupSock, Context, Fentry, FibLookup, Kprobe, Observed, RawTracepoint, Reply,
    SkAction, SkLookup, SkMsg, SkSkb, SockAddr, SockOps, SockOpt, Tc, TcAction, TcpState, TpBtf, Tracepoint, Xdp,
};
pub use global::{Global, Rodata};
pub use held::{Ends, Held, MaybeHeld};
pub use kernel::Kernel;
pub use layout::{Addr, AnyPlace, ArrayPlace, Element, Layout, Num, Place, Scalar, Struct};
pub use map::{
    Array, ArrayOfMaps, Bloom, CgroupStorage, CpuMap, DevMap, DevMapHash, HashMap, HashOfMaps, Inner, Lookup, LpmTrie,
    LruHashMap, LruPerCpuHashMap, MaybeInner, PerCpuArray, PerCpuHashMap, PerfEventArray, ProgArray, Queue, Record,
    Reserve, RingBuf, SkStorage, SockHash, SockMap, Stack, Status, Taken, TaskStorage, Toward, Update, ValRef, Within,
    XskMap,
};
pub use named::{Chars, Ip6, mapped};
pub use object::{Error, Module, Program};
pub use outcome::{OkOr, Reasoned, Tried};
pub use packet::{Packet, PktRef, Read, Skip};
pub use pointed::Pointed;
pub use sock::{Kptr, Maybe, Owner, Pointer, Sock, SockCommon, TcpSock};
pub use structs::{Obj, Parts};
pub use value::{IntoVal, Val};
pub use word::{FromWord, Word, from_word};

/// What kernel programs are written with.
pub mod prelude {
    pub use super::net::*;
    pub use super::{
        Access, Action, Array, ArrayOfMaps, Be16, Be32, Be64, Bloom, CgroupSkb, CgroupSock, CgroupStorage, Chars,
        CpuMap, DevMap, DevMapHash, Failure, Fentry, FibLookup, HashMap, HashOfMaps, Held, Ip6, Kprobe, Kptr, Layout,
        LpmTrie, LruHashMap, LruPerCpuHashMap, Module, Observed, Packet, PerCpuArray, PerCpuHashMap, PerfEventArray,
        PktRef, ProgArray, Queue, RawTracepoint, Reasoned, Reply, RingBuf, SkAction, SkLookup, SkMsg, SkSkb, SkStorage,
        Sock, SockAddr, SockCommon, SockHash, SockMap, SockOps, SockOpt, Stack, TaskStorage, Tc, TcAction, TcpSock,
        TcpState, Toward, TpBtf, Tracepoint, Update, ValRef, Word, Xdp, XskMap, ancestor_cgroup_id, bpf_fn, bss,
        cgroup_id, cgroup_skb, cgroup_sock, cgroup_sock_addr, cgroup_sockopt, comm, cpu, data, fentry, fexit,
        from_word, jiffies, kernel, kprobe, ktime_ns, map, mapped, ones_sum, pid, random, raw_tracepoint, rodata,
        sk_lookup, sk_msg, sk_skb, sock_ops, subprog, task, tc, tid, tp_btf, tracepoint, uid, user_regs, xdp,
    };
}

/// What the macros write: the operators and the control flow of both twins.
pub mod rt {
    pub use super::check::{Convert, Failure, Matched, chk, chk_bool, chk_option, chk_result, convert};
    pub use super::flow::{
        Fallible, Given, Meeting, Okay, back, block, enter, fail, give_back, goto, here, join, merge, open, require,
        some,
    };
    pub use super::loops::{Item, Loop, Range, closed, range};
    pub use super::meet::{ObjMeeting, ValMeeting};
    pub use super::object::{Text, program, verdict};
    pub use super::ops::{add, and, cast, div, eq, ge, gt, le, lt, mul, ne, neg, not, or, rem, shl, shr, sub, xor};
    pub use super::outcome::{Explained, Why, both, chk_explained, question, raise};
    pub use super::settle::{
        Assign, Indexed, Join, Mutable, Own, Refers, Stage, assign, deref, index, literal, mutable, own, stage, typed,
        value,
    };
    pub use super::structs::{Free, Moved, address, copied, greatest, loaded, object, pointer, total, whole, write};
    pub use super::subprog::{Answer, Inline, Outcome, Subprog};
    pub use super::value::constant;
}
