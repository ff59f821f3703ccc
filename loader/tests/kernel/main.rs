//! Tests against the running kernel; they need root (CAP_BPF, CAP_NET_ADMIN, CAP_SYS_ADMIN) and nothing else: no
//! program, no configuration file, so that the same binary runs as the only process of a guest.
//!
//! Each test leaves the kernel as it was. What touches interfaces or mounts does so in namespaces of its own.

mod check;
mod codegen;
#[path = "../common/mod.rs"]
mod common;
mod denied;
mod features;
mod foreign;
mod helpers;
mod hooks;
mod maps;
mod objects;
mod pins;
mod progs;
mod ringbuf;
mod storage;
mod support;
mod xdp;
