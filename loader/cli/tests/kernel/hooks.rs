//! Manifests that attach to cgroups, tracepoints and tcx, from assembly text.

use std::fs;
use std::path::PathBuf;

use loader::lab::cgroup;
use serde_json::{Value, json};

use crate::change::veths;
use crate::ground::{Ground, alone, are_gone, ids};

/// Three programs that do nothing, each for another hook.
const PROGRAMS: &str = r#"
.license "GPL"
.section sockops
.func watch(ctx: *bpf_sock_ops) -> int
watch:
  r0 = 1
  exit
.section tp_btf/sys_enter
.func trace(ctx: *u64) -> int
trace:
  r0 = 0
  exit
.section tc
.func pass(skb: *__sk_buff) -> int
pass:
  r0 = -1
  exit
"#;

/// A cgroup of the test's own, removed at the end.
pub(crate) struct Cgroup(pub(crate) PathBuf);

/// Where the cgroup v2 hierarchy is mounted.
pub(crate) fn cgroup_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("procfs");
    let mount = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|row| row[2] == "cgroup2");
    PathBuf::from(mount.expect("a cgroup v2 hierarchy is mounted")[1])
}

impl Cgroup {
    pub(crate) fn make(name: &str) -> Self {
        let path = cgroup::own().expect("we are in a cgroup").join(format!("{name}-{}", std::process::id()));
        cgroup::create(&path).expect("make a cgroup");
        Self(path)
    }
}

impl Cgroup {
    /// Moves this process in; it goes back where it was when the value is dropped.
    pub(crate) fn enter(&self) -> Home {
        let home = self.0.parent().expect("it is below ours").to_owned();
        fs::write(self.0.join("cgroup.procs"), "0").expect("we may enter it");
        Home(home)
    }
}

/// The cgroup that this process came from.
pub(crate) struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        fs::write(self.0.join("cgroup.procs"), "0").expect("we may go home");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _removed = cgroup::remove(&self.0);
    }
}

/// The names of the steps of an `up`.
pub(crate) fn steps(up: &Value) -> Vec<&str> {
    let steps = up["deployments"][0]["plan"]["steps"].as_array().expect("steps");
    steps.iter().map(|step| step["step"].as_str().unwrap_or_default()).collect()
}

fn manifest(ground: &Ground, programs: &[(&str, &str)]) -> PathBuf {
    let rows = programs
        .iter()
        .map(|(name, hook)| format!("[[program]]\nobject = \"hooks.s\"\nname = \"{name}\"\nattach = {{ {hook} }}\n"));
    ground.file("hooks.toml", format!("name = \"hooks\"\n{}", rows.collect::<String>()))
}

#[test]
fn a_cgroup_and_a_tracepoint_come_up_are_replaced_and_go() {
    alone(|ground| {
        let cgroup = Cgroup::make("cli-hooks");
        let hook = format!("cgroup = \"{}\"", cgroup.0.display());
        ground.file("hooks.s", PROGRAMS);
        let text = manifest(ground, &[("watch", &hook), ("trace", "auto = true")]);
        ground.up(&text);
        let old = ground.status("hooks");
        assert_eq!((&old["drift"], old["links"].as_array().map(Vec::len)), (&json!([]), Some(2)), "{old}");
        let at = format!("cgroup {}", cgroup.0.display());
        assert_eq!([&old["links"][0]["at"], &old["links"][1]["at"]], [&json!("its own place"), &json!(at)], "{old}");
        assert_eq!(ground.up(&text)["deployments"][0]["changed"], false);

        ground.file("hooks.s", PROGRAMS.replace("r0 = 1", "r0 = 0"));
        let up = ground.up(&text);
        assert_eq!(steps(&up), ["load", "replace", "replace", "pin"], "{up}");
        let mid = ground.status("hooks");
        assert_eq!((&mid["drift"], &mid["links"][1]["id"]), (&json!([]), &old["links"][1]["id"]), "{mid}");
        // The kernel updates no link to a tracepoint: a new one stands beside the old one, which then goes.
        are_gone(&[vec![ids(&old)[0][0]], ids(&old)[1].clone(), Vec::new()]);

        ground.file("hooks.s", PROGRAMS);
        let up = ground.up(&manifest(ground, &[("watch", &hook)]));
        assert_eq!(steps(&up), ["load", "replace", "pin", "detach", "unpin"], "{up}");
        let new = ground.status("hooks");
        assert_eq!(old["links"][1]["id"], new["links"][0]["id"], "the link must stay: {new}");
        are_gone(&[vec![ids(&mid)[0][0]], ids(&mid)[1].clone(), Vec::new()]);

        ground.run(["down", "hooks"]);
        are_gone(&ids(&new));
        ground.is_clean("after down");
    });
}

#[test]
fn a_hook_that_is_not_there_changes_nothing() {
    alone(|ground| {
        veths(["v0", "v1"]);
        ground.file("hooks.s", PROGRAMS);
        let table = [
            ("watch", "cgroup = \"/no/such/cgroup\"", "cannot be opened as a cgroup"),
            ("watch", "cgroup = \"/proc\"", "cgroup v2"),
            ("watch", "sockmap = \"peers\"", "no object of this deployment has a map `peers`"),
            ("watch", "xdp = \"v0\"", "takes programs of section xdp"),
            ("trace", "cgroup = \"/proc\"", "takes programs of the sections sockops"),
            ("pass", "tcx = \"v7\", direction = \"ingress\"", "there is no interface v7"),
        ];
        for (program, hook, words) in table {
            let text = manifest(ground, &[(program, hook)]);
            ground.run(["up".as_ref(), text.as_os_str()]).failed(&[words]);
            ground.is_clean(hook);
        }
        ground.file("hooks.s", PROGRAMS.replace("r0 = 1", "r0 = = 1"));
        let text = manifest(ground, &[("watch", "auto = true")]);
        ground.run(["up".as_ref(), text.as_os_str()]).failed(&["hooks.s", "hooks.toml:3", "r0 = = 1"]);
    });
}
