//! The surface of the DSL: attributes and derives that lower ordinary Rust to calls of `asm::dsl`.
//!
//! Stage: before rustc's types. Input: functions, statics and structs of the author's. Output: tokens, with the author's
//! spans. Only lowering happens here: what things mean is in `asm/src/dsl`. Read next: `program.rs`, `lower/mod.rs`.

#![forbid(unsafe_code)]

mod function;
mod kernel;
mod layout;
mod lower;
mod program;
mod statics;

use proc_macro::TokenStream;

/// Declares the attributes of programs: name, context, ELF section, what may follow in the section's name.
macro_rules! programs {
    ($($(#[$doc:meta])* $name:ident $context:literal $section:literal $detail:ident;)*) => {$(
        $(#[$doc])*
        #[proc_macro_attribute]
        pub fn $name(args: TokenStream, item: TokenStream) -> TokenStream {
            let kind = program::Kind {
                attribute: stringify!($name),
                context: $context,
                section: $section,
                detail: program::Detail::$detail,
            };
            tokens(program::expand(&kind, args.into(), item.into()))
        }
    )*};
}

programs! {
    /// An XDP program: `#[xdp(default = Action::Pass)] fn f(ctx: &mut Xdp) -> Result<Action>`.
    xdp "Xdp" "xdp" None;
    /// A traffic control program: `#[tc] fn f(ctx: &mut Tc) -> TcAction`; `#[tc(ingress)]` for tcx.
    tc "Tc" "tc" Word;
    /// Events of TCP connections: `#[sock_ops] fn f(ops: &mut SockOps) -> Reply`.
    sock_ops "SockOps" "sockops" None;
    /// Messages that sockets send: `#[sk_msg] fn f(msg: &mut SkMsg) -> SkAction`.
    sk_msg "SkMsg" "sk_msg" None;
    /// Streams that sockets receive: `#[sk_skb(stream_verdict)] fn f(skb: &mut SkSkb) -> SkAction`.
    sk_skb "SkSkb" "sk_skb" Word;
    /// System calls on sockets: `#[cgroup_sock_addr(connect4)] fn f(ctx: &mut SockAddr) -> Access`.
    cgroup_sock_addr "SockAddr" "cgroup" Word;
    /// Sockets of a cgroup: `#[cgroup_sock(sock_create)] fn f(ctx: &mut CgroupSock) -> Access`.
    cgroup_sock "CgroupSock" "cgroup" Word;
    /// Options of a cgroup's sockets: `#[cgroup_sockopt(setsockopt)] fn f(ctx: &mut SockOpt) -> Access`.
    cgroup_sockopt "SockOpt" "cgroup" Word;
    /// Which socket a connection gets: `#[sk_lookup] fn f(ctx: &mut SkLookup) -> SkAction`.
    sk_lookup "SkLookup" "sk_lookup" None;
    /// Packets of a cgroup: `#[cgroup_skb(ingress)] fn f(skb: &mut CgroupSkb) -> Access`.
    cgroup_skb "CgroupSkb" "cgroup_skb" Word;
    /// A tracepoint: `#[tracepoint("syscalls/sys_enter_openat")] fn f(ctx: &mut Tracepoint)`.
    tracepoint "Tracepoint" "tracepoint" Text;
    /// A function of the kernel's: `#[kprobe("do_unlinkat")] fn f(ctx: &mut Kprobe)`.
    kprobe "Kprobe" "kprobe" Text;
    /// A tracepoint's arguments as they are: `#[raw_tracepoint("sys_enter")] fn f(ctx: &mut RawTracepoint)`.
    raw_tracepoint "RawTracepoint" "raw_tp" Text;
    /// A tracepoint whose arguments have types: `#[tp_btf("sock_recv_length")] fn f(ctx: &mut TpBtf)`.
    tp_btf "TpBtf" "tp_btf" Text;
    /// Where a function of the kernel's begins: `#[fentry("do_unlinkat")] fn f(ctx: &mut Fentry)`.
    fentry "Fentry" "fentry" Text;
    /// Where a function of the kernel's ends: `#[fexit("do_unlinkat")] fn f(ctx: &mut Fentry)`.
    fexit "Fentry" "fexit" Text;
}

/// A function that is written into every kernel program that calls it: `#[bpf_fn] fn f(a: u32) -> u32`.
#[proc_macro_attribute]
pub fn bpf_fn(args: TokenStream, item: TokenStream) -> TokenStream {
    tokens(function::inline(args.into(), item.into()))
}

/// A function of its own, for kernel programs to call: `#[subprog] fn f(a: u32) -> u32`, with up to five numbers.
#[proc_macro_attribute]
pub fn subprog(args: TokenStream, item: TokenStream) -> TokenStream {
    tokens(function::subprog(args.into(), item.into()))
}

/// A map: `#[map] static HITS: Array<u64, 1> = map();`. `#[map(flags = ..)]` adds flags of map creation.
#[proc_macro_attribute]
pub fn map(args: TokenStream, item: TokenStream) -> TokenStream {
    tokens(statics::map(args.into(), item.into()))
}

/// A constant that user space may set before the load: `#[rodata] static LOCAL: Be32 = Be32::new(0);`.
#[proc_macro_attribute]
pub fn rodata(args: TokenStream, item: TokenStream) -> TokenStream {
    tokens(statics::global(".rodata", args.into(), item.into()))
}

/// A variable with a first value: `#[data] static LIMIT: u64 = 100;`. `#[data(".data.limits")]` puts it into a section, and so
/// into a map, of its own.
#[proc_macro_attribute]
pub fn data(args: TokenStream, item: TokenStream) -> TokenStream {
    tokens(statics::global(".data", args.into(), item.into()))
}

/// A variable that starts as zeros: `#[bss] static SEEN: u64 = 0;`.
#[proc_macro_attribute]
pub fn bss(args: TokenStream, item: TokenStream) -> TokenStream {
    tokens(statics::global(".bss", args.into(), item.into()))
}

/// A struct of the kernel's, with the fields that a program reads: `#[kernel_struct("sock")] struct Sock { sk_rcvbuf: i32 }`.
#[proc_macro_attribute]
pub fn kernel_struct(args: TokenStream, item: TokenStream) -> TokenStream {
    tokens(kernel::expand(args.into(), item.into()))
}

/// Gives a struct or an enum its layout in kernel memory. A struct is `#[repr(C)]` without hidden padding, an enum has no
/// fields and a `#[repr]` of an integer.
#[proc_macro_derive(Layout)]
pub fn layout(item: TokenStream) -> TokenStream {
    tokens(layout::derive(item.into()))
}

fn tokens(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.to_compile_error()).into()
}
