//! Maps of what is not bytes: devices, programs, sockets, queues of packets and of values.
//!
//! Stage: maps. Input: indexes and keys. Output: verdicts and [`Status`]. Read next: `../ctx/mod.rs`.

use std::marker::PhantomData;

use super::{Shape, Status, Update, ValRef};
use crate::dsl::bytes;
use crate::dsl::ctx::{Action, Context, SkAction, SkMsg, SkSkb, SockOps, Xdp};
use crate::dsl::flow::Fallible;
use crate::dsl::held::MaybeHeld;
use crate::dsl::layout::{Addr, Layout};
use crate::dsl::pointed::Pointed;
use crate::dsl::rec;
use crate::dsl::sock::Sock;
use crate::dsl::value::{IntoVal, Val};
use crate::insn::helper;
use crate::ir::{Block, Ty, Value};
use crate::object::{MapDef, MapType};

/// Declares a map whose keys are indexes and whose values are the kernel's.
macro_rules! indexed {
    ($($(#[$doc:meta])* $name:ident $map_type:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<const N: u32> {
            name: &'static str,
        }

        impl<const N: u32> $name<N> {
            /// The map of this name. Written by `#[map]`.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self { name }
            }

            fn shape(&self) -> Shape {
                Shape {
                    name: self.name,
                    map_type: MapType::$map_type,
                    key_size: 4,
                    value_size: 4,
                    max_entries: N,
                    at: None,
                    flags: 0,
                    def: |def: MapDef| def.key_size(4).value_size(4),
                }
            }
        }
    )*};
}

indexed! {
    /// Network devices. C: `BPF_MAP_TYPE_DEVMAP`, Linux 4.14.
    DevMap DEVMAP;
    /// Network devices under any numbers. C: `BPF_MAP_TYPE_DEVMAP_HASH`, Linux 5.4.
    DevMapHash DEVMAP_HASH;
    /// CPUs. C: `BPF_MAP_TYPE_CPUMAP`, Linux 4.15.
    CpuMap CPUMAP;
    /// `AF_XDP` sockets. C: `BPF_MAP_TYPE_XSKMAP`, Linux 4.18.
    XskMap XSKMAP;
    /// Programs to go on with. C: `BPF_MAP_TYPE_PROG_ARRAY`, Linux 4.2.
    ProgArray PROG_ARRAY;
    /// Perf buffers, one a CPU. C: `BPF_MAP_TYPE_PERF_EVENT_ARRAY`, Linux 4.3.
    PerfEventArray PERF_EVENT_ARRAY;
    /// Sockets. C: `BPF_MAP_TYPE_SOCKMAP`, Linux 4.14.
    SockMap SOCKMAP;
}

/// Declares redirection for the maps that packets can be sent through.
macro_rules! redirecting {
    ($($name:ident)*) => {$(
        impl<const N: u32> $name<N> {
            /// Sends the packet through entry number `index`; where there is none, `otherwise` is the verdict.
            #[track_caller]
            pub fn redirect(&self, _: &mut Xdp, index: impl IntoVal<u32>, otherwise: Action) -> Val<Action> {
                let index = index.into_val();
                let args = rec::with(|r| [index.value(r), r.number(Ty::I64, otherwise as u64)]);
                let verdict = self.shape().call(helper::REDIRECT_MAP, &args);
                rec::with(|r| Val::of(r.b.trunc(verdict, Ty::I32)))
            }
        }
    )*};
}

redirecting! { DevMap DevMapHash CpuMap XskMap }

impl<const N: u32> SockMap<N> {
    /// Puts the socket that the program runs for into entry number `index`.
    #[track_caller]
    pub fn add(&self, ops: &SockOps, index: &impl Pointed<u32>, how: Update) -> Status {
        let index = index.pointer();
        rec::with(|r| {
            let (map, flags) = (self.shape().pointer(r), r.number(Ty::I64, how as u64));
            let result = r.b.call(helper::SOCK_MAP_UPDATE, &[ops.pointer(), map, index, flags]);
            Status::of(result.unwrap_or(index))
        })
    }

    /// The socket in entry number `index`, held. Linux 5.8.
    #[track_caller]
    pub fn get(&self, index: &impl Pointed<u32>) -> MaybeHeld<Sock<'static>> {
        let index = index.pointer();
        MaybeHeld::of(self.shape().call(helper::MAP_LOOKUP_ELEM, &[index]))
    }

    /// Takes the socket out of entry number `index`.
    #[track_caller]
    pub fn remove(&self, index: &impl Pointed<u32>) -> Status {
        let index = index.pointer();
        Status::of(self.shape().call(helper::MAP_DELETE_ELEM, &[index]))
    }

    /// Gives the message to the receive queue of the socket in entry number `index`, or to its send queue; the verdict is
    /// drop where there is none.
    #[track_caller]
    pub fn redirect_msg(&self, msg: &SkMsg, index: impl IntoVal<u32>, to: Toward) -> Val<SkAction> {
        self.redirect(helper::MSG_REDIRECT_MAP, msg, index.into_val(), to)
    }

    /// As [`SockMap::redirect_msg`], for a piece of a stream.
    #[track_caller]
    pub fn redirect_skb(&self, skb: &SkSkb, index: impl IntoVal<u32>, to: Toward) -> Val<SkAction> {
        self.redirect(helper::SK_REDIRECT_MAP, skb, index.into_val(), to)
    }

    #[track_caller]
    fn redirect<C: Context>(&self, id: helper::Id, ctx: &C, index: Val<u32>, to: Toward) -> Val<SkAction> {
        rec::with(|r| {
            let (map, index, flags) = (self.shape().pointer(r), index.value(r), r.number(Ty::I64, to as u64));
            let result = r.b.call(id, &[ctx.pointer(), map, index, flags]).unwrap_or(index);
            Val::of(r.b.trunc(result, Ty::I32))
        })
    }
}

impl<const N: u32> ProgArray<N> {
    /// Goes on with program number `index`; comes back only where there is none.
    #[track_caller]
    pub fn tail_call<C: Context>(&self, ctx: &mut C, index: impl IntoVal<u32>) {
        let index = index.into_val();
        rec::with(|r| {
            let args = [ctx.pointer(), self.shape().pointer(r), index.value(r)];
            r.b.call(helper::TAIL_CALL, &args);
        });
    }
}

impl<const N: u32> PerfEventArray<N> {
    /// Copies a record into the running CPU's buffer.
    #[track_caller]
    pub fn output<C: Context, T: Layout>(&self, ctx: &C, record: &impl Pointed<T>) -> Status {
        /// `BPF_F_CURRENT_CPU`
        const CURRENT_CPU: u64 = 0xffff_ffff;
        let record = record.pointer();
        rec::with(|r| {
            let (map, cpu, size) =
                (self.shape().pointer(r), r.number(Ty::I64, CURRENT_CPU), r.number(Ty::I64, T::SIZE.into()));
            let result = r.b.call(helper::PERF_EVENT_OUTPUT, &[ctx.pointer(), map, cpu, record, size]);
            Status::of(result.unwrap_or(record))
        })
    }
}

/// Sockets by keys. C: `BPF_MAP_TYPE_SOCKHASH`, Linux 4.18.
#[derive(Debug)]
pub struct SockHash<K, const N: u32> {
    name: &'static str,
    of: PhantomData<fn() -> K>,
}

impl<K: Layout, const N: u32> SockHash<K, N> {
    /// The map of this name. Written by `#[map]`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, of: PhantomData }
    }

    fn shape(&self) -> Shape {
        Shape {
            name: self.name,
            map_type: MapType::SOCKHASH,
            key_size: K::SIZE,
            value_size: 8,
            max_entries: N,
            at: None,
            flags: 0,
            def: |def: MapDef| def.key_size(K::SIZE).value_size(8),
        }
    }

    /// Puts the socket that the program runs for under a key.
    #[track_caller]
    pub fn add(&self, ops: &SockOps, key: &impl Pointed<K>, how: Update) -> Status {
        let key = key.pointer();
        rec::with(|r| {
            let (map, flags) = (self.shape().pointer(r), r.number(Ty::I64, how as u64));
            let result = r.b.call(helper::SOCK_HASH_UPDATE, &[ops.pointer(), map, key, flags]);
            Status::of(result.unwrap_or(key))
        })
    }

    /// The socket under a key, held. Linux 5.8.
    #[track_caller]
    pub fn get(&self, key: &impl Pointed<K>) -> MaybeHeld<Sock<'static>> {
        let key = key.pointer();
        MaybeHeld::of(self.shape().call(helper::MAP_LOOKUP_ELEM, &[key]))
    }

    /// Takes the socket under a key out.
    #[track_caller]
    pub fn remove(&self, key: &impl Pointed<K>) -> Status {
        let key = key.pointer();
        Status::of(self.shape().call(helper::MAP_DELETE_ELEM, &[key]))
    }

    /// Gives the message to the receive queue of the socket under a key, or to its send queue; the verdict is drop where
    /// there is none.
    #[track_caller]
    pub fn redirect_msg(&self, msg: &SkMsg, key: &impl Pointed<K>, to: Toward) -> Val<SkAction> {
        self.redirect(helper::MSG_REDIRECT_HASH, msg, key, to)
    }

    /// As [`SockHash::redirect_msg`], for a piece of a stream.
    #[track_caller]
    pub fn redirect_skb(&self, skb: &SkSkb, key: &impl Pointed<K>, to: Toward) -> Val<SkAction> {
        self.redirect(helper::SK_REDIRECT_HASH, skb, key, to)
    }

    #[track_caller]
    fn redirect<C: Context>(&self, id: helper::Id, ctx: &C, key: &impl Pointed<K>, to: Toward) -> Val<SkAction> {
        let key = key.pointer();
        rec::with(|r| {
            let (map, flags) = (self.shape().pointer(r), r.number(Ty::I64, to as u64));
            let result = r.b.call(id, &[ctx.pointer(), map, key, flags]).unwrap_or(key);
            Val::of(r.b.trunc(result, Ty::I32))
        })
    }
}

/// Which queue of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// As if the socket had sent it.
    Egress = 0,
    /// As if the socket had received it. C: `BPF_F_INGRESS`.
    Ingress = 1,
}

/// Declares a map of values without keys.
macro_rules! keyless {
    ($($(#[$doc:meta])* $name:ident $map_type:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<V, const N: u32> {
            name: &'static str,
            of: PhantomData<fn() -> V>,
        }

        impl<V: Layout, const N: u32> $name<V, N> {
            /// The map of this name. Written by `#[map]`.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self { name, of: PhantomData }
            }

            fn shape(&self) -> Shape {
                Shape {
                    name: self.name,
                    map_type: MapType::$map_type,
                    key_size: 0,
                    value_size: V::SIZE,
                    max_entries: N,
                    at: None,
                    flags: 0,
                    def: |def: MapDef| def.value_of::<V>(),
                }
            }

            /// Adds a value.
            #[track_caller]
            pub fn push(&self, value: &impl Pointed<V>) -> Status {
                let value = value.pointer();
                self.shape().call_with(helper::MAP_PUSH_ELEM, &[value], 0)
            }
        }
    )*};
}

keyless! {
    /// First in, first out. C: `BPF_MAP_TYPE_QUEUE`, Linux 4.20.
    Queue QUEUE;
    /// Last in, first out. C: `BPF_MAP_TYPE_STACK`, Linux 4.20.
    Stack STACK;
    /// A set that may say yes for what was never added. C: `BPF_MAP_TYPE_BLOOM_FILTER`, Linux 5.16.
    Bloom BLOOM_FILTER;
}

/// What was taken from a queue, or looked at: nothing, if it was empty.
#[derive(Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct Taken<V> {
    status: Status,
    at: Value,
    of: PhantomData<fn() -> V>,
}

impl<V: Layout> Fallible for Taken<V> {
    type Found = ValRef<V>;
    fn some(self, other: Block) -> ValRef<V> {
        self.status.some(other);
        ValRef::at(Addr::of(self.at))
    }
}

/// Declares taking for the maps that have an order.
macro_rules! ordered {
    ($($name:ident)*) => {$(
        impl<V: Layout, const N: u32> $name<V, N> {
            /// Takes the next value out, as a copy.
            #[track_caller]
            pub fn pop(&self) -> Taken<V> {
                self.take(helper::MAP_POP_ELEM)
            }

            /// The next value, as a copy; it stays.
            #[track_caller]
            pub fn peek(&self) -> Taken<V> {
                self.take(helper::MAP_PEEK_ELEM)
            }

            #[track_caller]
            fn take(&self, id: helper::Id) -> Taken<V> {
                let at = rec::with(|r| r.b.stack(V::SIZE, bytes::STACK_ALIGN));
                Taken { status: Status::of(self.shape().call(id, &[at])), at, of: PhantomData }
            }
        }
    )*};
}

ordered! { Queue Stack }

impl<V: Layout, const N: u32> Bloom<V, N> {
    /// Fails where the value was surely never added.
    #[track_caller]
    pub fn contains(&self, value: &impl Pointed<V>) -> Status {
        let value = value.pointer();
        Status::of(self.shape().call(helper::MAP_PEEK_ELEM, &[value]))
    }
}
