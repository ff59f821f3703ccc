//! Attributes of programs: a function becomes one that describes it.
//!
//! Stage: entry. Input: `#[xdp(default = ..)] fn name(ctx: &mut Xdp) -> Result<Action>`. Output: `fn name() -> Program`, with
//! the two twins inside. Read next: `lower/mod.rs`.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{
    Error, Expr, FnArg, GenericArgument, Ident, ItemFn, LitStr, PathArguments, Result, ReturnType, Token, Type,
    parse::{Parse, ParseStream},
    spanned::Spanned,
};

use crate::lower::{Gives, Leaves, Lower, Twin};

/// What may follow in the name of the section.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing.
    None,
    /// A word: `connect4`.
    Word,
    /// A text: `"do_unlinkat"`.
    Text,
}

/// An attribute of programs.
pub(crate) struct Kind {
    pub(crate) attribute: &'static str,
    /// Name of the context in `asm::dsl`.
    pub(crate) context: &'static str,
    pub(crate) section: &'static str,
    pub(crate) detail: Detail,
}

/// What stands in the attribute's parentheses.
#[derive(Default)]
struct Args {
    default: Option<Expr>,
    detail: Option<(Span, String)>,
}

impl Parse for Args {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut args = Self::default();
        while !input.is_empty() {
            if input.peek(LitStr) {
                let text: LitStr = input.parse()?;
                args.detail = Some((text.span(), text.value()));
            } else {
                let word: Ident = input.parse()?;
                if word == "default" {
                    input.parse::<Token![=]>()?;
                    args.default = Some(input.parse()?);
                } else {
                    args.detail = Some((word.span(), word.to_string()));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(args)
    }
}

/// Lints about code that nobody wrote. The space keeps this apart from attributes of this source.
pub(crate) fn quiet() -> TokenStream {
    quote!(#[allow (
        unused_mut, unused_variables, unused_assignments, unused_must_use, unreachable_code, dead_code, clippy::all,
        clippy::unwrap_used, unused_parens, unused_braces, path_statements, reason = "generated"
    )])
}

/// As [`quiet`], for the twin whose warnings are the author's. Fields of a struct are places, so assigning one needs no
/// `mut`, and may have it.
pub(crate) fn checked() -> TokenStream {
    quote!(#[allow (clippy::all, unused_mut, unused_parens, unused_braces, unused_must_use, reason = "generated")])
}

/// The text of a function and where it stands, for line records.
pub(crate) fn text(item: &ItemFn) -> TokenStream {
    let span = item.block.brace_token.span.join();
    // The signature comes token by token: no span on stable covers it.
    let params = item.sig.paren_token.span.join().source_text().unwrap_or_default();
    let text = format!("fn {}{params} .. {}", item.sig.ident, span.source_text().unwrap_or_default());
    let line = u32::try_from(span.start().line).unwrap_or(0);
    quote_spanned!(span=> ::asm::dsl::rt::Text { file: ::core::file!(), line: #line, text: #text })
}

/// The `T` of `Result<T>`, or of another type with that name and a parameter.
pub(crate) fn inside<'t>(ty: &'t Type, name: &str) -> Option<&'t Type> {
    parameter(ty, name, 0)
}

/// Parameter number `at` of the type of that name.
pub(crate) fn parameter<'t>(ty: &'t Type, name: &str, at: usize) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == name)?;
    match &last.arguments {
        PathArguments::AngleBracketed(args) => match args.args.iter().nth(at)? {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        },
        _ => None,
    }
}

pub(crate) fn expand(kind: &Kind, args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let args: Args = syn::parse2(args)?;
    let item: ItemFn = syn::parse2(item)?;
    let section = section(kind, &args)?;
    let (context, pat) = context(kind, &item)?;
    let (leaves, verdict) = match &item.sig.output {
        ReturnType::Default => (Leaves::Plain, None),
        ReturnType::Type(_, ty) => match inside(ty, "Result") {
            Some(inner) => (Leaves::Result, Some(inner)),
            None => (Leaves::Plain, Some(&**ty)),
        },
    };
    if leaves == Leaves::Result && args.default.is_none() {
        let why = format!("say which verdict `?` leaves with: #[{}(default = ..)]", kind.attribute);
        return Err(Error::new(item.sig.output.span(), why));
    }
    let mut check = Lower::new(Twin::Check, leaves, Gives::Verdict);
    let judged = check.function(&item.block, verdict.is_some());
    Lower::refused(check)?;
    let mut staged = Lower::new(Twin::Staged, leaves, Gives::Verdict);
    let recorded = staged.function(&item.block, verdict.is_some());
    let (name, vis, docs) = (&item.sig.ident, &item.vis, &item.attrs);
    let expected = format_ident!("{}", kind.context);
    let wanted = quote_spanned!(context.span()=> let _: &mut ::asm::dsl::#expected = #pat;);
    let output = output(leaves, verdict);
    let is_verdict = verdict.map(|ty| {
        let context = Ident::new(kind.context, ty.span());
        quote_spanned!(ty.span()=> ::asm::dsl::rt::verdict::<::asm::dsl::#context, #ty>();)
    });
    let default = match (&args.default, verdict) {
        (Some(default), Some(ty)) => {
            quote_spanned!(default.span()=> { let default: #ty = #default; ::core::option::Option::Some(default) })
        }
        _ => quote!(::core::option::Option::None),
    };
    let (text, symbol, quiet, checked) = (text(&item), name.to_string(), quiet(), checked());
    let run = quote_spanned!(item.block.brace_token.span.open()=>
        ::asm::dsl::rt::program::<::asm::dsl::#expected>(#default, |#pat| { #recorded });
    );
    let describe = format!("The program `{name}`, for a `Module`.");
    Ok(quote! {
        #(#docs)*
        #[doc = #describe]
        #[must_use]
        #vis fn #name() -> ::asm::dsl::Program {
            #checked
            fn check(#pat: #context) #output {
                #wanted
                #is_verdict
                #judged
            }
            #quiet
            fn record() {
                #run
            }
            let _ = check;
            ::asm::dsl::Program::new(#section, #symbol, record, #text)
        }
    })
}

/// The check twin's result type.
pub(crate) fn output(leaves: Leaves, ty: Option<&Type>) -> TokenStream {
    match (leaves, ty) {
        (_, None) => quote!(),
        (Leaves::Plain | Leaves::Option | Leaves::Reason, Some(ty)) => {
            quote_spanned!(ty.span()=> -> ::asm::dsl::Val<#ty>)
        }
        (Leaves::Result, Some(ty)) => {
            quote_spanned!(ty.span()=> -> ::core::result::Result<::asm::dsl::Val<#ty>, ::asm::dsl::rt::Failure>)
        }
    }
}

/// The section's name.
fn section(kind: &Kind, args: &Args) -> Result<String> {
    match (kind.detail, &args.detail) {
        (_, None) if kind.section == "cgroup" => {
            let example = match kind.attribute {
                "cgroup_sock" => "sock_create",
                "cgroup_sockopt" => "setsockopt",
                _ => "connect4",
            };
            Err(Error::new(Span::call_site(), format!("say which call: #[{}({example})]", kind.attribute)))
        }
        (_, None) => Ok(kind.section.to_owned()),
        (Detail::None, Some((span, _))) => {
            Err(Error::new(*span, format!("#[{}] takes `default = ..` and nothing else", kind.attribute)))
        }
        (_, Some((_, detail))) => Ok(format!("{}/{detail}", kind.section)),
    }
}

/// The one argument: its type as the author wrote it, and its name.
fn context<'a>(kind: &Kind, item: &'a ItemFn) -> Result<(&'a Type, &'a Ident)> {
    let why = format!("a program has one argument, its context: `ctx: &mut {}`", kind.context);
    let mut inputs = item.sig.inputs.iter();
    match (inputs.next(), inputs.next()) {
        (Some(FnArg::Typed(arg)), None) => match &*arg.pat {
            syn::Pat::Ident(name) => Ok((&arg.ty, &name.ident)),
            other => Err(Error::new(other.span(), why)),
        },
        _ => Err(Error::new(item.sig.paren_token.span.join(), why)),
    }
}
