//! Maps that outlive their programs: kept where the new definition is the old one, else as the manifest says.

use std::path::PathBuf;

use loader::map::Map;
use loader::sys::uapi::UpdateFlags;
use serde_json::{Value, json};

use crate::ground::{Ground, alone, are_gone, ids};

/// An object with a table of flows and a counter; the program's verdict tells the versions apart.
fn object(verdict: u32, flow: &str, max_entries: u32) -> String {
    format!(
        ".license \"GPL\"\n.struct flow {{ {flow} }}\n\
         .map flows: hash {{ key: u32, value: flow, max_entries: {max_entries} }}\n.bss\n.var seen: u64\n\
         .section xdp\n.func verdict(ctx: *xdp_md) -> int\nverdict:\n  r1 = flows ll\n  r1 = seen ll\n  \
         r0 = {verdict}\n  exit\n"
    )
}

const FLOW: &str = "packets: u64, bytes: u32, state: u32";

fn manifest(ground: &Ground, options: &str) -> PathBuf {
    let options = if options.is_empty() { String::new() } else { format!("[map.flows]\n{options}\n") };
    ground.file("keep.toml", format!("name = \"keep\"\n{options}[[program]]\nobject = \"x.s\"\nname = \"verdict\"\n"))
}

fn pinned(map: &str) -> Map {
    Map::from_pin(format!("/sys/fs/bpf/loader/keep/maps/{map}")).expect("it is pinned")
}

/// Brings the first version up, with so many flows in its table; flow n has n packets, 2n bytes, state 3n.
fn stand(ground: &Ground, flows: u32) -> Value {
    ground.file("x.s", object(1, FLOW, 4096));
    ground.up(&manifest(ground, ""));
    let map = pinned("flows");
    for n in 0..flows {
        let value =
            [u64::from(n).to_ne_bytes().to_vec(), (2 * n).to_ne_bytes().to_vec(), (3 * n).to_ne_bytes().to_vec()];
        map.update(&n.to_ne_bytes(), &value.concat(), UpdateFlags::ANY).expect("there is room");
    }
    pinned("_bss").update(&[0; 4], &77_u64.to_ne_bytes(), UpdateFlags::ANY).expect("an array has its element");
    ground.status("keep")
}

fn word(value: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(value[at..at + 4].try_into().expect("four bytes"))
}

fn map_id(status: &Value, name: &str) -> u64 {
    let maps = status["maps"].as_array().expect("a list");
    maps.iter().find(|map| map["pin"] == name).and_then(|map| map["id"].as_u64()).expect("the map has an id")
}

fn step(up: &Value, name: &str) -> Value {
    let steps = up["deployments"][0]["plan"]["steps"].as_array().expect("steps");
    steps.iter().find(|step| step["step"] == name).cloned().unwrap_or_default()
}

#[test]
fn the_same_definition_keeps_map_and_contents() {
    alone(|ground| {
        let old = stand(ground, 10);
        ground.file("x.s", object(2, FLOW, 4096));
        let up = ground.up(&manifest(ground, ""));
        assert_eq!(step(&up, "load")["kept"], json!([".bss", "flows"]), "{up}");
        let new = ground.status("keep");
        for name in ["flows", "_bss"] {
            assert_eq!(map_id(&old, name), map_id(&new, name), "{name}");
        }
        assert_ne!(old["programs"][0]["tag"], new["programs"][0]["tag"]);
        assert_eq!(pinned("flows").entries().expect("read").len(), 10);
        assert_eq!(pinned("_bss").lookup(&[0; 4]).expect("read"), Some(77_u64.to_ne_bytes().to_vec()));
        assert_eq!(ground.up(&manifest(ground, ""))["deployments"][0]["changed"], false);
        ground.run(["down", "keep"]);
        are_gone(&ids(&new));
        ground.is_clean("after down");
    });
}

#[test]
fn another_definition_changes_nothing_until_the_manifest_allows_it() {
    alone(|ground| {
        let old = stand(ground, 3000);
        ground.file("x.s", object(2, "state: u64, packets: u64, more: u32", 2000));
        let text = manifest(ground, "");
        let words = [
            "map flows",
            "entries: wanted 2000, found 4096",
            "value field state: wanted 8 bytes at byte 0, found 4 bytes at byte 12",
            "value field bytes: wanted none, found 4 bytes at byte 8",
            "on_mismatch = \"migrate\"",
        ];
        for dry in [&["--dry-run"][..], &[]] {
            let args = ["up".as_ref(), text.as_os_str()].into_iter().chain(dry.iter().map(AsRef::as_ref));
            ground.run(args).failed(&words);
            assert_eq!(ground.status("keep"), old, "nothing may have changed");
        }

        let up = ground.up(&manifest(ground, "on_mismatch = \"migrate\""));
        let migrated = &up["deployments"][0]["migrated"][0];
        assert_eq!(
            migrated,
            &json!({ "map": "flows", "copied": 2000, "left": { "no room": 1000 }, "dropped": ["bytes"], "added": ["more"] })
        );
        let map = pinned("flows");
        let entries = map.entries().expect("read");
        assert_eq!(entries.len(), 2000);
        for (key, value) in entries {
            let n = word(&key, 0);
            assert_eq!([word(&value, 0), word(&value, 8), word(&value, 16)], [3 * n, n, 0], "flow {n}");
        }
        are_gone(&[Vec::new(), Vec::new(), vec![map_id(&old, "flows")]]);
        let kept = ground.status("keep");
        assert_eq!(map_id(&old, "_bss"), map_id(&kept, "_bss"));

        ground.file("x.s", object(2, FLOW, 4096));
        let up = ground.up(&manifest(ground, "on_mismatch = \"replace\""));
        assert_eq!(step(&up, "renew")["migrate"], false, "{up}");
        assert_eq!(pinned("flows").entries().expect("read").len(), 0);
        ground.run(["down", "keep"]);
        ground.is_clean("after down");
    });
}

#[test]
fn what_cannot_be_copied_is_said_before_anything_changes() {
    alone(|ground| {
        let old = stand(ground, 1);
        let text = object(2, FLOW, 4096).replace("flows: hash { key: u32", "flows: hash { key: u64");
        ground.file("x.s", text.replace("value: flow", "value: u8[3]"));
        let text = manifest(ground, "on_mismatch = \"migrate\"");
        ground
            .run(["up".as_ref(), text.as_os_str()])
            .failed(&["key size: wanted 8, found 4", "values have no field in common"]);
        let ring = object(2, FLOW, 4096).replace("hash { key: u32, value: flow,", "ringbuf {");
        ground.file("x.s", ring);
        let words = ["type: wanted ringbuf, found hash", "a map of type ringbuf cannot be read and written again"];
        ground.run(["up".as_ref(), text.as_os_str()]).failed(&words);
        assert_eq!(ground.status("keep"), old);
        ground.run(["down", "keep"]);
        ground.is_clean("after down");
    });
}
