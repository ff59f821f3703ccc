//! `progs/bypass.toml` as it is shipped, on a cgroup of the test's own: rules in the manifest, by hand, and while connections live.

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use progs::bypass::types::Reason;
use serde_json::{Value, json};

use crate::ground::{EVERYBODY, Ground, alone, shipped};
use crate::hooks::{Cgroup, steps};
use crate::sockets::{loopback, say, talking};

const MAPS: &str = "/sys/fs/bpf/loader/bypass/maps";

/// Room for more ends of connections than a test has. To make all that ours has by default takes longer than most tests.
const ROOM: &str =
    "\n[map.inboxes]\nmax_entries = 4096\n[map.peers]\nmax_entries = 4096\n[map.ends]\nmax_entries = 4096\n";

/// The manifest as it is shipped on a cgroup of the test's own, with another line in its `[data]`, and more behind it.
pub(crate) fn manifest(ground: &Ground, cgroup: &Cgroup, data: &str, rest: &str) -> PathBuf {
    let own = format!("\ncgroup = \"{}\"\n", cgroup.0.display());
    let text = shipped("bypass.toml").replace("\ncgroup = \"lab\"\n", &own);
    ground.file("bypass.toml", text.replace("[data]\n", &format!("[data]\n{data}\n")) + EVERYBODY + ROOM + rest)
}

/// The same, with the first bytes of all that is sent copied.
fn copying(manifest: PathBuf) -> PathBuf {
    let text = std::fs::read_to_string(&manifest).expect("it was written");
    let wanted = text.replace("first_bytes = 0", "first_bytes = 8");
    assert!(wanted != text, "the shipped manifest says that none are");
    std::fs::write(&manifest, wanted).expect("it is a file");
    manifest
}

/// A map's entries, as the command shows them.
fn dump(ground: &Ground, map: &str) -> Vec<Value> {
    let shown = ground.json(["map", "dump", &format!("{MAPS}/{map}"), "--json"]);
    shown.as_array().unwrap_or_else(|| panic!("{shown}")).clone()
}

#[test]
fn rules_in_the_manifest_and_by_hand() {
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("bypass-rules");
        let up = ground.up(&manifest(ground, &cgroup, "", ""));
        if dump(ground, "_data")[0]["value"]["open"] == 0 {
            ground.run(["down", "bypass"]);
            return println!("skip: counting what is read needs Linux 5.11");
        }
        let home = cgroup.enter();
        let mut living = talking();
        let ends = dump(ground, "ends");
        assert_eq!(ends.len(), 2, "both ends are enrolled: {ends:?}");
        assert_eq!(ends[0]["value"]["local"], "::ffff:127.0.0.1");

        let denied = "[[map.policy_port.entry]]\nkey = 3\nvalue = { first = 1, last = 65535, rule = \"Deny\" }\n\
                      [[map.policy_net6.entry]]\nkey = { bits = 32, address = \"2001:db8::\" }\nvalue = \"Allow\"\n";
        let audit = || dump(ground, "_data_audit")[0]["value"]["audit"]["first_bytes"].clone();
        assert_eq!(audit(), 0, "nobody asked for copies");
        let denied = copying(manifest(ground, &cgroup, "", denied));
        assert_eq!(steps(&ground.up(&denied)), ["set"], "nothing is loaded anew");
        assert_eq!(audit(), 8);
        let rule = json!({ "key": { "bits": 32, "address": "2001:db8::" }, "value": "Allow" });
        assert_eq!(dump(ground, "policy_net6"), [rule]);
        drop(talking());
        assert_eq!(dump(ground, "ends").len(), 2, "a new connection is not");
        ground.up(&manifest(ground, &cgroup, "", ""));
        assert_eq!(dump(ground, "policy_net6"), Vec::<Value>::new());

        if up["deployments"][0]["left_out"]["made"].is_null() {
            let key = json!({ "command": ends[0]["value"]["comm"] }).to_string();
            ground.json(["map", "set", &format!("{MAPS}/policy_command"), &key, "\"Deny\"", "--json"]);
            follows(ground, &mut living);
        }
        drop(home);
        ground.run(["down", "bypass"]);
        ground.is_clean("after down");
    });
}

#[test]
fn flows_are_shown_and_told_of() {
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("bypass-flows");
        ground.run(["bypass", "flows"]).failed(&["`bypass` is not up"]);
        ground.up(&manifest(ground, &cgroup, "", ""));
        if dump(ground, "_data")[0]["value"]["open"] == 0 {
            ground.run(["down", "bypass"]);
            return println!("skip: counting what is read needs Linux 5.11");
        }
        let home = cgroup.enter();
        let (client, server) = talking();
        let flows = ground.json(["bypass", "flows", "--json"]);
        let local = |end: &TcpStream| json!(end.local_addr().expect("its address").to_string());
        assert_eq!(flows.as_array().map(Vec::len), Some(1), "{flows}");
        assert_eq!((&flows[0]["client"]["local"], &flows[0]["server"]["local"]), (&local(&client), &local(&server)));
        assert_eq!(flows[0]["client"]["pid"], std::process::id());
        let redirected = flows[0]["server"]["received"]["redirected_bytes"].as_u64();
        assert!(redirected > Some(0), "{flows}");
        drop((client, server));
        drop(home);
        let told = ground.run(["bypass", "flows", "--follow", "--count", "2", "--json"]).stdout;
        let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        assert_eq!(events.iter().map(|one| one["event"].as_str()).collect::<Vec<_>>(), [Some("begun"), Some("ended")]);
        assert_eq!(events[1]["server"]["received"]["redirected_bytes"].as_u64(), redirected);
        assert_eq!(ground.json(["bypass", "flows", "--json"]), json!([]));
        ground.run(["down", "bypass"]);
    });
}

/// What each end says first, where the manifest wants it copied: as it comes, and beside the pairs that live.
#[test]
fn what_is_said_first_is_shown_if_it_is_copied() {
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("bypass-said");
        ground.up(&copying(manifest(ground, &cgroup, "", "")));
        if dump(ground, "_data")[0]["value"]["open"] == 0 {
            ground.run(["down", "bypass"]);
            return println!("skip: counting what is read needs Linux 5.11");
        }
        let home = cgroup.enter();
        let (client, server) = talking();
        drop(home);
        let local = |end: &TcpStream| end.local_addr().expect("its address");
        let (a, b, pid) = (local(&client), local(&server), std::process::id());
        let told = ground.run(["bypass", "flows", "--follow", "--count", "5"]).stdout;
        let mut lines: Vec<_> = told.lines().collect();
        assert!(lines.remove(0).starts_with("begun  "), "{told}");
        let command = ground.json(["bypass", "flows", "--json"])[0]["client"]["command"].clone();
        let said = |from, to, rest| {
            format!("sent  {from}  {pid}/{}  to {to}  5 bytes at {rest}", command.as_str().unwrap_or("?"))
        };
        let want = [(a, b, "0: \"hello\""), (b, a, "0: \"hello\""), (a, b, "5: \"hel\"..."), (b, a, "5: \"hel\"...")];
        assert_eq!(lines, want.map(|(from, to, rest)| said(from, to, rest)));
        let table = ground.run(["bypass", "flows", "--head"]).stdout;
        assert!(table.contains("CLIENT BEGAN  SERVER BEGAN") && table.contains("\"hello\"       \"hello\""), "{table}");
        assert!(!ground.run(["bypass", "flows"]).stdout.contains("hello"), "only if it is asked for");
        drop((client, server));
        ground.run(["down", "bypass"]);
    });
}

/// Talks until both directions go by TCP because a rule says so.
fn follows(ground: &Ground, (client, server): &mut (TcpStream, TcpStream)) {
    let begun = Instant::now();
    loop {
        say(client, server);
        say(server, client);
        let reasons: Vec<_> = dump(ground, "inboxes").iter().map(|entry| entry["value"]["reason"].clone()).collect();
        if reasons == [json!(Reason::Policy.number()), json!(Reason::Policy.number())] {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{reasons:?}");
    }
}

/// What the self-probe concludes is how it comes up: the program that counts nothing is not there, and nothing is redirected where
/// something is wrong.
#[test]
fn up_obeys_the_self_probe() {
    alone(|ground| {
        loopback();
        let cgroup = Cgroup::make("bypass-choice");
        let choice = &ground.json(["bypass", "probe", "--json"])["choice"];
        let up = ground.up(&manifest(ground, &cgroup, "", ""));
        assert_eq!(&up["probe"]["choice"], choice, "{up}");
        let status = ground.status("bypass");
        let programs = status["programs"].as_array().expect("programs");
        let counting = programs.iter().filter_map(|one| one["pin"].as_str()).filter(|pin| pin.starts_with("heard"));
        let wanted = match choice["counting"].as_str() {
            Some("tracepoint") => vec!["heard"],
            Some("function") => vec!["heard_fexit"],
            _ => vec![],
        };
        assert_eq!(counting.collect::<Vec<_>>(), wanted, "{status}");
        let data = dump(ground, "_data");
        let open = data[0]["value"]
            .as_object()
            .and_then(|value| value.values().find_map(|v| v["open"].as_u64().or(v.as_u64())));
        assert_eq!(open == Some(1), choice["open"] == true, "{data:?}");
        let policy = dump(ground, "_data_policy");
        let only_allowed = &policy[0]["value"]["policy"]["only_allowed"];
        assert_eq!(only_allowed == 1, choice["everybody"] == false, "{policy:?}");
        let again = ground.up(&manifest(ground, &cgroup, "", ""));
        assert_eq!(again["deployments"][0]["changed"], false, "{again}");
        ground.run(["down", "bypass"]);
        ground.is_clean("after down");
    });
}
