//! Control flow: conditions, `if`, loops, `?`, `return`, `let else`. `match` is in `pat.rs`.
//!
//! Stage: lowering. Input: an expression with control flow. Output, in the check twin: the same control flow over `bool`
//! and `Option`, which `rt::chk` promises. In the staged twin: blocks of the recorder, entered one after the other. Read
//! next: `pat.rs`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::{
    BinOp, Block, Expr, ExprBinary, ExprForLoop, ExprIf, ExprLet, ExprLoop, ExprWhile, Label, Lifetime, Pat,
    RangeLimits, UnOp, spanned::Spanned,
};

use super::{Around, Gives, Leaves, Lower, Twin, block_diverges, diverges, is_host, refuse};

impl Lower {
    /// Expressions that are not a plain value.
    pub(crate) fn flow(&mut self, expr: &Expr) -> TokenStream {
        let span = expr.span();
        match expr {
            Expr::If(e) => self.branch(e),
            Expr::Match(e) => self.matching(e),
            Expr::Block(e) if e.label.is_none() => self.block(&e.block),
            Expr::While(e) => self.while_loop(e),
            Expr::Loop(e) => self.forever(e),
            Expr::ForLoop(e) => self.for_loop(e),
            Expr::Return(e) => self.give_back(e.expr.as_deref(), e.return_token.span),
            Expr::Break(e) => match &e.expr {
                Some(value) => self.refuse(value.span(), refuse::BREAK_VALUE),
                None => self.jump(e.label.as_ref(), e.break_token.span, "leave"),
            },
            Expr::Continue(e) => self.jump(e.label.as_ref(), e.continue_token.span, "again"),
            Expr::Macro(e) => self.refuse(e.mac.path.span(), refuse::MACRO),
            Expr::Closure(e) => self.refuse(e.or1_token.span, refuse::CLOSURE),
            Expr::Range(e) => self.refuse(e.limits.span(), refuse::RANGE),
            Expr::Unsafe(e) => self.refuse(e.unsafe_token.span, refuse::UNSAFE),
            Expr::Async(e) => self.refuse(e.async_token.span, refuse::ASYNC),
            Expr::Await(e) => self.refuse(e.await_token.span, refuse::ASYNC),
            _ => self.refuse(span, refuse::OTHER),
        }
    }

    /// A condition of the check twin: a real `bool`, or `let` over a real `Option`.
    pub(super) fn condition(&mut self, cond: &Expr) -> TokenStream {
        let span = cond.span();
        match cond {
            Expr::Paren(e) => {
                let inner = self.condition(&e.expr);
                quote_spanned!(span=> (#inner))
            }
            Expr::Binary(ExprBinary { left, op: op @ (BinOp::And(_) | BinOp::Or(_)), right, .. }) => {
                let (left, right) = (self.condition(left), self.condition(right));
                quote_spanned!(span=> #left #op #right)
            }
            Expr::Unary(e) if matches!(e.op, UnOp::Not(_)) => {
                let inner = self.condition(&e.expr);
                quote_spanned!(span=> !#inner)
            }
            Expr::Let(ExprLet { pat, expr, .. }) => {
                let value = self.expr(expr);
                quote_spanned!(span=> let #pat = ::asm::dsl::rt::chk_option(#value))
            }
            _ if is_host(cond) => quote_spanned!(span=> #cond),
            _ => {
                let value = self.expr(cond);
                quote_spanned!(span=> ::asm::dsl::rt::chk_bool(#value))
            }
        }
    }

    /// Statements of the staged twin after which the recorder goes on where `cond` is `want`, and else is at `other`.
    pub(super) fn require(&mut self, cond: &Expr, want: bool, other: &Ident) -> TokenStream {
        let span = cond.span();
        match cond {
            Expr::Paren(e) => self.require(&e.expr, want, other),
            Expr::Unary(e) if matches!(e.op, UnOp::Not(_)) => self.require(&e.expr, !want, other),
            Expr::Binary(ExprBinary { left, op: op @ (BinOp::And(_) | BinOp::Or(_)), right, .. }) => {
                if matches!(op, BinOp::And(_)) == want {
                    let (left, right) = (self.require(left, want, other), self.require(right, want, other));
                    return quote_spanned!(span=> #left #right);
                }
                let here = self.name("either");
                let (left, right) = (self.require(left, !want, &here), self.require(right, want, other));
                quote_spanned!(span=>
                    let #here = ::asm::dsl::rt::block();
                    #left
                    #right
                    ::asm::dsl::rt::goto(#here);
                    ::asm::dsl::rt::enter(#here);
                )
            }
            Expr::Let(e) if want => self.require_some(&e.pat, &e.expr, other),
            _ => {
                let value = self.expr(cond);
                quote_spanned!(span=> ::asm::dsl::rt::require(#value, #want, #other);)
            }
        }
    }

    /// `let Some(name) = value`, else at `other`.
    pub(super) fn require_some(&mut self, pat: &Pat, value: &Expr, other: &Ident) -> TokenStream {
        let Some(name) = self.some_pattern(pat) else { return self.refuse(pat.span(), refuse::PATTERN) };
        let value = self.expr(value);
        quote_spanned!(pat.span()=> let #name = ::asm::dsl::rt::some(#value, #other);)
    }

    fn branch(&mut self, e: &ExprIf) -> TokenStream {
        let span = e.if_token.span;
        if self.twin == Twin::Check {
            let (cond, then) = (self.condition(&e.cond), self.block(&e.then_branch));
            let other = e.else_branch.as_ref().map(|(_, other)| {
                let other = self.arm(other);
                quote_spanned!(span=> else #other)
            });
            return quote_spanned!(span=> if #cond #then #other);
        }
        let other = self.name("else");
        let (cond, then) = (self.require(&e.cond, true, &other), self.block(&e.then_branch));
        let begin = quote_spanned!(span=> let #other = ::asm::dsl::rt::block(););
        let Some((_, otherwise)) = &e.else_branch else {
            return quote_spanned!(span=> { #begin { #cond #then; ::asm::dsl::rt::goto(#other); } ::asm::dsl::rt::enter(#other); });
        };
        let otherwise_diverges = diverges(otherwise);
        let otherwise = self.arm(otherwise);
        if block_diverges(&e.then_branch) {
            return quote_spanned!(span=> { #begin { #cond #then; } ::asm::dsl::rt::enter(#other); #otherwise });
        }
        if otherwise_diverges {
            return quote_spanned!(span=> {
                #begin
                let (__value, __here) = { #cond let __value = #then; (__value, ::asm::dsl::rt::here()) };
                ::asm::dsl::rt::enter(#other);
                { #otherwise };
                ::asm::dsl::rt::back(__here);
                __value
            });
        }
        quote_spanned!(span=> {
            #begin
            let __join = ::asm::dsl::rt::block();
            let __merge = { #cond ::asm::dsl::rt::open(#then, __join) };
            ::asm::dsl::rt::enter(#other);
            ::asm::dsl::rt::merge(__merge, #otherwise, __join);
            ::asm::dsl::rt::join(__merge, __join)
        })
    }

    /// An `else`, or the right side of `=>`: a block of its own.
    pub(super) fn arm(&mut self, expr: &Expr) -> TokenStream {
        let span = expr.span();
        let value = match expr {
            Expr::Block(e) => return self.block(&e.block),
            Expr::If(_) => self.expr(expr),
            _ if diverges(expr) => self.expr(expr),
            _ => self.value(expr),
        };
        if matches!(expr, Expr::If(_)) && self.twin == Twin::Check {
            return value;
        }
        quote_spanned!(span=> { #value })
    }

    /// `a && b` as a value.
    pub(super) fn shortcut(&mut self, e: &ExprBinary) -> TokenStream {
        let span = e.op.span();
        let whole = Expr::Binary(e.clone());
        if self.twin == Twin::Check {
            let cond = self.condition(&whole);
            return quote_spanned!(span=> ::asm::dsl::rt::literal(#cond));
        }
        let no = self.name("no");
        let cond = self.require(&whole, true, &no);
        quote_spanned!(span=> {
            let #no = ::asm::dsl::rt::block();
            let __join = ::asm::dsl::rt::block();
            let __merge = { #cond ::asm::dsl::rt::open(::asm::dsl::rt::literal(true), __join) };
            ::asm::dsl::rt::enter(#no);
            ::asm::dsl::rt::merge(__merge, ::asm::dsl::rt::literal(false), __join);
            ::asm::dsl::rt::join(__merge, __join)
        })
    }

    /// `let pat = value else { otherwise };`
    pub(super) fn let_else(&mut self, pat: &Pat, value: &Expr, otherwise: &Expr, span: Span) -> TokenStream {
        if self.twin == Twin::Check {
            let (value, otherwise) = (self.expr(value), self.arm(otherwise));
            return quote_spanned!(span=> let #pat = ::asm::dsl::rt::chk_option(#value) else #otherwise;);
        }
        let other = self.name("else");
        let some = self.require_some(pat, value, &other);
        let otherwise = self.arm(otherwise);
        quote_spanned!(span=>
            let #other = ::asm::dsl::rt::block();
            #some
            {
                let __here = ::asm::dsl::rt::here();
                ::asm::dsl::rt::enter(#other);
                { #otherwise };
                ::asm::dsl::rt::back(__here);
            }
        )
    }

    /// `value?`
    pub(super) fn question(&mut self, value: &Expr, span: Span) -> TokenStream {
        let value = self.expr(value);
        match (self.twin, self.leaves) {
            (Twin::Staged, _) => quote_spanned!(span=> ::asm::dsl::rt::question(#value)),
            (Twin::Check, Leaves::Option) => quote_spanned!(span=> ::asm::dsl::rt::chk_option(#value)?),
            (Twin::Check, Leaves::Result | Leaves::Reason | Leaves::Plain) => {
                quote_spanned!(span=> ::asm::dsl::rt::chk_result(#value)?)
            }
        }
    }

    fn give_back(&mut self, value: Option<&Expr>, span: Span) -> TokenStream {
        if let Some(value) = value
            && self.leaves != Leaves::Plain
            && !matches!(self.gives, Gives::Verdict)
        {
            return self.leave(value, span);
        }
        let value = match value {
            Some(value) => self.result(value),
            None => quote_spanned!(span=> ()),
        };
        match self.twin {
            Twin::Check => quote_spanned!(span=> return #value),
            Twin::Staged => quote_spanned!(span=> ::asm::dsl::rt::give_back(#value)),
        }
    }

    /// A value that the function returns.
    fn result(&mut self, value: &Expr) -> TokenStream {
        let span = value.span();
        if let Some(parts) = self.parts(value) {
            return parts;
        }
        let value = self.expr(value);
        match (self.twin, self.leaves, &self.gives) {
            (Twin::Check, _, Gives::Thing(_)) => quote_spanned!(span=> ::asm::dsl::rt::own(#value)),
            (Twin::Check, Leaves::Plain, _) => quote_spanned!(span=> ::asm::dsl::rt::convert(#value)),
            (Twin::Staged, _, Gives::Value(ty)) => quote_spanned!(span=> ::asm::dsl::rt::value::<#ty>(#value)),
            _ => value,
        }
    }

    /// `return value` in a function that may fail: `Some(..)`, `Ok(..)`, `None`, `Err(..)`, or what another such function gives.
    fn leave(&mut self, value: &Expr, span: Span) -> TokenStream {
        let (okay, failure) = if self.leaves == Leaves::Option { ("Some", "None") } else { ("Ok", "Err") };
        let named = |expr: &Expr, name: &str| matches!(expr, Expr::Path(path) if path.path.is_ident(name));
        match value {
            Expr::Paren(inner) => return self.leave(&inner.expr, span),
            Expr::Call(call) if named(&call.func, okay) && call.args.len() == 1 => {
                let inner = self.given(&call.args[0]);
                return self.leave_with(&inner, span);
            }
            Expr::Call(call) if named(&call.func, failure) && call.args.len() == 1 => {
                if self.leaves == Leaves::Reason {
                    return self.raise(&call.args[0], span);
                }
            }
            path if named(path, failure) => {}
            other => {
                let inner = self.question(other, span);
                let inner = match self.twin {
                    Twin::Check => quote_spanned!(span=> ::asm::dsl::rt::own(#inner)),
                    Twin::Staged => inner,
                };
                return self.leave_with(&inner, span);
            }
        }
        match self.twin {
            Twin::Check => quote_spanned!(span=> return #value),
            Twin::Staged => quote_spanned!(span=> ::asm::dsl::rt::fail()),
        }
    }

    /// `return Err(why)` in a function that may fail for a reason.
    fn raise(&mut self, why: &Expr, span: Span) -> TokenStream {
        let (value, ty) = (self.expr(why), self.why.clone());
        match self.twin {
            Twin::Check => quote_spanned!(span=> return Err(::asm::dsl::rt::typed::<#ty>(#value))),
            Twin::Staged => quote_spanned!(span=> ::asm::dsl::rt::raise::<#ty>(#value)),
        }
    }

    /// Leaves a function that may fail with a value.
    fn leave_with(&self, value: &TokenStream, span: Span) -> TokenStream {
        let okay = Ident::new(if self.leaves == Leaves::Option { "Some" } else { "Ok" }, span);
        match self.twin {
            Twin::Check => quote_spanned!(span=> return #okay(#value)),
            Twin::Staged => quote_spanned!(span=> ::asm::dsl::rt::give_back(::asm::dsl::rt::Okay(#value))),
        }
    }

    /// A tuple that is the result: literals get the types of its parts.
    pub(super) fn parts(&mut self, value: &Expr) -> Option<TokenStream> {
        let (Expr::Tuple(tuple), Gives::Thing(types)) = (value, self.gives.clone()) else { return None };
        let parts = tuple.elems.iter().zip(types).map(|(part, ty)| match ty {
            Some(ty) => {
                let part = self.expr(part);
                quote_spanned!(value.span()=> ::asm::dsl::rt::value::<#ty>(#part))
            }
            None => self.settled(part),
        });
        let parts: Vec<_> = parts.collect();
        Some(quote_spanned!(value.span()=> (#(#parts,)*)))
    }

    /// What stands in `Some(..)` or `Ok(..)`.
    fn given(&mut self, value: &Expr) -> TokenStream {
        let span = value.span();
        if matches!(value, Expr::Tuple(tuple) if tuple.elems.is_empty()) {
            return quote_spanned!(span=> ());
        }
        if let Some(parts) = self.parts(value) {
            return parts;
        }
        let tokens = self.expr(value);
        match (self.twin, &self.gives) {
            (_, Gives::Value(ty)) => quote_spanned!(span=> ::asm::dsl::rt::value::<#ty>(#tokens)),
            (Twin::Check, _) => quote_spanned!(span=> ::asm::dsl::rt::own(#tokens)),
            (Twin::Staged, _) => quote_spanned!(span=> ::asm::dsl::rt::stage(#tokens)),
        }
    }

    fn jump(&mut self, label: Option<&Lifetime>, span: Span, how: &str) -> TokenStream {
        let found = self.loops.iter().rev().find(|around| match label {
            Some(label) => around.label.as_ref() == Some(&label.ident),
            None => true,
        });
        let Some(around) = found else { return self.refuse(span, refuse::NOT_IN_LOOP) };
        let (handle, method) = (around.handle.clone(), Ident::new(how, span));
        match (self.twin, how) {
            (Twin::Check, "leave") => quote_spanned!(span=> break #label),
            (Twin::Check, _) => quote_spanned!(span=> continue #label),
            (Twin::Staged, _) => quote_spanned!(span=> #handle.#method()),
        }
    }

    /// The body of a loop, with `break` and `continue` known inside.
    fn body(&mut self, label: Option<&Label>, handle: &Ident, body: &Block) -> TokenStream {
        self.loops.push(Around { label: label.map(|label| label.name.ident.clone()), handle: handle.clone() });
        let tokens = self.block(body);
        self.loops.pop();
        tokens
    }

    fn while_loop(&mut self, e: &ExprWhile) -> TokenStream {
        let (span, handle, label) = (e.while_token.span, self.name("loop"), &e.label);
        if self.twin == Twin::Check {
            let (cond, body) = (self.condition(&e.cond), self.body(label.as_ref(), &handle, &e.body));
            return quote_spanned!(span=> #label while #cond #body);
        }
        let exit = self.name("exit");
        let cond = self.require(&e.cond, true, &exit);
        let body = self.body(label.as_ref(), &handle, &e.body);
        quote_spanned!(span=> {
            let #handle = ::asm::dsl::rt::Loop::begin();
            let #exit = #handle.exit();
            { #cond #body; }
            #handle.end();
        })
    }

    fn forever(&mut self, e: &ExprLoop) -> TokenStream {
        let (span, handle, label) = (e.loop_token.span, self.name("loop"), &e.label);
        let body = self.body(label.as_ref(), &handle, &e.body);
        match self.twin {
            Twin::Check => quote_spanned!(span=> #label loop #body),
            Twin::Staged => quote_spanned!(span=> {
                let #handle = ::asm::dsl::rt::Loop::begin();
                #body;
                #handle.end();
            }),
        }
    }

    fn for_loop(&mut self, e: &ExprForLoop) -> TokenStream {
        let (span, handle, label) = (e.for_token.span, self.name("loop"), &e.label);
        let range = match &*e.expr {
            Expr::Range(range) => range,
            Expr::Paren(inner) if matches!(*inner.expr, Expr::Range(_)) => {
                return self.refuse(inner.span(), refuse::FOR);
            }
            other => return self.refuse(other.span(), refuse::FOR),
        };
        let (Some(start), Some(end)) = (&range.start, &range.end) else {
            return self.refuse(range.span(), refuse::FOR);
        };
        let (start, end) = (self.expr(start), self.expr(end));
        let pat = self.binding(&e.pat);
        let body = self.body(label.as_ref(), &handle, &e.body);
        let make = match range.limits {
            RangeLimits::HalfOpen(_) => quote_spanned!(range.span()=> ::asm::dsl::rt::range),
            RangeLimits::Closed(_) => quote_spanned!(range.span()=> ::asm::dsl::rt::closed),
        };
        let range = quote_spanned!(range.span()=> #make(#start, #end));
        match self.twin {
            Twin::Check => quote_spanned!(span=> #label for #pat in #range #body),
            Twin::Staged => quote_spanned!(span=> {
                let (#handle, __item) = ::asm::dsl::rt::Loop::over(#range);
                { let #pat = __item.now(); #body; }
                __item.next(#handle);
            }),
        }
    }
}
