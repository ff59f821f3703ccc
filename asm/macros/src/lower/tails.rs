//! The last expressions of a function that may fail.
//!
//! Stage: before lowering. Input: a body whose last expression may be `Some(..)` in one arm and `None` in another. Output: the
//! same with `return`s, so that each of them is lowered by itself. Read next: `flow.rs`.

use syn::{Arm, Block, Expr, ExprBlock, ExprIf, ExprMatch, ExprReturn, Stmt, Token, spanned::Spanned};

/// The body with its last expressions as `return`s: in a function that may fail they may be `None`.
pub(crate) fn leaving(block: &Block) -> Block {
    let mut block = block.clone();
    if let Some(Stmt::Expr(tail, None)) = block.stmts.last_mut() {
        *tail = leaving_by(tail);
    }
    block
}

fn leaving_by(tail: &Expr) -> Expr {
    match tail {
        Expr::If(e) if e.else_branch.is_some() => {
            let else_branch = e.else_branch.as_ref().map(|(token, other)| (*token, Box::new(leaving_by(other))));
            Expr::If(ExprIf { then_branch: leaving(&e.then_branch), else_branch, ..e.clone() })
        }
        Expr::Match(e) => {
            let arms = e.arms.iter().map(|arm| Arm { body: Box::new(leaving_by(&arm.body)), ..arm.clone() });
            Expr::Match(ExprMatch { arms: arms.collect(), ..e.clone() })
        }
        Expr::Block(e) if e.label.is_none() => Expr::Block(ExprBlock { block: leaving(&e.block), ..e.clone() }),
        other if super::diverges(other) => other.clone(),
        other => Expr::Return(ExprReturn {
            attrs: Vec::new(),
            return_token: Token![return](other.span()),
            expr: Some(Box::new(other.clone())),
        }),
    }
}
