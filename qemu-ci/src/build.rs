//! The binaries that run in guests: linked statically, so that a guest needs no file of the host.
//!
//! In: the workspace. Out: a [`Built`]. They have a target directory and a profile of their own, so a developer's own
//! builds stay as they are. Next to read: `suites.rs`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::arch::Arch;
use crate::cross::Cross;
use crate::repo::{Repo, show};

/// Flags of the compiler.
const STATIC: &str = "-C target-feature=+crt-static -C relocation-model=static";

/// Process 1 of a guest.
pub const INIT: &str = "guest-init";

/// Programs that guests have besides the tests.
const PROGRAMS: [&str; 2] = ["loader", INIT];

/// A test binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestBinary {
    /// Name of its package.
    pub package: String,
    /// Name of its target.
    pub target: String,
    /// Directory of its package, where cargo would run it.
    pub directory: PathBuf,
    /// The binary.
    pub path: PathBuf,
}

/// What was built.
#[derive(Clone, Debug, Default)]
pub struct Built {
    /// Programs by name.
    pub programs: BTreeMap<String, PathBuf>,
    /// Test binaries in the order of packages.
    pub tests: Vec<TestBinary>,
    /// What they are compiled for.
    pub arch: Arch,
}

impl Built {
    /// True when there are tests of this target.
    pub fn is_of(&self, target: &str) -> bool {
        self.tests.iter().any(|test| test.target == target)
    }

    /// The path of a program.
    pub fn program(&self, name: &str) -> Option<&Path> {
        self.programs.get(name).map(PathBuf::as_path)
    }
}

/// Builds what runs in a guest: process 1, those of the programs that are named, and the test targets of these names. One run of
/// cargo: two would choose features twice, and so build what programs and tests share twice.
///
/// # Errors
/// Something does not compile; cargo's messages are on standard error.
pub fn build(repo: &Repo, arch: Arch, programs: &[&str], tests: &[&str]) -> Result<Built> {
    let programs: Vec<_> = PROGRAMS.into_iter().filter(|name| *name == INIT || programs.contains(name)).collect();
    let targets = targets(&metadata(repo)?);
    let wanted = [named(&targets, "bin", &programs), named(&targets, "test", tests)].concat();
    let mut built = Built { arch, ..Built::default() };
    read_messages(&run(repo, arch, &wanted)?, &targets, &mut built);
    built.tests.sort_by(|a, b| (&a.package, &a.target).cmp(&(&b.package, &b.target)));
    Ok(built)
}

/// Arguments of cargo for those of some targets that there are: naming one that is not there is an error to it.
fn named(targets: &[Target], kind: &str, names: &[&str]) -> Vec<String> {
    let there = |name: &&&str| targets.iter().any(|target| target.kind == kind && target.name == **name);
    names.iter().filter(there).flat_map(|name| [format!("--{kind}"), (*name).to_owned()]).collect()
}

/// A target of the workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    package: String,
    directory: PathBuf,
    kind: String,
    name: String,
}

/// What cargo knows of the workspace.
fn metadata(repo: &Repo) -> Result<Value> {
    let output = repo.cargo(&["metadata", "--no-deps", "--format-version", "1"]).stderr(Stdio::inherit()).output();
    let output = output.context("start cargo")?;
    ensure!(output.status.success(), "cargo metadata failed");
    serde_json::from_slice(&output.stdout).context("output of cargo metadata")
}

/// The binaries and integration tests of the workspace.
fn targets(metadata: &Value) -> Vec<Target> {
    let mut found = Vec::new();
    for package in array(&metadata["packages"]) {
        let directory = Path::new(text(&package["manifest_path"])).parent().unwrap_or(Path::new("")).to_owned();
        for target in array(&package["targets"]) {
            let kind = array(&target["kind"]).first().map(text).unwrap_or_default();
            if kind == "bin" || kind == "test" {
                found.push(Target {
                    package: text(&package["name"]).to_owned(),
                    directory: directory.clone(),
                    kind: kind.to_owned(),
                    name: text(&target["name"]).to_owned(),
                });
            }
        }
    }
    found
}

/// An array of JSON, or nothing.
fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A string of JSON, or nothing.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Runs cargo and returns its messages.
fn run(repo: &Repo, arch: Arch, targets: &[String]) -> Result<String> {
    let mut cargo: Command = repo.cargo(&["build"]);
    // The target is named because only then cargo builds its own helpers without the flag below.
    cargo.args(["--quiet", "--workspace", "--profile", "guest", "--target", arch.target()]).args(targets);
    show(&cargo);
    cargo.arg("--target-dir").arg(repo.out().join("static")).arg("--message-format=json-render-diagnostics");
    cargo.env("RUSTFLAGS", STATIC).env_remove("CARGO_ENCODED_RUSTFLAGS");
    if let Some(cross) = Cross::of(arch)? {
        cross.apply(&mut cargo, arch.target(), STATIC);
    }
    let output = cargo.stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "cargo build failed: what runs in guests does not build");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads which file each target became.
fn read_messages(messages: &str, targets: &[Target], built: &mut Built) {
    for message in messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let Some(path) = message["executable"].as_str().map(PathBuf::from) else { continue };
        let manifest = Path::new(text(&message["manifest_path"]));
        let name = text(&message["target"]["name"]);
        let kind = array(&message["target"]["kind"]).first().map(text).unwrap_or_default();
        let of = |target: &&Target| {
            target.kind == kind && target.name == name && Some(target.directory.as_path()) == manifest.parent()
        };
        let Some(target) = targets.iter().find(of) else { continue };
        if kind == "bin" {
            built.programs.insert(name.to_owned(), path);
        } else {
            let Target { package, directory, .. } = target.clone();
            built.tests.push(TestBinary { package, target: name.to_owned(), directory, path });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_understood() {
        let metadata = serde_json::json!({"packages": [
            {"name": "netlink", "manifest_path": "/w/netlink/Cargo.toml", "targets": [
                {"name": "netlink", "kind": ["lib"]}, {"name": "live", "kind": ["test"]}, {"name": "wire", "kind": ["test"]}]},
            {"name": "loader-cli", "manifest_path": "/w/cli/Cargo.toml", "targets": [{"name": "loader", "kind": ["bin"]}]}]});
        let targets = targets(&metadata);
        assert_eq!(targets.len(), 3);
        let artifact = |manifest: &str, kind: &str, name: &str, path: &str| {
            serde_json::json!({"reason": "compiler-artifact", "manifest_path": manifest, "executable": path,
                "target": {"name": name, "kind": [kind]}})
            .to_string()
        };
        let messages = [
            artifact("/w/netlink/Cargo.toml", "test", "live", "/t/live-1"),
            artifact("/w/cli/Cargo.toml", "bin", "loader", "/t/loader"),
            "not json".to_owned(),
            r#"{"reason": "build-finished", "success": true}"#.to_owned(),
        ];
        let mut built = Built::default();
        read_messages(&messages.join("\n"), &targets, &mut built);
        let tests: Vec<_> = built.tests.iter().map(|test| (test.package.as_str(), test.target.as_str())).collect();
        assert_eq!(tests, [("netlink", "live")]);
        assert_eq!(built.program("loader"), Some(Path::new("/t/loader")));
    }
}
