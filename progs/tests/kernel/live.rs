//! Both programs on real interfaces, with real sockets: a client, a balancer that routes between two networks, a real server.
//!
//! ```text
//! client 192.0.2.7 ── toclient [balance] balancer [toreal] 10.10.1.1 ── 10.10.1.2 [decap] real server, VIP on lo
//! ```
//!
//! Every MTU is 1500, so what fills a packet does not fit the tunnel.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use loader::link::{
    Link,
    xdp::{self, Mode, XdpOptions},
};
use netlink::{
    generic::ethtool::Ethtool,
    route::{OperState, Route, Socket, VethPeer, VethSpec},
};
use nix::sched::{CloneFlags, unshare};
use progs::lb::control::{DecapTables, apply};

use crate::{
    packets::CLIENT,
    support::{BALANCER, Balancer, Loaded, REAL, VIP, config, in_netns},
};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const LONG: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own.
struct Host {
    jobs: Sender<Job>,
    netns: File,
}

impl Host {
    fn new() -> Self {
        let (jobs, work) = channel::<Job>();
        let (ready, netns) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
            ready.send(File::open("/proc/thread-self/ns/net").expect("it has a file")).expect("somebody waits");
            work.into_iter().for_each(|job| job());
        });
        Self { jobs, netns: netns.recv().expect("the thread lives") }
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        let job = Box::new(move || drop(done.send(job())));
        self.jobs.send(job).expect("the thread lives");
        result.recv().expect("the job does not panic")
    }
}

/// Settings of the calling thread's namespace.
fn settings(values: &[(&str, &str)]) {
    for (name, value) in values {
        std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{name}"), value).expect("our own setting");
    }
}

/// A host's end of a wire: an address, everything else by the balancer, packets that leave as they are.
fn wire(address: Ipv4Addr, gateway: Ipv4Addr) -> u32 {
    settings(&[("rp_filter", "0")]);
    let mut route = Socket::open().expect("netlink");
    let eth0 = route.link_by_name("eth0").expect("it was put here").ifindex;
    let plain = [("tx", false), ("tso", false), ("gso", false)];
    Ethtool::open().expect("ethtool").set_features(eth0, &plain).expect("a veth can do without");
    route.link_set_up(1).expect("up");
    route.link_set_up(eth0).expect("up");
    route.addr_add(eth0, address.into(), 24).expect("an address");
    route.route_add(&Route::default_of(2).via(gateway.into())).expect("a route");
    eth0
}

fn attach(object: &Loaded, ifindex: u32, mode: Mode) -> Link {
    let options = XdpOptions { modes: vec![mode], ..XdpOptions::default() };
    xdp::attach(object.prog(), ifindex, &options).expect("a veth does XDP in both modes").link
}

/// An interface transmits a little after it is up.
fn wait_until_up(route: &mut Socket, name: &str) {
    for _ in 0..1000 {
        if route.link_by_name(name).expect("it exists").oper_state == OperState::Up {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{name} does not come up");
}

const CONFIG: &str = r#"
    balancers = ["10.10.1.1"]
    [[vip]]
    address = "10.10.0.5"
    port = 80
    protocol = "tcp"
    reals = [{ address = "10.10.1.2" }]
    [[vip]]
    address = "10.10.0.5"
    port = 80
    protocol = "udp"
    reals = [{ address = "10.10.1.2" }]
"#;

/// Two links that nobody uses. Where both ends of a wire have the same number, each in its own namespace, older kernels take it for no wire,
/// and say that it is up when their next second begins.
fn spread_numbers(route: &mut Socket) {
    let peer = VethPeer { name: "unused1", ..VethPeer::default() };
    route.link_create_veth(VethSpec { name: "unused0", peer, ..VethSpec::default() }).expect("a veth");
}

/// The network above. What is returned keeps it up; to be called in the balancer's namespace.
struct Network {
    client: Host,
    real: Host,
    balancer: Balancer,
    _links: Vec<Link>,
}

fn network(mode: Mode) -> Network {
    let (client, real) = (Host::new(), Host::new());
    settings(&[("forwarding", "1"), ("accept_local", "1"), ("rp_filter", "0")]);
    let mut route = Socket::open().expect("netlink");
    spread_numbers(&mut route);
    let mut connect = |name, host: &Host, address: Ipv4Addr| {
        let peer = VethPeer { name: "eth0", netns_fd: Some(host.netns.as_fd()), ..VethPeer::default() };
        let ifindex = route.link_create_veth(VethSpec { name, peer, ..VethSpec::default() }).expect("a veth").ifindex;
        route.addr_add(ifindex, address.into(), 24).expect("an address");
        route.link_set_up(ifindex).expect("up");
        ifindex
    };
    let toclient = connect("toclient", &client, GATEWAY);
    connect("toreal", &real, BALANCER);
    let mut links = vec![client.run(move || attach(&Loaded::new("pass", &[]), wire(CLIENT, GATEWAY), mode))];
    links.push(real.run(move || {
        let eth0 = wire(REAL, BALANCER);
        Socket::open().expect("netlink").addr_add(1, VIP.into(), 32).expect("the VIP");
        let decap = Loaded::new("lb-decap", &[]);
        let tables = DecapTables::plan(&config(CONFIG), &BTreeSet::from([REAL])).expect("a real server");
        apply(&tables.diff(&DecapTables::default()), &decap.maps()).expect("the kernel takes it");
        attach(&decap, eth0, mode)
    }));
    let balancer = Balancer::new(CONFIG);
    links.push(attach(&balancer.object, toclient, mode));
    ["toclient", "toreal"].iter().for_each(|name| wait_until_up(&mut route, name));
    for host in [&client, &real] {
        host.run(|| wait_until_up(&mut Socket::open().expect("netlink"), "eth0"));
    }
    Network { client, real, balancer, _links: links }
}

#[test]
fn the_first_packet_to_an_unknown_neighbour_arrives() {
    first_packet(Mode::Native);
    first_packet(Mode::Generic);
}

fn first_packet(mode: Mode) {
    in_netns(move || {
        let network = network(mode);
        let server = network.real.run(|| UdpSocket::bind((VIP, 80)).expect("the VIP is ours"));
        server.set_read_timeout(Some(LONG)).expect("a timeout");
        let client = network.client.run(|| UdpSocket::bind((CLIENT, 0)).expect("our address"));
        client.set_read_timeout(Some(LONG)).expect("a timeout");
        client.connect((VIP, 80)).expect("a route");
        for n in 0..4u8 {
            client.send(&[n; 100]).expect("sent");
            let mut bytes = [0; 200];
            let (len, from) = server.recv_from(&mut bytes).expect("nothing is lost, not even the first");
            assert_eq!((&bytes[..len], from), ([n; 100].as_slice(), client.local_addr().expect("it has one")));
            server.send_to(&bytes[..len], from).expect("sent");
            assert_eq!(client.recv(&mut bytes).expect("the reply"), 100);
        }
        let counters = network.balancer.counters();
        let udp = counters.vips.iter().find(|vip| vip.vip.ends_with("udp")).expect("it is configured");
        assert_eq!((udp.packets, udp.bytes), (4, 4 * 128));
        let unresolved: Vec<_> = udp.reasons.iter().map(|r| (r.reason, r.packets)).collect();
        assert_eq!(unresolved, [("no-neighbour", 1)], "the stack took the first, this program the others");
    });
}

#[test]
fn a_sender_of_full_packets_learns_what_fits() {
    full_packets(Mode::Native);
    full_packets(Mode::Generic);
}

fn full_packets(mode: Mode) {
    in_netns(move || {
        let network = network(mode);
        let listener = Arc::new(network.real.run(|| TcpListener::bind((VIP, 80)).expect("the VIP is ours")));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).expect("all of it");
            stream.write_all(&bytes.len().to_be_bytes()).expect("the reply");
            bytes
        });
        let text: Vec<u8> = (0..=250u8).cycle().take(300_000).collect();
        let sent = text.clone();
        let answer = network.client.run(move || {
            let mut stream = TcpStream::connect((VIP, 80)).expect("the balancer forwards");
            stream.set_read_timeout(Some(LONG)).expect("a timeout");
            stream.write_all(&sent).expect("sent");
            stream.shutdown(Shutdown::Write).expect("the end");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).map(|_| answer)
        });
        assert_eq!(answer.expect("an answer"), text.len().to_be_bytes());
        assert!(server.join().expect("the server lives") == text, "what arrives is what was sent");
        let counters = network.balancer.counters();
        let tcp = counters.vips.iter().find(|vip| vip.vip.ends_with("tcp")).expect("it is configured");
        let answered = tcp.reasons.iter().find(|r| r.reason == "too-big-answered").map_or(0, |r| r.packets);
        assert!(answered > 0, "full packets did not fit: {counters}");
        assert!(tcp.bytes >= 300_000, "{counters}");
    });
}
