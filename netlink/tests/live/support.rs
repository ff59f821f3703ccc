//! What the live tests share: namespaces of a thread's own, programs of two instructions, and iproute2 as the judge.

use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use netlink::route::{Link, Socket, VethPeer, VethSpec};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

/// Puts the test's thread into a new network namespace, which goes with the thread.
pub(crate) fn namespace() -> (Socket, File) {
    assert!(nix::unistd::geteuid().is_root(), "the live tests need root: run them with `cargo ci test` as root");
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own (CAP_SYS_ADMIN)");
    (Socket::open().unwrap(), File::open("/proc/thread-self/ns/net").unwrap())
}

/// A veth pair in the socket's namespace.
pub(crate) fn veth(rt: &mut Socket, name: &str, peer: &str, mtu: u32) -> (Link, Link) {
    let peer_spec = VethPeer { name: peer, ..VethPeer::default() };
    let left = rt.link_create_veth(VethSpec { name, mtu: Some(mtu), peer: peer_spec, ..VethSpec::default() }).unwrap();
    (left, rt.link_by_name(peer).unwrap())
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `BPF_PROG_TYPE_SCHED_CLS` and `BPF_PROG_TYPE_XDP`.
pub(crate) const SCHED_CLS: u32 = 3;
pub(crate) const XDP: u32 = 6;

/// `r0 = 2; exit`, and the program's id.
pub(crate) fn program(prog_type: u32) -> (OwnedFd, u32) {
    use std::os::fd::AsFd;
    let insns = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]].concat();
    let load = loader::sys::prog::Load { prog_type, insns: &insns, license: c"GPL", ..Default::default() };
    let fd = loader::sys::prog::load(&load, None).expect("a program of two instructions is accepted");
    let id = loader::sys::info::prog(fd.as_fd()).unwrap().id;
    (fd, id)
}

/// The running kernel's version.
pub(crate) fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// What a program of iproute2 says as JSON, in the thread's namespace. Where iproute2 is not installed (small guests) there is
/// nothing to compare with, and the test goes on with our own reading alone.
pub(crate) fn judge(program: &str, arguments: &str) -> Option<Vec<Value>> {
    let path = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
    let Some(path) = path.iter().find(|path| path.exists()) else {
        println!("{program} is not installed: `{program} {arguments}` is not compared");
        return None;
    };
    let output = Command::new(path).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    if output.stdout.is_empty() {
        return Some(Vec::new());
    }
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// A field of JSON as text; empty when it is not there.
pub(crate) fn text(value: &Value, field: &str) -> String {
    match &value[field] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A value as text; empty when it is not there.
pub(crate) fn opt<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Compares two lists in any order, taken again while they differ: the kernel sets up addresses, routes and states of links a
/// little after it was asked. Nothing to compare with is agreement.
pub(crate) fn agree<T: Ord + std::fmt::Debug>(mut both: impl FnMut() -> Option<(Vec<T>, Vec<T>)>) {
    const TRIES: usize = 100;
    for left in (0..TRIES).rev() {
        let Some((mut ours, mut theirs)) = both() else { return };
        ours.sort();
        theirs.sort();
        if ours == theirs {
            return;
        }
        assert!(left > 0, "ours   {ours:?}\ntheirs {theirs:?}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
