//! Expressions without control flow: operators, calls, fields, literals of structs.
//!
//! Stage: lowering. Input: an expression. Output: the call of `asm::dsl::rt` that stands for it, at the author's span.
//! Read next: `flow.rs`.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    BinOp, Expr, ExprAssign, ExprBinary, ExprCall, ExprField, ExprIndex, ExprMethodCall, ExprStruct, ExprUnary, Member,
    UnOp, spanned::Spanned,
};

use super::{Lower, Twin, is_host, refuse, value_type};

impl Lower {
    /// The value, or the place, that an expression stands for.
    pub(crate) fn expr(&mut self, expr: &Expr) -> TokenStream {
        let span = expr.span();
        if is_host(expr) {
            return quote_spanned!(span=> #expr);
        }
        match expr {
            Expr::Path(path) => quote_spanned!(span=> #path),
            Expr::Paren(e) => {
                let inner = self.expr(&e.expr);
                if matches!(*e.expr, Expr::Reference(_)) { quote_spanned!(span=> (#inner)) } else { inner }
            }
            Expr::Group(e) => self.expr(&e.expr),
            Expr::Binary(e) => self.binary(e),
            Expr::Unary(e) => self.unary(e),
            Expr::Cast(e) => {
                let (value, ty) = (self.expr(&e.expr), value_type(&e.ty));
                quote_spanned!(span=> ::asm::dsl::rt::cast::<#ty, _, _>(#value))
            }
            Expr::Field(e) => self.field(e),
            Expr::Index(e) => self.index(e),
            Expr::MethodCall(e) => self.method(e),
            Expr::Call(e) => self.call(e),
            Expr::Struct(e) => self.structure(e),
            Expr::Tuple(e) => {
                let parts: Vec<_> = e.elems.iter().map(|part| self.settled(part)).collect();
                quote_spanned!(span=> (#(#parts,)*))
            }
            Expr::Reference(e) => {
                let (mutability, value) = (&e.mutability, self.expr(&e.expr));
                quote_spanned!(span=> &#mutability #value)
            }
            Expr::Assign(e) => self.assign(e),
            Expr::Try(e) => self.question(&e.expr, e.question_token.span),
            other => self.flow(other),
        }
    }

    fn binary(&mut self, e: &ExprBinary) -> TokenStream {
        if matches!(e.op, BinOp::And(_) | BinOp::Or(_)) {
            return self.shortcut(e);
        }
        let (op, assigns) = operator(&e.op, self);
        let (left, right) = (self.expr(&e.left), self.expr(&e.right));
        let span = e.span();
        if !assigns {
            return quote_spanned!(span=> ::asm::dsl::rt::#op(#left, #right));
        }
        let value = quote_spanned!(span=> ::asm::dsl::rt::#op(#left, #right));
        self.store(&e.left, &value, span)
    }

    fn unary(&mut self, e: &ExprUnary) -> TokenStream {
        let value = self.expr(&e.expr);
        let span = e.span();
        match e.op {
            UnOp::Not(_) => quote_spanned!(span=> ::asm::dsl::rt::not(#value)),
            UnOp::Neg(_) => quote_spanned!(span=> ::asm::dsl::rt::neg(#value)),
            UnOp::Deref(_) => quote_spanned!(span=> ::asm::dsl::rt::deref(&#value)),
            _ => self.refuse(span, refuse::OTHER),
        }
    }

    fn field(&mut self, e: &ExprField) -> TokenStream {
        let base = self.expr(&e.base);
        let member = match &e.member {
            Member::Named(name) => quote!(#name),
            Member::Unnamed(index) => quote!(#index),
        };
        quote_spanned!(e.span()=> #base.#member)
    }

    fn index(&mut self, e: &ExprIndex) -> TokenStream {
        let (base, index) = (self.expr(&e.expr), self.expr(&e.index));
        quote_spanned!(e.index.span()=> ::asm::dsl::rt::index(&#base, #index))
    }

    fn method(&mut self, e: &ExprMethodCall) -> TokenStream {
        let receiver = self.expr(&e.receiver);
        let (name, turbofish) = (&e.method, &e.turbofish);
        let args: Vec<_> = e.args.iter().map(|arg| self.expr(arg)).collect();
        quote_spanned!(name.span()=> #receiver.#name #turbofish(#(#args),*))
    }

    fn call(&mut self, e: &ExprCall) -> TokenStream {
        if let Expr::Path(path) = &*e.func {
            if path.path.is_ident("Ok") {
                return self.okay(e);
            }
            if path.path.is_ident("Err") {
                return self.refuse(e.span(), refuse::ERR);
            }
        }
        let function = &e.func;
        let args: Vec<_> = e.args.iter().map(|arg| self.expr(arg)).collect();
        quote_spanned!(e.span()=> #function(#(#args),*))
    }

    /// `Ok(value)`: the function's result.
    fn okay(&mut self, e: &ExprCall) -> TokenStream {
        let args: Vec<_> = e.args.iter().map(|arg| self.expr(arg)).collect();
        let (span, function) = (e.span(), &e.func);
        match self.twin {
            Twin::Check => quote_spanned!(span=> #function(::asm::dsl::rt::value(#(#args),*))),
            Twin::Staged => quote_spanned!(span=> ::asm::dsl::rt::Okay(::asm::dsl::rt::value(#(#args),*))),
        }
    }

    /// `Key { port: p, .. }`: its fields in the order of the struct, each converted to the field's type.
    fn structure(&mut self, e: &ExprStruct) -> TokenStream {
        if let Some(rest) = &e.dot2_token {
            return self.refuse(rest.span(), refuse::STRUCT_REST);
        }
        let (path, span) = (&e.path, e.path.span());
        let fields: Vec<_> = e
            .fields
            .iter()
            .map(|field| {
                let (name, value) = (&field.member, self.expr(&field.expr));
                quote_spanned!(field.span()=> #name: ::asm::dsl::rt::value(#value))
            })
            .collect();
        quote_spanned!(span=> {
            type __Parts = <#path as ::asm::dsl::Struct>::Parts;
            __Parts { #(#fields),* }
        })
    }

    fn assign(&mut self, e: &ExprAssign) -> TokenStream {
        if let Expr::Infer(_) = &*e.left {
            let value = self.expr(&e.right);
            return quote_spanned!(e.span()=> { let _ = #value; });
        }
        let value = self.expr(&e.right);
        self.store(&e.left, &value, e.span())
    }

    /// Gives `to` a value: a variable of the author's, or a place in memory.
    fn store(&mut self, to: &Expr, value: &TokenStream, span: proc_macro2::Span) -> TokenStream {
        match (to, self.twin) {
            (Expr::Path(path), Twin::Check) => {
                quote_spanned!(span=> #path = ::asm::dsl::rt::convert(#value))
            }
            _ => {
                let place = self.expr(to);
                quote_spanned!(span=> ::asm::dsl::rt::assign(&#place, #value))
            }
        }
    }
}

/// The name of the function for an operator, and whether its result is assigned.
fn operator(op: &BinOp, lower: &mut Lower) -> (Ident, bool) {
    use BinOp::*;
    let assigns = refuse::assigns(op);
    let name = match op {
        Add(_) | AddAssign(_) => "add",
        Sub(_) | SubAssign(_) => "sub",
        Mul(_) | MulAssign(_) => "mul",
        Div(_) | DivAssign(_) => "div",
        Rem(_) | RemAssign(_) => "rem",
        BitXor(_) | BitXorAssign(_) => "xor",
        BitAnd(_) | BitAndAssign(_) => "and",
        BitOr(_) | BitOrAssign(_) => "or",
        Shl(_) | ShlAssign(_) => "shl",
        Shr(_) | ShrAssign(_) => "shr",
        Eq(_) => "eq",
        Ne(_) => "ne",
        Lt(_) => "lt",
        Le(_) => "le",
        Gt(_) => "gt",
        Ge(_) => "ge",
        other => {
            lower.refuse(other.span(), refuse::OTHER);
            "add"
        }
    };
    (Ident::new(name, op.span()), assigns)
}
