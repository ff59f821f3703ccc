//! Objects of our own writer in the running kernel: maps filled, data read, tail calls taken, pins used again, and nothing
//! left behind by a load that fails.

use asm::btf::Btf;
use asm::insn::{R0, R1};
use asm::object::{MapDef, MapType, Object, ProgDef};
use loader::btf::handle;
use loader::load::{Error, LoadOptions, Loaded, load};
use loader::map::Map;
use loader::spec::Spec;
use loader::sys::obj::{Kind, ids};
use loader::sys::uapi::UpdateFlags;

use crate::common;
use crate::support::{fresh_bpffs, in_namespaces, need_root};

fn parse(object: &Object) -> Spec {
    Spec::parse(&object.write().expect("the object is written")).expect("our own object is read")
}

fn loaded(spec: &Spec, options: &LoadOptions) -> Loaded {
    need_root();
    load(spec, options).unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[test]
fn a_whole_object_runs() {
    let spec = parse(&common::sample());
    let loaded = loaded(&spec, &LoadOptions { object_name: "sample_of_tests".into(), ..LoadOptions::default() });
    assert_eq!(loaded.notes(), [""; 0]);
    // `first` fills `.bss` and jumps to `second` through the program array that the object filled.
    assert_eq!(loaded.prog("first").unwrap().test_run(&[0; 14], 1).unwrap().retval, 2);
    let start = u64::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8]);
    let key = 0_u32.to_ne_bytes();
    let bss = loaded.map(".bss").unwrap().lookup(&key).unwrap().unwrap();
    assert_eq!([u64_at(&bss, 0), u64_at(&bss, 8)], [0, (start + 9).wrapping_mul(2)]);
    let rodata = loaded.map(".rodata").unwrap();
    assert!(rodata.update(&key, &[1, 0, 0, 0], UpdateFlags::ANY).is_err(), "read-only data is frozen");
    assert_eq!(rodata.info().unwrap().name, "sample_o.rodata");
    let one = loaded.map("one").unwrap().info().unwrap().id;
    let inner = loaded.map("table").unwrap().lookup(&2_u32.to_ne_bytes()).unwrap().unwrap();
    assert_eq!(u32::from_ne_bytes(inner.try_into().unwrap()), one);
    let info = loaded.map("hits").unwrap().info().unwrap();
    assert_eq!((info.max_entries, info.btf_key_type_id != 0), (16, true), "made with its types");
    assert!(
        matches!(loaded.prog("no"), Err(Error::NoProg { .. })) && matches!(loaded.map("no"), Err(Error::NoMap { .. }))
    );
}

#[test]
fn options_change_what_the_object_says() {
    let spec = parse(&common::sample());
    let mut options = LoadOptions::default();
    options.max_entries.insert("hits".into(), 99);
    options.variables.insert("limit".into(), 1_u32.to_ne_bytes().to_vec());
    options.data.insert(".data".into(), 5_u64.to_ne_bytes().to_vec());
    options.only = Some(["first".to_owned()].into());
    let loaded = loaded(&spec, &options);
    assert_eq!(loaded.progs().count(), 1);
    assert_eq!(loaded.map("hits").unwrap().info().unwrap().max_entries, 99);
    // `second` was not loaded, so the tail call falls through.
    assert_eq!(loaded.prog("first").unwrap().test_run(&[0; 14], 1).unwrap().retval, 2);
    let bss = loaded.map(".bss").unwrap().lookup(&0_u32.to_ne_bytes()).unwrap().unwrap();
    assert_eq!(u64_at(&bss, 8), 12);
    type Change = fn(&mut LoadOptions);
    let rows: [(&str, Change, &str); 5] = [
        (
            "map",
            |o| {
                o.max_entries.insert("nothing".into(), 1);
            },
            "no map `nothing`",
        ),
        (
            "variable",
            |o| {
                o.variables.insert("nothing".into(), vec![1]);
            },
            "no global variable `nothing`",
        ),
        (
            "size",
            |o| {
                o.variables.insert("limit".into(), vec![1]);
            },
            "`limit` has 4 bytes, 1 were given",
        ),
        (
            "data",
            |o| {
                o.data.insert(".data".into(), vec![1]);
            },
            "`.data` has 8 bytes, 1 were given",
        ),
        ("program", |o| o.only = Some(["nothing".to_owned()].into()), "no program `nothing`"),
    ];
    for (name, change, want) in rows {
        let mut options = LoadOptions::default();
        change(&mut options);
        let error = load(&spec, &options).expect_err(name).to_string();
        assert!(error.contains(want), "{name}: {error}");
    }
}

#[test]
fn pinned_maps_are_used_again_when_they_fit() {
    in_namespaces(|| {
        let spec = parse(&common::sample());
        let options = || LoadOptions { map_pins: Some(fresh_path().to_owned()), ..LoadOptions::default() };
        fresh_bpffs();
        let first = loaded(&spec, &options());
        let again = loaded(&spec, &options());
        let id = |loaded: &Loaded| loaded.map("hits").unwrap().info().unwrap().id;
        assert_eq!(id(&first), id(&again));
        assert!(!fresh_path().join("one").exists(), "only what asks for it is pinned");
        let mut other = options();
        other.max_entries.insert("hits".into(), 5);
        let error = load(&spec, &other).unwrap_err();
        let Error::Incompatible { map, differences, .. } = &error else { panic!("{error}") };
        assert_eq!((map.as_str(), differences.len()), ("hits", 1), "{error}");
        assert!(error.to_string().contains("entries: wanted 5, found 16"), "{error}");
        let mut given = LoadOptions::default();
        given.reuse.insert("hits".into(), Map::from_pin(fresh_path().join("hits")).unwrap());
        assert_eq!(id(&loaded(&spec, &given)), id(&first));
    });
}

fn fresh_path() -> &'static std::path::Path {
    std::path::Path::new(if std::path::Path::new("/sys/fs/bpf").is_dir() { "/sys/fs/bpf" } else { "/mnt" })
}

#[test]
fn symbols_that_no_kernel_has() {
    let spec = parse(&common::externs());
    let loaded = loaded(&spec, &LoadOptions::default());
    assert_eq!(loaded.notes(), [""; 0]);
    assert_eq!(loaded.prog("weak").unwrap().test_run(&[0; 14], 1).unwrap().retval, 2);
}

/// A map with a name of its own, a good program, and a bad one.
fn half_bad() -> Spec {
    let bad = common::code(&[(0, 1)], |b| {
        b.load(asm::insn::Size::Dw, R0, R1, 4096);
        b.exit();
    });
    parse(
        &Object::new("GPL")
            .map(MapDef::new("left_behind", MapType::ARRAY).key_of::<u32>().value_of::<u64>().max_entries(1))
            .prog(ProgDef::new("xdp", "left_good", common::answer(2)))
            .prog(ProgDef::new("xdp", "left_bad", bad)),
    )
}

#[test]
fn a_load_that_fails_leaves_nothing() {
    need_root();
    let error = load(&half_bad(), &LoadOptions::default()).unwrap_err();
    let text = chain(&error);
    assert!(text.contains("left_bad") && text.contains("invalid bpf_context access"), "{text}");
    let is_ours = |id: &u32| Map::from_id(*id).is_ok_and(|map| map.name() == "left_behind");
    for _ in 0..400 {
        if !ids(Kind::Map).unwrap().iter().any(is_ours) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("the map of the failed load is still there");
}

#[test]
fn types_are_made_fit_for_kernels_that_know_less() {
    need_root();
    let btf = Btf::from_vec(common::all_kinds()).unwrap();
    let spec = Spec { btf: Some(btf.clone()), ..Spec::default() };
    for knows in [false, true] {
        let bytes = handle::fit(&spec, &btf, |kind| knows && handle::knows(kind)).unwrap();
        let text = Btf::parse(&bytes).unwrap().to_string();
        let mut log = vec![0; 1 << 16];
        let buf = loader::sys::prog::Log { level: loader::sys::uapi::LogLevel::REFUSAL, buf: &mut log };
        let done = loader::sys::btf::load(&bytes, Some(buf));
        assert!(done.is_ok(), "{}\n{text}", loader::sys::name_text(&log));
    }
}
