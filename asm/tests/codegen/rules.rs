//! The rules of the verifier, as the IR's checker knows them: a function a row, what kernels from 5.10 on refuse, and why.

use asm::codegen::{Profile, compile_func};
use asm::ir::{Func, verify};

use super::listing;

/// A program's head, with the packet and its end in `v1` and `v2`, one block that passes, and one check of 14 bytes.
const HEAD: &str = "prog \"xdp\" p(ctx: ctx) -> i32 {
  s0 = stack 8 align 4
  m0 = map counters array key 4 value 8 entries 4
  g0 = const local 4
b0(v0: ctx):
  v1: pkt = load u32 v0 + 0
  v2: pkt_end = load u32 v0 + 4
  v3: i32 = 2
  v4: i64 = 4
  v5: *s0 = stack s0
  v6: *m0 = map m0
  v7: *g0 = global g0 + 0
  check v1 + 14 <= v2 then b2 else b1
b1:
  return v3
b2:
";

fn judge(body: &str) -> Result<(), String> {
    let func = Func::parse(&format!("{HEAD}{body}\n}}")).unwrap_or_else(|error| panic!("{error}\n{body}"));
    verify(&func).map_err(|error| error.to_string())
}

#[test]
fn what_kernels_accept_is_accepted() {
    let cases = [
        "  v10: i16 = load u16 v1 + 12\n  return v3",
        "  v10: pkt = ptr_add v1, v4\n  v11: i64 = load u64 v10 + 2\n  return v3",
        "  store u32 v5 + 0, v3\n  v10: ?value(m0) = call map_lookup_elem(v6, v5)\n  v11: i64 = 0\n  \
         if64 v10 == v11 then b1 else b3\nb3:\n  v12: *value(m0) = non_null v10\n  atomic add u64 v12 + 0, v4\n  return v3",
        "  v10: ?value(m0) = call map_lookup_elem(v6, v1)\n  return v3",
        "  v10: i64 = call xdp_adjust_head(v0, v3)\n  v11: pkt = load u32 v0 + 0\n  v12: pkt_end = load u32 v0 + 4\n  \
         check v11 + 1 <= v12 then b3 else b1\nb3:\n  v13: i8 = load u8 v11 + 0\n  return v13",
    ];
    for body in cases {
        assert_eq!(judge(body), Ok(()), "{body}");
    }
}

/// Two lookups that always find something: the tests of both go, and the blocks behind them.
#[test]
fn lookups_in_arrays_need_no_test_on_the_newest() {
    let lookup = |n: u32, next: &str| {
        format!(
            "  store u32 v5 + 0, v3\n  v{n}0: ?value(m0) = call map_lookup_elem(v6, v5)\n  if64 v{n}0 == v8 then b1 else b{n}\nb{n}:\n  \
             v{n}1: *value(m0) = non_null v{n}0\n  store u64 v{n}1 + 0, v4\n{next}"
        )
    };
    let body = format!("  v8: i64 = 0\n{}", lookup(3, &lookup(4, "  return v3")));
    let func = Func::parse(&format!("{HEAD}{body}\n}}")).expect("it is well-formed");
    let tests = |profile| {
        let code = compile_func(&func, &[], &profile).expect("it compiles").code;
        listing(&code).lines().filter(|line| line.contains("== 0")).count()
    };
    assert_eq!((tests(Profile::linux_6_12()), tests(Profile::newest())), (2, 0));
}

#[test]
fn what_kernels_refuse_is_refused() {
    let cases = [
        ("read past the check", "  v10: i16 = load u16 v1 + 13\n  return v3", "of which 14 are checked"),
        ("read before the packet", "  v10: i16 = load u16 v1 + -2\n  return v3", "bytes -2 to 0"),
        (
            "a variable distance is checked anew",
            "  v10: i8 = load u8 v1 + 0\n  v11: pkt = ptr_add v1, v10\n  v12: i8 = load u8 v11 + 0\n  return v3",
            "of which 0 are checked",
        ),
        (
            "stale after adjust_head",
            "  v10: i64 = call xdp_adjust_head(v0, v3)\n  v11: i8 = load u8 v1 + 0\n  return v3",
            "before the packet was moved",
        ),
        (
            "a lookup that is not tested",
            "  v10: ?value(m0) = call map_lookup_elem(v6, v1)\n  v11: i64 = load u64 v10 + 0\n  return v3",
            "nothing is read through a ?value(m0)",
        ),
        (
            "not null without a test",
            "  v10: ?value(m0) = call map_lookup_elem(v6, v1)\n  v11: *value(m0) = non_null v10\n  return v3",
            "nothing has tested v10",
        ),
        (
            "or_null + const",
            "  v10: ?value(m0) = call map_lookup_elem(v6, v1)\n  v11: ?value(m0) = ptr_add v10, v4\n  return v3",
            "nothing may be added",
        ),
        ("ctx + const", "  v10: ctx = ptr_add v0, v4\n  return v3", "nothing may be added to a ctx"),
        (
            "past the map value",
            "  v10: ?value(m0) = call map_lookup_elem(v6, v1)\n  v11: i64 = 0\n  if64 v10 == v11 then b1 else b3\nb3:\n  v12: *value(m0) = non_null v10\n  v13: i64 = load u64 v12 + 4\n  return v3",
            "bytes 4 to 12 of 8",
        ),
        ("misaligned stack", "  store u32 v5 + 2, v3\n  return v3", "multiples of the size"),
        ("past the stack object", "  store u32 v5 + 8, v3\n  return v3", "bytes 8 to 12 of 8"),
        ("atomic on the packet", "  atomic add u64 v1 + 0, v4\n  return v3", "no atomic operations on packets"),
        ("a constant is written", "  store u32 v7 + 0, v3\n  return v3", "a constant is not written"),
        (
            "a key that is no memory",
            "  v10: ?value(m0) = call map_lookup_elem(v6, v4)\n  return v3",
            "argument 2 is i64",
        ),
        (
            "a key past the check",
            "  v9: i64 = 11\n  v10: pkt = ptr_add v1, v9\n  v11: ?value(m0) = call map_lookup_elem(v6, v10)\n  return v3",
            "of which 14 are checked",
        ),
        (
            "a helper of others",
            "  v10: i64 = call msg_apply_bytes(v0, v4)\n  return v3",
            "a xdp program may not call it",
        ),
        ("packet end is no memory", "  v10: i8 = load u8 v2 + 0\n  return v3", "nothing is read through a pkt_end"),
        ("pointer into the packet", "  store u64 v1 + 0, v5\n  return v3", "pointers are stored on the stack only"),
        ("pointer against a number", "  if64 v1 > v4 then b1 else b1", "cannot be compared"),
        ("used before it is defined", "  return v30", "never defined"),
        ("no such block", "  jump b9", "there is no b9"),
    ];
    for (name, body, want) in cases {
        let error = judge(body).expect_err(name);
        assert!(error.contains(want), "{name}: {error}");
    }
}
