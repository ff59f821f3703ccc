//! What can be wrong around a manifest: rights, bpffs, interfaces, other people's programs, damaged objects. Always an
//! error that says what and where; never anything left.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use asm::insn::{Builder, R0};
use asm::object::{Object, ProgDef};
use loader::link::xdp::{self, Mode, XdpOptions};
use loader::prog::Prog;
use netlink::route::{Socket, VethPeer, VethSpec};

use crate::ground::{Ground, alone, rounds};

/// A veth pair in the test's own network; the index of `v0`.
fn veth(rt: &mut Socket) -> u32 {
    let peer = VethPeer { name: "v1", ..VethPeer::default() };
    rt.link_create_veth(VethSpec { name: "v0", peer, ..VethSpec::default() }).expect("make a veth pair").ifindex
}

/// A manifest as in production: no lab.
pub(crate) fn production(ground: &Ground, more: &str) -> std::path::PathBuf {
    let text = format!(
        "name = \"prod\"\n[vars]\niface = \"v0\"\n[[program]]\nobject = \"lb\"\nname = \"balance\"\n\
         attach = {{ xdp = \"${{iface}}\"{more} }}\n"
    );
    ground.file("prod.toml", text)
}

fn up(ground: &Ground, manifest: &Path, more: &[&str]) -> crate::ground::Done {
    let manifest = manifest.to_str().expect("a path");
    ground.run(["up", manifest].iter().chain(more))
}

/// An object with one program, `xdp` that returns `verdict`.
pub(crate) fn object(verdict: i32) -> Vec<u8> {
    let mut b = Builder::new();
    b.mov(R0, verdict);
    b.exit();
    let code = b.finish().expect("a program");
    Object::new("GPL").prog(ProgDef::new("xdp", "verdict", code)).write().expect("an object")
}

#[test]
fn without_rights_nothing_begins() {
    alone(|ground| {
        let manifest = ground.lb(10);
        // The build directory may be closed to others; the test's own is not. A copy is code that an emulator has not seen.
        let (built, binary) = (env!("CARGO_BIN_EXE_loader"), ground.dir().join("loader"));
        std::fs::hard_link(built, &binary)
            .or_else(|_| std::fs::copy(built, &binary).map(drop))
            .expect("copy the binary");
        for path in [ground.dir(), &binary] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("open it to others");
        }
        for command in [vec!["up", manifest.to_str().expect("a path")], vec!["down", "lb"], vec!["status", "lb"]] {
            let output = std::process::Command::new(&binary).args(&command).uid(65534).gid(65534).output();
            let done = crate::ground::Done::from(output.expect("run as nobody"));
            done.failed(&["CAP_NET_ADMIN", "run it as root"]);
        }
        let args = ["up", "--dry-run", manifest.to_str().expect("a path")];
        let output = std::process::Command::new(&binary).args(args).uid(65534).gid(65534).output();
        let done = crate::ground::Done::from(output.expect("run as nobody"));
        assert_eq!(done.code, Some(0), "a dry run needs no rights: {done:?}");
        ground.is_clean("after nobody");
    });
}

#[test]
fn bpffs_is_mounted_when_missing_and_said_so() {
    alone(|ground| {
        nix::mount::umount2("/sys/fs/bpf", nix::mount::MntFlags::MNT_DETACH).expect("unmount bpffs");
        // The machine's own may lie below; only in this test's mounts is it taken away.
        while nix::mount::umount2("/sys/fs/bpf", nix::mount::MntFlags::MNT_DETACH).is_ok() {}
        let manifest = ground.small(1);
        let dry = up(ground, &manifest, &["--dry-run"]);
        assert!(dry.stderr.contains("bpffs is not mounted"), "{dry:?}");
        let done = up(ground, &manifest, &[]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stderr.contains("mounted bpffs on /sys/fs/bpf"), "{done:?}");
        assert_eq!(ground.run(["down", "small"]).code, Some(0));
        ground.is_clean("after down");
    });
}

#[test]
fn interfaces_that_are_not_there() {
    alone(|ground| {
        let manifest = production(ground, "");
        up(ground, &manifest, &["--set", "iface=eth77"]).failed(&["there is no interface eth77", "there are lo"]);
        ground.is_clean("after a missing interface");
        let text = crate::ground::shipped("lb.toml")
            .replace("xdp = \"eth0\", netns = \"balancer\"", "xdp = \"eth9\", netns = \"balancer\"");
        let lab = ground.file("lab.toml", text);
        up(ground, &lab, &[]).failed(&["there is no interface balancer:eth9", "lab.toml:", "undo"]);
        ground.is_clean("after a missing interface in the lab");
    });
}

#[test]
fn refused_in_one_mode_got_in_another() {
    alone(|ground| {
        let mut rt = Socket::open().expect("open netlink");
        let v0 = veth(&mut rt);
        // Native XDP on a veth needs a peer whose packets fit into a page.
        let v1 = rt.link_by_name("v1").expect("find v1").ifindex;
        for link in [v0, v1] {
            rt.link_set_mtu(link, 9_000).expect("set the MTU");
        }
        let manifest = production(ground, "");
        let done = up(ground, &manifest, &[]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let status = ground.status("prod");
        let link = &status["links"][0];
        assert_eq!((&link["mode"], &link["refused"][0]["mode"]), (&"generic".into(), &"native".into()), "{status}");
        let words = link["refused"][0]["words"].as_str().expect("words");
        assert!(words.contains("MTU is too large"), "the driver's words: {words}");
        assert!(done.stdout.contains(words), "{done:?}");
        ground.run(["down", "prod"]);
        let strict = production(ground, ", mode = \"native\"");
        up(ground, &strict, &[]).failed(&["balance was not attached to v0", "MTU is too large", "prod.toml:7:18"]);
        ground.is_clean("after a refusal");
    });
}

#[test]
fn somebody_elses_program_is_not_displaced_unless_asked() {
    alone(|ground| {
        let mut rt = Socket::open().expect("open netlink");
        let v0 = veth(&mut rt);
        let spec = loader::Spec::parse(&object(2)).expect("parse");
        let theirs = loader::load(&spec, &loader::LoadOptions::default()).expect("load");
        let theirs: &Prog = theirs.prog("verdict").expect("the program");
        let options = XdpOptions { modes: vec![Mode::Generic], displace: false };
        xdp::attach_netlink(theirs, v0, &options).expect("attach theirs");
        let id = theirs.id().expect("its id");
        let on = |rt: &mut Socket| rt.link_by_name("v0").expect("look").xdp.prog_id;

        let manifest = production(ground, "");
        let words = format!("program {id} `verdict` in generic mode, attached by netlink");
        let pid = format!("held by process {}", std::process::id());
        up(ground, &manifest, &[]).failed(&["v0 has an XDP program already", &words, &pid, "displace = true"]);
        assert_eq!(on(&mut rt), Some(id), "it was displaced");
        ground.is_clean("after a foreign program");

        let displacing = production(ground, ", displace = true");
        // The second attachment is refused: what the first one displaced is put back.
        let v1 = rt.link_by_name("v1").expect("find v1").ifindex;
        let text = std::fs::read_to_string(&displacing).expect("read");
        let mode = ", mode = \"generic\" }, { xdp = \"v1\", mode = \"offload\" }]\n";
        let text = text.replace("attach = {", "attach = [{").replace(" }\n", mode);
        let failing = ground.file("failing.toml", text);
        up(ground, &failing, &[]).failed(&["balance was not attached to v1", "undo: put the displaced program back"]);
        assert_eq!(on(&mut rt), Some(id), "it was not put back");
        assert_eq!(rt.link_by_index(v1).expect("look").xdp.prog_id, None);
        ground.is_clean("after a failed displacement");

        let displacing = production(ground, ", displace = true");
        let done = up(ground, &displacing, &[]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stderr.contains("took off program"), "{done:?}");
        assert_ne!(on(&mut rt), Some(id));
        assert_eq!(ground.run(["down", "prod"]).code, Some(0));
        assert_eq!(on(&mut rt), None);
        ground.is_clean("after displacing");
    });
}

#[test]
fn a_namespace_of_the_same_name_is_left_alone() {
    alone(|ground| {
        use loader::lab::netns::Netns;
        let theirs = Netns::create("lb-real2").expect("make a namespace");
        up(ground, &ground.lb(10), &[]).failed(&["lb-real2 exists already", "ip netns del lb-real2"]);
        assert!(Netns::open("lb-real2").expect("open").is_some(), "it was taken away");
        drop(theirs);
        assert!(Netns::delete("lb-real2").expect("delete"));
        ground.is_clean("after a foreign namespace");
    });
}

#[test]
fn damaged_objects_leave_nothing() {
    alone(|ground| {
        let good = progs::by_name("lb").expect("built in").object().expect("an object");
        let manifest =
            ground.file("damaged.toml", "name = \"damaged\"\n[[program]]\nobject = \"x.o\"\nname = \"balance\"\n");
        let mut refused = 0;
        // A sample: that no damage at all makes the reader panic is for its own tests to show.
        let damages = usize::try_from(rounds(6)).expect("few");
        for at in (0..damages).map(|n| good.len() * n / damages + n) {
            ground.file("x.o", &good[..at]);
            up(ground, &manifest, &[]).failed(&["x.o"]);
            let mut flipped = good.clone();
            flipped[at] ^= 0x41;
            ground.file("x.o", flipped);
            let done = up(ground, &manifest, &[]);
            assert!(matches!(done.code, Some(0 | 1)), "byte {at}: {done:?}");
            assert!(!done.stderr.contains("panicked"), "byte {at}: {done:?}");
            if done.code == Some(0) {
                assert_eq!(ground.run(["down", "damaged"]).code, Some(0), "byte {at}");
            } else {
                refused += 1;
            }
            ground.is_clean(&format!("byte {at}"));
        }
        assert!(refused > 0, "not one flipped bit was noticed");
    });
}
