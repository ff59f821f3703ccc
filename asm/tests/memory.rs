//! What the running kernel's types cost in memory: the index and the bytes together, and nothing like a tree of objects.

use asm::btf::{Btf, Kind};

/// Bytes that a line of `/proc/self/status` says.
fn status(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let value = status.lines().find_map(|l| l.strip_prefix(line)).expect("a line of that name");
    value.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().expect("a number of kB") * 1024
}

/// Alone in this file: the peak of the whole process is what is measured.
#[test]
fn vmlinux_costs_less_than_12_mb() {
    let path = "/sys/kernel/btf/vmlinux";
    if !std::path::Path::new(path).exists() {
        eprintln!("skipped: needs {path} (Linux 5.4 with CONFIG_DEBUG_INFO_BTF)");
        return;
    }
    std::fs::write("/proc/self/clear_refs", "5").expect("the peak can be set back");
    let before = status("VmRSS:");
    let btf = Btf::from_vec(std::fs::read(path).expect("readable")).expect("types");
    let task = btf.find("task_struct", Kind::STRUCT).expect("every kernel has tasks");
    let members = btf.get(task).expect("a struct");
    assert!(btf.size_of(task).is_ok_and(|size| size > 1000), "{members:?}");
    let cost = status("VmHWM:").saturating_sub(before);
    println!("{} types, {} bytes of BTF, {cost} bytes at the peak", btf.len() - 1, btf.as_bytes().len());
    assert!(cost < 12 << 20, "{cost} bytes");
}
