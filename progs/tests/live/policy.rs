//! Rules say who is enrolled: at either end, by each of four things, and while connections live.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
use progs::bypass::control::{Bypass, Counting};
use progs::bypass::policy::{Port, Refusal, Rule};
use progs::bypass::rules::Subject;

use crate::rig::{Mode, Rig, accept, exchange, in_netns, loopback_up};

/// Who opens connections, and from where.
pub(crate) const CLIENT: &str = "bp-opens";
/// Who accepts them.
pub(crate) const SERVER: &str = "bp-accepts";

/// Two cgroups below the rig's, one for each end, gone at the end.
pub(crate) struct Apart {
    pub(crate) client: PathBuf,
    pub(crate) server: PathBuf,
}

impl Apart {
    fn new(rig: &Rig) -> Self {
        let made = |name| {
            let path = rig.cgroup.path().join(name);
            fs::create_dir(&path).expect("a cgroup below the rig's");
            path
        };
        Self { client: made("opens"), server: made("accepts") }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for path in [&self.client, &self.server] {
            let _removed = fs::remove_dir(path);
        }
    }
}

pub(crate) fn id(path: &Path) -> u64 {
    fs::metadata(path).expect("it is a directory").ino()
}

/// Runs `work` on a thread of that name, while the process is in that cgroup.
pub(crate) fn done_by<T: Send + 'static>(
    name: &str,
    rig: &Rig,
    cgroup: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    fs::write(cgroup.join("cgroup.procs"), "0").expect("we may enter it");
    let done = thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread").join();
    rig.cgroup.come_in();
    done.expect("it does not panic")
}

fn connected(from: SocketAddr, to: SocketAddr) -> TcpStream {
    let family = if from.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let end = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(end.as_raw_fd(), &SockaddrStorage::from(from)).expect("the address is ours");
    connect(end.as_raw_fd(), &SockaddrStorage::from(to)).expect("somebody listens");
    end.into()
}

/// Of four messages on it, two each way, how many are redirected. Both ends have read before.
pub(crate) fn redirected(rig: &Rig, (client, server): &mut (TcpStream, TcpStream)) -> u64 {
    let talk = |client: &mut TcpStream, server: &mut TcpStream| {
        for _ in 0..2 {
            exchange(client, server, b"question");
            exchange(server, client, b"answer");
        }
    };
    talk(client, server);
    let before = rig.redirected();
    talk(client, server);
    rig.redirected() - before
}

/// The way from one end of a connection to the other: where the client is bound, where the server listens, whom the client calls.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    from: &'static str,
    listening: &'static str,
    to: &'static str,
}

pub(crate) const IP4: Way = Way { from: "127.0.0.2", listening: "127.0.0.1", to: "127.0.0.1" };
const IP6: Way = Way { from: "::1", listening: "::1", to: "::1" };
/// The server's socket is one of IPv6, and takes IPv4 too.
const BOTH: Way = Way { from: "127.0.0.2", listening: "::", to: "127.0.0.1" };

impl Way {
    /// A connection of which each end was made by its own thread in its own cgroup: client, server.
    pub(crate) fn open(self, rig: &Rig, apart: &Apart) -> (TcpStream, TcpStream) {
        let [from, listening, to] = [self.from, self.listening, self.to].map(|text| text.parse().expect("an address"));
        let address = move |ip: IpAddr| SocketAddr::new(ip, 0);
        let listens = move || TcpListener::bind(address(listening)).expect("the port is free");
        let listener = done_by(SERVER, rig, &apart.server, listens);
        let to = SocketAddr::new(to, listener.local_addr().expect("its address").port());
        let client = done_by(CLIENT, rig, &apart.client, move || connected(address(from), to));
        (client, accept(&listener))
    }
}

/// Rules, each of which names one end of a connection by what that end sees.
fn subjects(apart: &Apart) -> Vec<(&'static str, Way, Subject, Refusal)> {
    let net = |text: &str, bits| Subject::Net(text.parse().expect("an address"), bits);
    let ports = |of| Subject::Ports { slot: 7, first: 1024, last: 65535, of };
    vec![
        ("command of the client", IP4, Subject::Command(CLIENT.to_owned()), Refusal::Command),
        ("command of the server", IP4, Subject::Command(SERVER.to_owned()), Refusal::Command),
        ("cgroup of the client", IP4, Subject::Cgroup(id(&apart.client)), Refusal::Cgroup),
        ("cgroup of the server", IP4, Subject::Cgroup(id(&apart.server)), Refusal::Cgroup),
        ("cgroup above both", IP4, Subject::Cgroup(id(apart.server.parent().expect("below it"))), Refusal::Cgroup),
        ("address that the client sees", IP4, net("127.0.0.1", 32), Refusal::Net),
        ("address that the server sees", IP4, net("127.0.0.2", 32), Refusal::Net),
        ("addresses that both see", IP4, net("127.0.0.0", 8), Refusal::Net),
        ("IPv6 address", IP6, net("::1", 128), Refusal::Net),
        ("IPv4 address at a socket of IPv6", BOTH, net("127.0.0.2", 31), Refusal::Net),
        ("own port", IP4, ports(Port::Local), Refusal::Port),
        ("other end's port", IP6, ports(Port::Remote), Refusal::Port),
        ("either port", IP4, ports(Port::Either), Refusal::Port),
    ]
}

/// Plays in a namespace, with the programs up, unless the kernel cannot count what is read: there nothing is enrolled anyway.
pub(crate) fn with_rules(play: fn(&Rig, &Apart)) {
    with_rules_and(|_| (), play);
}

/// The same with more done to the programs before.
pub(crate) fn with_rules_and(prepare: fn(&mut Bypass), play: fn(&Rig, &Apart)) {
    in_netns(move || {
        loopback_up();
        let mut rig = Rig::new(Mode::Ours);
        let ours = rig.ours.as_mut().expect("they are up");
        if ours.counting() == Counting::None {
            return println!("skip: counting what is read needs Linux 5.11");
        }
        prepare(ours);
        let apart = Apart::new(&rig);
        play(&rig, &apart);
    });
}

#[test]
fn a_denial_at_either_end_holds_for_the_pair() {
    with_rules(|rig, apart| {
        let ours = rig.ours.as_ref().expect("they are up");
        for (name, way, subject, why) in subjects(apart) {
            let mut living = way.open(rig, apart);
            assert_eq!(redirected(rig, &mut living), 4, "{name}: without a rule");
            ours.rule(&subject, Rule::Deny).expect("a rule");
            let refused = ours.refused(why).expect("they are counted");
            assert_eq!(redirected(rig, &mut living), 0, "{name}: the living connection goes by TCP");
            let mut new = way.open(rig, apart);
            assert_eq!(redirected(rig, &mut new), 0, "{name}: a new connection is left with TCP");
            assert_eq!(ours.refused(why).expect("they are counted"), refused + 1, "{name}: and counted, once");
            ours.rule(&subject, Rule::None).expect("the rule goes");
            assert_eq!(redirected(rig, &mut living), 4, "{name}: the living one comes back");
            assert_eq!(redirected(rig, &mut new), 0, "{name}: what was not enrolled at first never is");
            assert_eq!(redirected(rig, &mut way.open(rig, apart)), 4, "{name}: new ones are enrolled again");
        }
    });
}

#[test]
fn with_a_list_both_ends_have_to_be_on_it() {
    with_rules(|rig, apart| {
        let ours = rig.ours.as_ref().expect("they are up");
        let mut living = IP4.open(rig, apart);
        ours.only_allowed(true).expect("a setting");
        assert_eq!(redirected(rig, &mut living), 0, "nobody is on the list");
        let (client, server) = (Subject::Command(CLIENT.to_owned()), Subject::Cgroup(id(&apart.server)));
        ours.rule(&client, Rule::Allow).expect("a rule");
        assert_eq!(redirected(rig, &mut living), 0, "one end is not on the list");
        assert_eq!(redirected(rig, &mut IP4.open(rig, apart)), 0, "one end of a new one is not");
        ours.rule(&server, Rule::Allow).expect("a rule");
        assert_eq!(redirected(rig, &mut living), 4, "each end is on it by another rule");
        assert_eq!(redirected(rig, &mut IP4.open(rig, apart)), 4, "so is each end of a new one");
        // A denial wins over what allows; of two prefixes the longer one counts.
        let net = |text: &str, bits| Subject::Net(text.parse().expect("an address"), bits);
        ours.rule(&net("127.0.0.0", 8), Rule::Deny).expect("a rule");
        assert_eq!(redirected(rig, &mut living), 0, "a denial wins");
        ours.rule(&net("127.0.0.0", 30), Rule::Allow).expect("a rule");
        assert_eq!(redirected(rig, &mut living), 4, "the longer prefix counts");
    });
}

#[test]
fn rules_that_others_write_are_followed_soon() {
    with_rules(|rig, apart| {
        let ours = rig.ours.as_ref().expect("they are up");
        let mut living = IP4.open(rig, apart);
        assert_eq!(redirected(rig, &mut living), 4);
        let map = ours.loaded().map("policy_command").expect("its name");
        let mut key = [0; 16];
        key[..CLIENT.len()].copy_from_slice(CLIENT.as_bytes());
        map.update(&key, &2_u32.to_ne_bytes(), loader::sys::uapi::UpdateFlags::ANY).expect("as `loader map set` does");
        let begun = std::time::Instant::now();
        while redirected(rig, &mut living) != 0 {
            assert!(begun.elapsed() < crate::rig::LONG, "the connection does not follow");
        }
    });
}
