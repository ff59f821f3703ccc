//! Pins: a bpffs of our own, the layout, the lock, wrong kinds.

use asm::object::MapType;
use loader::map::{Map, Options};
use loader::pin::{Bpffs, Error, Kind};
use loader::prog::Prog;
use loader::sys::uapi::UpdateFlags;

use crate::support::{fresh_bpffs, gone, in_namespaces, verdict};

fn hash() -> Map {
    let options = Options { map_type: MapType::HASH, key_size: 4, value_size: 4, max_entries: 1, ..Options::default() };
    Map::create("pinned", &options).expect("the map is created")
}

#[test]
fn a_deployment_keeps_objects_alive_and_leaves_nothing() {
    in_namespaces(|| {
        let bpffs = Bpffs::at(fresh_bpffs()).unwrap();
        assert!(!bpffs.mounted());
        assert_eq!(bpffs.deployments().unwrap(), [""; 0]);
        let deployment = bpffs.lock("pins").unwrap();
        let (map, prog) = (hash(), verdict("pinned", 2));
        map.update(&[1; 4], &[2; 4], UpdateFlags::ANY).unwrap();
        let map_path = deployment.pin_path(Kind::Map, ".data.x").unwrap();
        let prog_path = deployment.pin_path(Kind::Prog, "balance").unwrap();
        map.pin(&map_path).unwrap();
        prog.pin(&prog_path).unwrap();
        let map_id = map.info().unwrap().id;
        drop((map, prog));
        let found = Map::from_pin(&map_path).unwrap();
        assert_eq!(found.lookup(&[1; 4]).unwrap(), Some(vec![2; 4]));
        assert_eq!(Prog::from_pin(&prog_path).unwrap().test_run(&[0; 14], 1).unwrap().retval, 2);
        assert_eq!(deployment.list(Kind::Map).unwrap(), ["_data_x"]);
        assert_eq!(bpffs.deployments().unwrap(), ["pins"]);
        drop(found);
        loader::pin::unpin(&map_path).unwrap();
        gone(loader::sys::obj::Kind::Map, map_id);
        assert!(!bpffs.lock("other").unwrap().path().join("nothing").exists());
        assert!(bpffs.lock("other").unwrap().remove_if_empty().unwrap());
        loader::pin::unpin(&prog_path).unwrap();
        assert!(deployment.remove_if_empty().unwrap());
        assert_eq!(
            std::fs::read_dir(bpffs.path()).unwrap().filter(|e| e.as_ref().unwrap().file_name() == "loader").count(),
            0
        );
    });
}

#[test]
fn a_second_loader_finds_the_deployment_locked() {
    in_namespaces(|| {
        let bpffs = Bpffs::at(fresh_bpffs()).unwrap();
        let first = bpffs.lock("busy").unwrap();
        let error = bpffs.lock("busy").unwrap_err();
        assert!(matches!(&error, Error::Locked { deployment, .. } if deployment == "busy"), "{error:?}");
        assert!(error.to_string().contains("another loader is at work on `busy`"), "{error}");
        drop(first);
        let again = bpffs.lock("busy").unwrap();
        assert!(again.remove_if_empty().unwrap());
    });
}

#[test]
fn bpffs_is_mounted_where_missing() {
    in_namespaces(|| {
        let dir = tempfile::tempdir().unwrap();
        let bpffs = Bpffs::at(dir.path()).unwrap();
        assert!(bpffs.mounted(), "and said so");
        assert!(!Bpffs::at(dir.path()).unwrap().mounted(), "only once");
        assert!(Bpffs::is(dir.path()).unwrap());
        nix::mount::umount(dir.path()).unwrap();
    });
}

#[test]
fn wrong_places_and_kinds_are_named() {
    in_namespaces(|| {
        let root = fresh_bpffs();
        let map = hash();
        let path = root.join("a_map");
        map.pin(&path).unwrap();
        let again = map.pin(&path).unwrap_err().to_string();
        assert!(again.contains("there is a pin of that name already"), "{again}");
        let outside = map.pin("/proc/not_here").unwrap_err().to_string();
        assert!(outside.contains("/proc/not_here was not pinned"), "{outside}");
        let dot = map.pin(root.join("a.b")).unwrap_err().to_string();
        assert!(dot.contains("without a dot"), "{dot}");
        let kind = Prog::from_pin(&path).unwrap_err().to_string();
        assert!(kind.contains("holds a map, not a program"), "{kind}");
        let missing = Map::from_pin(root.join("none")).unwrap_err().to_string();
        assert!(missing.contains("was not opened"), "{missing}");
        loader::pin::unpin(&path).unwrap();
    });
}
