//! The running kernel's own types: read as bpftool reads them, within the kernel's rules, and written as they were read. Takes
//! too long for the matrix of kernels; `cargo ci run` takes this test to any of them.

use std::process::Command;

use asm::btf::{Btf, BtfBuilder};

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel's types, unless it was built without.
fn vmlinux() -> Option<Btf<'static>> {
    let Ok(bytes) = std::fs::read(VMLINUX) else {
        println!("skip: {VMLINUX} needs Linux 5.4 with CONFIG_DEBUG_INFO_BTF");
        return None;
    };
    Some(Btf::from_vec(bytes).expect("the kernel's types can be read"))
}

#[test]
fn the_kernels_types_read_as_bpftool_reads_them() {
    let Some(btf) = vmlinux() else { return };
    assert_eq!(btf.check(), Ok(()), "the kernel's own types break a rule of the kernel");
    let Ok(theirs) = Command::new("bpftool").args(["btf", "dump", "file", VMLINUX, "format", "raw"]).output() else {
        println!("skip: there is no bpftool to compare with");
        return;
    };
    let theirs = String::from_utf8(theirs.stdout).expect("text");
    let ours = btf.to_string();
    // The flag of tags that are attributes is from Linux 6.15; this judge may be older.
    for (n, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours.trim_end_matches(" attribute"), theirs.trim_end_matches(" attribute"), "line {}", n + 1);
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
}

#[test]
fn the_kernels_types_survive_a_round_trip() {
    let Some(btf) = vmlinux() else { return };
    let mut b = BtfBuilder::new();
    for ty in btf.types() {
        b.push(ty.expect("every kind is known").1);
    }
    let again = b.encode().expect("what was read can be written");
    assert!(Btf::parse(&again).expect("and read again").types().eq(btf.types()));
}
