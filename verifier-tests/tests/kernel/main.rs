//! Judged by the running kernel; needs root (CAP_BPF), and no other program, so that it also runs alone in a guest.

mod campaign;
mod cases;
mod conformance;
mod contexts;
mod matrix;
mod records;
mod scalar;
mod selftests;
mod structured;
mod twins;

use asm::insn::Insn;
use asm::object::{AttachType, ProgType};
use loader::prog::{self, Prog};

/// Loads finished instructions as an XDP program.
fn load_xdp(name: &str, insns: &[Insn]) -> Result<Prog, prog::Error> {
    let bytes: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let (prog_type, expected_attach_type) = (ProgType::XDP, Some(AttachType::XDP));
    let options =
        prog::Options { prog_type, expected_attach_type, insns: &bytes, license: c"GPL", ..Default::default() };
    Prog::load(name, &options)
}

/// Stops with a clear text where the tests cannot run.
fn need_root() {
    assert!(nix::unistd::geteuid().is_root(), "the kernel tests need root: run them with `cargo ci test` as root");
}

/// The running kernel's version, as far as two numbers tell it.
fn kernel_version() -> (u32, u32) {
    let (major, minor, _) = kernel_release();
    (major, minor)
}

/// The running kernel's version with its patch level; 0 where the release does not say it.
fn kernel_release() -> (u32, u32, u32) {
    let name = nix::sys::utsname::uname().expect("uname");
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    let (major, minor) = numbers.next().zip(numbers.next()).expect("a release starts with two numbers");
    (major, minor, numbers.next().unwrap_or(0))
}
