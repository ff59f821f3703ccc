//! `match`: patterns as tests, in the order of the arms.
//!
//! Stage: lowering. In the check twin the `match` stays one, over the host's value of the same type, so rustc judges
//! exhaustiveness and reachability. In the staged twin each pattern becomes comparisons; the last arm needs none, because
//! the check twin has shown that the arms are exhaustive. Read next: `../program.rs`.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;
use syn::{Arm, Expr, ExprMatch, ExprRange, Pat, RangeLimits, spanned::Spanned};

use super::{Lower, Twin, diverges, refuse};

impl Lower {
    pub(super) fn matching(&mut self, e: &ExprMatch) -> TokenStream {
        let value = self.expr(&e.expr);
        if e.arms.iter().any(|arm| is_some(&arm.pat) || is_none(&arm.pat)) {
            return self.match_option(e, &value);
        }
        if e.arms.iter().any(|arm| inside(&arm.pat, "Ok").is_some() || inside(&arm.pat, "Err").is_some()) {
            return self.match_result(e, &value);
        }
        match self.twin {
            Twin::Check => self.match_checked(e, &value),
            Twin::Staged => self.match_staged(e, &value),
        }
    }

    fn match_checked(&mut self, e: &ExprMatch, value: &TokenStream) -> TokenStream {
        let span = e.match_token.span;
        let arms: Vec<_> = e
            .arms
            .iter()
            .map(|arm| {
                self.supported(&arm.pat);
                let names = bindings(&arm.pat);
                let staged = quote_spanned!(arm.span()=> #(let #names = ::asm::dsl::rt::literal(#names);)*);
                let guard = arm.guard.as_ref().map(|(token, guard)| {
                    let cond = self.condition(guard);
                    quote_spanned!(token.span=> if { #staged #cond })
                });
                let (pat, body) = (&arm.pat, self.arm(&arm.body));
                quote_spanned!(arm.body.span()=> #pat #guard => { #staged #body })
            })
            .collect();
        quote_spanned!(span=> match ::asm::dsl::rt::chk(#value) { #(#arms)* })
    }

    fn match_staged(&mut self, e: &ExprMatch, value: &TokenStream) -> TokenStream {
        let span = e.match_token.span;
        let (subject, join, merge) = (self.name("subject"), self.name("join"), self.name("merge"));
        let subject_tokens = quote_spanned!(span=> #subject);
        let mut arms = TokenStream::new();
        let mut opened = false;
        for (at, arm) in e.arms.iter().enumerate() {
            let last = at + 1 == e.arms.len() && arm.guard.is_none();
            let next = self.name("next");
            let test = self.arm_test(arm, &subject_tokens, &next, last);
            let body = self.arm(&arm.body);
            let (begin, end) = if last {
                (None, None)
            } else {
                (
                    Some(quote_spanned!(span=> let #next = ::asm::dsl::rt::block();)),
                    Some(quote_spanned!(span=> ::asm::dsl::rt::enter(#next);)),
                )
            };
            arms.extend(match (diverges(&arm.body), opened) {
                (true, _) => quote_spanned!(span=> #begin { #test #body; } #end),
                (false, false) => {
                    quote_spanned!(span=> #begin let #merge = { #test ::asm::dsl::rt::open(#body, #join) }; #end)
                }
                (false, true) => {
                    quote_spanned!(span=> #begin { #test ::asm::dsl::rt::merge(#merge, #body, #join); } #end)
                }
            });
            opened |= !diverges(&arm.body);
        }
        let result = opened.then(|| quote_spanned!(span=> ::asm::dsl::rt::join(#merge, #join)));
        quote_spanned!(span=> {
            let #subject = ::asm::dsl::rt::stage(#value);
            let #join = ::asm::dsl::rt::block();
            #arms
            #result
        })
    }

    /// Bindings and tests of an arm: goes on where it matches, else at `next`.
    fn arm_test(&mut self, arm: &Arm, subject: &TokenStream, next: &Ident, last: bool) -> TokenStream {
        let mut tokens = if last { self.names(&arm.pat, subject) } else { self.test(&arm.pat, subject, next) };
        if let Some((_, guard)) = &arm.guard {
            tokens.extend(self.require(guard, true, next));
        }
        tokens
    }

    /// Only the bindings of a pattern that is known to match.
    fn names(&mut self, pat: &Pat, subject: &TokenStream) -> TokenStream {
        match pat {
            Pat::Tuple(tuple) => (0..).zip(&tuple.elems).fold(TokenStream::new(), |mut tokens, (at, pat)| {
                let index = syn::Index::from(at);
                tokens.extend(self.names(pat, &quote_spanned!(pat.span()=> #subject.#index)));
                tokens
            }),
            Pat::Ident(ident) if is_binding(pat) => {
                let name = &ident.ident;
                quote_spanned!(pat.span()=> let #name = #subject;)
            }
            _ => TokenStream::new(),
        }
    }

    /// Statements that go on where `pat` matches, and else are at `next`.
    fn test(&mut self, pat: &Pat, subject: &TokenStream, next: &Ident) -> TokenStream {
        let span = pat.span();
        match pat {
            Pat::Wild(_) => TokenStream::new(),
            Pat::Paren(inner) => self.test(&inner.pat, subject, next),
            Pat::Ident(_) if is_binding(pat) => self.names(pat, subject),
            Pat::Tuple(tuple) => (0..).zip(&tuple.elems).fold(TokenStream::new(), |mut tokens, (at, pat)| {
                let index = syn::Index::from(at);
                tokens.extend(self.test(pat, &quote_spanned!(pat.span()=> #subject.#index), next));
                tokens
            }),
            Pat::Range(range) => self.test_range(range, subject, next),
            Pat::Or(or) => {
                let here = self.name("either");
                let mut tokens = quote_spanned!(span=> let #here = ::asm::dsl::rt::block(););
                let last = or.cases.len().saturating_sub(1);
                for (at, case) in or.cases.iter().enumerate() {
                    if at == last {
                        tokens.extend(self.test(case, subject, next));
                        tokens
                            .extend(quote_spanned!(span=> ::asm::dsl::rt::goto(#here); ::asm::dsl::rt::enter(#here);));
                    } else {
                        let miss = self.name("miss");
                        let test = self.test(case, subject, &miss);
                        tokens.extend(quote_spanned!(span=>
                            let #miss = ::asm::dsl::rt::block();
                            #test
                            ::asm::dsl::rt::goto(#here);
                            ::asm::dsl::rt::enter(#miss);
                        ));
                    }
                }
                tokens
            }
            Pat::Lit(_) | Pat::Path(_) | Pat::Ident(_) => {
                quote_spanned!(span=> ::asm::dsl::rt::require(::asm::dsl::rt::eq(#subject, #pat), true, #next);)
            }
            other => self.refuse(other.span(), refuse::PATTERN),
        }
    }

    fn test_range(&mut self, range: &ExprRange, subject: &TokenStream, next: &Ident) -> TokenStream {
        let span = range.limits.span();
        let low = range.start.as_ref().map(
            |low| quote_spanned!(span=> ::asm::dsl::rt::require(::asm::dsl::rt::ge(#subject, #low), true, #next);),
        );
        let high = range.end.as_ref().map(|high| {
            let cmp = match range.limits {
                RangeLimits::Closed(_) => quote_spanned!(span=> ::asm::dsl::rt::le),
                RangeLimits::HalfOpen(_) => quote_spanned!(span=> ::asm::dsl::rt::lt),
            };
            quote_spanned!(span=> ::asm::dsl::rt::require(#cmp(#subject, #high), true, #next);)
        });
        quote_spanned!(span=> #low #high)
    }

    /// `match` on an option: two arms, the one with the value first.
    fn match_option(&mut self, e: &ExprMatch, value: &TokenStream) -> TokenStream {
        let span = e.match_token.span;
        let some = e.arms.iter().find(|arm| is_some(&arm.pat));
        let none = e.arms.iter().find(|arm| is_none(&arm.pat) || matches!(arm.pat, Pat::Wild(_)));
        let (Some(some), Some(none), 2, true) =
            (some, none, e.arms.len(), e.arms.iter().all(|arm| arm.guard.is_none()))
        else {
            return self.refuse(span, refuse::OPTION_ARMS);
        };
        if self.twin == Twin::Check {
            let (some_pat, none_pat) = (&some.pat, &none.pat);
            let (then, otherwise) = (self.arm(&some.body), self.arm(&none.body));
            return quote_spanned!(span=> match ::asm::dsl::rt::chk_option(#value) {
                #some_pat => #then,
                #none_pat => #otherwise,
            });
        }
        // The same as `if let Some(..) = value { then } else { otherwise }`.
        let as_if = Expr::If(syn::ExprIf {
            attrs: Vec::new(),
            if_token: syn::token::If(span),
            cond: Box::new(Expr::Let(syn::ExprLet {
                attrs: Vec::new(),
                let_token: syn::token::Let(span),
                pat: Box::new(some.pat.clone()),
                eq_token: syn::token::Eq(span),
                expr: e.expr.clone(),
            })),
            then_branch: as_block(&some.body),
            else_branch: Some((
                syn::token::Else(span),
                Box::new(Expr::Block(syn::ExprBlock { attrs: Vec::new(), label: None, block: as_block(&none.body) })),
            )),
        });
        self.expr(&as_if)
    }

    /// `match` on what a function gives that can fail: two arms, `Ok(name)` and `Err(name)`.
    fn match_result(&mut self, e: &ExprMatch, value: &TokenStream) -> TokenStream {
        let span = e.match_token.span;
        let arm = |word| e.arms.iter().find_map(|arm| Some((inside(&arm.pat, word)?, &*arm.body)));
        let (Some((found, then)), Some((why, otherwise)), 2, true) =
            (arm("Ok"), arm("Err"), e.arms.len(), e.arms.iter().all(|arm| arm.guard.is_none()))
        else {
            return self.refuse(span, refuse::RESULT_ARMS);
        };
        let (found, why) = (self.binding(found), self.binding(why));
        let (goes_on, comes_back) = (!diverges(then), !diverges(otherwise));
        let (then, otherwise) = (self.arm(then), self.arm(otherwise));
        if self.twin == Twin::Check {
            return quote_spanned!(span=> match ::asm::dsl::rt::chk_explained(#value) { Ok(#found) => #then, Err(#why) => #otherwise });
        }
        let begin = quote_spanned!(span=> let (__found, __why) = ::asm::dsl::rt::both(#value););
        match (goes_on, comes_back) {
            (false, _) => {
                quote_spanned!(span=> { #begin { let #found = __found; #then; } let #why = __why.enter(); #otherwise })
            }
            (true, false) => quote_spanned!(span=> {
                #begin
                let (__value, __here) = { let #found = __found; let __value = #then; (__value, ::asm::dsl::rt::here()) };
                { let #why = __why.enter(); #otherwise };
                ::asm::dsl::rt::back(__here);
                __value
            }),
            (true, true) => quote_spanned!(span=> {
                #begin
                let __join = ::asm::dsl::rt::block();
                let __merge = { let #found = __found; ::asm::dsl::rt::open(#then, __join) };
                { let #why = __why.enter(); ::asm::dsl::rt::merge(__merge, #otherwise, __join); }
                ::asm::dsl::rt::join(__merge, __join)
            }),
        }
    }

    /// The name inside `Some(name)`, as a pattern of the staged twin.
    pub(super) fn some_pattern(&mut self, pat: &Pat) -> Option<TokenStream> {
        match pat {
            Pat::TupleStruct(some) if some.path.is_ident("Some") && some.elems.len() == 1 => {
                some.elems.first().map(|inner| self.binding(inner))
            }
            _ => None,
        }
    }

    /// Refuses a pattern that the staged twin does not know.
    fn supported(&mut self, pat: &Pat) {
        match pat {
            Pat::Wild(_) | Pat::Ident(_) | Pat::Lit(_) | Pat::Path(_) | Pat::Range(_) => {}
            Pat::Paren(inner) => self.supported(&inner.pat),
            Pat::Or(or) => or.cases.iter().for_each(|pat| self.supported(pat)),
            Pat::Tuple(tuple) => tuple.elems.iter().for_each(|pat| self.supported(pat)),
            other => {
                self.refuse(other.span(), refuse::PATTERN);
            }
        }
    }
}

/// The pattern inside `Ok(..)`, `Err(..)`.
fn inside<'p>(pat: &'p Pat, word: &str) -> Option<&'p Pat> {
    match pat {
        Pat::TupleStruct(outer) if outer.path.is_ident(word) => outer.elems.first(),
        _ => None,
    }
}

fn is_some(pat: &Pat) -> bool {
    matches!(pat, Pat::TupleStruct(some) if some.path.is_ident("Some"))
}

fn is_none(pat: &Pat) -> bool {
    matches!(pat, Pat::Ident(none) if none.ident == "None")
}

/// Is it a name that gets the value? Constants and variants begin with a capital, as rustc's own lints want it.
fn is_binding(pat: &Pat) -> bool {
    matches!(pat, Pat::Ident(ident) if ident.ident.to_string().starts_with(|c: char| c.is_lowercase() || c == '_'))
}

/// The names that a pattern binds.
fn bindings(pat: &Pat) -> Vec<Ident> {
    match pat {
        Pat::Ident(ident) if is_binding(pat) => vec![ident.ident.clone()],
        Pat::Paren(inner) => bindings(&inner.pat),
        Pat::Tuple(tuple) => tuple.elems.iter().flat_map(bindings).collect(),
        _ => Vec::new(),
    }
}

fn as_block(expr: &Expr) -> syn::Block {
    match expr {
        Expr::Block(block) if block.label.is_none() => block.block.clone(),
        other => syn::Block {
            brace_token: syn::token::Brace(other.span()),
            stmts: vec![syn::Stmt::Expr(other.clone(), None)],
        },
    }
}
