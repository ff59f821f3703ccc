//! What the kernel tests share: namespaces of a thread's own, hand-made programs, checks that nothing is left.

use std::path::Path;
use std::thread;

use asm::object::{AttachType, ProgType};
use loader::prog::{Options, Prog};
use loader::sys::obj::{Kind, fd_by_id};
use loader::sys::{Errno, map::possible_cpus};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// One instruction as the kernel reads it.
pub(crate) fn insn(code: u8, regs: u8, off: i16, imm: i32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[0] = code;
    bytes[1] = regs;
    bytes[2..4].copy_from_slice(&off.to_ne_bytes());
    bytes[4..].copy_from_slice(&imm.to_ne_bytes());
    bytes
}

/// `r0 = verdict; exit`.
pub(crate) fn verdict_insns(verdict: i32) -> Vec<u8> {
    [insn(0xb7, 0, 0, verdict), insn(0x95, 0, 0, 0)].concat()
}

/// An XDP program that answers `verdict` to every packet.
pub(crate) fn verdict(name: &str, verdict: i32) -> Prog {
    need_root();
    Prog::load(name, &xdp(&verdict_insns(verdict))).expect("a program of two instructions is accepted")
}

/// Options for an XDP program.
pub(crate) fn xdp(insns: &[u8]) -> Options<'_> {
    Options {
        prog_type: ProgType::XDP,
        expected_attach_type: Some(AttachType::XDP),
        insns,
        license: c"GPL",
        ..Options::default()
    }
}

/// A number from the environment.
pub(crate) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// How much a test does of what it does for chance's sake: all of it here, and a part of that, the named one, in guests,
/// where everything takes ten times as long and each kernel has another seed.
pub(crate) fn rounds(full: u64) -> u64 {
    full.div_ceil(number("ROUNDS_PART").unwrap_or(1))
}

/// Stops with a clear text where the test cannot run.
pub(crate) fn need_root() {
    assert!(nix::unistd::geteuid().is_root(), "the kernel tests need root: run them with `cargo ci test` as root");
    possible_cpus().expect("sysfs is mounted on /sys");
}

/// Runs `test` on a thread in a network and a mount namespace of its own, which go when the thread ends.
pub(crate) fn in_namespaces(test: impl FnOnce() + Send + 'static) {
    need_root();
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces of our own");
        // No mount made here may reach the machine.
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Mounts a fresh bpffs over `/sys/fs/bpf`, or over `/mnt` where there is no such directory.
pub(crate) fn fresh_bpffs() -> &'static Path {
    let path = Path::new(if Path::new("/sys/fs/bpf").is_dir() { "/sys/fs/bpf" } else { "/mnt" });
    mount(Some("bpf"), path, Some("bpf"), MsFlags::empty(), None::<&str>).expect("a bpffs of our own");
    path
}

/// Waits until the kernel knows no object with this id; objects are freed a little after their last user.
pub(crate) fn gone(kind: Kind, id: u32) {
    for _ in 0..400 {
        match fd_by_id(kind, id) {
            Err(Errno::ENOENT) => return,
            _ => thread::sleep(std::time::Duration::from_millis(5)),
        }
    }
    panic!("{kind:?} {id} is still in the kernel");
}
