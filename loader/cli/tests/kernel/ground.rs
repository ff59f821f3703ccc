//! Where a test stands: a thread with mounts and a network of its own, so that nothing it does is seen outside, and
//! nothing outside disturbs it. Processes that it starts are there too.
//!
//! bpffs pins and named namespaces are all private. Programs, maps and links have ids that the whole machine shares, so
//! tests ask for the ids they know, never for counts that others may change.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

/// The whole machine's attention: `/proc/sys` and CPUs are shared, and timing is less noisy one at a time.
static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// How often a test repeats what may go differently each time: so often here, and a part of that, the named one, in guests,
/// where everything takes ten times as long.
pub(crate) fn rounds(full: u32) -> u32 {
    let part = std::env::var("ROUNDS_PART").ok().and_then(|part| part.parse().ok());
    full.div_ceil(part.unwrap_or(1))
}

/// A rule of `bypass` by which everybody is enrolled on kernels too where it takes a rule.
pub(crate) const EVERYBODY: &str =
    "\n[[map.policy_port.entry]]\nkey = 31\nvalue = { first = 0, last = 65535, of = \"Either\", rule = \"Allow\" }\n";

/// A private place to work in.
pub(crate) struct Ground {
    dir: tempfile::TempDir,
}

/// Runs a test in a thread of its own, in a place of its own.
pub(crate) fn alone(test: impl FnOnce(&Ground) + Send) {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert!(nix::unistd::geteuid().is_root(), "this test needs root: run it with `cargo ci test`, or as root");
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let ground = Ground::make();
            test(&ground);
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

impl Ground {
    fn make() -> Self {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("unshare mounts and network");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("make mounts private");
        std::fs::create_dir_all("/run/netns").expect("make /run/netns");
        mount(Some("none"), "/run/netns", Some("tmpfs"), MsFlags::empty(), none).expect("mount on /run/netns");
        // Fresh, and covering one that may be there: `loader` finds bpffs, and nobody else's pins.
        mount(Some("none"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none).expect("mount bpffs");
        Self { dir: tempfile::tempdir().expect("make a directory") }
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).expect("write a file");
        path
    }

    /// A directory that everybody may read.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The load balancer's manifest as it is shipped, but for the number of exchanges.
    pub(crate) fn lb(&self, exchanges: u32) -> PathBuf {
        let text = shipped("lb.toml").replace("exchanges = 1_000", &format!("exchanges = {exchanges}"));
        self.file("lb.toml", text)
    }

    /// The bypass's manifest as it is shipped, but for the number of requests.
    pub(crate) fn bypass(&self, requests: u32) -> PathBuf {
        let text = shipped("bypass.toml").replace("rounds = 50", &format!("rounds = {requests}"));
        self.file("bypass.toml", text)
    }

    /// A lab as small as it can be, which comes up in no time: `small`, two hosts, one of which serves the other.
    pub(crate) fn small(&self, exchanges: u32) -> PathBuf {
        let text = format!(
            "name = \"small\"\n[lab.host.one]\naddress = [\"10.0.0.1/24\"]\n[lab.host.two]\ncgroup = true\naddress = [\"10.0.0.2/24\"]\n\
             [[lab.trial]]\nfrom = \"one\"\nto = \"10.0.0.2:80\"\nprotocol = \"tcp\"\nservers = [\"two\"]\n\
             exchanges = {exchanges}\n[[program]]\nobject = \"pass\"\nname = \"pass\"\n\
             attach = {{ xdp = \"eth0\", netns = [\"one\", \"two\"] }}\n"
        );
        self.file("small.toml", text)
    }

    /// The command.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loader"));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        Done::from(self.command(args).output().expect("run loader"))
    }

    /// Runs it, and it must succeed; its result as JSON.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Value {
        let done = self.run(args);
        assert_eq!(done.code, Some(0), "{done:?}");
        serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
    }

    /// `up --json` of a manifest that must succeed.
    pub(crate) fn up(&self, manifest: &Path) -> Value {
        self.json(["up".as_ref(), "--json".as_ref(), manifest.as_os_str()])
    }

    /// `status --json` of one deployment.
    pub(crate) fn status(&self, name: &str) -> Value {
        self.json(["status", "--json", name])[0].take()
    }

    /// Nothing pinned, no namespace: what must hold after each `down` and each failure.
    pub(crate) fn is_clean(&self, when: &str) {
        let pins = tree(Path::new("/sys/fs/bpf"));
        assert!(pins.is_empty(), "{when}: left on bpffs: {pins:?}");
        let namespaces = tree(Path::new("/run/netns"));
        assert!(namespaces.is_empty(), "{when}: left of the lab: {namespaces:?}");
    }
}

/// A manifest of the workspace.
pub(crate) fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../progs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every path below a directory, but for what the kernel itself puts into a bpffs.
pub(crate) fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let preloaded = ["maps.debug", "progs.debug"].iter().any(|name| path.ends_with(name));
        if path.is_dir() {
            all.extend(tree(&path));
        }
        if !preloaded {
            all.push(path);
        }
    }
    all
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// It failed as it should: status 1, and each of `words` on standard error.
    pub(crate) fn failed(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing in:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
    }
}

/// The ids of a deployment: links, programs, maps.
pub(crate) fn ids(status: &Value) -> [Vec<u64>; 3] {
    ["links", "programs", "maps"].map(|kind| {
        let all = status[kind].as_array().expect("a list");
        // An attachment to a sockmap has none on kernels without links for that (before 6.10).
        let has_id = |one: &&Value| !(one["id"].is_null() && one["attached"] == true);
        all.iter().filter(has_id).map(|one| one["id"].as_u64().expect("an id")).collect()
    })
}

/// None of these ids is known to the kernel any more. The kernel frees programs and maps a moment after their last user.
pub(crate) fn are_gone(ids: &[Vec<u64>; 3]) {
    use loader::sys::obj::{Kind, ids as kernel_ids};
    let begin = std::time::Instant::now();
    loop {
        let left: Vec<_> = [Kind::Link, Kind::Prog, Kind::Map]
            .into_iter()
            .zip(ids)
            .flat_map(|(kind, ids)| {
                let known = kernel_ids(kind).expect("list ids");
                ids.iter().filter(|id| known.iter().any(|seen| u64::from(*seen) == **id)).collect::<Vec<_>>()
            })
            .collect();
        if left.is_empty() {
            return;
        }
        assert!(begin.elapsed().as_secs() < 5, "still known: {left:?}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
