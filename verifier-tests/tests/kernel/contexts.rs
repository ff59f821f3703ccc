//! Contexts that `BPF_PROG_TEST_RUN` does not make: real sockets run a program that notes what it reads of its context, and
//! the interpreter must read the same from a context with what the sockets are known to be.
//!
//! Read next: `asm/src/vm/context/fields.rs`, the table that is judged here.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::thread;

use asm::object::{AttachType, ProgType};
use asm::vm::{Context, ContextType};
use loader::Spec;
use loader::link::cgroup::Cgroup;
use loader::link::sockmap::{self, Attachment};
use loader::load::{LoadOptions, Loaded, load};
use loader::machine::machine;
use loader::sys::uapi::UpdateFlags;
use netlink::route::Socket;
use nix::sched::{CloneFlags, unshare};

const AF_INET: u64 = 2;
const SOCK_STREAM: u64 = 1;
const IPPROTO_TCP: u64 = 6;
/// `BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB`.
const ACTIVE_ESTABLISHED: u64 = 4;

/// A program that notes these fields in the variable `seen`, unless `skip` (text) says that the event is another one.
fn noting(section: &str, prog_type: ProgType, fields: &[(&str, u64)], skip: &str) -> Spec {
    let context = ContextType::of(prog_type).expect("a context");
    let mut text = format!(
        ".license \"GPL\"\n.map peers: sockmap {{ key: u32, value: u64, max_entries: 1 }}\n.section .data.seen\n\
         .var seen: u64[{}] = 0\n.section {section}\n.func note(ctx: *{}) -> int\nnote:\n  {skip}\n  r6 = seen ll\n",
        fields.len(),
        context.name,
    );
    for (at, (field, _)) in fields.iter().enumerate() {
        let off = context.field(field).expect("a field").off;
        let _ = write!(text, "  r2 = *(u32 *)(r1 + {off})\n  *(u64 *)(r6 + {}) = r2\n", at * 8);
    }
    text += "out:\n  r0 = 1\n  exit\n";
    let program = asm::text::parse("note.s", &text).unwrap_or_else(|errors| panic!("{errors}"));
    Spec::parse(&program.object().write().expect("well-formed")).expect("our own object")
}

fn kernel(spec: &Spec) -> Loaded {
    load(spec, &LoadOptions::default()).unwrap_or_else(|error| panic!("{error:?}"))
}

/// What the kernel's run noted, what the interpreter's notes, and what is known, must be one.
fn compare(spec: &Spec, loaded: &Loaded, prog_type: ProgType, fields: &[(&str, u64)]) {
    let seen = loaded.map(".data.seen").expect("the variable").lookup(&[0; 4]).expect("readable").expect("there");
    let mut context = Context::new(prog_type).expect("known");
    for (field, value) in fields {
        context = context.with(field, *value).expect("a number");
    }
    let mut vm = machine(spec, "note").expect("it runs");
    assert_eq!(vm.run_context(&context).expect("it runs").r0, 1);
    let (map, memory) = vm.map(".data.seen").expect("the variable");
    let address = map.lookup(&[0; 4], 0).expect("there");
    let ours = memory.bytes(address, seen.len()).expect("readable");
    let numbers = |bytes: &[u8]| -> Vec<u64> { bytes.as_chunks().0.iter().map(|n| u64::from_le_bytes(*n)).collect() };
    let known: Vec<u64> = fields.iter().map(|(_, value)| *value).collect();
    let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(numbers(&seen), known, "the kernel's {names:?}");
    assert_eq!(numbers(ours), known, "the interpreter's {names:?}");
}

/// Runs the test in a network namespace of its own, whose loopback is up.
fn in_a_network(test: impl FnOnce() + Send + 'static) {
    super::need_root();
    let thread = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network of our own");
        let mut rt = Socket::open().expect("rtnetlink");
        let lo = rt.link_by_name("lo").expect("every network has it").ifindex;
        rt.link_set_up(lo).expect("loopback is up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// 127.0.0.1 as it lies in memory.
fn address() -> u64 {
    u32::from_le_bytes([127, 0, 0, 1]).into()
}

/// Both ends of a connection over loopback: the client, and what it is connected to.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    (client, listener.accept().expect("its other end").0)
}

fn port(address: std::io::Result<SocketAddr>) -> u16 {
    address.expect("it is connected").port()
}

/// A cgroup of the test's own, with this process in it until the end.
struct OwnCgroup {
    own: PathBuf,
    before: PathBuf,
}

impl OwnCgroup {
    fn enter() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("procfs");
        let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|row| row[2] == "cgroup2");
        let root = PathBuf::from(mount.expect("a cgroup v2 hierarchy is mounted")[1]);
        let path = fs::read_to_string("/proc/self/cgroup").expect("procfs");
        let path = path.lines().find_map(|line| line.strip_prefix("0::/")).expect("we are in a cgroup");
        let before = root.join(path);
        let own = before.join(format!("vm-{}", std::process::id()));
        fs::create_dir(&own).expect("a cgroup below ours");
        fs::write(own.join("cgroup.procs"), "0").expect("we may enter it");
        Self { own, before }
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        // Nothing more can be done about either.
        let _moved = fs::write(self.before.join("cgroup.procs"), "0");
        let _removed = fs::remove_dir(&self.own);
    }
}

#[test]
fn a_message_is_what_the_kernel_shows() {
    in_a_network(message);
}

fn message() {
    let (mut client, mut server) = connection();
    let fields = [
        ("family", AF_INET),
        ("remote_ip4", address()),
        ("local_ip4", address()),
        ("remote_port", u32::from(port(client.peer_addr())).to_be().into()),
        ("local_port", port(client.local_addr()).into()),
        ("size", 5),
    ];
    let spec = noting("sk_msg", ProgType::SK_MSG, &fields, "");
    let loaded = kernel(&spec);
    let (map, prog) = (loaded.map("peers").expect("the map"), loaded.prog("note").expect("the program"));
    let attached = sockmap::attach(prog, map, AttachType::SK_MSG_VERDICT).expect("attached");
    let fd = u64::from(client.as_raw_fd().unsigned_abs());
    map.update(&[0; 4], &fd.to_ne_bytes(), UpdateFlags::ANY).expect("a socket for the map");
    client.write_all(b"hello").expect("sent");
    server.read_exact(&mut [0; 5]).expect("received");
    compare(&spec, &loaded, ProgType::SK_MSG, &fields);
    if let Attachment::Bare = attached {
        sockmap::detach(prog, map, AttachType::SK_MSG_VERDICT).expect("detached");
    }
}

#[test]
fn a_destination_and_a_connection_are_what_the_kernel_shows() {
    in_a_network(destination_and_connection);
}

/// Both in one, since a process is in one cgroup.
fn destination_and_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let to = port(listener.local_addr());
    let destination = [
        ("user_family", AF_INET),
        ("user_ip4", address()),
        ("user_port", to.to_be().into()),
        ("family", AF_INET),
        ("type", SOCK_STREAM),
        ("protocol", IPPROTO_TCP),
    ];
    // Which port the client gets is seen afterwards.
    let mut established = [
        ("op", ACTIVE_ESTABLISHED),
        ("family", AF_INET),
        ("remote_ip4", address()),
        ("local_ip4", address()),
        ("remote_port", u32::from(to).to_be().into()),
        ("is_fullsock", 1),
        ("local_port", 0),
    ];
    let addr = noting("cgroup/connect4", ProgType::CGROUP_SOCK_ADDR, &destination, "");
    let skip = format!("r2 = *(u32 *)(r1 + 0)\n  if w2 != {ACTIVE_ESTABLISHED} goto out");
    let ops = noting("sockops", ProgType::SOCK_OPS, &established, &skip);
    let (addr_loaded, ops_loaded) = (kernel(&addr), kernel(&ops));
    let own = OwnCgroup::enter();
    let cgroup = Cgroup::open(&own.own).expect("our cgroup");
    let attach = |loaded: &Loaded, attach_type| {
        cgroup.attach(loaded.prog("note").expect("the program"), attach_type).expect("attached")
    };
    let _links =
        (attach(&addr_loaded, AttachType::CGROUP_INET4_CONNECT), attach(&ops_loaded, AttachType::CGROUP_SOCK_OPS));
    let client = TcpStream::connect(("127.0.0.1", to)).expect("a connection");
    established[6].1 = port(client.local_addr()).into();
    compare(&addr, &addr_loaded, ProgType::CGROUP_SOCK_ADDR, &destination);
    compare(&ops, &ops_loaded, ProgType::SOCK_OPS, &established);
}
