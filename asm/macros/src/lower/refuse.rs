//! What a kernel program cannot say, and what to write instead.
//!
//! Stage: used by every file of the lowering. Output: the texts of errors, and questions about syntax. Read next: `../program.rs`.

use syn::{BinOp, Block, ExprBreak, ExprForLoop, ExprLoop, ExprWhile, visit::Visit};

pub(super) const MACRO: &str =
    "macros cannot be called in a kernel program; write the expression out, or call a function";
pub(super) const LET_WITHOUT_VALUE: &str =
    "give the variable its first value here: kernel memory is never uninitialised";
pub(super) const LET_PATTERN: &str =
    "a `let` here takes a name, `_`, or a tuple of them; use `let .. else` or `match` for others";
pub(super) const CLOSURE: &str = "closures cannot run in the kernel; write a function with #[bpf_fn]";
pub(super) const RANGE: &str = "a range stands only in `for i in a..b` and in patterns";
pub(super) const FOR: &str = "`for` in a kernel program runs over numbers: `for i in a..b` or `a..=b`";
pub(super) const BREAK_VALUE: &str =
    "`break` carries no value in a kernel program; assign to a variable declared before the loop";
pub(super) const NOT_IN_LOOP: &str = "there is no loop around this, or none with this label";
pub(super) const ERR: &str =
    "`Err(..)` is the end of a function that gives `Result<T, E>`; a program leaves with `Ok(verdict)`";
pub(super) const STRUCT_REST: &str = "name every field: memory that is not written cannot leave the program";
pub(super) const PATTERN: &str = "patterns in a kernel program are numbers, constants, variants, ranges, `|`, `_`, a name, tuples, `Some(..)` and `None`";
pub(super) const OPTION_ARMS: &str =
    "a `match` on an option has two arms without guards: `Some(name) => ..` and `None => ..`";
pub(super) const RESULT_ARMS: &str =
    "a `match` on a result has two arms without guards: `Ok(name) => ..` and `Err(name) => ..`";
pub(super) const UNSAFE: &str = "a kernel program needs no `unsafe`: every access is checked";
pub(super) const ASYNC: &str = "a kernel program cannot wait";
pub(super) const OTHER: &str =
    "this has no meaning in a kernel program; there are `if`, `match`, `let`, loops, `?`, calls and arithmetic";

/// Is it `+=` or one of its kin?
pub(super) fn assigns(op: &BinOp) -> bool {
    use BinOp::*;
    matches!(
        op,
        AddAssign(_)
            | SubAssign(_)
            | MulAssign(_)
            | DivAssign(_)
            | RemAssign(_)
            | BitXorAssign(_)
            | BitAndAssign(_)
            | BitOrAssign(_)
            | ShlAssign(_)
            | ShrAssign(_)
    )
}

/// Does a `break` leave the loop with this body?
pub(super) fn breaks(body: &Block) -> bool {
    struct Breaks {
        found: bool,
        depth: usize,
    }
    impl Visit<'_> for Breaks {
        fn visit_expr_break(&mut self, node: &ExprBreak) {
            self.found |= self.depth == 0 || node.label.is_some();
        }
        fn visit_expr_loop(&mut self, node: &ExprLoop) {
            self.depth += 1;
            self.visit_block(&node.body);
            self.depth -= 1;
        }
        fn visit_expr_while(&mut self, node: &ExprWhile) {
            self.depth += 1;
            self.visit_block(&node.body);
            self.depth -= 1;
        }
        fn visit_expr_for_loop(&mut self, node: &ExprForLoop) {
            self.depth += 1;
            self.visit_block(&node.body);
            self.depth -= 1;
        }
    }
    let mut visitor = Breaks { found: false, depth: 0 };
    visitor.visit_block(body);
    visitor.found
}
