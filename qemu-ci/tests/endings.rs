//! Every way a guest can end, played by a script in QEMU's place: none of the bad ones may look like a success.
//!
//! In: a script that writes what a guest would. Out: how the run is reported. Next to read: `guests.rs`, for real ones.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use guest_init::{Item, Plan};
use qemu_ci::arch::Arch;
use qemu_ci::console::{Ended, Ending};
use qemu_ci::guest::{Guest, Patience, Run, run};
use qemu_ci::initramfs::Tree;

/// Finds nonce and console the way a guest and QEMU would, and gives the script words for result lines.
const PRELUDE: &str = r#"#!/bin/sh
before=
for word; do
    [ "$before" != -initrd ] || initrd=$word
    case "$word" in file,id=console,path=*) console=${word#file,id=console,path=};; esac
    before=$word
done
nonce=$(grep -ao '"nonce":"[^"]*"' "$initrd" | head -n 1 | cut -d '"' -f 4)
line() { echo "{\"nonce\":\"$nonce\",\"seq\":$1,$2}"; }
hello() { line 0 '"event":"hello","release":"6.1.0-1","memory_kb":1,"splat":""'; }
start() { line $1 "\"event\":\"start\",\"item\":$2"; }
end() { line $1 "\"event\":\"end\",\"item\":$2,\"status\":\"pass\",\"ms\":5,\"detail\":\"\",\"splat\":\"\""; }
bye() { line $1 '"event":"bye","ended":2'; }
"#;

static ONE: Mutex<()> = Mutex::new(());

/// Runs a guest of two items, played by this script.
fn play(directory: &Path, script: &str) -> Run {
    // A script cannot be started while another thread, forking, holds it open for writing.
    let _one_at_a_time = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let qemu = directory.join("qemu");
    fs::write(&qemu, format!("{PRELUDE}{script}\n")).expect("the scratch directory can be written");
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("our own file");
    let item = |name: &str| Item { name: name.to_owned(), timeout_ms: 300, ..Item::default() };
    run(&Guest {
        arch: Arch::X86_64,
        emulator: &qemu,
        kernel: Path::new("/no/kernel"),
        shared: b"",
        own: Tree::new(),
        plan: Plan { nonce: "5eed".to_owned(), items: vec![item("a"), item("b")], ..Plan::default() },
        memory_mb: 1,
        nics: &[],
        directory: directory.join("out"),
        patience: Patience { boot: Duration::from_secs(2), silence: Duration::from_secs(1) },
    })
}

#[test]
fn endings() {
    let panic = "echo '[ 1.0] Kernel panic - not syncing: Fatal exception' > $console; exit 0";
    for (what, script, ending, ended, faults) in [
        (
            "all well, and QEMU is ended",
            "hello; start 1 0; end 2 0; start 3 1; end 4 1; bye 5; exec sleep 60",
            "done",
            "PP",
            "",
        ),
        ("exit status 0 is no success", "hello; start 1 0; end 2 0; exit 0", "guest gone", "PN", ""),
        ("panic", &format!("hello; start 1 0; {panic}"), "kernel panic: Fatal exception", "LN", "Kernel panic"),
        ("killed", "hello; start 1 0; kill -9 $$", "signal: 9", "LN", ""),
        ("QEMU refuses", "echo 'qemu: bad kernel' >&2; exit 1", "exit status: 1: qemu: bad kernel", "NN", ""),
        ("hang", "hello; start 1 0; exec sleep 60", "guest hung", "LN", ""),
        (
            "a line is lost",
            "hello; start 1 0; start 3 1; end 4 1; bye 5; exec sleep 9",
            "done",
            "LP",
            "lines 2 to 2 are lost",
        ),
        ("no goodbye", "hello; start 1 0; end 2 0; start 3 1; end 4 1", "guest gone", "PP", ""),
        ("another run's lines", "nonce=01d; hello; bye 1; exit 0", "guest gone", "NN", "another run"),
        ("garbage", "hello; echo '{\"nonce\":\"5eed\",\"se'; bye 1", "done", "NN", "unreadable"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let begin = Instant::now();
        let run = play(directory.path(), script);
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}: took {:?}", begin.elapsed());
        assert!(run.ending.to_string().contains(ending), "{what}: {}", run.ending);
        let letter = |ended: &Ended| match ended {
            Ended::Reported { .. } => 'P',
            Ended::Lost => 'L',
            Ended::NotRun => 'N',
        };
        assert_eq!(run.items.iter().map(letter).collect::<String>(), ended, "{what}");
        assert!(run.faults.join("\n").contains(faults), "{what}: {:?}", run.faults);
        assert!(faults.is_empty() == run.faults.is_empty(), "{what}: {:?}", run.faults);
    }
}

#[test]
fn a_boot_that_stalls_is_tried_once_more_and_said() {
    let directory = tempfile::tempdir().unwrap();
    let again = directory.path().join("again");
    let script = format!("[ -e {0} ] || {{ touch {0}; exec sleep 60; }}; hello; bye 1; exec sleep 60", again.display());
    let run = play(directory.path(), &script);
    assert_eq!((run.ending, run.retries), (Ending::Done, 1));
    let run = play(directory.path(), "exec sleep 60");
    assert_eq!((run.ending, run.retries), (Ending::Stalled { after: Duration::from_secs(2) }, 1));
}

#[test]
fn a_host_that_cannot_write_says_so() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("out"), "a file where the directory should be").unwrap();
    let run = play(directory.path(), "hello");
    assert!(matches!(&run.ending, Ending::Broken(why) if why.contains("/out")), "{}", run.ending);
    assert_eq!(run.items, [Ended::NotRun, Ended::NotRun]);
}
