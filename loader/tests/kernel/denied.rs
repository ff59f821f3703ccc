//! Without privileges: the error says which capability is missing, and never speaks of locked memory where it does not
//! count.

use std::fs::{Permissions, copy, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use loader::prog::{Error, Prog};

use crate::support::{need_root, verdict_insns, xdp};

/// Set in the process that has no privileges.
const NOBODY: &str = "LOADER_TEST_NOBODY";
/// The user of that name.
const UID: u32 = 65534;

#[test]
fn an_ordinary_user_is_told_what_is_missing() {
    if std::env::var_os(NOBODY).is_some() {
        let error = Prog::load("nobody", &xdp(&verdict_insns(2))).unwrap_err();
        assert!(matches!(error, Error::Denied { .. }), "{error:?}");
        println!("told: {error}");
        return;
    }
    need_root();
    // The same binary as another user, from a place where that user can read it.
    let dir = tempfile::tempdir().unwrap();
    set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let test = dir.path().join("kernel");
    copy(std::env::current_exe().unwrap(), &test).unwrap();
    set_permissions(&test, Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&test);
    command.args(["--exact", "denied::an_ordinary_user_is_told_what_is_missing", "--nocapture"]);
    let output = command.env(NOBODY, "1").current_dir("/").uid(UID).gid(UID).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let told = text.lines().find_map(|line| line.split_once("told: ")).map(|(_, told)| told).unwrap();
    assert!(told.contains("program `nobody` was not loaded: this process lacks CAP_BPF, CAP_NET_ADMIN"), "{told}");
    assert!(told.contains("run it as root") && !told.contains("ulimit"), "{told}");
}
