//! Types of the kernel's own, known by the names in its BTF, with as many fields as a program reads.
//!
//! Stage: beside `sock.rs`. Input: structs under [`kernel_struct`]. Output: fields behind a [`Kptr`]. Where they lie, the loader of
//! the object asks the running kernel (CO-RE): the same object runs on kernels that lay them out differently. What came from
//! the kernel with a type is read directly, bare addresses through `bpf_probe_read_kernel`; what is not there reads as zeros. Read next:
//! `ctx/trace.rs`.

use std::marker::PhantomData;
use std::sync::Arc;

pub use asm_macros::kernel_struct;

use super::be::{Be16, Be32, Be64};
use super::bytes;
use super::layout::{Addr, Layout, Place, Scalar};
use super::rec::{self, Recorder};
use super::settle::{Own, Stage};
use super::sock::{Kptr, Pointer};
use super::value::{IntoVal, Val};
use crate::btf::CoreReloKind;
use crate::insn::helper;
use crate::ir::{Core, Leaf, Region, Ty, Value};

/// A type of the kernel's. Written by [`kernel_struct`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` names no type of the kernel's",
    note = "write `#[kernel_struct(\"name\")]` on a struct that has the fields you read"
)]
pub trait Kernel: Sized + 'static {
    /// Its name in the kernel's BTF, without `struct`.
    const NAME: &'static str;
    /// Its fields.
    type Fields: Copy;
    /// The fields of the object there.
    #[doc(hidden)]
    fn fields(at: At) -> Self::Fields;
}

/// Does the kernel have such a type? Known at the load.
#[track_caller]
pub fn has<T: Kernel>() -> Val<bool> {
    let core = Core { kind: CoreReloKind::TYPE_EXISTS, path: vec![T::NAME.into()], leaf: Leaf::Whole };
    rec::with(|r| {
        let answer = r.b.core(core);
        r.is_set(answer)
    })
}

/// What a field of a type of the kernel's can be: a number, bytes, a [`Kptr`], another such type.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot be a field of a type of the kernel's")]
pub trait KernelField: 'static {
    /// The field of an object.
    type Of: Copy;
    /// The field there.
    #[doc(hidden)]
    fn field(at: At) -> Self::Of;
}

/// Names on a path, the first one included.
const STEPS: usize = 8;

/// A field of an object of the kernel's: the object, and the names that lead to the field.
#[derive(Clone, Copy, Debug)]
pub struct At {
    object: Value,
    path: [&'static str; STEPS],
}

impl At {
    /// A whole object.
    pub(crate) const fn object(object: Value, name: &'static str) -> Self {
        let mut path = [""; STEPS];
        path[0] = name;
        Self { object, path }
    }

    /// A field further.
    #[must_use]
    pub fn then(mut self, name: &'static str) -> Self {
        if let Some(free) = self.path.iter_mut().find(|step| step.is_empty()) {
            *free = name;
        }
        self
    }

    fn ask(&self, r: &mut Recorder, kind: CoreReloKind, leaf: Leaf) -> Value {
        let path: Vec<Arc<str>> = self.path.iter().filter(|step| !step.is_empty()).map(|step| (*step).into()).collect();
        r.b.core(Core { kind, path, leaf })
    }

    /// Does the kernel have the field?
    fn exists(&self, r: &mut Recorder, leaf: Leaf) -> Val<bool> {
        let answer = self.ask(r, CoreReloKind::FIELD_EXISTS, leaf);
        r.is_set(answer)
    }

    /// Where the field can be read: in the object, or in a copy on the stack.
    fn place(&self, r: &mut Recorder, leaf: Leaf, size: u32) -> Addr {
        if r.b.ty(self.object).is_int() {
            return self.copied(r, leaf, size);
        }
        let by = self.ask(r, CoreReloKind::FIELD_BYTE_OFFSET, leaf);
        Addr::of(r.b.ptr_add(self.object, by))
    }

    /// A copy of the field on the stack.
    fn copied(&self, r: &mut Recorder, leaf: Leaf, size: u32) -> Addr {
        let by = self.ask(r, CoreReloKind::FIELD_BYTE_OFFSET, leaf);
        let bare = r.b.ty(self.object).is_int();
        let from = if bare { r.b.add(self.object, by) } else { r.b.ptr_add(self.object, by) };
        let (copy, size) = (r.b.stack(size, bytes::STACK_ALIGN), r.number(Ty::I64, size.into()));
        r.b.call(helper::PROBE_READ_KERNEL, &[copy, size, from]);
        Addr::of(copy)
    }
}

/// A field that is one number.
#[derive(Debug)]
pub struct Field<T> {
    at: At,
    of: PhantomData<fn() -> T>,
}

impl<T> Clone for Field<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Field<T> {}

impl<T: Scalar> Field<T> {
    const LEAF: Leaf = if T::SIGNED { Leaf::Signed(T::SIZE) } else { Leaf::Unsigned(T::SIZE) };

    /// Does the kernel have it? Known at the load.
    #[track_caller]
    pub fn exists(&self) -> Val<bool> {
        rec::with(|r| self.at.exists(r, Self::LEAF))
    }

    /// What it holds.
    #[track_caller]
    pub fn load(&self) -> Val<T> {
        Place::new(rec::with(|r| self.at.place(r, Self::LEAF, T::SIZE))).load()
    }
}

impl<T: Scalar> IntoVal<T> for Field<T> {
    #[track_caller]
    fn into_val(self) -> Val<T> {
        self.load()
    }
}

impl<T: Scalar> Own for Field<T> {
    type Owned = Val<T>;
    fn own(self) -> Val<T> {
        self.load()
    }
}

impl<T: Scalar> Stage for Field<T> {
    type Out = Val<T>;
    fn stage(self) -> Val<T> {
        self.load()
    }
}

/// Declares numbers that fields can be.
macro_rules! numbers {
    ($($ty:ty)*) => {$(
        impl KernelField for $ty {
            type Of = Field<$ty>;
            fn field(at: At) -> Self::Of {
                Field { at, of: PhantomData }
            }
        }
    )*};
}

numbers! { u8 u16 u32 u64 i8 i16 i32 i64 Be16 Be32 Be64 }

/// A field that is so many bytes in a row.
#[derive(Clone, Copy, Debug)]
pub struct Row<const N: usize> {
    at: At,
}

impl<const N: usize> Row<N> {
    /// What it holds.
    #[track_caller]
    pub fn load(&self) -> Val<[u8; N]> {
        rec::with(|r| {
            let at = self.at.place(r, Leaf::Bytes(<[u8; N]>::SIZE), <[u8; N]>::SIZE);
            bytes::load(r, at, <[u8; N]>::SIZE)
        })
    }
}

impl<const N: usize> KernelField for [u8; N] {
    type Of = Row<N>;
    fn field(at: At) -> Row<N> {
        Row { at }
    }
}

impl<const N: usize> IntoVal<[u8; N]> for Row<N> {
    #[track_caller]
    fn into_val(self) -> Val<[u8; N]> {
        self.load()
    }
}

impl<const N: usize> Own for Row<N> {
    type Owned = Val<[u8; N]>;
    fn own(self) -> Self::Owned {
        self.load()
    }
}

impl<const N: usize> Stage for Row<N> {
    type Out = Val<[u8; N]>;
    fn stage(self) -> Self::Out {
        self.load()
    }
}

/// A field that is so many numbers of eight bytes in a row.
#[derive(Clone, Copy, Debug)]
pub struct Words<const N: usize> {
    at: At,
}

impl<const N: usize> Words<N> {
    const LEAF: Leaf = Leaf::Bytes(<[u64; N]>::SIZE);

    /// Does the kernel have it? Known at the load.
    #[track_caller]
    pub fn exists(&self) -> Val<bool> {
        rec::with(|r| self.at.exists(r, Self::LEAF))
    }

    /// The number at place `I`, counted from 0.
    #[track_caller]
    pub fn load<const I: usize>(&self) -> Val<u64> {
        const { assert!(I < N, "there are not so many numbers in the row") };
        Place::new(rec::with(|r| self.at.place(r, Self::LEAF, <[u64; N]>::SIZE).offset(8 * I))).load()
    }
}

impl<const N: usize> KernelField for [u64; N] {
    type Of = Words<N>;
    fn field(at: At) -> Words<N> {
        Words { at }
    }
}

/// A field that points to another object.
pub struct Link<T> {
    at: At,
    of: PhantomData<fn() -> T>,
}

impl<T> std::fmt::Debug for Link<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({:?})", self.at)
    }
}

impl<T> Clone for Link<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Link<T> {}

impl<T: Kernel> Link<T> {
    /// The object. Where the pointer is null, all that is read behind it is zeros.
    #[track_caller]
    pub fn follow(self) -> Kptr<T> {
        Kptr::at(rec::with(|r| {
            let direct = !r.b.ty(self.at.object).is_int();
            let at = self.at.place(r, Leaf::Pointer, 8);
            let base = at.base(r);
            r.b.load(if direct { Ty::Ptr(Region::Btf) } else { Ty::I64 }, base, at.off)
        }))
    }
}

impl<T: Kernel> KernelField for Kptr<T> {
    type Of = Link<T>;
    fn field(at: At) -> Link<T> {
        Link { at, of: PhantomData }
    }
}

impl<T: Kernel> Own for Link<T> {
    type Owned = Kptr<T>;
    fn own(self) -> Kptr<T> {
        self.follow()
    }
}

impl<T: Kernel> Stage for Link<T> {
    type Out = Kptr<T>;
    fn stage(self) -> Kptr<T> {
        self.follow()
    }
}

/// A field that is a pointer, as a number: to compare it, to reckon with it, to read [`at`] it. Null is 0.
#[derive(Clone, Copy, Debug)]
pub struct Address {
    at: At,
}

impl Address {
    /// The number.
    #[track_caller]
    pub fn load(&self) -> Val<u64> {
        // What is loaded from the kernel's object itself is a pointer to the verifier, which reckons with none.
        Place::new(rec::with(|r| self.at.copied(r, Leaf::Pointer, u64::SIZE))).load()
    }

    /// Bytes from the beginning of the object to the field. Known at the load.
    #[track_caller]
    pub fn offset(&self) -> Val<u64> {
        Val::of(rec::with(|r| self.at.ask(r, CoreReloKind::FIELD_BYTE_OFFSET, Leaf::Pointer)))
    }
}

impl KernelField for Address {
    type Of = Self;
    fn field(at: At) -> Self {
        Self { at }
    }
}

impl IntoVal<u64> for Address {
    #[track_caller]
    fn into_val(self) -> Val<u64> {
        self.load()
    }
}

impl Own for Address {
    type Owned = Val<u64>;
    fn own(self) -> Val<u64> {
        self.load()
    }
}

impl Stage for Address {
    type Out = Val<u64>;
    fn stage(self) -> Val<u64> {
        self.load()
    }
}

/// The object of the kernel's that begins at an address. What is not there reads as zeros.
#[track_caller]
pub fn at<T: Kernel>(address: impl IntoVal<u64>) -> Kptr<T> {
    let address = address.into_val();
    Kptr::at(rec::with(|r| address.value(r)))
}

/// A socket. C: `struct sock`.
#[kernel_struct("sock")]
pub struct Sock {
    /// What all sockets have.
    pub __sk_common: SockCommon,
    /// Bytes that may wait to be read.
    pub sk_rcvbuf: i32,
    /// Bytes that may wait to be sent.
    pub sk_sndbuf: i32,
}

/// What all sockets have. C: `struct sock_common`.
#[kernel_struct("sock_common")]
pub struct SockCommon {
    /// The other end's IPv4 address.
    pub skc_daddr: Be32,
    /// This end's IPv4 address.
    pub skc_rcv_saddr: Be32,
    /// The other end's port.
    pub skc_dport: Be16,
    /// This end's port.
    pub skc_num: u16,
    /// Address family: 2 is IPv4, 10 is IPv6.
    pub skc_family: u16,
    /// State of the connection.
    pub skc_state: u8,
}

/// A TCP connection. C: `struct tcp_sock`.
#[kernel_struct("tcp_sock")]
pub struct TcpSock {
    /// Next byte that the reader wants.
    pub copied_seq: u32,
    /// Next sequence number that is expected.
    pub rcv_nxt: u32,
    /// Next sequence number that is sent.
    pub snd_nxt: u32,
    /// First byte that is not acknowledged.
    pub snd_una: u32,
    /// Behind the last byte that was written.
    pub write_seq: u32,
}

/// A task. C: `struct task_struct`.
#[kernel_struct("task_struct")]
pub struct Task {
    /// Its number, as the kernel counts: user space calls it the thread's.
    pub pid: i32,
    /// Number of its thread group, which user space calls the process.
    pub tgid: i32,
    /// Its name, with zeros behind it.
    pub comm: [u8; 16],
    /// Who made it.
    pub real_parent: Kptr<Task>,
    /// Its cgroups.
    pub cgroups: Kptr<CssSet>,
}

/// The registers of x86-64. C: `struct pt_regs`.
#[kernel_struct("pt_regs")]
pub struct Regs {
    /// First argument of a system call.
    pub di: u64,
    /// Second.
    pub si: u64,
    /// Third.
    pub dx: u64,
    /// Fourth.
    pub r10: u64,
    /// Number of the system call.
    pub orig_ax: u64,
}

/// The registers of ARM64, which bear the same name. C: `struct pt_regs`.
#[kernel_struct("pt_regs")]
pub struct ArmRegs {
    /// `x0` to `x30`; in a system call, its arguments from the first one on.
    pub regs: [u64; 31],
    /// Number of the system call.
    pub syscallno: i32,
}

/// A set of cgroups. C: `struct css_set`.
#[kernel_struct("css_set")]
pub struct CssSet {
    /// The one of cgroup v2.
    pub dfl_cgrp: Kptr<Cgroup>,
}

/// A cgroup. C: `struct cgroup`.
#[kernel_struct("cgroup")]
pub struct Cgroup {
    /// How many levels it is below the root.
    pub level: i32,
}
