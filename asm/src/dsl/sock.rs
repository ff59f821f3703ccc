//! Sockets and objects of the kernel's, as helpers know them.
//!
//! Stage: after `layout.rs`. Input: pointers from contexts and helpers, some of which may be null. Output: [`Sock`] and its kin,
//! whose fields can be read, and [`Kptr`], which the kernel's own types describe. They borrow what they came from. Read next: `held.rs`, `ctx/sock.rs`.

use std::marker::PhantomData;

use super::be::{Be16, Be32};
use super::bytes;
use super::flow::Fallible;
use super::kernel::{At, Kernel};
use super::layout::Scalar;
use super::rec;
use super::settle::{Own, Stage};
use super::value::Val;
use crate::insn::helper;
use crate::ir::{Block, Region, Ty, Value};

/// A pointer that is no address of the program's: to a socket, or to an object of the kernel's.
pub trait Pointer: Copy {
    /// The same without a lifetime.
    type Erased: Pointer<Erased = Self::Erased> + Stage<Out = Self::Erased>;
    /// What it points to.
    #[doc(hidden)]
    const REGION: Region;
    /// The pointer as a value.
    #[doc(hidden)]
    fn at(value: Value) -> Self;
    /// The value.
    #[doc(hidden)]
    fn value(self) -> Value;
}

/// A pointer that may be null.
#[derive(Clone, Copy, Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct Maybe<P> {
    found: Value,
    of: PhantomData<fn() -> P>,
}

impl<P: Pointer> Maybe<P> {
    pub(crate) const fn of(found: Value) -> Self {
        Self { found, of: PhantomData }
    }

    /// Is there one? To use it, test with `?`, `let else`, `if let` or `match` instead.
    #[track_caller]
    pub fn is_some(self) -> Val<bool> {
        rec::with(|r| r.is_set(self.found))
    }
}

impl<P: Pointer> Fallible for Maybe<P>
where
    P: Stage,
{
    type Found = P;
    fn some(self, other: Block) -> P {
        P::at(rec::with(|r| r.b.non_null(self.found, other)))
    }
}

impl<P: Pointer> Own for Maybe<P> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<P: Pointer> Stage for Maybe<P> {
    type Out = Maybe<P::Erased>;
    fn stage(self) -> Self::Out {
        Maybe::of(self.found)
    }
}

/// A pointer field of a context.
#[track_caller]
pub(crate) fn pointer<P: Pointer>(ctx: Value, off: i32) -> P {
    P::at(rec::with(|r| r.b.load_as(Ty::Ptr(P::REGION), crate::insn::Size::Dw, ctx, off)))
}

/// As [`pointer()`], where it may be null.
#[track_caller]
pub(crate) fn maybe<P: Pointer>(ctx: Value, off: i32) -> Maybe<P> {
    Maybe::of(rec::with(|r| r.b.load_as(Ty::OrNull(P::REGION), crate::insn::Size::Dw, ctx, off)))
}

/// Sixteen bytes that are read four by four: an IPv6 address of a context or of a socket.
#[track_caller]
pub(crate) fn address(base: Value, off: i32) -> Val<[u8; 16]> {
    rec::with(|r| bytes::words(r, base, off))
}

/// What a helper finds that takes one pointer.
#[track_caller]
fn view<P: Pointer>(id: helper::Id, of: Value) -> Maybe<P> {
    Maybe::of(rec::with(|r| r.b.call(id, &[of]).unwrap_or(of)))
}

/// Declares a kind of socket: its fields are name, offset, type and what it says.
macro_rules! sockets {
    ($($(#[$doc:meta])* $name:ident $region:ident { $($field:ident $off:literal $ty:ty, $says:literal;)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a> {
            at: Value,
            of: PhantomData<&'a ()>,
        }

        impl Pointer for $name<'_> {
            type Erased = $name<'static>;
            const REGION: Region = Region::$region;
            fn at(at: Value) -> Self {
                Self { at, of: PhantomData }
            }
            fn value(self) -> Value {
                self.at
            }
        }

        impl Own for $name<'_> {
            type Owned = Self;
            fn own(self) -> Self {
                self
            }
        }

        impl Stage for $name<'_> {
            type Out = $name<'static>;
            fn stage(self) -> Self::Out {
                $name::at(self.at)
            }
        }

        impl $name<'_> {
            $(
                #[doc = $says]
                #[track_caller]
                pub fn $field(&self) -> Val<$ty> {
                    rec::with(|r| Val::of(r.b.load(<$ty>::TY, self.at, $off)))
                }
            )*
        }
    )*};
}

sockets! {
    /// A full socket. C: `struct bpf_sock`, Linux 4.20.
    Sock Sock {
        bound_dev_if 0 u32, "Interface it is bound to; 0 is none.";
        family 4 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        kind 8 u32, "Type: 1 is a stream, 2 datagrams. C: `type`.";
        protocol 12 u32, "IP protocol.";
        mark 16 u32, "Its mark.";
        priority 20 u32, "Its priority.";
        src_ip4 24 Be32, "This end's IPv4 address.";
        src_port 44 u32, "This end's port.";
        dst_port 48 Be16, "The other end's port.";
        dst_ip4 52 Be32, "The other end's IPv4 address.";
        state 72 super::ctx::TcpState, "State of the connection.";
    }
    /// A socket of any state, which need not be full. C: `struct sock_common`, as `struct bpf_sock`.
    SockCommon SockCommon {
        family 4 u32, "Address family: 2 is IPv4, 10 is IPv6.";
        src_ip4 24 Be32, "This end's IPv4 address.";
        src_port 44 u32, "This end's port.";
        dst_port 48 Be16, "The other end's port.";
        dst_ip4 52 Be32, "The other end's IPv4 address.";
        state 72 super::ctx::TcpState, "State of the connection.";
    }
    /// What TCP knows of a connection. C: `struct bpf_tcp_sock`, Linux 5.1.
    TcpSock TcpSock {
        snd_cwnd 0 u32, "Congestion window in segments.";
        srtt_us 4 u32, "Smoothed round trip in eighths of a microsecond.";
        snd_ssthresh 12 u32, "Slow start's threshold in segments.";
        rcv_nxt 16 u32, "Next sequence number that is expected.";
        snd_nxt 20 u32, "Next sequence number that is sent.";
        snd_una 24 u32, "First byte that is not acknowledged.";
        mss_cache 28 u32, "Bytes of a segment.";
        packets_out 44 u32, "Segments on their way.";
        total_retrans 52 u32, "Segments sent again, ever.";
        bytes_received 80 u64, "Bytes received.";
        bytes_acked 88 u64, "Bytes that were acknowledged.";
    }
}

impl Sock<'_> {
    /// This end's IPv6 address.
    #[track_caller]
    pub fn src_ip6(&self) -> Val<[u8; 16]> {
        address(self.at, 28)
    }

    /// The other end's IPv6 address.
    #[track_caller]
    pub fn dst_ip6(&self) -> Val<[u8; 16]> {
        address(self.at, 56)
    }

    /// TCP's view of it, if it is one of TCP's. C: `bpf_tcp_sock`, Linux 5.1.
    #[track_caller]
    pub fn tcp(&self) -> Maybe<TcpSock<'_>> {
        view(helper::TCP_SOCK, self.at)
    }

    /// The listener that it came from. C: `bpf_get_listener_sock`, Linux 5.1.
    #[track_caller]
    pub fn listener(&self) -> Maybe<Sock<'_>> {
        view(helper::GET_LISTENER_SOCK, self.at)
    }

    /// It as one of TCP's, by the kernel's types. C: `bpf_skc_to_tcp_sock`, Linux 5.9.
    #[track_caller]
    pub fn kernel_tcp<T: Kernel>(&self) -> Maybe<Kptr<T>> {
        rec::with(|r| named::<T>(r, &["tcp_sock"]));
        view(helper::SKC_TO_TCP_SOCK, self.at)
    }

    /// Id of its cgroup, cgroup v2. C: `bpf_sk_cgroup_id`, Linux 5.8.
    #[track_caller]
    pub fn cgroup_id(&self) -> Val<u64> {
        rec::with(|r| Val::of(r.b.call(helper::SK_CGROUP_ID, &[self.at]).unwrap_or(self.at)))
    }
}

impl SockCommon<'_> {
    /// The full socket, if it is one. C: `bpf_sk_fullsock`, Linux 5.1.
    #[track_caller]
    pub fn full(&self) -> Maybe<Sock<'_>> {
        view(helper::SK_FULLSOCK, self.at)
    }

    /// TCP's view of it, if it is one of TCP's. C: `bpf_tcp_sock`, Linux 5.1.
    #[track_caller]
    pub fn tcp(&self) -> Maybe<TcpSock<'_>> {
        view(helper::TCP_SOCK, self.at)
    }
}

/// An object of the kernel's, of a type `T` that stands in the kernel's BTF: `sk.sk_rcvbuf` reads a field of it.
pub struct Kptr<T: Kernel> {
    at: Value,
    fields: T::Fields,
}

impl<T: Kernel> std::fmt::Debug for Kptr<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kptr<{}>({})", T::NAME, self.at)
    }
}

impl<T: Kernel> Clone for Kptr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Kernel> Copy for Kptr<T> {}

impl<T: Kernel> Pointer for Kptr<T> {
    type Erased = Self;
    const REGION: Region = Region::Btf;
    fn at(at: Value) -> Self {
        Self { at, fields: T::fields(At::object(at, T::NAME)) }
    }
    fn value(self) -> Value {
        self.at
    }
}

impl<T: Kernel> Kptr<T> {
    /// The same object with other fields: both must name one type of the kernel's.
    #[track_caller]
    pub fn cast<U: Kernel>(self) -> Kptr<U> {
        rec::with(|r| named::<U>(r, &[T::NAME]));
        Kptr::at(self.at)
    }
}

impl<T: Kernel> std::ops::Deref for Kptr<T> {
    type Target = T::Fields;
    fn deref(&self) -> &T::Fields {
        &self.fields
    }
}

impl<T: Kernel> Own for Kptr<T> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<T: Kernel> Stage for Kptr<T> {
    type Out = Self;
    fn stage(self) -> Self {
        self
    }
}

/// Notes a mistake where the kernel's type is none of these.
#[track_caller]
pub(crate) fn named<T: Kernel>(r: &mut rec::Recorder, names: &[&str]) {
    if !names.contains(&T::NAME) {
        let what = format!("`struct {}` is given, and one of {} is wanted", T::NAME, names.join(", "));
        r.b.problem(crate::ir::ProblemKind::Malformed(what));
    }
}

/// The kernel's types that begin with a `struct sock_common`.
const SOCKETS: [&str; 8] =
    ["sock", "sock_common", "inet_sock", "inet_connection_sock", "tcp_sock", "tcp6_sock", "udp_sock", "udp6_sock"];

/// What a storage map of type `M` keeps memory for.
#[diagnostic::on_unimplemented(message = "`{Self}` owns nothing in a `{M}`")]
pub trait Owner<M> {
    /// The pointer.
    #[doc(hidden)]
    #[track_caller]
    fn owner(&self) -> Value;
}

/// Sockets in every form own memory in a socket storage.
macro_rules! socket_owners {
    ($($name:ident)*) => {$(
        impl<V> Owner<super::map::SkStorage<V>> for $name<'_> {
            fn owner(&self) -> Value {
                self.at
            }
        }
    )*};
}

socket_owners! { Sock SockCommon TcpSock }

/// Declares which of the kernel's types own memory in which storage.
macro_rules! kernel_owners {
    ($($map:ident $names:expr;)*) => {$(
        impl<V, T: Kernel> Owner<super::map::$map<V>> for Kptr<T> {
            fn owner(&self) -> Value {
                rec::with(|r| named::<T>(r, $names));
                self.at
            }
        }
    )*};
}

kernel_owners! {
    SkStorage &SOCKETS;
    TaskStorage &["task_struct"];
    CgroupStorage &["cgroup"];
}
