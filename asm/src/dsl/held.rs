//! Sockets that a helper has found: they are held until the program releases them, once on every path.
//!
//! Stage: after `sock.rs`. Input: the ends of a connection, or a key of a sockmap. Output: [`Held`], which moves when it is
//! released: rustc refuses a second release and any use after it, and the recording ends in an error when a path forgets
//! it (`leak.rs`). Read next: `leak.rs`.

use std::marker::PhantomData;
use std::ops::Deref;

use super::ctx::{CgroupSkb, Context, SkLookup, SkSkb, SockAddr, Tc, Xdp};
use super::flow::Fallible;
use super::layout::Layout;
use super::map::Status;
use super::net::{Tuple4, Tuple6};
use super::pointed::Pointed;
use super::rec;
use super::settle::{Own, Stage};
use super::sock::{Pointer, Sock, SockCommon};
use super::structs::{Free, Moved};
use crate::insn::helper;
use crate::ir::{Block, Ty, Value};

/// A socket that may not have been found.
#[derive(Debug)]
#[must_use = "test it with `?`, `let else` or `match`"]
pub struct MaybeHeld<P, Kept = Moved> {
    found: Value,
    of: PhantomData<fn() -> (P, Kept)>,
}

impl<P> MaybeHeld<P> {
    pub(crate) const fn of(found: Value) -> Self {
        Self { found, of: PhantomData }
    }
}

impl<P> Clone for MaybeHeld<P, Free> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P> Copy for MaybeHeld<P, Free> {}

impl<P: Pointer<Erased = P>, Kept> Fallible for MaybeHeld<P, Kept> {
    type Found = Held<P>;
    fn some(self, other: Block) -> Held<P> {
        Held::at(rec::with(|r| r.b.non_null(self.found, other)))
    }
}

impl<P: Pointer> Own for MaybeHeld<P> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<P: Pointer, Kept> Stage for MaybeHeld<P, Kept> {
    type Out = MaybeHeld<P, Free>;
    fn stage(self) -> Self::Out {
        MaybeHeld { found: self.found, of: PhantomData }
    }
}

/// A socket that is held: release it.
#[derive(Debug)]
#[must_use = "a socket that was found must be released"]
pub struct Held<P, Kept = Moved> {
    sock: P,
    of: PhantomData<fn() -> Kept>,
}

impl<P: Pointer> Clone for Held<P, Free> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Pointer> Copy for Held<P, Free> {}

impl<P: Pointer, Kept> Held<P, Kept> {
    fn at(at: Value) -> Self {
        Self { sock: P::at(at), of: PhantomData }
    }

    /// Gives the socket back. C: `bpf_sk_release`, Linux 4.20.
    #[track_caller]
    pub fn release(self) {
        rec::with(|r| r.b.call(helper::SK_RELEASE, &[self.sock.value()]));
    }
}

impl<P, Kept> Deref for Held<P, Kept> {
    type Target = P;
    fn deref(&self) -> &P {
        &self.sock
    }
}

impl<P: Pointer> Own for Held<P> {
    type Owned = Self;
    fn own(self) -> Self {
        self
    }
}

impl<P: Pointer, Kept> Stage for Held<P, Kept> {
    type Out = Held<P, Free>;
    fn stage(self) -> Self::Out {
        Held { sock: self.sock, of: PhantomData }
    }
}

/// The two ends of a connection, as helpers look for it. C: `struct bpf_sock_tuple`.
#[diagnostic::on_unimplemented(message = "`{Self}` does not name a connection: `Tuple4` and `Tuple6` do")]
pub trait Ends: Layout {}

impl Ends for Tuple4 {}
impl Ends for Tuple6 {}

/// `BPF_F_CURRENT_NETNS`: the network namespace of the packet's interface, or of the socket.
const HERE: u64 = u64::MAX;

#[track_caller]
fn lookup<C: Context, P, T: Ends>(ctx: &C, id: helper::Id, ends: &impl Pointed<T>) -> MaybeHeld<P> {
    let ends = ends.pointer();
    rec::with(|r| {
        let (size, netns, flags) = (r.number(Ty::I64, T::SIZE.into()), r.number(Ty::I64, HERE), r.number(Ty::I64, 0));
        MaybeHeld::of(r.b.call(id, &[ctx.pointer(), ends, size, netns, flags]).unwrap_or(ends))
    })
}

/// Declares the lookups of a context.
macro_rules! finds {
    ($($name:ident)*) => {$(
        impl $name {
            /// The TCP socket of a connection, or the listener for it, in this network namespace. C: `bpf_sk_lookup_tcp`, Linux 4.20.
            #[track_caller]
            pub fn lookup_tcp<T: Ends>(&self, ends: &impl Pointed<T>) -> MaybeHeld<Sock<'static>> {
                lookup(self, helper::SK_LOOKUP_TCP, ends)
            }

            /// As `lookup_tcp`, of any state: requests and connections that wait for their end too. C: `bpf_skc_lookup_tcp`, Linux 5.2.
            #[track_caller]
            pub fn lookup_tcp_any<T: Ends>(&self, ends: &impl Pointed<T>) -> MaybeHeld<SockCommon<'static>> {
                lookup(self, helper::SKC_LOOKUP_TCP, ends)
            }

            /// The UDP socket that gets such a packet. C: `bpf_sk_lookup_udp`, Linux 4.20.
            #[track_caller]
            pub fn lookup_udp<T: Ends>(&self, ends: &impl Pointed<T>) -> MaybeHeld<Sock<'static>> {
                lookup(self, helper::SK_LOOKUP_UDP, ends)
            }
        }
    )*};
}

finds! { Xdp Tc CgroupSkb SkSkb SockAddr }

/// Declares which contexts can be given to a socket.
macro_rules! assigns {
    ($($since:literal $name:ident;)*) => {$(
        impl $name {
            #[doc = concat!("Gives it to a socket, which goes on being held. C: `bpf_sk_assign`, Linux ", $since, ".")]
            #[track_caller]
            pub fn assign(&self, sock: &Sock<'_>) -> Status {
                rec::with(|r| {
                    let flags = r.number(Ty::I64, 0);
                    Status::of(r.b.call(helper::SK_ASSIGN, &[self.pointer(), sock.value(), flags]).unwrap_or(flags))
                })
            }
        }
    )*};
}

assigns! {
    "5.7" Tc;
    "5.9" SkLookup;
}
