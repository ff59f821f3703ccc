//! What a text says of the kernel and its interfaces, in the hands of bpftool (libbpf): values of the configuration, and programs
//! that implement one of the kernel's own tables of functions. Needs root and bpftool.

use super::in_private_bpffs;

/// Assembles `text`, and runs commands beside the object `one.o`.
fn with_object(text: &str, commands: &str) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = asm::text::parse("one.s", text).unwrap_or_else(|errors| panic!("{errors}"));
    std::fs::write(dir.path().join("one.o"), program.object().write().expect("a whole object")).expect("room for it");
    in_private_bpffs(commands, dir.path())
}

/// libbpf makes the map, fills the kernel's version in, and points the code at it.
#[test]
fn a_configuration_value_arrives() {
    let text = "\
.license \"GPL\"
.extern config LINUX_KERNEL_VERSION: u32
.section tc
version:
    r1 = LINUX_KERNEL_VERSION ll
    w0 = *(u32 *)(r1 + 0)
    exit
";
    let commands = "bpftool prog load one.o /sys/fs/bpf/one
        bpftool prog dump xlated pinned /sys/fs/bpf/one
        bpftool map dump name one.kconfig";
    let out = with_object(text, commands);
    let (major, minor) = super::kernel();
    let value = out.split("\"LINUX_KERNEL_VERSION\": ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let value: u32 = value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no value in:\n{out}"));
    assert_eq!((value >> 16, value >> 8 & 0xff), (major, minor), "{out}");
    assert!(out.contains("][0]+0"), "the code does not read the map's value:\n{out}");
}

/// A congestion control that always answers 10: the kernel takes each program for the member whose name it stands behind.
#[test]
fn programs_become_an_interface_of_the_kernel() {
    let text = "\
.license \"GPL\"
.struct tcp_congestion_ops {
    ssthresh: *fn(sk: *sock) -> u32
    undo_cwnd: *fn(sk: *sock) -> u32
    cong_avoid: *fn(sk: *sock, ack: u32, acked: u32) -> void
    name: char[16]
}
.section .struct_ops
.var asm_ops: tcp_congestion_ops = {
    ssthresh: asm_ssthresh
    undo_cwnd: asm_undo
    cong_avoid: asm_avoid
    name: \"asm_test\"
}
.section struct_ops/ssthresh
.func asm_ssthresh(ctx: *u64) -> int
asm_ssthresh:
    r0 = 10
    exit
.section struct_ops/undo_cwnd
.func asm_undo(ctx: *u64) -> int
asm_undo:
    r0 = 10
    exit
.section struct_ops/cong_avoid
.func asm_avoid(ctx: *u64) -> void
asm_avoid:
    exit
";
    let commands = "bpftool struct_ops register one.o
        bpftool struct_ops show name asm_ops
        bpftool prog show name asm_ssthresh
        bpftool struct_ops unregister name asm_ops";
    let out = with_object(text, commands);
    assert!(out.contains("tcp_congestion_ops") && out.contains("struct_ops  name asm_ssthresh"), "{out}");
}
