//! IR is text: what is printed is read back to the same, and bad text is refused, never a panic.

use asm::codegen::Profile;
use asm::ir::{Func, verify};
use proptest::prelude::*;

use super::author::program;
use super::{compile_func, count};

#[test]
fn printing_and_reading_give_the_same_function() {
    for seed in 1..150 {
        let mut func = program(seed, 2 + seed % 12);
        let text = func.to_string();
        let mut read = Func::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read.to_string(), text);
        verify(&read).unwrap_or_else(|error| panic!("{error}\n{text}"));
        // Positions, and values that nothing defines any more, are not in the text.
        for func in [&mut func, &mut read] {
            func.locs.clear();
            func.values.clear();
            for block in &mut func.blocks {
                block.loc = asm::ir::LocId(0);
                block.insts.iter_mut().for_each(|inst| inst.loc = asm::ir::LocId(0));
            }
        }
        assert_eq!(read, func, "{text}");
    }
}

#[test]
fn a_function_from_text_compiles_to_the_same_code() {
    let func = count();
    let read = Func::parse(&func.to_string()).unwrap();
    let code = |func| compile_func(func, &[], &Profile::linux_5_10()).unwrap().code.insns;
    assert_eq!(code(&read), code(&func));
}

#[test]
fn declarations_survive() {
    let text = "prog \"tc\" p(ctx: ctx) -> i32 {
  s0 = stack 16 align 8
  m0 = map outer array_of_maps key 4 value 4 entries 2 of inner hash key 8 value 16 entries 7
  g0 = var counter 8
b0(v0: ctx):
  v1: i32 = 0
  return v1
}
";
    assert_eq!(Func::parse(text).unwrap().to_string(), text);
}

#[test]
fn the_first_wrong_line_is_named() {
    let cases = [
        ("fn f() -> i64 {\nb0:\n  v0: i64 = 1\n  return w0\n}", 4, "v"),
        ("fn f( {", 1, "a name"),
        ("prog \"xdp\" p(ctx: ctx) -> i32 {\nb0(v0: ctx):\n  v1: i32 = frobnicate v0\n", 3, "an operation"),
        ("fn f() {\nb1:\n  return\n}", 2, "the next block"),
        ("", 0, "a function"),
    ];
    for (text, line, what) in cases {
        let error = Func::parse(text).unwrap_err();
        assert_eq!((error.line, error.what), (line, what), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::default() })]
    /// Whatever is done to a text, reading, judging and compiling it end in a result.
    #[test]
    fn broken_text_is_refused(seed in 1u64..40, at in 0usize..4000, junk in "[ -~]{0,6}", cut in 0usize..12) {
        let mut text = program(seed, 4).to_string();
        let at = at % text.len();
        let end = (at + cut).min(text.len());
        text.replace_range(at..end, &junk);
        if let Ok(func) = Func::parse(&text) {
            let _ = compile_func(&func, &[], &Profile::newest());
        }
    }
}
