//! Features: what the kernel answers fits its release; nothing stays behind.

use loader::features::FEATURES;
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
