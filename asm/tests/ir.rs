//! The IR builder: variables become values, mistakes are reported with their places.

use asm::insn::Cond;
use asm::ir::{FuncBuilder, ProblemKind, Ty};

#[test]
fn a_loop_gets_parameters_only_for_what_changes() {
    let mut b = FuncBuilder::subprog("sum", &[("n", Ty::I64)], Some(Ty::I64));
    let (i, sum, n) = (b.var(Ty::I64), b.var(Ty::I64), b.var(Ty::I64));
    let zero = b.iconst(Ty::I64, 0);
    b.def(i, zero);
    b.def(sum, zero);
    b.def(n, b.param(0));
    let (head, body, done) = (b.block(), b.block(), b.block());
    b.jump(head);
    b.switch_to(head);
    let (at, end) = (b.use_var(i), b.use_var(n));
    b.branch(Cond::Lt, at, end, body, done);
    b.seal(body);
    b.seal(done);
    b.switch_to(body);
    let (at, so_far, one) = (b.use_var(i), b.use_var(sum), b.iconst(Ty::I64, 1));
    let more = b.add(so_far, at);
    b.def(sum, more);
    let next = b.add(at, one);
    b.def(i, next);
    b.jump(head);
    b.seal(head);
    b.switch_to(done);
    let result = b.use_var(sum);
    b.ret(Some(result));
    let func = b.finish().unwrap();
    assert_eq!(func.blocks[1].params.len(), 2, "{func}");
    assert_eq!(func.blocks.iter().map(|block| block.params.len()).sum::<usize>(), 3, "{func}");
}

#[test]
fn mistakes_have_places() {
    let mut b = FuncBuilder::prog("xdp", "wrong");
    let undefined = b.var(Ty::I32);
    let line = line!() + 1;
    let value = b.use_var(undefined);
    let ctx = b.ctx();
    b.add(ctx, value);
    b.non_null(value, asm::ir::Block(0));
    b.ret(Some(value));
    let error = b.finish().unwrap_err();
    assert_eq!(error.problems[0].kind, ProblemKind::Undefined);
    assert_eq!(error.problems[0].loc.as_ref().map(|loc| loc.line), Some(line));
    assert!(matches!(error.problems[1].kind, ProblemKind::Type { got: Ty::Ctx, .. }), "{error}");
    assert!(error.to_string().contains("tests/ir.rs"), "{error}");
    let unknown = FuncBuilder::prog("nothing", "x").finish().unwrap_err();
    assert!(unknown.to_string().contains("section `nothing`"), "{unknown}");
}
