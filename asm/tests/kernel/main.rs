//! Our objects in the hands of others: bpftool (libbpf) loads them as they are. Needs root and bpftool.

#[path = "../common/mod.rs"]
mod common;
mod interfaces;
mod types;

use std::path::Path;
use std::process::Command;
use std::thread;

use asm::btf::{Btf, CoreReloKind, Kind, Type};
use asm::insn::{Builder, Code, InsnIdx, R0, R1, R2, R3, R4, helper};
use asm::object::{ExternDef, Object, ProgDef, Ty};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// What bpftool is shown as the kernel's symbols: reading them all takes an emulated kernel a second each time.
const SYMBOLS: &str = "ffffffff81234560 T schedule\n";

/// Runs commands, one a line, with a bpffs of their own and [`SYMBOLS`]; their output, or a failure with its text.
fn in_private_bpffs(commands: &str, dir: &Path) -> String {
    let symbols = dir.join("kallsyms");
    std::fs::write(&symbols, SYMBOLS).expect("room for a line");
    let run = || {
        unshare(CloneFlags::CLONE_NEWNS).expect("needs root: mounts of our own");
        let (none, plain) = (None::<&str>, MsFlags::empty());
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), plain, none).expect("a bpffs");
        mount(Some(&symbols), "/proc/kallsyms", none, MsFlags::MS_BIND, none).expect("few symbols");
        commands.lines().map(|command| output(command.trim(), dir)).collect()
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The output of one command.
fn output(command: &str, dir: &Path) -> String {
    let mut words = command.split_whitespace();
    let out = Command::new(words.next().expect("a program")).args(words).current_dir(dir).output();
    let out = out.unwrap_or_else(|error| panic!("`{command}`: {error}"));
    let (text, log) = (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "`{command}`: {}\n{text}\n{log}", out.status);
    assert!(!log.contains("Error loading .BTF"), "the kernel refused our types:\n{log}");
    text
}

/// libbpf creates every map, relocates and loads every program; the kernel has our names, types and lines.
#[test]
fn bpftool_loads_everything_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("all.o"), common::everything().write().unwrap()).unwrap();
    let commands = "bpftool prog loadall all.o /sys/fs/bpf/progs
        ls /sys/fs/bpf/progs
        bpftool gen object linked.o all.o
        bpftool prog loadall linked.o /sys/fs/bpf/linked
        ls /sys/fs/bpf/linked
        bpftool gen skeleton all.o name all
        bpftool prog dump xlated pinned /sys/fs/bpf/progs/balance
        bpftool map show pinned /sys/fs/bpf/flows
        bpftool map dump name all.rodata";
    let text = in_private_bpffs(commands, dir.path());
    for want in [
        "balance\nclassify\ndecap\nbalance\nclassify\ndecap\n",
        "struct bpf_map *vips;",
        "i32 balance(struct xdp_md * ctx):",
        "i32 count(u32 slot):",
        "i32 zero():",
        "common/mod.rs:",
        "lru_hash  name flows",
        "\"mode\": 7",
    ] {
        assert!(text.contains(want), "{want:?} is missing in:\n{text}");
    }
}

/// The kernel that runs here, as (major, minor).
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut parts = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// Builds code.
fn code(build: impl FnOnce(&mut Builder)) -> Code {
    let mut b = Builder::new();
    build(&mut b);
    b.exit();
    b.finish().expect("the test program is whole")
}

/// Loads one object by bpftool and returns its program's instructions as the kernel has them.
fn load(object: &Object) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("one.o"), object.write().expect("a whole object")).expect("room for it");
    let commands = "bpftool prog load one.o /sys/fs/bpf/one
        bpftool prog dump xlated pinned /sys/fs/bpf/one";
    in_private_bpffs(commands, dir.path())
}

/// A function whose lines are not known beside one whose lines are.
#[test]
fn a_function_without_lines_loads_beside_one_with() {
    let mut bare = common::answer(0);
    bare.lines.clear();
    let main = code(|b| b.call_fn("bare"));
    let text = load(&Object::new("GPL").prog(ProgDef::new("xdp", "main", main)).prog(ProgDef::subprog("bare", bare)));
    assert!(text.contains("i32 bare():"), "{text}");
}

/// A global function is verified by itself, for every argument its prototype allows.
#[test]
fn a_global_function_loads() {
    let main = code(|b| {
        b.mov(R1, 7);
        b.call_fn("twice");
    });
    let twice = code(|b| {
        b.mov(R0, R1);
        b.add(R0, R1);
    });
    let twice = ProgDef::subprog("twice", twice).global().param("value", Ty::of::<u32>());
    let text = load(&Object::new("GPL").prog(ProgDef::new("xdp", "main", main)).prog(twice));
    assert!(text.contains("i32 twice(u32 value):"), "{text}");
}

/// A callback: the address of a function in `.text`.
#[test]
fn a_callback_loads() {
    if kernel() < (5, 17) {
        println!("skip: bpf_loop needs Linux 5.17");
        return;
    }
    let main = code(|b| {
        b.mov(R1, 3);
        b.func(R2, "step");
        b.mov(R3, 0);
        b.mov(R4, 0);
        b.call(helper::LOOP);
        b.mov(R0, 2);
    });
    let step =
        ProgDef::subprog("step", common::answer(0)).param("index", Ty::of::<u32>()).param("ctx", Ty::of::<u64>());
    let text = load(&Object::new("GPL").prog(ProgDef::new("xdp", "main", main)).prog(step));
    assert!(text.contains("i32 step(u32 index, u64 ctx):"), "{text}");
}

/// Kernel functions and variables, by the names in the kernel's own types.
#[test]
fn externals_load() {
    if kernel() < (6, 2) {
        println!("skip: bpf_rcu_read_lock needs Linux 6.2");
        return;
    }
    let main = code(|b| {
        b.call_kfunc("bpf_rcu_read_lock");
        b.call_kfunc("bpf_rcu_read_unlock");
        b.ksym(R1, "schedule");
        b.mov(R0, 2);
    });
    let object = Object::new("GPL")
        .external(ExternDef::kfunc("bpf_rcu_read_lock", Ty::void()))
        .external(ExternDef::kfunc("bpf_rcu_read_unlock", Ty::void()))
        .external(ExternDef::ksym("schedule", Ty::void()))
        .prog(ProgDef::new("tc", "main", main));
    let text = load(&object);
    // The verifier took the calls for what they are: it lets nobody out who holds the lock.
    assert!(text.contains("r1 = 0xffffffff81234560"), "{text}");
}

/// CO-RE: the loader finds the kernel's struct by name and puts a member's offset, and a struct's size, into instructions.
#[test]
fn answers_about_the_kernels_types_arrive() {
    let kernel = Btf::from_vec(std::fs::read("/sys/kernel/btf/vmlinux").expect("a kernel with types")).expect("types");
    let task = kernel.find("task_struct", Kind::STRUCT).expect("every kernel has tasks");
    let Ok(Type::Struct { size, members, .. }) = kernel.get(task) else { panic!("{task} is no struct") };
    let pid = members.iter().find(|m| m.name == "pid").expect("every task has a number").bit_offset / 8;

    let ours = Ty::with(8, |b| {
        let int = b.int("int", 4, true);
        b.struct_("task_struct", 8, &[("tgid", int, 0), ("pid", int, 4)])
    });
    let main = code(|b| {
        b.mov(R1, 4);
        b.mov(R2, 8);
        b.mov(R0, 2);
    });
    let main = ProgDef::new("xdp", "main", main).core(InsnIdx(1), CoreReloKind::TYPE_SIZE, ours.clone(), "0").core(
        InsnIdx(0),
        CoreReloKind::FIELD_BYTE_OFFSET,
        ours,
        "0:1",
    );
    let text = load(&Object::new("GPL").prog(main));
    assert!(
        text.contains(&format!("r1 = {pid}\n")) && text.contains(&format!("r2 = {size}\n")),
        "{pid} {size}\n{text}"
    );
}
