//! Lowering: one body of ordinary Rust into two twins over one set of calls.
//!
//! Stage: between syntax and rustc. Input: the author's statements. Output: tokens, in one of two [`Twin`]s. The check
//! twin keeps the control flow, is never run, and is what rustc judges: types, moves, borrows, exhaustiveness. The staged
//! twin runs once in a straight line and records. Both call `asm::dsl::rt`, with the author's spans. What has no meaning
//! in a kernel program is refused here, at its token. Read next: `expr.rs`, `flow.rs`, `pat.rs`, `refuse.rs`.

mod expr;
mod flow;
mod pat;
mod refuse;
mod tails;

pub(crate) use tails::leaving;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote_spanned};
use syn::{Block, Error, Expr, Local, Pat, Stmt, Type, spanned::Spanned};

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Twin {
    /// For rustc to judge; never run.
    Check,
    /// Runs once, and records.
    Staged,
}

/// How a function leaves by `?`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// The result type is `Result<T>`: failure takes the default verdict, or goes to the caller.
    Result,
    /// The result type is `Option<T>`.
    Option,
    /// The result type is `Result<T, E>`: the reason is a number.
    Reason,
    /// Another type: `?` has nowhere to go, which rustc says.
    Plain,
}

/// What a function returns.
#[derive(Clone)]
pub(crate) enum Gives {
    /// A program's verdict: its attribute knows the type.
    Verdict,
    /// Nothing.
    Nothing,
    /// A value of this type.
    Value(TokenStream),
    /// Something else: a reference, or a tuple, of which some parts are values of these types.
    Thing(Vec<Option<TokenStream>>),
}

/// A loop around the place that is being lowered.
pub(crate) struct Around {
    label: Option<Ident>,
    handle: Ident,
}

/// The state of lowering one function.
pub(crate) struct Lower {
    pub(crate) twin: Twin,
    pub(crate) leaves: Leaves,
    pub(crate) gives: Gives,
    /// The type of the reason.
    pub(crate) why: Option<TokenStream>,
    pub(crate) errors: Vec<Error>,
    loops: Vec<Around>,
    fresh: usize,
}

impl Lower {
    pub(crate) fn new(twin: Twin, leaves: Leaves, gives: Gives) -> Self {
        Self { twin, leaves, gives, why: None, errors: Vec::new(), loops: Vec::new(), fresh: 0 }
    }

    /// With the type of the reason that the function may fail for.
    pub(crate) fn because(self, why: Option<TokenStream>) -> Self {
        Self { why, ..self }
    }

    /// The refusals of a twin, all at once.
    pub(crate) fn refused(self) -> syn::Result<()> {
        let all = self.errors.into_iter().reduce(|mut all, error| {
            all.combine(error);
            all
        });
        all.map_or(Ok(()), Err)
    }

    /// A function's body: its last expression is what it returns.
    pub(crate) fn function(&mut self, block: &Block, has_result: bool) -> TokenStream {
        let span = block.brace_token.span.close();
        let mut tokens = TokenStream::new();
        let (last, before) = match block.stmts.split_last() {
            Some((Stmt::Expr(tail, None), before)) => (Some(tail), before),
            _ => (None, block.stmts.as_slice()),
        };
        before.iter().for_each(|stmt| tokens.extend(self.stmt(stmt)));
        let result = match last {
            Some(tail) if diverges(tail) => self.expr(tail),
            Some(tail) => {
                let value = self.parts(tail).unwrap_or_else(|| self.tail(tail));
                self.returned(value, has_result, tail.span())
            }
            None if block_diverges(block) => return tokens,
            None => self.returned(quote_spanned!(span=> ()), has_result, span),
        };
        tokens.extend(result);
        tokens
    }

    /// The value of a function's last expression.
    fn returned(&mut self, value: TokenStream, has_result: bool, span: Span) -> TokenStream {
        match (self.twin, self.leaves, &self.gives) {
            (Twin::Staged, _, Gives::Value(ty)) => {
                quote_spanned!(span=> ::asm::dsl::rt::give_back(::asm::dsl::rt::value::<#ty>(#value)))
            }
            (Twin::Staged, ..) => quote_spanned!(span=> ::asm::dsl::rt::give_back(#value)),
            (Twin::Check, _, Gives::Thing(_)) => value,
            (Twin::Check, Leaves::Plain, _) if has_result => quote_spanned!(span=> ::asm::dsl::rt::convert(#value)),
            (Twin::Check, ..) => value,
        }
    }

    /// A name for a local of the expansion.
    fn name(&mut self, what: &str) -> Ident {
        self.fresh += 1;
        format_ident!("__{what}{}", self.fresh)
    }

    /// The value of a block as the author wrote it; `()` when it ends in a statement.
    pub(crate) fn block(&mut self, block: &Block) -> TokenStream {
        let mut tokens = TokenStream::new();
        let (last, before) = match block.stmts.split_last() {
            Some((Stmt::Expr(tail, None), before)) => (Some(tail), before),
            _ => (None, block.stmts.as_slice()),
        };
        for stmt in before {
            tokens.extend(self.stmt(stmt));
        }
        if let Some(tail) = last {
            tokens.extend(self.tail(tail));
        }
        quote_spanned!(block.span()=> { #tokens })
    }

    /// The last expression of a block: its value leaves the block.
    fn tail(&mut self, tail: &Expr) -> TokenStream {
        if diverges(tail) || is_flow(tail) { self.expr(tail) } else { self.settled(tail) }
    }

    /// A value that no longer hangs on the place it came from.
    pub(crate) fn settled(&mut self, expr: &Expr) -> TokenStream {
        let span = expr.span();
        if is_host(expr) {
            return quote_spanned!(span=> ::asm::dsl::rt::literal(#expr));
        }
        let value = self.expr(expr);
        match self.twin {
            Twin::Check => quote_spanned!(span=> ::asm::dsl::rt::own(#value)),
            Twin::Staged => quote_spanned!(span=> ::asm::dsl::rt::stage(#value)),
        }
    }

    fn stmt(&mut self, stmt: &Stmt) -> TokenStream {
        match stmt {
            Stmt::Local(local) => self.local(local),
            Stmt::Item(item) => quote_spanned!(item.span()=> #item),
            Stmt::Expr(expr, semi) => {
                let value = self.expr(expr);
                match (self.twin, semi) {
                    (Twin::Check, None) => quote_spanned!(expr.span()=> #value),
                    _ => quote_spanned!(expr.span()=> #value;),
                }
            }
            Stmt::Macro(mac) => self.refuse(mac.mac.path.span(), refuse::MACRO),
        }
    }

    fn local(&mut self, local: &Local) -> TokenStream {
        let span = local.let_token.span;
        let (pat, ty) = match &local.pat {
            Pat::Type(typed) => (&*typed.pat, Some(&*typed.ty)),
            pat => (pat, None),
        };
        let Some(init) = &local.init else { return self.refuse(local.pat.span(), refuse::LET_WITHOUT_VALUE) };
        if let Some((_, otherwise)) = &init.diverge {
            return self.let_else(pat, &init.expr, otherwise, span);
        }
        let value = match ty {
            Some(ty) if is_value_type(ty) => {
                let (ty, value) = (value_type(ty), self.raw(&init.expr));
                quote_spanned!(ty.span()=> ::asm::dsl::rt::typed::<#ty>(#value))
            }
            _ => self.value(&init.expr),
        };
        let annotation = ty.filter(|ty| !is_value_type(ty)).map(|ty| quote_spanned!(ty.span()=> : #ty));
        match (self.twin, pat) {
            (Twin::Staged, Pat::Ident(ident)) if ident.mutability.is_some() => {
                let name = &ident.ident;
                quote_spanned!(span=> let mut #name #annotation = ::asm::dsl::rt::mutable(#value);)
            }
            _ => {
                let pat = self.binding(pat);
                quote_spanned!(span=> let #pat #annotation = #value;)
            }
        }
    }

    /// A value for a `let`: of an `if` or `match` it is settled already, arm by arm.
    fn value(&mut self, expr: &Expr) -> TokenStream {
        if is_flow(expr) { self.expr(expr) } else { self.settled(expr) }
    }

    /// An operand: literals stay literals, so that the other operand gives them their type.
    fn raw(&mut self, expr: &Expr) -> TokenStream {
        self.expr(expr)
    }

    /// The patterns of a plain `let`: names, `_` and tuples of them.
    fn binding(&mut self, pat: &Pat) -> TokenStream {
        match pat {
            Pat::Ident(ident) if ident.subpat.is_none() && ident.by_ref.is_none() => {
                let (mutability, name) = (&ident.mutability, &ident.ident);
                quote_spanned!(ident.span()=> #mutability #name)
            }
            Pat::Wild(wild) => quote_spanned!(wild.span()=> _),
            Pat::Tuple(tuple) => {
                let inner: Vec<_> = tuple.elems.iter().map(|pat| self.binding(pat)).collect();
                quote_spanned!(tuple.span()=> (#(#inner),*))
            }
            other => self.refuse(other.span(), refuse::LET_PATTERN),
        }
    }

    /// Remembers a refusal; the tokens keep the rest well-formed.
    fn refuse(&mut self, span: Span, why: &str) -> TokenStream {
        self.errors.push(Error::new(span, why));
        quote_spanned!(span=> ())
    }
}

/// Is it nothing but literals? Then rustc computes it while it compiles, and infers its type from where it stands.
pub(crate) fn is_host(expr: &Expr) -> bool {
    match expr {
        Expr::Lit(_) => true,
        Expr::Paren(e) => is_host(&e.expr),
        Expr::Group(e) => is_host(&e.expr),
        Expr::Unary(e) => is_host(&e.expr),
        Expr::Cast(e) => is_host(&e.expr),
        Expr::Binary(e) => is_host(&e.left) && is_host(&e.right) && !refuse::assigns(&e.op),
        Expr::Array(e) => e.elems.iter().all(is_host),
        Expr::Repeat(e) => is_host(&e.expr),
        _ => false,
    }
}

/// Does the value come out of blocks, each of which has settled it?
fn is_flow(expr: &Expr) -> bool {
    matches!(expr, Expr::If(_) | Expr::Match(_) | Expr::Block(_) | Expr::While(_) | Expr::Loop(_) | Expr::ForLoop(_))
}

/// Does control never come out of this expression's end, by its form?
pub(crate) fn diverges(expr: &Expr) -> bool {
    match expr {
        Expr::Return(_) | Expr::Break(_) | Expr::Continue(_) => true,
        Expr::Paren(e) => diverges(&e.expr),
        Expr::Block(e) => block_diverges(&e.block),
        Expr::If(e) => {
            block_diverges(&e.then_branch) && e.else_branch.as_ref().is_some_and(|(_, other)| diverges(other))
        }
        Expr::Match(e) => !e.arms.is_empty() && e.arms.iter().all(|arm| diverges(&arm.body)),
        Expr::Loop(e) => !refuse::breaks(&e.body),
        _ => false,
    }
}

/// As [`diverges`], of a block.
pub(crate) fn block_diverges(block: &Block) -> bool {
    block.stmts.iter().any(|stmt| matches!(stmt, Stmt::Expr(expr, _) if diverges(expr)))
}

/// A type written like a value's: a name without parameters, or an array. Everything else means itself.
pub(crate) fn is_value_type(ty: &Type) -> bool {
    match ty {
        Type::Array(_) => true,
        Type::Path(path) => path.path.segments.iter().all(|segment| segment.arguments.is_empty()),
        _ => false,
    }
}

/// The type itself, `usize` and `isize` as the 64 bits that they are in the kernel.
pub(crate) fn value_type(ty: &Type) -> TokenStream {
    let span = ty.span();
    match ty {
        Type::Path(path) if path.path.is_ident("usize") => quote_spanned!(span=> u64),
        Type::Path(path) if path.path.is_ident("isize") => quote_spanned!(span=> i64),
        _ => quote_spanned!(span=> #ty),
    }
}
