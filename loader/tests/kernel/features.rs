//! Features: what the kernel answers fits its release; nothing stays behind.

use loader::btf::KernelBtf;
use loader::check::target::Target;
use loader::features::FEATURES;
use loader::features::survey::{Survey, map_types};
use loader::permission::kernel_release;

use crate::support::need_root;

/// Features that hang on the kernel's configuration too.
const OPTIONAL: &[&str] = &["kernel_btf", "prog_netfilter", "tcx", "map_arena", "load_acquire"];

#[test]
fn every_feature_is_there_from_its_first_kernel_on() {
    need_root();
    let release = kernel_release().unwrap();
    for feature in FEATURES {
        let (major, minor) = feature.since.split_once('.').unwrap();
        let since = (major.parse().unwrap(), minor.parse().unwrap());
        let found = feature.probe().unwrap_or_else(|errno| panic!("{feature}: {errno}"));
        println!("{found:5} {feature}");
        // An older kernel may carry it; a newer one must have it.
        assert!(found || release < since || OPTIONAL.contains(&feature.name), "{feature}: not on {release:?}");
        assert_eq!(feature.probe(), Ok(found), "{feature}: asked twice");
    }
}

/// What is tried out has to agree with what is known: with the helper table's first kernels for the type that is tested most,
/// and with the map types that every kernel from the floor on has.
#[test]
fn a_survey_finds_what_every_kernel_has() {
    need_root();
    let survey = Survey::take(Some(asm::object::ProgType::XDP)).expect("root may ask");
    let [xdp] = survey.prog_types.as_slice() else { panic!("{:?}", survey.prog_types) };
    assert_eq!((xdp.known.name, xdp.known.here), ("xdp", Some(true)));
    let helpers = xdp.helpers.as_ref().expect("helpers of XDP");
    for name in ["map_lookup_elem", "xdp_adjust_head", "redirect_map", "ktime_get_ns", "fib_lookup"] {
        assert!(helpers.contains(&name), "{name}: {helpers:?}");
    }
    assert!(!helpers.contains(&"skb_store_bytes"), "{helpers:?}");
    println!("Linux {}: {} helpers for XDP, links {:?}", survey.release, helpers.len(), survey.links);
}

/// Types of maps that no option of the configuration takes away.
#[test]
fn map_types_of_every_kernel_are_found() {
    need_root();
    let target = KernelBtf::running().ok().map(Target::new);
    let types = map_types(target.as_ref());
    for name in
        ["hash", "array", "percpu_hash", "lru_hash", "lpm_trie", "hash_of_maps", "ringbuf", "queue", "devmap_hash"]
    {
        let row = types.iter().find(|row| row.name == name).expect(name);
        assert_eq!(row.here, Some(true), "{name}");
    }
    let release = kernel_release().unwrap();
    for row in types.iter().filter(|row| row.here == Some(true)) {
        println!("{} since {}", row.name, row.since);
    }
    let since =
        |text: &str| text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    let newer = types.iter().filter(|row| since(row.since).is_some_and(|since| since > release));
    assert!(newer.into_iter().all(|row| row.here != Some(true)), "a map type is older than the table says");
}

/// Linux 5.10 counts what was freed a moment ago, and calls the lack of room for a map of devices an invalid argument.
#[test]
fn a_low_limit_of_locked_memory_hides_no_map_type() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    need_root();
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap();
    for &map_type in asm::object::MapType::ALL {
        let here = loader::features::map_type(map_type);
        setrlimit(Resource::RLIMIT_MEMLOCK, 0, hard).unwrap();
        let limited = loader::features::map_type(map_type);
        setrlimit(Resource::RLIMIT_MEMLOCK, soft, hard).unwrap();
        assert_eq!(limited, here, "{map_type}");
    }
}
