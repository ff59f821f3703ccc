//! The rules of the verifier, as the IR's checker knows them: a function a row, what kernels from 5.10 on refuse, and why.

use asm::codegen::{Profile, compile, compile_func};
use asm::ir::{Func, Module, verify};

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
        (
            "a packet pointer and a map value meet",
            "  v10: ?value(m0) = call map_lookup_elem(v6, v1)\n  v11: i64 = 0\n  if64 v10 == v11 then b1 else b3\nb3:\n  v12: *value(m0) = non_null v10\n  if32 v3 == v4 then b4(v1) else b4(v12)\nb4(v13: pkt):\n  return v3",
            "which is pkt",
        ),
        (
            "checked on one way only",
            "  v10: pkt = ptr_add v1, v3\n  if32 v3 == v4 then b3 else b4\nb3:\n  check v10 + 20 <= v2 then b4 else b1\nb4:\n  v11: i8 = load u8 v10 + 19\n  return v3",
            "of which 14 are checked",
        ),
        ("arithmetic on a pointer", "  v10: i64 = xor64 v1, v4\n  return v3", "a number is wanted"),
        ("a pointer as result", "  return v1", "i32 is returned"),
        ("a pointer cut in two", "  v10: i32 = load u32 v0 + 2\n  return v3", "a pointer of 4 bytes"),
        ("used before it is defined", "  return v30", "never defined"),
        ("no such block", "  jump b9", "there is no b9"),
    ];
    for (name, body, want) in cases {
        let error = judge(body).expect_err(name);
        assert!(error.contains(want), "{name}: {error}");
    }
}

/// What one kernel's verifier sees: a function a row, how many of the profiles (oldest first) refuse it, and why.
#[test]
fn what_a_kernel_cannot_see_is_refused_for_it() {
    let all = [Profile::linux_5_10(), Profile::linux_6_1(), Profile::newest()];
    let cases = [
        (
            "an index that nothing bounds",
            "  v10: i64 = load u64 v1 + 0\n  v11: *g0 = ptr_add v7, v10\n  v12: i8 = load u8 v11 + 0\n  return v3",
            3,
            "anything of 4",
        ),
        (
            "one too many",
            "  v10: i64 = load u64 v1 + 0\n  if64 v10 > v4 then b1 else b3\nb3:\n  v11: *g0 = ptr_add v7, v10\n  \
             v12: i8 = load u8 v11 + 0\n  return v3",
            3,
            "bytes 0 to 5 of 4",
        ),
        (
            "a size that is too large",
            "  v9: i64 = 0\n  v10: i8 = load u8 v1 + 0\n  v11: i64 = call csum_diff(v9, v9, v7, v10, v9)\n  return v3",
            3,
            "bytes 0 to 255 of 4",
        ),
        (
            "a word that was half written",
            "  v11: *s1 = stack s1\n  store u32 v11 + 4, v3\n  v12: i64 = load u64 v11 + 0\n  return v3",
            1,
            "byte 0 of s1",
        ),
        (
            "a loop in which nothing changes",
            "  jump b3\nb3:\n  v10: i8 = load u8 v1 + 0\n  if64 v10 == v3 then b3 else b1",
            3,
            "nothing changes",
        ),
    ];
    let head = HEAD.replacen("  m0 =", "  s1 = stack 8 align 8\n  m0 =", 1);
    for (name, body, refuse, want) in cases {
        let func = Func::parse(&format!("{head}{body}\n}}")).unwrap_or_else(|error| panic!("{name}: {error}"));
        verify(&func).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (number, profile) in all.into_iter().enumerate() {
            match compile_func(&func, &[], &Profile { passes: false, ..profile }) {
                Ok(_) => assert!(number >= refuse, "{name}: accepted by {number}"),
                Err(error) => assert!(number < refuse && error.to_string().contains(want), "{name}, {number}: {error}"),
            }
        }
    }
}

/// A function of the object that moves the packet makes its caller's pointers stale; one that does not keeps them.
#[test]
fn functions_may_move_the_packet() {
    let other = |call: &str| {
        format!("fn other(ctx: ctx) -> i64 {{\nb0(v0: ctx):\n  v1: i32 = 4\n  v2: i64 = call {call}\n  return v2\n}}")
    };
    let main = format!("{HEAD}  v10: i64 = call @other(v0)\n  v11: i8 = load u8 v1 + 0\n  return v11\n}}");
    for (call, fine) in [("xdp_adjust_head(v0, v1)", false), ("ktime_get_ns()", true)] {
        let funcs = [&main, &other(call)].map(|text| Func::parse(text).expect("it is well-formed")).to_vec();
        let compiled = compile(&Module { funcs, ..Module::default() }, &Profile::linux_5_10());
        let said = compiled.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said.contains("before the packet was moved"), !fine, "{call}: {said}");
    }
}
