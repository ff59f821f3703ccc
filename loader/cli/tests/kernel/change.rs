//! A manifest that changed: replaced in place, without a gap; and taken back when the new one does not work.

use std::path::PathBuf;

use netlink::route::{Socket, VethPeer, VethSpec};
use serde_json::Value;

use crate::broken::object;
use crate::ground::{Ground, alone, are_gone, ids};

pub(crate) fn veths(names: [&str; 2]) {
    let mut rt = Socket::open().expect("open netlink");
    let peer = VethPeer { name: names[1], ..VethPeer::default() };
    rt.link_create_veth(VethSpec { name: names[0], peer, ..VethSpec::default() }).expect("make a veth pair");
}

/// A deployment of one object of ours on the interfaces named.
fn manifest(ground: &Ground, ifaces: &[&str]) -> PathBuf {
    let attach: Vec<_> = ifaces.iter().map(|iface| format!("{{ xdp = \"{iface}\" }}")).collect();
    let attach = attach.join(", ");
    let text = format!("name = \"change\"\n[[program]]\nobject = \"x.o\"\nname = \"verdict\"\nattach = [{attach}]\n");
    ground.file("change.toml", text)
}

fn link(status: &Value, at: usize) -> (u64, String) {
    let link = &status["links"][at];
    (link["id"].as_u64().expect("an id"), link["at"].as_str().expect("a hook").to_owned())
}

#[test]
fn a_new_program_takes_the_old_ones_place() {
    alone(|ground| {
        veths(["v0", "v1"]);
        ground.file("x.o", object(2));
        let text = manifest(ground, &["v0"]);
        ground.up(&text);
        let old = ground.status("change");

        ground.file("x.o", object(1));
        let up = ground.up(&text);
        let steps: Vec<_> = up["deployments"][0]["plan"]["steps"].as_array().expect("steps").iter().collect();
        let steps: Vec<_> = steps.iter().map(|step| step["step"].as_str().unwrap_or_default()).collect();
        assert_eq!(steps, ["load", "replace", "pin"]);
        let new = ground.status("change");
        assert_eq!(link(&old, 0), link(&new, 0), "the link must stay");
        assert_ne!(old["programs"][0]["tag"], new["programs"][0]["tag"]);
        assert_eq!((&new["drift"], &new["links"][0]["mode"]), (&serde_json::json!([]), &"native".into()), "{new}");
        are_gone(&[Vec::new(), ids(&old)[1].clone(), Vec::new()]);
        assert_eq!(ground.up(&text)["deployments"][0]["changed"], false);

        ground.run(["down", "change"]);
        ground.is_clean("after down");
    });
}

#[test]
fn a_hook_more_a_hook_less() {
    alone(|ground| {
        veths(["v0", "v1"]);
        veths(["w0", "w1"]);
        ground.file("x.o", object(2));
        ground.up(&manifest(ground, &["v0"]));
        let one = ground.status("change");
        ground.up(&manifest(ground, &["v0", "w0"]));
        let two = ground.status("change");
        assert_eq!((two["links"].as_array().map(Vec::len), link(&two, 0)), (Some(2), link(&one, 0)));
        ground.up(&manifest(ground, &["w0"]));
        let last = ground.status("change");
        assert_eq!((last["links"].as_array().map(Vec::len), link(&last, 0)), (Some(1), link(&two, 1)));
        are_gone(&[vec![link(&one, 0).0], Vec::new(), Vec::new()]);
        ground.run(["down", "--all"]);
        ground.is_clean("after down");
    });
}

#[test]
fn a_change_that_fails_is_taken_back() {
    alone(|ground| {
        veths(["v0", "v1"]);
        ground.file("x.o", object(2));
        ground.up(&manifest(ground, &["v0"]));
        let old = ground.status("change");
        // The new program is fine, its second interface is not there.
        ground.file("x.o", object(1));
        let text = manifest(ground, &["v0", "gone"]);
        ground.run(["up".as_ref(), text.as_os_str()]).failed(&["there is no interface gone"]);
        assert_eq!(ground.status("change"), old);
        // Refused half way: the first hook is replaced already when the second is refused.
        veths(["w0", "w1"]);
        let mut rt = Socket::open().expect("open netlink");
        for name in ["w0", "w1"] {
            let link = rt.link_by_name(name).expect("find").ifindex;
            rt.link_set_mtu(link, 9_000).expect("set the MTU");
        }
        let text = std::fs::read_to_string(&text).expect("read").replace("\"gone\"", "\"w0\", mode = \"native\"");
        let text = ground.file("change.toml", text);
        let done = ground.run(["up".as_ref(), text.as_os_str()]);
        done.failed(&["MTU is too large", "undo: put verdict back"]);
        assert_eq!(ground.status("change"), old);
        ground.run(["down", "change"]);
        ground.is_clean("after down");
    });
}

#[test]
fn new_weights_change_the_maps_alone() {
    alone(|ground| {
        let text = ground.lb(10);
        ground.up(&text);
        let old = ground.status("lb");
        let changed = std::fs::read_to_string(&text).expect("read").replace("weight = 2", "weight = 9");
        let text = ground.file("lb.toml", changed);
        let up = ground.up(&text);
        let new = ground.status("lb");
        assert_eq!(ids(&old), ids(&new), "{up}");
        let share = |status: &Value| status["counters"]["lb"]["values"]["vips"][0]["reals"][2]["slots"].clone();
        assert_ne!(share(&old), share(&new), "{new}");
        let packets = |status: &Value| status["counters"]["lb"]["values"]["vips"][1]["packets"].as_u64();
        assert!(packets(&new) > packets(&old), "counters go on");
        ground.run(["down", "lb"]);
        ground.is_clean("after down");
    });
}

#[test]
fn drift_is_shown_and_mended() {
    alone(|ground| {
        veths(["v0", "v1"]);
        ground.file("x.o", object(2));
        let text = manifest(ground, &["v0"]);
        ground.up(&text);
        std::fs::remove_file("/sys/fs/bpf/loader/change/links/verdict@v0").expect("unpin the link");
        let drift = ground.status("change")["drift"].to_string();
        assert!(drift.contains("v0: verdict is not attached"), "{drift}");
        ground.up(&text);
        assert_eq!(ground.status("change")["drift"], serde_json::json!([]));
        std::fs::remove_file("/sys/fs/bpf/loader/change/record").expect("unpin the record");
        assert!(ground.status("change")["drift"].to_string().contains("no record"));
        ground.up(&text);
        assert_eq!(ground.status("change")["drift"], serde_json::json!([]));
        ground.run(["down", "--all"]);
        ground.is_clean("after down");
    });
}
