//! Tests of the plan: what is wanted, what is there, and the steps between them, as they print.

use std::collections::{BTreeMap, BTreeSet};

use asm::object::AttachType;

use super::*;
use crate::apply::contents::Contents;
use crate::apply::record::{LabRecord, LinkRecord, ObjectRecord, ProgRecord, Record, VERSION};
use crate::manifest::lab::Lab;
use crate::manifest::{Hook, Mode, OnMismatch};
use crate::map::Found;

fn map(name: &str) -> WantedMap {
    let spec = crate::spec::MapSpec {
        map_type: asm::object::MapType::HASH,
        key_size: 4,
        value_size: 8,
        max_entries: 16,
        ..Default::default()
    };
    WantedMap {
        name: name.to_owned(),
        definition: crate::map::Wanted::of(&spec, None),
        may_be_kept: true,
        initial: None,
        on_mismatch: OnMismatch::Fail,
        place: "m.toml:2:2".to_owned(),
    }
}

/// As the kernel says what was made of it.
fn found(map: &WantedMap) -> Found {
    let wanted = &map.definition;
    let info = crate::map::Info {
        id: 8,
        name: map.name.clone(),
        map_type: wanted.map_type,
        key_size: wanted.key_size,
        value_size: wanted.value_size,
        max_entries: wanted.max_entries,
        flags: wanted.flags,
        btf_id: 0,
        btf_key_type_id: 0,
        btf_value_type_id: 0,
        extra: 0,
    };
    Found { info, key: None, value: None }
}

fn wanted(lab: bool) -> Wanted {
    let text = |text: &str| text.to_owned();
    let object = WantedObject {
        name: text("lb"),
        digest: text("d1"),
        progs: [(text("balance"), text("balance"))].into(),
        maps: [(text("vips"), map("vips"))].into(),
        maps_together: false,
        optional: BTreeSet::new(),
        contents: Contents::default(),
        contents_words: Vec::new(),
        drains: false,
        config: serde_json::json!({"vip": 1}),
        words: vec![text("one VIP")],
    };
    let host = lab.then(|| text("balancer"));
    let pin = if lab { "balance@balancer:eth0" } else { "balance@eth0" };
    let link = WantedLink {
        pin: text(pin),
        program: text("balance"),
        host,
        hook: Hook::Xdp { iface: text("eth0"), modes: vec![Mode::Native, Mode::Generic] },
        attach_type: AttachType::XDP,
        target: None,
        displace: false,
        optional: false,
        place: text("m.toml:1:1"),
    };
    let lab = lab.then(|| {
        let hosts = [(text("balancer"), crate::manifest::lab::Host::default())].into();
        Lab { mtu: 1500, features: BTreeMap::new(), hosts, trials: Vec::new() }
    });
    let lab_digest = lab.as_ref().map_or_else(String::new, |_| text("l1"));
    Wanted { name: text("lb"), objects: vec![object], links: vec![link], lab, lab_digest }
}

/// What is there after `up` of what is wanted.
fn standing(wanted: &Wanted) -> Observed {
    let mut record = Record {
        version: VERSION,
        stage: Stage::Up,
        name: wanted.name.clone(),
        manifest: "m.toml".into(),
        objects: Vec::new(),
        progs: BTreeMap::new(),
        maps: Vec::new(),
        links: BTreeMap::new(),
        lab: None,
        left_out: BTreeMap::new(),
    };
    let mut observed = Observed { bpffs: true, directory: true, ..Observed::default() };
    for object in &wanted.objects {
        let (name, digest, config) = (object.name.clone(), object.digest.clone(), object.config.clone());
        let initial = object.maps.values().filter_map(|map| Some((map.name.clone(), map.initial.clone()?))).collect();
        let (sha256, contents) = ("s".to_owned(), object.contents.clone());
        record.objects.push(ObjectRecord { name, sha256, digest, initial, contents, config });
        for pin in object.progs.keys() {
            let (object, tag) = (object.name.clone(), "t".to_owned());
            record.progs.insert(pin.clone(), ProgRecord { object, name: pin.clone(), tag: tag.clone() });
            observed.progs.insert(pin.clone(), SeenProg { id: 7, tag });
        }
        for (pin, map) in &object.maps {
            observed.maps.insert(pin.clone(), found(map));
        }
    }
    for link in &wanted.links {
        let (program, host, hook) = (link.program.clone(), link.host.clone(), link.hook.clone());
        let got = link.hook.modes().first().copied();
        let (attach_type, target) = (link.attach_type.0, None);
        let written = LinkRecord { program, host, hook, attach_type, target, got, refused: Vec::new(), bare: false };
        record.links.insert(link.pin.clone(), written);
        observed.links.insert(link.pin.clone(), SeenLink { id: Some(9), prog_id: 7, attached: true });
    }
    record.lab = wanted.lab.as_ref().map(|_| LabRecord {
        digest: wanted.lab_digest.clone(),
        namespaces: BTreeMap::new(),
        cgroup: None,
    });
    observed.record = Some(record);
    observed
}

/// The steps' names alone.
fn steps(wanted: &Wanted, observed: &Observed) -> String {
    let plan = Plan::new(wanted, observed).unwrap();
    let names: Vec<_> = plan.steps.iter().map(|step| format!("{step:?}")).collect();
    let names: Vec<_> = names.iter().map(|name| name.split([' ', '{']).next().unwrap_or_default()).collect();
    names.join(" ")
}

fn record(observed: &mut Observed) -> &mut Record {
    observed.record.as_mut().unwrap()
}

#[test]
fn nothing_changes_what_stands() {
    for lab in [true, false] {
        let wanted = wanted(lab);
        assert!(Plan::new(&wanted, &standing(&wanted)).unwrap().is_empty(), "lab: {lab}");
    }
}

#[test]
fn everything_is_loaded_before_anything_is_attached() {
    let fresh = Observed::default();
    assert_eq!(steps(&wanted(true), &fresh), "Load MakeHost MakeHost Configure Pin Attach");
    assert_eq!(steps(&wanted(false), &fresh), "Load Configure Pin Attach");
    let mut holder = wanted(false);
    holder.objects[0].drains = true;
    assert_eq!(steps(&holder, &fresh), "Load Configure Pin Hold Attach Resume", "it begins when all of it is there");
}

/// An attachment that the kernel refused when it was tried.
fn leave_out(observed: &mut Observed) {
    let record = record(observed);
    record.left_out = record.links.keys().map(|pin| (pin.clone(), "no such hook".to_owned())).collect();
    record.links.clear();
    observed.links.clear();
}

/// The attachment is to the sockets of the map, whose object has changed.
fn on_sockmap(wanted: &mut Wanted, observed: &mut Observed, on_mismatch: OnMismatch, max_entries: u32) {
    let hook = Hook::Sockmap { map: "vips".to_owned() };
    record(observed).links.values_mut().for_each(|link| (link.hook, link.got) = (hook.clone(), None));
    wanted.links[0].hook = hook;
    wanted.objects[0].digest = "d2".into();
    let map = vips(&mut wanted.objects[0]);
    (map.on_mismatch, map.definition.max_entries) = (on_mismatch, max_entries);
}

#[test]
fn each_difference_has_its_step() {
    type Change = fn(&mut Wanted, &mut Observed);
    let table: [(&str, bool, Change, &str); 19] = [
        ("new bytes", false, |w, _| w.objects[0].digest = "d2".into(), "Load Configure Replace Pin"),
        ("new bytes in a lab", true, |w, _| w.objects[0].digest = "d2".into(), "Load Configure Replace Pin"),
        ("new weights", false, |w, _| w.objects[0].config = 5.into(), "Configure"),
        ("a program's pin is gone", false, |_, o| o.progs.clear(), "Load Configure Replace Pin"),
        ("a map's pin is gone", false, |_, o| o.maps.clear(), "Load Configure Replace Pin"),
        (
            "other instructions",
            false,
            |_, o| o.progs.values_mut().for_each(|p| p.tag.clear()),
            "Load Configure Replace Pin",
        ),
        ("detached", false, |_, o| o.links.clear(), "Attach"),
        ("interface gone", false, |_, o| o.links.values_mut().for_each(|l| l.attached = false), "Detach Attach"),
        ("other program", false, |_, o| o.links.values_mut().for_each(|l| l.prog_id = 1), "Replace"),
        ("mode", false, |w, _| w.links[0].hook = w.links[0].hook.in_mode(Some(Mode::Generic)), "Detach Attach"),
        ("interface", false, |w, _| w.links[0].pin = "balance@eth1".into(), "Attach Detach"),
        ("left out", false, |_, o| leave_out(o), ""),
        ("a sockmap's program", false, |w, o| on_sockmap(w, o, OnMismatch::Migrate, 16), "Load Configure Replace Pin"),
        (
            "a sockmap that changes",
            false,
            |w, o| on_sockmap(w, o, OnMismatch::Migrate, 32),
            "Load Renew Configure Detach Attach Pin",
        ),
        ("no attachment", false, |w, _| w.links.clear(), "Detach"),
        ("interrupted", false, |_, o| record(o).stage = Stage::Changing, "Load Configure Replace Pin"),
        (
            "interrupted lab",
            true,
            |_, o| record(o).stage = Stage::Changing,
            "Load Clear MakeHost MakeHost Configure Pin Attach",
        ),
        ("other lab", true, |w, _| w.lab_digest = "l2".into(), "Load Clear MakeHost MakeHost Configure Pin Attach"),
        (
            "lab damaged",
            true,
            |_, o| o.lab_damage = Some("x".into()),
            "Load Clear MakeHost MakeHost Configure Pin Attach",
        ),
    ];
    for (name, lab, change, want) in table {
        let mut wanted = wanted(lab);
        let mut observed = standing(&wanted);
        change(&mut wanted, &mut observed);
        assert_eq!(steps(&wanted, &observed), want, "{name}");
    }
}

#[test]
fn an_object_that_left_the_manifest_is_unpinned() {
    let mut wanted = wanted(false);
    let observed = standing(&wanted);
    wanted.objects.clear();
    wanted.links.clear();
    assert_eq!(steps(&wanted, &observed), "Detach Unpin Unpin");
}

/// What a system holds for others is let go of before a program changes, and only then.
#[test]
fn a_holder_is_drained_before_its_programs_change() {
    type Change = fn(&mut Wanted, &mut Observed);
    let table: [(&str, Change, &str); 6] = [
        ("as it was", |_, _| {}, ""),
        ("new weights", |w, _| w.objects[0].config = 5.into(), "Configure"),
        ("new bytes", |w, _| w.objects[0].digest = "d2".into(), "Load Drain Configure Hold Replace Pin Resume"),
        ("interrupted", |_, o| record(o).stage = Stage::Changing, "Load Drain Configure Hold Replace Pin Resume"),
        ("no attachment", |w, _| w.links.clear(), "Drain Resume Detach"),
        ("no object", |w, _| (w.objects, w.links) = Default::default(), "Drain Detach Unpin Unpin"),
    ];
    for (name, change, want) in table {
        let mut wanted = wanted(false);
        let mut observed = standing(&wanted);
        observed.holders = vec!["lb".to_owned()];
        wanted.objects[0].drains = true;
        change(&mut wanted, &mut observed);
        assert_eq!(steps(&wanted, &observed), want, "{name}");
    }
}

#[test]
fn pins_without_a_record_are_cleared() {
    let wanted = wanted(false);
    let mut observed = standing(&wanted);
    observed.record = None;
    assert_eq!(steps(&wanted, &observed), "Load Clear Configure Pin Attach");
}

#[test]
fn a_plan_prints() {
    let wanted = wanted(true);
    let text = Plan::new(&wanted, &Observed { bpffs: true, ..Observed::default() }).unwrap().to_string();
    let want = "lb: 6 steps
  1. load lb: programs balance; maps vips
  2. make host switch in network namespace lb-switch: a bridge of 1 ports
  3. make host balancer in network namespace lb-balancer: none
  4. configure lb: one VIP
  5. pin lb: 2 programs and maps
  6. attach balance to balancer:eth0, native, else generic
";
    assert_eq!(text, want);
    assert_eq!(Plan::new(&wanted, &standing(&wanted)).unwrap().to_string(), "lb: as wanted, nothing to change\n");
}

/// New bytes of an object with a map that is there already; `change` makes the map what the new object wants.
fn upgrade(change: impl FnOnce(&mut WantedObject)) -> (Wanted, Observed) {
    let mut wanted = wanted(false);
    let observed = standing(&wanted);
    wanted.objects[0].digest = "d2".into();
    change(&mut wanted.objects[0]);
    (wanted, observed)
}

fn vips(object: &mut WantedObject) -> &mut WantedMap {
    object.maps.get_mut("vips").unwrap()
}

#[test]
fn maps_outlive_their_programs() {
    type Change = fn(&mut WantedObject);
    let wider: Change = |object| vips(object).definition.value_size = 16;
    let table: [(&str, Change, &str); 6] = [
        ("the same definition", |_| (), "load lb: programs balance; maps none; keep vips"),
        ("filled by the object", |object| vips(object).may_be_kept = false, "load lb: programs balance; maps vips"),
        (
            "replace",
            |object| {
                vips(object).definition.max_entries = 32;
                vips(object).on_mismatch = OnMismatch::Replace;
            },
            "renew map vips, its entries are lost: entries: wanted 32, found 16",
        ),
        (
            "migrate",
            |object| {
                vips(object).definition.max_entries = 32;
                vips(object).on_mismatch = OnMismatch::Migrate;
            },
            "renew map vips, copy the entries that fit: entries: wanted 32, found 16",
        ),
        (
            "other initial values",
            |object| {
                vips(object).initial = Some("new".to_owned());
                vips(object).on_mismatch = OnMismatch::Replace;
            },
            "renew map vips, its entries are lost: initial values: wanted the new object's, found the old one's",
        ),
        (
            "maps that go together",
            |object| {
                object.maps_together = true;
                vips(object).on_mismatch = OnMismatch::Replace;
                object.maps.insert("stats".to_owned(), WantedMap { on_mismatch: OnMismatch::Replace, ..map("stats") });
                object.maps.get_mut("vips").unwrap().definition.value_size = 16;
            },
            "renew map stats, its entries are lost: its object: wanted all maps of one make",
        ),
    ];
    for (name, change, want) in table {
        let (wanted, mut observed) = upgrade(change);
        observed.maps.insert("stats".to_owned(), found(&map("stats")));
        let plan = Plan::new(&wanted, &observed).unwrap().to_string();
        assert!(plan.contains(want), "{name}: {plan}");
    }
    let (wanted, observed) = upgrade(wider);
    let refused = Plan::new(&wanted, &observed).unwrap_err().to_string();
    let want = "deployment lb: maps that are there already are not the wanted ones; nothing was changed
  map vips (m.toml:2:2)
    value size: wanted 16, found 8
    in [map.vips], on_mismatch = \"migrate\" copies its entries as far as they fit, \"replace\" begins without them";
    assert_eq!(refused, want);
    let (mut wanted, observed) = upgrade(wider);
    vips(&mut wanted.objects[0]).on_mismatch = OnMismatch::Migrate;
    let refused = Plan::new(&wanted, &observed).unwrap_err().to_string();
    assert!(refused.contains("cannot be migrated: without types on both sides"), "{refused}");
}

#[test]
fn a_map_that_begins_anew_is_given_its_entries_again() {
    for (on_mismatch, max_entries, want) in [
        (OnMismatch::Replace, 32, "Load Renew Set Configure Replace Pin"),
        (OnMismatch::Migrate, 32, "Load Renew Configure Replace Pin"),
        (OnMismatch::Replace, 16, "Load Configure Replace Pin"),
    ] {
        let mut wanted = wanted(false);
        wanted.objects[0].contents = serde_json::from_str(r#"{"vips":{"00":"01"}}"#).unwrap();
        let observed = standing(&wanted);
        wanted.objects[0].digest = "d2".into();
        vips(&mut wanted.objects[0]).on_mismatch = on_mismatch;
        vips(&mut wanted.objects[0]).definition.max_entries = max_entries;
        assert_eq!(steps(&wanted, &observed), want, "{on_mismatch:?}, {max_entries} entries");
    }
}

#[test]
fn who_shares_a_map_that_is_renewed_is_loaded_too() {
    let (mut wanted, _) = upgrade(|_| ());
    wanted.objects[0].digest = "d1".to_owned();
    let other = WantedObject { name: "other".to_owned(), progs: BTreeMap::new(), ..wanted.objects[0].clone() };
    wanted.objects.push(other);
    let observed = standing(&wanted);
    wanted.objects[1].digest = "d2".to_owned();
    assert_eq!(steps(&wanted, &observed), "Load Configure Pin");
    for object in &mut wanted.objects {
        vips(object).definition.max_entries = 32;
        vips(object).on_mismatch = OnMismatch::Migrate;
    }
    assert_eq!(steps(&wanted, &observed), "Load Load Renew Configure Configure Replace Pin Pin");
}
