//! Programs on the sockets of a map that two objects share, on several cgroups, over iterators; and what a kernel refuses is
//! left out where the manifest allows it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use loader::map::Map;
use loader::sys::uapi::UpdateFlags;
use netlink::route::Socket;
use serde_json::json;

use crate::ground::{Ground, alone, are_gone, ids};
use crate::hooks::{Cgroup, steps};

/// Puts every socket that connects or accepts into the map, by its own cookie.
const ENROL: &str = r#"
.license "GPL"
.map peers: sockhash { key: u64, value: u64, max_entries: 64 }
.section sockops
.func enrol(ctx: *bpf_sock_ops) -> int
enrol:
  r6 = r1
  r2 = *(u32 *)(r1 + 0)
  if r2 == 4 goto take
  if r2 != 5 goto out
take:
  call bpf_get_socket_cookie
  *(u64 *)(r10 - 8) = r0
  r1 = r6
  r2 = peers ll
  r3 = r10
  r3 += -8
  r4 = 0
  call bpf_sock_hash_update
out:
  r0 = 1
  exit
"#;

/// Counts the messages of the sockets in the same map.
const COUNT: &str = r#"
.license "GPL"
.map peers: sockhash { key: u64, value: u64, max_entries: 64 }
.map runs: array { key: u32, value: u64, max_entries: 1 }
.section sk_msg
.func count(ctx: *sk_msg_md) -> int
count:
  *(u32 *)(r10 - 4) = 0
  r1 = runs ll
  r2 = r10
  r2 += -4
  call bpf_map_lookup_elem
  if r0 == 0 goto out
  r1 = STEP
  lock *(u64 *)(r0 + 0) += r1
out:
  r0 = 1
  exit
"#;

pub(crate) fn count(step: u32) -> String {
    COUNT.replace("STEP", &step.to_string())
}

pub(crate) fn manifest(ground: &Ground, cgroups: &[&Cgroup]) -> PathBuf {
    let cgroups: Vec<_> = cgroups.iter().map(|one| format!("\"{}\"", one.0.display())).collect();
    ground.file("enrol.s", ENROL);
    ground.file(
        "peers.toml",
        format!(
            "name = \"peers\"\n[map.peers]\nshared = true\n\
             [[program]]\nobject = \"enrol.s\"\nname = \"enrol\"\nattach = {{ cgroup = [{}] }}\n\
             [[program]]\nobject = \"count.s\"\nname = \"count\"\nattach = {{ sockmap = \"peers\" }}\n",
            cgroups.join(", ")
        ),
    )
}

/// How often the program has counted.
fn runs() -> u64 {
    let map = Map::from_pin("/sys/fs/bpf/loader/peers/maps/runs").expect("it is pinned");
    let value = map.lookup(&[0; 4]).expect("read").expect("an array has its element");
    u64::from_ne_bytes(value.try_into().expect("eight bytes"))
}

pub(crate) fn loopback() {
    let mut rt = Socket::open().expect("open netlink");
    let lo = rt.link_by_name("lo").expect("every namespace has one").ifindex;
    rt.link_set_up(lo).expect("loopback goes up");
}

/// A connection, one message there and one back.
pub(crate) fn exchange() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let mut server = listener.accept().expect("its other end").0;
    say(&mut client, &mut server);
    say(&mut server, &mut client);
    (client, server)
}

/// A connection on which each end has read: what is sent from now on is redirected, where this kernel can.
pub(crate) fn talking() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let mut client = TcpStream::connect(listener.local_addr().expect("its address")).expect("a connection");
    let mut server = listener.accept().expect("its other end").0;
    for _ in 0..2 {
        say(&mut client, &mut server);
        say(&mut server, &mut client);
    }
    (client, server)
}

pub(crate) fn say(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").expect("write");
    let mut text = [0; 5];
    to.read_exact(&mut text).expect("read");
    assert_eq!(&text, b"hello");
}

#[test]
fn sockets_of_a_shared_map_run_its_program() {
    alone(|ground| {
        loopback();
        let (one, two) = (Cgroup::make("sockets-one"), Cgroup::make("sockets-two"));
        ground.file("count.s", count(1));
        let text = manifest(ground, &[&one, &two]);
        ground.up(&text);
        let status = ground.status("peers");
        let at: Vec<_> = status["links"].as_array().expect("links").iter().map(|link| link["at"].clone()).collect();
        let cgroup = |cgroup: &Cgroup| json!(format!("cgroup {}", cgroup.0.display()));
        assert_eq!(at, [json!("sockets of peers"), cgroup(&one), cgroup(&two)], "{status}");
        assert!(status["links"].as_array().expect("links").iter().all(|link| link["attached"] == true), "{status}");
        let maps: Vec<_> = status["maps"].as_array().expect("maps").iter().map(|map| map["pin"].clone()).collect();
        assert_eq!((maps, &status["drift"]), (vec![json!("peers"), json!("runs")], &json!([])), "one map of that name");
        assert_eq!(ground.up(&text)["deployments"][0]["changed"], false);

        let mut standing = Vec::new();
        for (turn, cgroup) in [&one, &two].into_iter().enumerate() {
            let home = cgroup.enter();
            standing.push(exchange());
            drop(home);
            assert_eq!(runs(), 2 * (turn as u64 + 1), "both ends of a connection of each cgroup");
        }
        // Another program in the same place, for the sockets that come from now on; those that are in the map stay with the
        // one that they came under. What was counted stays.
        ground.file("count.s", count(100));
        assert_eq!(steps(&ground.up(&text)), ["load", "replace", "pin"]);
        let (client, server) = &mut standing[0];
        say(client, server);
        assert_eq!(runs(), 5);
        let home = one.enter();
        drop(exchange());
        drop(home);
        assert_eq!(runs(), 205);
        let new = ground.status("peers");
        assert_eq!(ids(&status)[0], ids(&new)[0], "links stay");
        assert_eq!(ids(&status)[2], ids(&new)[2], "maps stay");

        ground.run(["down", "peers"]);
        are_gone(&ids(&new));
        ground.is_clean("after down");
        let (client, server) = &mut standing[1];
        say(client, server);
    });
}

#[test]
fn a_map_shared_with_other_fields_is_refused() {
    alone(|ground| {
        let cgroup = Cgroup::make("sockets-refused");
        ground.file("count.s", count(1).replace("max_entries: 64", "max_entries: 65"));
        let text = manifest(ground, &[&cgroup]);
        let words = ["`peers` of count.s is not the `peers` of enrol.s", "peers.toml:2:"];
        ground.run(["up".as_ref(), text.as_os_str()]).failed(&words);
        let no_sockets =
            std::fs::read_to_string(&text).expect("read").replace("sockmap = \"peers\"", "sockmap = \"runs\"");
        ground.file("count.s", count(1));
        let text = ground.file("peers.toml", no_sockets);
        ground.run(["up".as_ref(), text.as_os_str()]).failed(&["`runs` is of type array: it holds no sockets"]);
        ground.is_clean("refused");
    });
}

/// One program that every kernel takes, one for a tracepoint and one with a helper that no kernel has, and an iterator.
const OPTIONAL: &str = r#"
.license "GPL"
.section tp_btf/sys_enter
.func trace(ctx: *u64) -> int
trace:
  r0 = 0
  exit
.section tp_btf/no_such_tracepoint
.func newer(ctx: *u64) -> int
newer:
  r0 = 0
  exit
.section raw_tp/sys_exit
.func helper(ctx: *u64) -> int
helper:
  call 9999
  r0 = 0
  exit
.section iter/task
.func tasks(ctx: *u64) -> int
tasks:
  r1 = *(u64 *)(r1 + 0)
  r1 = *(u64 *)(r1 + 0)
  r2 = hello ll
  r3 = 6
  call bpf_seq_write
  r0 = 0
  exit
.rodata
.var hello: char[8] = "hello\n"
"#;

#[test]
fn what_the_kernel_refuses_is_left_out_if_it_may_be() {
    alone(|ground| {
        ground.file("o.s", OPTIONAL);
        let program = |name: &str, optional| {
            format!(
                "[[program]]\nobject = \"o.s\"\nname = \"{name}\"\noptional = {optional}\nattach = {{ auto = true }}\n"
            )
        };
        let all = |optional| {
            let rows = ["newer", "helper"].map(|name| program(name, optional)).concat();
            ground.file("o.toml", format!("name = \"o\"\n{rows}{}{}", program("trace", false), program("tasks", true)))
        };
        let text = all(false);
        ground.run(["up".as_ref(), text.as_os_str()]).failed(&["no_such_tracepoint"]);
        ground.is_clean("nothing is optional");

        let text = all(true);
        let up = ground.up(&text);
        let left_out = &up["deployments"][0]["left_out"];
        let words = |pin: &str| left_out[pin].as_str().unwrap_or_default().to_owned();
        assert!(words("newer").contains("no TYPEDEF `btf_trace_no_such_tracepoint`"), "{up}");
        assert!(words("helper").contains("invalid func unknown#9999"), "{up}");
        assert_eq!(ground.up(&text)["deployments"][0]["changed"], false);
        let status = ground.status("o");
        assert_eq!((&status["drift"], &status["left_out"]), (&json!([]), left_out), "{status}");
        let names: Vec<_> =
            status["programs"].as_array().expect("programs").iter().map(|one| one["pin"].clone()).collect();
        assert_eq!(names, [json!("tasks"), json!("trace")]);
        let seen =
            std::fs::read_to_string("/sys/fs/bpf/loader/o/links/tasks@its:own:place").expect("an iterator reads");
        assert!(seen.lines().count() > 1 && seen.lines().all(|line| line == "hello"), "{seen}");

        ground.file("o.s", OPTIONAL.replace("no_such_tracepoint", "sys_exit"));
        let up = ground.up(&text);
        assert_eq!(up["deployments"][0]["left_out"].as_object().map(serde_json::Map::len), Some(1), "{up}");
        assert_eq!(ground.status("o")["links"].as_array().map(Vec::len), Some(3));
        ground.file("o.s", OPTIONAL);
        ground.up(&text);
        let last = ground.status("o");
        assert_eq!((last["links"].as_array().map(Vec::len), &last["drift"]), (Some(2), &json!([])), "{last}");
        ground.run(["down", "o"]);
        are_gone(&ids(&last));
        ground.is_clean("after down");
    });
}

/// A socket that somebody put into the map by hand is one like the others.
#[test]
fn sockets_put_in_by_hand_run_the_program_too() {
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("sockets-hand");
        ground.file("count.s", count(1));
        ground.up(&manifest(ground, &[&cgroup]));
        let (mut client, mut server) = exchange();
        assert_eq!(runs(), 0, "this process is in no cgroup of the manifest");
        let map = Map::from_pin("/sys/fs/bpf/loader/peers/maps/peers").expect("it is pinned");
        let fd = u64::from(client.as_raw_fd().unsigned_abs());
        map.update(&1_u64.to_ne_bytes(), &fd.to_ne_bytes(), UpdateFlags::ANY).expect("a socket of ours");
        say(&mut client, &mut server);
        assert_eq!(runs(), 1);
        ground.run(["down", "peers"]);
        ground.is_clean("after down");
    });
}
