//! Hooks other than XDP: cgroups, sockmaps, tracepoints, network namespaces, tcx. Each program counts its runs, and real
//! sockets make it run.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use asm::object::AttachType;
use loader::link::cgroup::Cgroup;
use loader::link::sockmap::{self, Attachment};
use loader::link::{self, netns, tcx, tracing};
use loader::permission::kernel_release;
use loader::sys::uapi::UpdateFlags;
use loader::sys::{Errno, uapi::LinkType};
use loader::{LoadOptions, Loaded, Spec};
use zerocopy::FromBytes;

use crate::support::{in_namespaces, need_root};

/// A program that counts its runs in the variable `runs`, and answers `verdict`.
fn counter(section: &str, context: &str, verdict: i32) -> Loaded {
    let text = format!(
        ".license \"GPL\"\n.bss\n.var runs: u64\n.section {section}\n.func count({context}) -> int\ncount:\n  \
         r1 = runs ll\n  r2 = 1\n  lock *(u64 *)(r1 + 0) += r2\n  r0 = {verdict}\n  exit\n"
    );
    load(&text)
}

/// From assembly text into the kernel.
pub(crate) fn load(text: &str) -> Loaded {
    need_root();
    let program = asm::text::parse("test.s", text).unwrap_or_else(|errors| panic!("{errors}"));
    let bytes = program.object().write().expect("the object is well-formed");
    let spec = Spec::parse(&bytes).expect("our own object");
    loader::load(&spec, &LoadOptions::default()).unwrap_or_else(|error| panic!("{error:?}"))
}

fn runs(loaded: &Loaded) -> u64 {
    let value = loaded.map(".bss").expect("it has variables").lookup(&[0; 4]).expect("arrays can be read");
    let (first, _) = u64::read_from_prefix(&value.expect("an array has all its elements")).expect("8 bytes");
    first
}

/// A process is in one cgroup at a time, and tests share the process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A cgroup of the test's own, with this process in it; it goes back where it was at the end.
pub(crate) struct OwnCgroup {
    _one: MutexGuard<'static, ()>,
    pub(crate) own: PathBuf,
    before: PathBuf,
}

impl OwnCgroup {
    pub(crate) fn enter(name: &str) -> Self {
        need_root();
        let one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mounts = fs::read_to_string("/proc/self/mounts").expect("procfs");
        let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|row| row[2] == "cgroup2");
        let root = PathBuf::from(mount.expect("a cgroup v2 hierarchy is mounted")[1]);
        let path = fs::read_to_string("/proc/self/cgroup").expect("procfs");
        let path = path.lines().find_map(|line| line.strip_prefix("0::/")).expect("we are in a cgroup");
        let before = root.join(path);
        let own = before.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&own).expect("a cgroup below ours");
        fs::write(own.join("cgroup.procs"), "0").expect("we may enter it");
        Self { _one: one, own, before }
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let _moved = fs::write(self.before.join("cgroup.procs"), "0");
        let _removed = fs::remove_dir(&self.own);
    }
}

/// Runs a test in namespaces of its own, with loopback up; hands over its index.
fn with_loopback(test: impl FnOnce(u32) + Send + 'static) {
    in_namespaces(|| {
        let mut rt = netlink::route::Socket::open().expect("netlink");
        let lo = rt.link_by_name("lo").expect("every namespace has one").ifindex;
        rt.link_set_up(lo).expect("loopback goes up");
        test(lo);
    });
}

/// A TCP connection over loopback, both ends.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    (client, listener.accept().expect("its other end").0)
}

#[test]
fn a_cgroup_takes_several_programs_and_its_sockets_run_them() {
    with_loopback(|_| {
        let own = OwnCgroup::enter("hooks");
        let (one, two) = (counter("sockops", "ctx: *bpf_sock_ops", 1), counter("sockops", "ctx: *bpf_sock_ops", 1));
        let cgroup = Cgroup::open(&own.own).unwrap();
        let attach =
            |loaded: &Loaded| cgroup.attach(loaded.prog("count").unwrap(), AttachType::CGROUP_SOCK_OPS).unwrap();
        let (first, second) = (attach(&one), attach(&two));
        assert_eq!(first.info().unwrap().link_type, LinkType::CGROUP);
        let ids = [&one, &two].map(|loaded| loaded.prog("count").unwrap().id().unwrap());
        assert_eq!(cgroup.progs(AttachType::CGROUP_SOCK_OPS).unwrap(), ids);
        drop(connection());
        assert!(runs(&one) > 0 && runs(&two) > 0, "{} {}", runs(&one), runs(&two));
        first.close_proven().unwrap();
        assert_eq!(cgroup.progs(AttachType::CGROUP_SOCK_OPS).unwrap(), [ids[1]]);
        let before = runs(&one);
        drop(connection());
        assert_eq!(runs(&one), before);
        second.close_proven().unwrap();
    });
}

#[test]
fn what_is_no_cgroup_is_said_so() {
    let error = Cgroup::open("/proc").unwrap_err();
    let link::Error::Cgroup { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("cgroup v2"), "{source}");
    assert!(matches!(Cgroup::open("/no/such/cgroup"), Err(link::Error::Cgroup { .. })));
}

#[test]
fn a_program_of_another_type_is_refused_with_the_reason() {
    let own = OwnCgroup::enter("refused");
    let other = counter("xdp", "ctx: *xdp_md", 2);
    let cgroup = Cgroup::open(&own.own).unwrap();
    let error = cgroup.attach(other.prog("count").unwrap(), AttachType::CGROUP_SOCK_OPS).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`count`") && text.contains("cgroup /") && text.contains("not for this hook"), "{text}");
}

const SK_MSG: &str = r#"
.license "GPL"
.map peers: sockhash { key: u32, value: u64, max_entries: 4 }
.bss
.var runs: u64
.section sk_msg
.func count(ctx: *sk_msg_md) -> int
count:
  r1 = runs ll
  r2 = 1
  lock *(u64 *)(r1 + 0) += r2
  r0 = 1
  exit
"#;

#[test]
fn messages_of_the_sockets_in_a_map_run_its_program() {
    with_loopback(|_| {
        let (ours, theirs) = (load(SK_MSG), counter("sk_msg", "ctx: *sk_msg_md", 1));
        let (map, prog) = (ours.map("peers").unwrap(), ours.prog("count").unwrap());
        let attached = sockmap::attach(prog, map, AttachType::SK_MSG_VERDICT).unwrap();
        let (mut client, mut server) = connection();
        let fd = u64::from(client.as_raw_fd().unsigned_abs());
        map.update(&[0; 4], &fd.to_ne_bytes(), UpdateFlags::ANY).unwrap();
        client.write_all(b"hello").unwrap();
        let mut text = [0; 5];
        server.read_exact(&mut text).unwrap();
        assert_eq!((&text, runs(&ours)), (b"hello", 1));
        if let Ok(there) = sockmap::progs(map, AttachType::SK_MSG_VERDICT) {
            assert_eq!(there, [prog.id().unwrap()]);
            let other = theirs.prog("count").unwrap();
            let error = sockmap::attach(other, map, AttachType::SK_MSG_VERDICT).unwrap_err();
            assert!(error.to_string().contains(&format!("program {} is there already", there[0])), "{error}");
        }
        match attached {
            Attachment::Link(link) => drop(link.close_proven().unwrap()),
            Attachment::Bare => sockmap::detach(prog, map, AttachType::SK_MSG_VERDICT).unwrap(),
        }
        assert!(sockmap::detach(prog, map, AttachType::SK_MSG_VERDICT).is_err(), "it is gone");
    });
}

#[test]
fn tracepoints_by_type_and_by_name() {
    for (section, name) in [("tp_btf/sys_enter", None), ("raw_tp", Some(c"sys_enter"))] {
        let counter = counter(section, "ctx: *void", 0);
        let prog = counter.prog("count").unwrap();
        let link = match name {
            None => tracing::attach(prog),
            Some(name) => tracing::attach_raw_tracepoint(prog, name),
        };
        let link = link.unwrap_or_else(|error| panic!("{section}: {error:?}"));
        let _pid = nix::unistd::getppid();
        assert!(runs(&counter) > 0, "{section}");
        link.close_proven().unwrap();
        let after = runs(&counter);
        let _pid = nix::unistd::getppid();
        assert_eq!(runs(&counter), after, "{section}");
    }
    let counter = counter("raw_tp", "ctx: *void", 0);
    let error = tracing::attach_raw_tracepoint(counter.prog("count").unwrap(), c"no_such_tracepoint").unwrap_err();
    assert!(error.to_string().contains("no tracepoint of this name"), "{error}");
}

#[test]
fn a_namespace_asks_its_program_for_the_listener() {
    with_loopback(|_| {
        let refuse = counter("sk_lookup", "ctx: *bpf_sk_lookup", 0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let link = netns::attach_here(refuse.prog("count").unwrap(), AttachType::SK_LOOKUP).unwrap();
        assert_eq!(TcpStream::connect(to).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        assert_eq!(runs(&refuse), 1);
        link.close_proven().unwrap();
        TcpStream::connect(to).unwrap();
    });
}

#[test]
fn packets_of_an_interface_run_its_tcx_programs() {
    with_loopback(|lo| {
        // TCX_NEXT: the next program, or the stack.
        let counter = counter("tcx/ingress", "skb: *__sk_buff", -1);
        let prog = counter.prog("count").unwrap();
        let link = match tcx::attach(prog, lo, AttachType::TCX_INGRESS) {
            Err(link::Error::Attach { source: Errno::EINVAL, .. }) if kernel_release() < Some((6, 6)) => {
                return println!("skip: tcx needs Linux 6.6");
            }
            attached => attached.unwrap(),
        };
        assert_eq!(tcx::progs(lo, AttachType::TCX_INGRESS).unwrap(), [prog.id().unwrap()]);
        drop(connection());
        assert!(runs(&counter) > 2);
        link.close_proven().unwrap();
        assert!(tcx::progs(lo, AttachType::TCX_INGRESS).unwrap().is_empty());
    });
}
