//! The main job: the shipped manifest from nothing to traffic, and back to nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::ground::{Ground, alone, are_gone, ids, rounds, shipped};

#[test]
fn up_status_up_down() {
    alone(|ground| {
        let (exchanges, requests) = (rounds(500), rounds(50));
        ground.lb(exchanges);
        ground.bypass(requests);
        let all = ground.file("all.toml", shipped("all.toml"));
        let before = bpftool();
        let up = ground.up(&all);
        every_exchange_worked(&up, exchanges);
        let status = ground.status("lb");
        is_as_wanted(&status, exchanges.into());
        what_the_lab_promises(ground);
        let bypass = ground.status("bypass");
        past_the_stack(&up, &bypass, requests);

        let again = ground.up(&all);
        for deployment in again["deployments"].as_array().expect("two deployments") {
            assert_eq!(deployment["changed"], false, "{again}");
        }
        assert_eq!(ids(&ground.status("lb")), ids(&status), "the second up changed something");
        assert_eq!(ids(&ground.status("bypass")), ids(&bypass), "the second up changed something");

        let ids = [ids(&bypass), ids(&status)];
        let down = ground.json(["down".as_ref(), "--json".as_ref(), all.as_os_str()]);
        for (down, ids) in down.as_array().expect("two deployments").iter().zip(&ids) {
            assert_eq!(down["links"].as_array().map(Vec::len), Some(ids[0].len()), "{down}");
            assert_eq!((&down["left"], &down["moved"]), (&json!([]), &json!([])), "{down}");
            are_gone(ids);
            same_counts(&before, ids);
        }
        let cgroup = down[0]["cgroup"].as_str().expect("the bypass's lab has cgroups");
        assert!(cgroup.contains("/loader-bypass-") && !Path::new(cgroup).exists(), "{down}");
        ground.is_clean("after down");
    });
}

fn every_exchange_worked(up: &Value, exchanges: u32) {
    let trials = up["deployments"][0]["trials"].as_array().expect("trials");
    assert_eq!(trials.len(), 2);
    for trial in trials {
        assert_eq!((&trial["succeeded"], &trial["failures"]), (&exchanges.into(), &serde_json::json!([])), "{trial}");
        let servers = trial["servers"].as_array().expect("servers");
        let served: u64 = servers.iter().filter_map(|one| one["served"].as_u64()).sum();
        assert_eq!(served, u64::from(exchanges), "{trial}");
        for server in servers {
            // A share of a third or a quarter is not under a tenth by chance.
            assert!(server["served"].as_u64() > Some(u64::from(exchanges) / 10), "{trial}");
            assert_eq!(server["served"], server["answered"], "{trial}");
        }
    }
}

/// Every way was taken, every byte was right, and where the kernel lets it be most of it went past the stack.
fn past_the_stack(up: &Value, status: &Value, requests: u32) {
    let is_open = up["probe"]["choice"]["open"] == true;
    let up = &up["deployments"][1];
    assert_eq!((&status["stage"], &status["drift"]), (&"up".into(), &json!([])), "{status}");
    let names: Vec<_> =
        up["trials"].as_array().expect("trials").iter().map(|one| one["trial"]["name"].clone()).collect();
    let ways = ["loopback", "through DNAT", "from the container"];
    assert_eq!(names, ways.map(|way| [json!(way), json!(format!("{way}, large"))]).concat());
    for trial in up["trials"].as_array().into_iter().flatten() {
        let wanted = trial["trial"]["exchanges"].as_u64().expect("a number");
        let is_compared = trial["trial"]["compare"] == true;
        assert_eq!((&trial["succeeded"], &trial["failures"]), (&wanted.into(), &json!([])), "{trial}");
        let answered = if is_compared { 2 * wanted } else { wanted };
        assert_eq!(trial["servers"][0]["answered"], answered, "{trial}");
        assert_eq!(trial["plain"]["median_us"].as_f64().is_some_and(|us| us > 0.0), is_compared, "{trial}");
        let share = &trial["shares"][0];
        // Each end is enrolled, and each request and each reply was seen; but not those outside of the cgroup.
        let wanted = if is_open { wanted } else { 0 };
        let rounds = trial["trial"]["rounds"].as_u64().expect("a number");
        assert_eq!(share["ends"], 2 * wanted, "{trial}");
        let number = |name: &str| share[name].as_u64().expect("a number");
        let (messages, seen, all) = (number("messages"), number("of_messages"), 2 * wanted * rounds);
        // The first of each direction goes by TCP: nobody has read yet.
        let most = 2 * wanted * (rounds - 1);
        assert_eq!(seen, all, "{trial}");
        assert!(messages <= most && messages >= most / 2, "{messages} of at most {most}, {requests} requests: {trial}");
    }
}

fn is_as_wanted(status: &Value, exchanges: u64) {
    assert_eq!((&status["stage"], &status["drift"]), (&"up".into(), &serde_json::json!([])), "{status}");
    let links = status["links"].as_array().expect("links");
    assert_eq!(links.len(), 5);
    for link in links {
        assert_eq!((&link["mode"], &link["refused"]), (&"native".into(), &serde_json::json!([])), "{link}");
    }
    for prog in status["programs"].as_array().expect("programs") {
        assert!(prog["run_count"].as_u64() > Some(exchanges), "{prog}");
        assert_eq!(prog["tag"].as_str().map(str::len), Some(16), "{prog}");
    }
    let packets = status["counters"]["lb"]["values"]["vips"].as_array().expect("vips");
    let packets: Vec<_> = packets.iter().filter_map(|vip| vip["packets"].as_u64()).collect();
    // A TCP exchange has at least five packets from the client: SYN, ACK, request, ACK, FIN.
    assert!(
        packets.len() == 2 && packets.contains(&exchanges) && packets.iter().any(|n| *n > 5 * exchanges),
        "{packets:?}"
    );
}

/// Other tools see what we made, under the names we said.
fn what_the_lab_promises(ground: &Ground) {
    let names: Vec<_> = std::fs::read_dir("/run/netns").expect("list").flatten().map(|one| one.file_name()).collect();
    assert_eq!(names.len(), 6 + 4, "{names:?}");
    assert!(Path::new("/sys/fs/bpf/loader/lb/progs/balance").exists());
    let ours = |name: &str| name.starts_with("lb-") || name.starts_with("bypass-");
    assert!(names.iter().all(|name| ours(&name.to_string_lossy())), "{names:?}");
    let text = ground.run(["status", "lb"]).stdout;
    for word in ["up, as wanted", "balancer:eth0", "native", "10.10.0.5:80/tcp", "10.10.1.4"] {
        assert!(text.contains(word), "`{word}` is missing in:\n{text}");
    }
}

/// What `bpftool` knows: kind → ids. Empty where it is not installed.
fn bpftool() -> BTreeMap<&'static str, Vec<u64>> {
    let mut all = BTreeMap::new();
    for kind in ["prog", "map", "link"] {
        let Ok(output) = Command::new("bpftool").args(["--json", kind, "show"]).output() else { continue };
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        let ids = list.as_array().into_iter().flatten().filter_map(|one| one["id"].as_u64());
        all.insert(kind, ids.collect());
    }
    all
}

/// Of all that `bpftool` sees now and did not see before, nothing is ours.
fn same_counts(before: &BTreeMap<&'static str, Vec<u64>>, [links, progs, maps]: &[Vec<u64>; 3]) {
    let after = bpftool();
    for (kind, ours) in [("link", links), ("prog", progs), ("map", maps)] {
        let (Some(before), Some(after)) = (before.get(kind), after.get(kind)) else { continue };
        let left: Vec<_> = after.iter().filter(|id| !before.contains(id) && ours.contains(id)).collect();
        assert!(left.is_empty(), "bpftool still sees {kind} {left:?}");
    }
}

#[test]
fn load_pins_everything_or_nothing() {
    alone(|ground| {
        let dir = "/sys/fs/bpf/standalone";
        let loaded = ground.json(["load", "--json", "lb", "--pin", dir]);
        assert_eq!(loaded["programs"][0]["name"], "balance", "{loaded}");
        assert_eq!(loaded["programs"][0]["type"], "xdp", "{loaded}");
        assert_eq!(loaded["maps"].as_array().map(Vec::len), Some(5), "{loaded}");
        for one in loaded["programs"].as_array().into_iter().chain(loaded["maps"].as_array()).flatten() {
            assert!(Path::new(one["pin"].as_str().expect("a pin")).exists(), "{one}");
        }
        // The names are taken now: what the second one made is gone again, what the first one made is not.
        ground.run(["load", "lb", "--pin", dir]).failed(&["there is a pin of that name already"]);
        assert!(Path::new(dir).join("progs/balance").exists());
        std::fs::remove_dir_all(dir).expect("remove the pins");
        ground.run(["load", "lb", "--pin", "/tmp/no-bpffs"]).failed(&["BPF file system"]);
        assert!(!Path::new("/tmp/no-bpffs").exists());
        ground.is_clean("after load");
    });
}
