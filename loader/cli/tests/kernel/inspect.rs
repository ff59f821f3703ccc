//! `loader prog`, `map` and `link` on what the kernel has: by id, by pin, by name; values by their types.

use serde_json::{Value, json};

use crate::ground::{Ground, alone};

/// A program with a typed map and one per CPU.
const OBJECT: &str = r#"
.license "GPL"
.struct Service { port: be16, proto: u8, pad: u8 }
.enum Mode { DIRECT, TUNNEL = 4 }
.struct Real { addr: be32, weight: u32, mode: Mode }
.map inspect_svc: hash { key: Service, value: Real, max_entries: 8 }
.map inspect_cnt: percpu_array { key: u32, value: u64, max_entries: 2 }
.section xdp
.func inspected(ctx: *xdp_md) -> int
inspected:
    *(u32 *)(r10 - 4) = 0
    r1 = inspect_svc ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    *(u32 *)(r10 - 4) = 0
    r1 = inspect_cnt ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    r0 = 2
    exit
"#;

/// The pin of something that was loaded.
fn pin<'v>(loaded: &'v Value, kind: &str, name: &str) -> &'v str {
    let all = loaded[kind].as_array().expect("a list");
    let one = all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {loaded:#}"));
    one["pin"].as_str().expect("a pin")
}

fn loaded(ground: &Ground) -> Value {
    let object = ground.file("inspect.s", OBJECT);
    ground.json([
        "load".as_ref(),
        object.as_os_str(),
        "--pin".as_ref(),
        "/sys/fs/bpf/inspect".as_ref(),
        "--json".as_ref(),
    ])
}

/// Instructions that take two slots.
fn wide(code: &Value) -> usize {
    code.as_array().into_iter().flatten().filter(|insn| insn.as_str().is_some_and(|insn| insn.ends_with(" ll"))).count()
}

#[test]
fn a_program_is_found_shown_dumped_and_run() {
    alone(|ground| {
        let loaded = loaded(ground);
        let id = &loaded["programs"][0]["id"];
        let prog = pin(&loaded, "programs", "inspected");
        let all = ground.json(["prog", "list", "--json"]);
        let listed = all.as_array().expect("a list").iter().find(|prog| prog["id"] == *id).expect("ours");
        assert_eq!((&listed["name"], &listed["prog_type"]), (&json!("inspected"), &json!("xdp")));
        for word in [id.to_string().as_str(), prog] {
            assert_eq!(ground.json(["prog", "show", word, "--json"])["id"], *id, "{word}");
        }
        let mut dumped = ground.json(["prog", "dump", prog, "--json"]);
        let code = dumped["code"].take();
        let exit = dumped["lines"].as_array().expect("its lines").last().expect("one").clone();
        assert_eq!((&exit["text"], &exit["line"]), (&json!("exit"), &json!(OBJECT.lines().count())), "{exit}");
        assert_eq!(exit["at"], code.as_array().expect("lines").len() - 1 + wide(&code), "by the kernel's positions");
        let text = ground.run(["prog", "dump", prog]).stdout;
        let under =
            format!("; exit @ {}:{}:{}\n", exit["file"].as_str().expect("a file"), exit["line"], exit["column"]);
        let map = format!("map[id:{}]", loaded["maps"][0]["id"]);
        assert!(text.contains(&under) && text.contains(&map) && text.trim_end().ends_with(": exit"), "{text}");
        assert!(
            code.as_array().expect("lines").last().expect("one").as_str().expect("text").ends_with(": exit"),
            "{code}"
        );
        let packet = "00".repeat(64);
        let ran = ground.json(["prog", "run", &id.to_string(), "--data", &packet, "--json"]);
        assert_eq!((&ran["retval"], ran["data"].as_str()), (&json!(2), Some(packet.as_str())));
        let done = ground.run(["prog", "show", pin(&loaded, "maps", "inspect_svc")]);
        assert!(done.code == Some(1) && done.stderr.contains("holds a map, not a program"), "{done:?}");
        assert!(ground.json(["link", "list", "--json"]).is_array());
    });
}

#[test]
fn elements_are_read_and_written_by_their_types() {
    alone(|ground| {
        let loaded = loaded(ground);
        let map = pin(&loaded, "maps", "inspect_svc");
        let (key, value) = (r#"{"port": 443, "proto": 6}"#, r#"{"addr": "10.0.0.1", "weight": 3, "mode": "TUNNEL"}"#);
        let set = ground.json(["map", "set", map, key, value, "--json"]);
        let element = json!({
            "key": { "port": 443, "proto": 6, "pad": 0 }, "value": { "addr": 0x0a00_0001, "weight": 3, "mode": "TUNNEL" }
        });
        assert_eq!(set, element);
        assert_eq!(ground.json(["map", "dump", map, "--json"]), json!([element]));
        // The port is in network byte order.
        assert_eq!(ground.json(["map", "get", map, "hex:01bb0600", "--json"]), element);
        let done = ground.run(["map", "set", map, r#"{"prot": 6}"#, value]);
        assert!(
            done.code == Some(1) && done.stderr.contains("prot: there is no member of that name; there are port"),
            "{done:?}"
        );
        assert_eq!(ground.json(["map", "delete", map, key, "--json"]), element);
        let done = ground.run(["map", "get", map, key]);
        assert!(done.code == Some(1) && done.stderr.contains("no such key"), "{done:?}");
        let counters = pin(&loaded, "maps", "inspect_cnt");
        let set = ground.json(["map", "set", counters, "1", "7", "--json"]);
        let values = set["value"].as_array().expect("one a CPU");
        assert!(!values.is_empty() && values.iter().all(|value| *value == 7), "{set}");
        assert_eq!(ground.json(["map", "show", counters, "--json"])["map_type"], "percpu_array");
    });
}

/// Writes a record into a ring buffer at each run; a variable of its type brings that along.
const TELLER: &str = r#"
.license "GPL"
.struct Event { ns: u64, from: be32, port: be16, kind: u16 }
.map watch_events: ringbuf { max_entries: 4096 }
.rodata
.var sample: Event = { ns: 5, from: 0x0a000001, port: 443, kind: 2 }
.section raw_tp/sys_enter
.func tell(ctx: *u64) -> int
tell:
    r1 = watch_events ll
    r2 = sample ll
    r3 = 16
    r4 = 0
    call bpf_ringbuf_output
    r0 = 0
    exit
"#;

#[test]
fn records_of_a_ring_buffer_are_shown_by_their_type() {
    alone(|ground| {
        ground.file("teller.s", TELLER);
        let text = "name = \"watch\"\n[[program]]\nobject = \"teller.s\"\nname = \"tell\"\nattach = { auto = true }\n";
        let text = ground.file("watch.toml", text);
        ground.up(&text);
        let watch = ["map", "watch", "/sys/fs/bpf/loader/watch/maps/watch_events", "--count", "2"];
        let done = ground.run(watch.into_iter().chain(["--type", "Event"]));
        assert_eq!(done.code, Some(0), "{done:?}");
        assert_eq!(done.stdout, "ns=5 from=167772161 port=443 kind=2\n".repeat(2));
        let done = ground.run(watch.into_iter().chain(["--type", "Event", "--json"]));
        let line: Value = serde_json::from_str(done.stdout.lines().next().unwrap_or_default()).expect("a line of JSON");
        assert_eq!(line, json!({ "ns": 5, "from": 167_772_161, "port": 443, "kind": 2 }));
        assert_eq!(ground.run(watch).stdout.lines().next().map(str::len), Some(32), "without a type, bytes");
        ground.run(watch.into_iter().chain(["--type", "Evnt"])).failed(&["has a type `Evnt`", "used by: tell"]);
        ground.run(["down", "watch"]);
        ground.is_clean("after down");
    });
}
