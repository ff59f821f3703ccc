//! `loader vm` as other programs use it: hex in, hex out, exit status.

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn vm(args: &[&str], program: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_loader"))
        .arg("vm")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the loader starts");
    child.stdin.take().expect("a pipe").write_all(program.as_bytes()).expect("written");
    child.wait_with_output().expect("it ends")
}

fn ok(args: &[&str], program: &str) -> String {
    let output = vm(args, program);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// `r0 = *(u16 *)(r1 + 0); r0 += r2; exit`
const SUM: &str = "69 10 00 00 00 00 00 00\n0f 20 00 00 00 00 00 00\n9500000000000000\n";

#[test]
fn r0_is_printed_in_hex() {
    assert_eq!(ok(&["3412"], SUM), "1236\n");
    assert_eq!(ok(&[], "b7000000ffffffff 9500000000000000"), "ffffffffffffffff\n");
}

#[test]
fn json_has_steps_and_memory() {
    let value: serde_json::Value = serde_json::from_str(&ok(&["--json", "34 12"], SUM)).expect("JSON");
    assert_eq!(value, serde_json::json!({ "r0": "1236", "steps": 3, "memory": "3412" }));
}

#[test]
fn a_trace_shows_each_step() {
    let output = vm(&["--trace", "3412"], SUM);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("0: r0 = *(u16 *)(r1 + 0)"), "{text}");
    assert!(text.contains("mem+0 (2 bytes)  → r0=0x1234"), "{text}");
}

#[test]
fn what_cannot_run_says_why_with_status_1() {
    for (args, program, want) in [
        (&[][..], "b7", "has 1 bytes; an instruction has 8"),
        (&[], "b70", "3 hex digits; a byte has two"),
        (&["0g"], SUM, "`g` at character 2 is no hex digit"),
        (&[], "ff00000000000000", "instruction 0"),
        (&[], SUM, "instruction 0: load of 2 bytes at 0x0: no memory there"),
        (&["--limit", "10"], "05 00 ff ff 00 00 00 00", "stopped after 10 steps"),
    ] {
        let output = vm(args, program);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(text.contains(want), "{want}: {text}");
    }
}
