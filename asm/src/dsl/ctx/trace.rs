//! Tracing: programs that run where the kernel is, and see what it has in its hands.
//!
//! Stage: contexts. Output: arguments as numbers, or as pointers to the kernel's objects. Read next: `../call.rs`.

use asm_macros::Layout;

use super::{Context, contexts, word};
use crate::dsl::kernel::Kernel;
use crate::dsl::rec;
use crate::dsl::sock::{self, Kptr, Maybe, Pointer};
use crate::dsl::value::Val;

/// What a program at a function of the kernel's returns, where it says so: nothing that counts. The verifier takes 0 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout)]
#[repr(u32)]
pub enum Observed {
    /// It has looked.
    Done,
}

contexts! {
    /// The context of `kprobe` programs: the registers of x86-64 as they stood. C: `struct pt_regs`, Linux 4.1.
    Kprobe -> u32 {}
    /// The context of `tracepoint` programs: the tracepoint's record. Linux 4.7.
    Tracepoint -> u32 {}
    /// The context of raw tracepoints: the arguments as they are. Linux 4.17.
    RawTracepoint -> u32 {}
    /// The context of `tp_btf` programs: a tracepoint's arguments, whose types the kernel tells. Linux 5.5.
    TpBtf -> u32 {}
    /// The context of `fentry` and `fexit` programs: the function's arguments, then its result. Linux 5.5.
    Fentry -> Observed {}
}

/// Where the registers that hold a function's first six arguments lie in x86-64's `struct pt_regs`.
const ARGUMENTS: [i32; 6] = [112, 104, 96, 88, 72, 64];

impl Kprobe {
    /// Argument number `N` of the function, from 0; of six.
    #[track_caller]
    pub fn arg<const N: usize>(&self) -> Val<u64> {
        const { assert!(N < ARGUMENTS.len(), "a function has six arguments in registers") };
        word(self, ARGUMENTS[N])
    }
}

impl Kprobe {
    /// Argument number `N` of the function, from 0, which points to a `T`: its fields are copied by `bpf_probe_read_kernel`
    /// (Linux 5.5).
    #[track_caller]
    pub fn ptr<const N: usize, T: Kernel>(&self) -> Kptr<T> {
        let at = self.arg::<N>();
        Kptr::at(rec::with(|r| at.value(r)))
    }
}

impl Tracepoint {
    /// The number of 8 bytes at an offset of the record: `/sys/kernel/tracing/events/*/format` tells the offsets.
    #[track_caller]
    pub fn word<const OFFSET: i32>(&self) -> Val<u64> {
        word(self, OFFSET)
    }
}

/// Declares contexts that are a row of arguments.
macro_rules! arguments {
    ($($name:ident)*) => {$(
        impl $name {
            /// Argument number `N`, from 0, as a number.
            #[track_caller]
            pub fn arg<const N: i32>(&self) -> Val<u64> {
                word(self, N * 8)
            }
        }
    )*};
}

arguments! { RawTracepoint TpBtf Fentry }

/// Declares contexts whose arguments the kernel's types describe.
macro_rules! typed_arguments {
    ($($name:ident)*) => {$(
        impl $name {
            /// Argument number `N`, from 0, which points to a `T`.
            #[track_caller]
            pub fn ptr<const N: i32, T: Kernel>(&self) -> Kptr<T> {
                sock::pointer(self.pointer(), N * 8)
            }

            /// As `ptr`, where it may be null.
            #[track_caller]
            pub fn maybe_ptr<const N: i32, T: Kernel>(&self) -> Maybe<Kptr<T>> {
                sock::maybe(self.pointer(), N * 8)
            }
        }
    )*};
}

typed_arguments! { TpBtf Fentry }
