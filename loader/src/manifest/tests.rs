//! Tests of the manifest: what is accepted, and where each error points.

use super::*;

const GOOD: &str = r#"
name = "lb"
[vars]
iface = "eth0"
[[program]]
object = "lb"
name = "balance"
attach = { xdp = "${iface}", mode = ["native", "generic"] }
[map.flows]
max_entries = 1_000_000
[[lb.vip]]
address = "10.10.0.5"
"#;

fn write(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn read_text(text: &str, set: &[(&str, &str)]) -> Result<Manifest, Error> {
    let dir = write(&[("m.toml", text)]);
    let set = set.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    read(&dir.path().join("m.toml"), &["lb"], &set)
}

#[test]
fn a_manifest_becomes_values() {
    let manifest = read_text(GOOD, &[]).unwrap();
    let [lb] = &manifest.deployments[..] else { panic!("one deployment") };
    assert_eq!(lb.name, "lb");
    let modes = vec![Mode::Native, Mode::Generic];
    assert_eq!(lb.programs[0].attach[0].hook, Hook::Xdp { iface: "eth0".to_owned(), modes });
    assert_eq!(lb.maps["flows"].0.max_entries, Some(1_000_000));
    assert_eq!(lb.sections[0].name, "lb");
}

#[test]
fn the_example_of_the_documentation_reads() {
    let page = include_str!("../../../docs/manifest.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (text, _) = rest.split_once("```").unwrap();
    let text = text.replace("include = [\"other.toml\"]", "");
    let manifest = read_text(&text, &[("iface", "eth7")]).unwrap();
    let program = &manifest.deployments[0].programs[0];
    assert_eq!((&*program.object, program.attach[0].hook.to_string()), ("watch.o", "eth7".to_owned()));
}

#[test]
fn each_hook_has_its_key() {
    let table = [
        ("xdp = \"e\"", "e"),
        ("tcx = \"e\", direction = \"ingress\"", "e ingress"),
        ("tcx = \"e\", direction = \"egress\"", "e egress"),
        ("cgroup = \"/sys/fs/cgroup/web\"", "cgroup /sys/fs/cgroup/web"),
        ("auto = true", "its own place"),
        ("sockmap = \"peers\"", "sockets of peers"),
    ];
    for (keys, want) in table {
        let text = GOOD.replace("xdp = \"${iface}\", mode = [\"native\", \"generic\"]", keys);
        let text = text.replace("[vars]\niface = \"eth0\"\n", "");
        let manifest = read_text(&text, &[]).unwrap_or_else(|error| panic!("{keys}: {error}"));
        assert_eq!(manifest.deployments[0].programs[0].attach[0].hook.to_string(), want, "{keys}");
    }
}

#[test]
fn a_list_of_cgroups_is_an_attachment_each() {
    let text = "name = \"a\"\n[[program]]\nobject = \"x\"\nname = \"y\"\nattach = { cgroup = [\"/a\", \"/b\"] }\n";
    let manifest = read_text(text, &[]).unwrap();
    let hooks: Vec<_> = manifest.deployments[0].programs[0].attach.iter().map(|one| one.hook.to_string()).collect();
    assert_eq!(hooks, ["cgroup /a", "cgroup /b"]);
}

#[test]
fn set_wins_over_the_files_own_default() {
    let manifest = read_text(GOOD, &[("iface", "eth1")]).unwrap();
    assert_eq!(manifest.deployments[0].programs[0].attach[0].hook.to_string(), "eth1");
    let error = read_text(GOOD, &[("ifac", "eth1")]).unwrap_err().to_string();
    assert!(error.contains("${ifac}"), "{error}");
}

#[test]
fn errors_point_at_their_line() {
    let lab = "name = \"a\"\n[lab.host.client]\n[[program]]\nobject = \"x\"\nname = \"y\"\n";
    let program = "name = \"a\"\n[[program]]\nobject = \"x\"\nname = \"y\"\n";
    let table = [
        ("not toml", "name = \"lb\nport".to_owned(), 1, "invalid basic string"),
        ("unknown key", format!("nam = \"x\"\n{GOOD}"), 1, "did you mean `name`?"),
        ("unknown field", GOOD.replace("object", "objekt"), 6, "objekt"),
        ("unknown map field", GOOD.replace("max_entries", "entries"), 10, "entries"),
        ("unknown mode", GOOD.replace("\"native\"", "\"driver\""), 8, "driver"),
        ("bad number", GOOD.replace("1_000_000", "-1"), 10, "u32"),
        ("unset variable", GOOD.replace("${iface}", "${port}"), 8, "`port` is not set"),
        ("long interface", GOOD.replace("\"eth0\"", "\"abcdefghijklmnop\""), 8, "longer than 15"),
        ("bad name", GOOD.replace("\"lb\"\n[vars]", "\"../x\"\n[vars]"), 2, "cannot be a deployment's name"),
        ("no name", GOOD.replace("name = \"lb\"\n", "\n"), 1, "no name"),
        ("no programs", "name = \"a\"\n".to_owned(), 1, "without programs"),
        ("netns without lab", format!("{program}attach = {{ xdp = \"e\", netns = \"c\" }}\n"), 5, "no `[lab]`"),
        ("lab without netns", format!("{lab}attach = {{ xdp = \"e\" }}\n"), 6, "left alone"),
        ("unknown host", format!("{lab}attach = {{ xdp = \"e\", netns = \"d\" }}\n"), 6, "no host `d`"),
        ("no hook", format!("{program}attach = {{ displace = true }}\n"), 4, "names one hook"),
        ("two hooks", format!("{program}attach = {{ xdp = \"e\", cgroup = \"/c\" }}\n"), 4, "names one hook"),
        ("no cgroup", format!("{program}attach = {{ cgroup = [] }}\n"), 5, "no cgroup"),
        ("no direction", format!("{program}attach = {{ tcx = \"e\" }}\n"), 5, "which packets"),
        (
            "mode of a cgroup",
            format!("{program}attach = {{ cgroup = \"/c\", mode = \"native\" }}\n"),
            5,
            "not for this hook",
        ),
        ("no mode", GOOD.replace("[\"native\", \"generic\"]", "[]"), 8, "no mode"),
        ("host name", lab.replace("client", "Client"), 2, "cannot be a host's name"),
        ("switch is taken", lab.replace("client", "switch"), 2, "bridge's own"),
        ("address", lab.replace("client]", "client]\naddress = [\"10.0.0.1\"]"), 3, "no address/prefix"),
    ];
    points_at(&table);
}

#[test]
fn errors_of_a_lab_point_at_their_line() {
    let host = |keys: &str| {
        format!(
            "name = \"a\"\n[vars]\nv = \"x\"\n[lab.host.a]\n[lab.host.b]\n{keys}\n[[program]]\nobject = \"x\"\nname = \"y\"\n"
        )
    };
    let trial = |keys: &str| {
        host(&format!(
            "cgroup = true\n[[lab.trial]]\nfrom = \"b\"\nto = \"10.0.0.1:80\"\nprotocol = \"tcp\"\nservers = [\"a\"]\n{keys}"
        ))
    };
    let attach = |keys: &str| host("cgroup = true\n[lab.host.c]") + &format!("attach = {{ {keys} }}\n");
    let table = [
        ("unknown key", host("cgrup = true"), 6, "cgrup"),
        ("behind nobody", host("behind = { host = \"c\", address = \"10.0.0.1/24\" }"), 6, "no host `c`"),
        ("behind itself", host("behind = { host = \"b\", address = \"10.0.0.1/24\" }"), 6, "not at the switch"),
        (
            "dnat",
            host("dnat = [{ protocol = \"tcp\", from = \"10.0.0.1\", to = \"10.0.0.2:80\" }]"),
            6,
            "socket address",
        ),
        (
            "families",
            host("dnat = [{ protocol = \"tcp\", from = \"10.0.0.1:1\", to = \"[::1]:80\" }]"),
            6,
            "not of the family",
        ),
        ("when", host("[lab.when]\nw = \"x\""), 7, "no variable `w`"),
        ("listen", trial("exchanges = 9\nlisten = \"[::1]:80\""), 13, "not of the family"),
        ("rounds", trial("rounds = 0"), 12, "one request or more"),
        ("sizes", trial("sizes = [1, 2_000_000]"), 12, "at most 1048576"),
        ("many at once", trial("rounds = 2\nexchanges = 101"), 13, "at most 100"),
        ("compare", trial("exchanges = 9\ncompare = true").replace("from = \"b\"", "from = \"a\""), 13, "has a cgroup"),
        ("the machine's cgroup", attach("cgroup = \"/sys/fs/cgroup/web\""), 11, "left alone"),
        ("no cgroup there", attach("cgroup = \"lab\", netns = \"a\""), 11, "host `a` has no cgroup"),
        ("no cgroup at all", attach("cgroup = \"lab\"").replace("cgroup = true\n", "\n"), 11, "no host of this lab"),
    ];
    points_at(&table);
    let no_lab = "name = \"a\"\n[[program]]\nobject = \"x\"\nname = \"y\"\nattach = { cgroup = \"lab\" }\n".to_owned();
    points_at(&[("no lab", no_lab, 5, "has no `[lab]`")]);
}

#[test]
fn a_lab_may_depend_on_a_variable() {
    let text = "name = \"a\"\n[vars]\ncgroup = \"lab\"\n[lab]\nwhen = { cgroup = \"lab\" }\n[lab.host.a]\ncgroup = true\n\
                [lab.host.c]\nbehind = { host = \"z\", address = \"10.0.0.1/24\" }\n[lab.host.z]\n\
                [[program]]\nobject = \"x\"\nname = \"y\"\nattach = { cgroup = \"${cgroup}\" }\n";
    let manifest = read_text(text, &[]).unwrap();
    let lab = manifest.deployments[0].lab.as_ref().unwrap();
    assert!(manifest.deployments[0].programs[0].attach[0].hook.is_labs_cgroup() && lab.has_cgroups());
    assert_eq!(lab.in_order().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "z", "c"]);
    let manifest = read_text(text, &[("cgroup", "/sys/fs/cgroup/web")]).unwrap();
    assert!(manifest.deployments[0].lab.is_none());
    assert_eq!(manifest.deployments[0].programs[0].attach[0].hook.to_string(), "cgroup /sys/fs/cgroup/web");
}

fn points_at(table: &[(&str, String, usize, &str)]) {
    for (name, text, line, words) in table {
        match read_text(text, &[]) {
            Err(Error::At(error)) => {
                assert!(error.to_string().contains(*words), "{name}: {error}");
                assert_eq!(error.line, *line, "{name}: {error}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn includes_are_read_in_order_and_never_twice_into_themselves() {
    let two = GOOD.replace("name = \"lb\"", "name = \"two\"");
    let dir = write(&[("all.toml", "include = [\"lb.toml\", \"two.toml\"]\n"), ("lb.toml", GOOD), ("two.toml", &two)]);
    let none = BTreeMap::new();
    let manifest = read(&dir.path().join("all.toml"), &["lb"], &none).unwrap();
    let names: Vec<_> = manifest.deployments.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["lb", "two"]);

    let dir = write(&[("a.toml", "include = [\"b.toml\"]\n"), ("b.toml", "include = [\"a.toml\"]\n")]);
    let error = read(&dir.path().join("a.toml"), &[], &none).unwrap_err().to_string();
    assert!(error.contains("includes itself") && error.contains("b.toml:1:12"), "{error}");

    let dir = write(&[("a.toml", "include = [\"b.toml\"]\n")]);
    let error = read(&dir.path().join("a.toml"), &[], &none).unwrap_err().to_string();
    assert!(error.contains("b.toml, included at") && error.contains("a.toml:1:12"), "{error}");

    let dir = write(&[("a.toml", "include = [\"b.toml\", \"c.toml\"]\n"), ("b.toml", GOOD), ("c.toml", GOOD)]);
    let error = read(&dir.path().join("a.toml"), &["lb"], &none).unwrap_err().to_string();
    assert!(error.contains("a second deployment named `lb`"), "{error}");
}

proptest::proptest! {
    /// Whatever a file holds, reading it ends with a value or an error, and the error prints.
    #[test]
    fn no_text_makes_it_panic(start in 0..GOOD.len(), end in 0..GOOD.len(), noise in "\\PC{0,12}") {
        let (start, end) = (start.min(end), start.max(end));
        let text = format!("{}{noise}{}", &GOOD[..start], &GOOD[end..]);
        match read_text(&text, &[]) {
            Ok(manifest) => drop(format!("{manifest:?}")),
            Err(error) => drop(error.to_string()),
        }
    }
}

#[test]
fn slips_are_recognised() {
    for (a, b, want) in [
        ("name", "nam", true),
        ("name", "naem", true),
        ("program", "programs", true),
        ("lab", "lb", true),
        ("name", "map", false),
        ("", "", false),
    ] {
        assert_eq!(near(a, b), want, "{a} {b}");
    }
}
