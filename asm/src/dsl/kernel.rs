//! Types of the kernel's own, known by their names in its BTF.
//!
//! Stage: beside `sock.rs`. Input: names. Output: what a [`Kptr`](super::Kptr) points to. Read next: `ctx/trace.rs`.

/// A type of the kernel's.
#[diagnostic::on_unimplemented(message = "`{Self}` names no type of the kernel's")]
pub trait Kernel: 'static {
    /// Its name in the kernel's BTF, without `struct`.
    const NAME: &'static str;
}

/// Declares types of which no field is named.
macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Kernel for $name {
            const NAME: &'static str = $text;
        }
    )*};
}

opaque! {
    /// A socket. C: `struct sock`.
    Sock "sock";
    /// A task. C: `struct task_struct`.
    Task "task_struct";
}
