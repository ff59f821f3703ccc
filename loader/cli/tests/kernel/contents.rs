//! What a manifest puts into maps: global variables and entries, by type; changed in place by another `up`.

use std::path::PathBuf;

use loader::map::Map;
use loader::sys::uapi::UpdateFlags;
use serde_json::json;

use crate::ground::{Ground, alone, ids};
use crate::hooks::steps;

const OBJECT: &str = r#"
.license "GPL"
.struct place { address: be32, port: be16, proto: u8, pad: u8 }
.enum verdict { DENY, ALLOW = 5 }
.map rules: hash { key: place, value: verdict, max_entries: 16 }
.map totals: percpu_array { key: u32, value: u64, max_entries: 2 }
.rodata
.var limit: u32 = 5
.data
.var first: u32 = 1
.var rate: u64 = 7
.bss
.var mode: verdict
.section xdp
.func main(ctx: *xdp_md) -> int
main:
  r1 = rules ll
  r1 = totals ll
  r1 = limit ll
  r1 = rate ll
  r1 = mode ll
  r0 = 2
  exit
.section raw_tp/no_such_tracepoint
.func late(ctx: *u64) -> int
late:
  r0 = 0
  exit
"#;

fn pinned(map: &str) -> Map {
    Map::from_pin(format!("/sys/fs/bpf/loader/given/maps/{map}")).expect("it is pinned")
}

fn bytes(map: &str) -> Vec<u8> {
    pinned(map).lookup(&[0; 4]).expect("read").expect("an array has its element")
}

fn rule(n: u8, port: u16) -> Vec<u8> {
    [&[10, 0, 0, n][..], &port.to_be_bytes(), &[6, 0]].concat()
}

fn manifest(ground: &Ground, rest: &str) -> PathBuf {
    ground.file("g.s", OBJECT);
    ground.file("given.toml", format!("name = \"given\"\n[[program]]\nobject = \"g.s\"\nname = \"main\"\n{rest}"))
}

/// Entries by last byte of the address, port and verdict.
fn rules(all: &[(u8, u16, &str)]) -> String {
    let row = |(n, port, verdict): &(u8, u16, &str)| {
        let key = format!("{{ address = \"10.0.0.{n}\", port = {port}, proto = 6 }}");
        format!("[[map.rules.entry]]\nkey = {key}\nvalue = \"{verdict}\"\n")
    };
    all.iter().map(row).collect()
}

fn there() -> Vec<(Vec<u8>, u8)> {
    let mut all: Vec<_> =
        pinned("rules").entries().expect("read").into_iter().map(|(key, value)| (key, value[0])).collect();
    all.sort();
    all
}

#[test]
fn variables_and_entries_are_set_and_changed_in_place() {
    alone(|ground| {
        let data = |limit, rate| format!("[data]\nlimit = {limit}\nrate = {rate}\nmode = \"ALLOW\"\n");
        let totals = "[[map.totals.entry]]\nkey = 1\nvalue = 40\n";
        let two = rules(&[(1, 80, "ALLOW"), (2, 443, "DENY")]);
        let text = manifest(ground, &format!("{}{two}{totals}", data(9, 100)));
        ground.up(&text);
        assert_eq!(bytes("_rodata"), 9_u32.to_ne_bytes());
        assert_eq!(bytes("_data"), [&1_u32.to_ne_bytes()[..], &[0; 4], &100_u64.to_ne_bytes()].concat());
        assert_eq!(bytes("_bss"), 5_u32.to_ne_bytes());
        assert_eq!(there(), [(rule(1, 80), 5), (rule(2, 443), 0)]);
        let total = pinned("totals").lookup_per_cpu(&1_u32.to_ne_bytes()).expect("read").expect("it is there");
        assert!(total.iter().all(|one| *one == 40_u64.to_ne_bytes()), "{total:?}");
        assert_eq!(ground.up(&text)["deployments"][0]["changed"], false);
        let old = ground.status("given");

        // Somebody else's entry, and a variable that the program changes.
        pinned("rules").update(&rule(9, 9), &5_u32.to_ne_bytes(), UpdateFlags::ANY).expect("there is room");
        pinned("_data").write_part(0, &77_u32.to_ne_bytes()).expect("write");
        let other = rules(&[(1, 80, "DENY"), (3, 22, "ALLOW")]);
        let up = ground.up(&manifest(ground, &format!("{}{other}{totals}", data(9, 200))));
        assert_eq!(steps(&up), ["set"], "{up}");
        assert_eq!(ids(&ground.status("given")), ids(&old));
        assert_eq!(bytes("_data"), [&77_u32.to_ne_bytes()[..], &[0; 4], &200_u64.to_ne_bytes()].concat());
        assert_eq!(there(), [(rule(1, 80), 0), (rule(3, 22), 5), (rule(9, 9), 5)]);

        // What the manifest no longer says goes back, and a constant is part of the program.
        let up = ground.up(&manifest(ground, "[data]\nlimit = 10\n"));
        assert_eq!(steps(&up), ["load", "set", "pin"], "{up}");
        assert_eq!(bytes("_rodata"), 10_u32.to_ne_bytes());
        assert_eq!(bytes("_data")[8..], 7_u64.to_ne_bytes());
        assert_eq!((bytes("_bss"), there()), (vec![0; 4], vec![(rule(9, 9), 5)]));
        assert_eq!(pinned("totals").lookup(&1_u32.to_ne_bytes()).expect("read").map(|all| all[0]), Some(0));
        assert_eq!(ground.status("given")["drift"], json!([]));
        ground.run(["down", "given"]);
        ground.is_clean("after down");
    });
}

#[test]
fn a_failed_change_puts_the_old_values_back() {
    alone(|ground| {
        let text = manifest(ground, &format!("[data]\nrate = 100\n{}", rules(&[(1, 80, "ALLOW")])));
        ground.up(&text);
        let (old, maps) = (ground.status("given"), (bytes("_data"), there()));
        let late = "[[program]]\nobject = \"g.s\"\nname = \"late\"\nattach = { auto = true }\n";
        let text = manifest(ground, &format!("{late}[data]\nrate = 5\n{}", rules(&[(2, 80, "ALLOW")])));
        let words = ["no tracepoint of this name", "undo: put the old contents back"];
        ground.run(["up".as_ref(), text.as_os_str()]).failed(&words);
        assert_eq!((ground.status("given"), (bytes("_data"), there())), (old, maps));
        ground.run(["down", "given"]);
        ground.is_clean("after down");
    });
}

#[test]
fn what_does_not_fit_is_told_at_its_line() {
    alone(|ground| {
        let key = "key = { address = \"10.0.0.1\", port = 80 }";
        let table = [
            ("[data]\nlimit = 4294967296\n", "4294967296 does not fit 32 bits", "given.toml:6:9"),
            ("[data]\nlimit = \"many\"\n", "\"many\" is no number", "given.toml:6:9"),
            ("[data]\nlimits = 5\n", "no object of this deployment has a global variable `limits`", "given.toml:6:10"),
            ("[[map.rules.entry]]\nkey = { prt = 80 }\nvalue = 1\n", "prt: there is no member", "given.toml:6:7"),
            (&format!("[[map.rules.entry]]\n{key}\nvalue = \"MAYBE\"\n"), "\"MAYBE\" is no number", "given.toml:7:9"),
            ("[[map.rules.entry]]\nkey = 1\n", "missing field `value`", "given.toml:5:1"),
        ];
        for (rest, words, place) in table {
            let text = manifest(ground, rest);
            ground.run(["up".as_ref(), text.as_os_str()]).failed(&[words, place]);
            ground.is_clean(rest);
        }
    });
}
