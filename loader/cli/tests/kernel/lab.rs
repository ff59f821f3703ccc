//! What a lab has beside hosts and wires: cgroups, a host behind another one, translations.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::ground::{Ground, alone, are_gone, ids};

/// A program of every cgroup's sockets, on two of the lab's; a host behind another one, which answers for it.
fn manifest(ground: &Ground) -> PathBuf {
    let program = ".license \"GPL\"\n.map seen: array { key: u32, value: u64, max_entries: 1 }\n.section sockops\n\
                   .func watch(ctx: *bpf_sock_ops) -> int\nwatch:\n  *(u32 *)(r10 - 4) = 0\n  r1 = seen ll\n  r2 = r10\n  \
                   r2 += -4\n  call bpf_map_lookup_elem\n  if r0 == 0 goto out\n  r1 = 1\n  \
                   lock *(u64 *)(r0 + 0) += r1\nout:\n  r0 = 1\n  exit\n";
    ground.file("watch.s", program);
    let text = "name = \"nested\"\n[lab.host.out]\naddress = [\"10.0.0.1/24\"]\n[lab.host.front]\naddress = [\"10.0.0.2/24\"]\n\
                sysctl = { \"net.ipv4.ip_forward\" = 1 }\n\
                dnat = [{ protocol = \"tcp\", from = \"10.0.0.2:8080\", to = \"10.0.1.2:80\" }, \
                { protocol = \"udp\", from = \"10.0.0.2:5353\", to = \"10.0.1.2:53\" }]\n\
                [lab.host.back]\nbehind = { host = \"front\", address = \"10.0.1.1/24\" }\naddress = [\"10.0.1.2/24\"]\n\
                route = [{ to = \"0.0.0.0/0\", via = \"10.0.1.1\" }]\ncgroup = true\n\
                [[lab.trial]]\nfrom = \"out\"\nto = \"10.0.0.2:8080\"\nlisten = \"10.0.1.2:80\"\nprotocol = \"tcp\"\n\
                servers = [\"back\"]\nexchanges = 5\n\
                [[lab.trial]]\nfrom = \"front\"\nto = \"10.0.0.2:5353\"\nlisten = \"10.0.1.2:53\"\nprotocol = \"udp\"\n\
                servers = [\"back\"]\nexchanges = 5\n\
                [[program]]\nobject = \"watch.s\"\nname = \"watch\"\nattach = { cgroup = \"lab\", netns = \"back\" }\n";
    ground.file("nested.toml", text)
}

/// How many events of sockets the program has seen.
fn seen() -> u64 {
    let map = loader::map::Map::from_pin("/sys/fs/bpf/loader/nested/maps/seen").expect("it is pinned");
    let value = map.lookup(&[0; 4]).expect("read").expect("an array has its element");
    u64::from_ne_bytes(value.try_into().expect("eight bytes"))
}

/// The lab's cgroup.
fn cgroup(up: &Value) -> PathBuf {
    PathBuf::from(up["deployments"][0]["cgroup"].as_str().expect("it has one"))
}

#[test]
fn a_host_behind_another_one_and_its_cgroup() {
    alone(|ground| {
        let text = manifest(ground);
        let up = ground.up(&text);
        for trial in up["deployments"][0]["trials"].as_array().expect("two") {
            assert_eq!((&trial["succeeded"], &trial["servers"][0]["answered"]), (&json!(5), &json!(5)), "{trial}");
        }
        let own = cgroup(&up);
        assert!(own.join("back").is_dir() && !own.join("front").exists(), "only hosts that want one have one");
        assert!(seen() >= 5, "the server's sockets are the cgroup's");
        let status = ground.status("nested");
        assert_eq!((&status["drift"], &status["links"][0]["at"]), (&json!([]), &json!("back:cgroup lab")), "{status}");
        assert_eq!(ground.up(&text)["deployments"][0]["changed"], false);

        // Somebody tries it out, and goes on afterwards.
        let mut guest = ground.command(["vm"]).stdin(Stdio::piped()).spawn().expect("it waits for a program");
        fs::write(own.join("back/cgroup.procs"), guest.id().to_string()).expect("the cgroup takes it");
        let down = ground.json(["down", "--json", "nested"]);
        let told = format!("moved process {} (loader) out of cgroup {}/back", guest.id(), own.display());
        assert_eq!(down[0]["moved"], json!([told]), "{down}");
        assert_eq!((down[0]["cgroup"].as_str(), own.exists()), (own.to_str(), false), "{down}");
        drop(guest.stdin.take());
        guest.wait().expect("it ends by itself");
        are_gone(&ids(&status));
        ground.is_clean("after down");
    });
}

#[test]
fn a_cgroup_that_is_gone_is_made_again() {
    alone(|ground| {
        let text = manifest(ground);
        let own = cgroup(&ground.up(&text));
        fs::remove_dir(own.join("back")).expect("nobody is in it");
        let up = ground.up(&text);
        let why = &up["deployments"][0]["plan"]["steps"];
        assert!(why.to_string().contains("its cgroup"), "{why}");
        let again = cgroup(&up);
        assert!(!own.exists() && again.join("back").is_dir());
        assert_eq!(ground.run(["down", "nested"]).code, Some(0));
        assert!(!again.exists());
        ground.is_clean("after down");
    });
}
