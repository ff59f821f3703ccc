//! Functions that kernel programs call: written into the caller, or of their own.
//!
//! Stage: entry. Input: `#[bpf_fn] fn f(a: u32, pkt: &mut Packet<'_>) -> u32`. Output: a function of the same name over staged
//! values, with its check twin inside. Read next: `layout.rs`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Error, FnArg, GenericParam, Ident, ItemFn, Pat, Result, ReturnType, Type, spanned::Spanned};

use crate::lower::{Gives, Leaves, Lower, Twin, is_value_type, leaving, value_type};
use crate::program::{checked, inside, parameter, quiet, text};

/// One parameter.
struct Param<'a> {
    name: &'a Ident,
    mutable: bool,
    ty: &'a Type,
}

impl Param<'_> {
    fn is_value(&self) -> bool {
        is_value_type(self.ty)
    }

    /// In the function that callers see.
    fn seen(&self) -> TokenStream {
        let (name, ty) = (self.name, self.ty);
        if self.is_value() {
            let ty = value_type(ty);
            quote_spanned!(ty.span()=> #name: impl ::asm::dsl::IntoVal<#ty>)
        } else {
            quote_spanned!(ty.span()=> #name: #ty)
        }
    }

    /// In the check twin.
    fn judged(&self) -> TokenStream {
        let (name, ty) = (self.name, self.ty);
        let mutability = self.mutable.then(|| quote!(mut));
        if self.is_value() {
            let ty = value_type(ty);
            quote_spanned!(ty.span()=> #mutability #name: ::asm::dsl::Val<#ty>)
        } else {
            quote_spanned!(ty.span()=> #mutability #name: #ty)
        }
    }

    /// At the start of the staged twin.
    fn begun(&self) -> Option<TokenStream> {
        let (name, ty) = (self.name, value_type(self.ty));
        self.is_value().then(|| {
            // What is recorded comes from the parameter's line, which has a text, not from the attribute's.
            let value = quote_spanned!(name.span()=> ::asm::dsl::rt::typed::<#ty>(#name));
            if self.mutable {
                quote_spanned!(name.span()=> let mut #name = ::asm::dsl::rt::mutable(#value);)
            } else {
                quote!(let #name = #value;)
            }
        })
    }
}

fn params(item: &ItemFn) -> Result<Vec<Param<'_>>> {
    item.sig.inputs.iter().map(param).collect()
}

fn param(arg: &FnArg) -> Result<Param<'_>> {
    match arg {
        FnArg::Typed(arg) => match &*arg.pat {
            Pat::Ident(name) => Ok(Param { name: &name.ident, mutable: name.mutability.is_some(), ty: &arg.ty }),
            other => Err(Error::new(other.span(), "a parameter is a name")),
        },
        FnArg::Receiver(this) => Err(Error::new(this.span(), "a function of a kernel program has no `self`")),
    }
}

/// What a function gives, and how it may fail.
struct Output {
    leaves: Leaves,
    gives: Gives,
    /// In the check twin, without the failure.
    judged: TokenStream,
    /// The type of the reason of a failure.
    why: Option<TokenStream>,
}

fn output(item: &ItemFn) -> Output {
    let ReturnType::Type(_, ty) = &item.sig.output else {
        return Output { leaves: Leaves::Plain, gives: Gives::Nothing, judged: quote!(()), why: None };
    };
    let why = parameter(ty, "Result", 1).map(value_type);
    let (leaves, ty) = match (inside(ty, "Result"), inside(ty, "Option")) {
        (Some(inner), _) => (if why.is_some() { Leaves::Reason } else { Leaves::Result }, inner),
        (_, Some(inner)) => (Leaves::Option, inner),
        _ => (Leaves::Plain, &**ty),
    };
    let span = ty.span();
    match ty {
        Type::Tuple(tuple) if tuple.elems.is_empty() => {
            Output { leaves, gives: Gives::Nothing, judged: quote!(()), why }
        }
        ty if is_value_type(ty) => {
            let value = value_type(ty);
            let judged = quote_spanned!(span=> ::asm::dsl::Val<#value>);
            Output { leaves, gives: Gives::Value(value), judged, why }
        }
        ty => Output { leaves, gives: Gives::Thing(parts(ty)), judged: thing(ty), why },
    }
}

/// The parts of a tuple that are values.
fn parts(ty: &Type) -> Vec<Option<TokenStream>> {
    match ty {
        Type::Tuple(tuple) => tuple.elems.iter().map(|part| is_value_type(part).then(|| value_type(part))).collect(),
        _ => Vec::new(),
    }
}

/// A type that is no value's: of a tuple, the parts may be.
fn thing(ty: &Type) -> TokenStream {
    match ty {
        Type::Tuple(tuple) => {
            let parts = tuple.elems.iter().map(|part| match part {
                part if is_value_type(part) => {
                    let value = value_type(part);
                    quote_spanned!(part.span()=> ::asm::dsl::Val<#value>)
                }
                part => thing(part),
            });
            quote_spanned!(ty.span()=> (#(#parts,)*))
        }
        other => quote_spanned!(other.span()=> #other),
    }
}

impl Output {
    /// What the check twin returns.
    fn checked(&self) -> TokenStream {
        let (judged, why) = (&self.judged, &self.why);
        match self.leaves {
            Leaves::Plain => quote!(-> #judged),
            Leaves::Reason => quote!(-> ::core::result::Result<#judged, ::asm::dsl::Val<#why>>),
            Leaves::Option => quote!(-> ::core::option::Option<#judged>),
            Leaves::Result => quote!(-> ::core::result::Result<#judged, ::asm::dsl::rt::Failure>),
        }
    }

    /// What callers get.
    fn seen(&self) -> TokenStream {
        let (judged, why) = (&self.judged, &self.why);
        match self.leaves {
            Leaves::Plain => quote!(-> #judged),
            Leaves::Reason => quote!(-> ::asm::dsl::rt::Explained<#judged, #why>),
            Leaves::Option | Leaves::Result => quote!(-> ::asm::dsl::rt::Outcome<#judged>),
        }
    }

    /// The end of the staged twin.
    fn end(&self) -> TokenStream {
        let judged = &self.judged;
        let staged = quote!(<#judged as ::asm::dsl::rt::Stage>::Out);
        match self.leaves {
            Leaves::Plain => quote!(__function.end::<#staged>()),
            Leaves::Reason => quote!(__function.explained::<#staged, _>()),
            Leaves::Option | Leaves::Result => quote!(__function.outcome::<#staged>()),
        }
    }
}

/// Both bodies.
fn bodies(item: &ItemFn, output: &Output) -> Result<(TokenStream, TokenStream)> {
    let has_result = !matches!(output.gives, Gives::Nothing);
    let block = if output.leaves == Leaves::Plain { (*item.block).clone() } else { leaving(&item.block) };
    let lower = |twin| Lower::new(twin, output.leaves, output.gives.clone()).because(output.why.clone());
    let mut check = lower(Twin::Check);
    let judged = check.function(&block, has_result);
    Lower::refused(check)?;
    Ok((judged, lower(Twin::Staged).function(&block, has_result)))
}

pub(crate) fn inline(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let item: ItemFn = parse(args, item, "#[bpf_fn]")?;
    let (params, output) = (params(&item)?, output(&item));
    let (judged, recorded) = bodies(&item, &output)?;
    let (name, vis, attrs, generics) = (&item.sig.ident, &item.vis, &item.attrs, &item.sig.generics);
    let (seen, twin): (Vec<_>, Vec<_>) = params.iter().map(|param| (param.seen(), param.judged())).unzip();
    let begun: Vec<_> = params.iter().filter_map(Param::begun).collect();
    let (text, quiet, checked, turbofish) = (text(&item), quiet(), checked(), turbofish(&item));
    let (given, result, end) = (output.seen(), output.checked(), output.end());
    Ok(quote! {
        #(#attrs)*
        #quiet
        #vis fn #name #generics(#(#seen),*) #given {
            #checked
            fn check #generics(#(#twin),*) #result { #judged }
            let _ = check #turbofish;
            #(#begun)*
            let __function = ::asm::dsl::rt::Inline::begin(#text);
            { #recorded }
            #end
        }
    })
}

pub(crate) fn subprog(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let item: ItemFn = parse(args, item, "#[subprog]")?;
    let (params, output) = (params(&item)?, output(&item));
    if let Some(generics) = item.sig.generics.params.first() {
        return Err(Error::new(generics.span(), "a function of its own has one form: use #[bpf_fn] for a generic one"));
    }
    if let Some(param) = params.iter().find(|param| !param.is_value()) {
        return Err(Error::new(param.ty.span(), "a function of its own takes numbers; use #[bpf_fn] for references"));
    }
    if let Some(sixth) = params.get(5) {
        return Err(Error::new(
            sixth.name.span(),
            "a function of its own takes five arguments, as many as there are registers",
        ));
    }
    if let Leaves::Reason = output.leaves {
        let why = "a function of its own returns one number: say without a reason that it failed, or use #[bpf_fn]";
        return Err(Error::new(item.sig.output.span(), why));
    }
    let Gives::Value(ty) = &output.gives else {
        let why = "a function of its own returns a number, or a number that may not be there: the kernel wants one";
        return Err(Error::new(item.sig.ident.span(), why));
    };
    let (judged, recorded) = bodies(&item, &output)?;
    let (name, vis, attrs) = (&item.sig.ident, &item.vis, &item.attrs);
    let (seen, twin): (Vec<_>, Vec<_>) = params.iter().map(|param| (param.seen(), param.judged())).unzip();
    let given = params.iter().map(|param| {
        let (name, ty) = (param.name, value_type(param.ty));
        let text = name.to_string();
        quote!(.arg::<#ty>(#text, ::asm::dsl::rt::typed::<#ty>(#name)))
    });
    let taken = params.iter().enumerate().map(|(at, param)| {
        let (name, ty) = (param.name, value_type(param.ty));
        let begun = param.begun();
        quote!(let #name = ::asm::dsl::rt::Subprog::param::<#ty>(#at); #begun)
    });
    let (text, symbol, quiet, checked) = (text(&item), name.to_string(), quiet(), checked());
    let (result, method) = match output.leaves {
        Leaves::Plain => (quote!(::asm::dsl::Val<#ty>), quote!(result::<#ty, _>)),
        Leaves::Option | Leaves::Result | Leaves::Reason => {
            (quote!(::asm::dsl::rt::Answer<#ty>), quote!(outcome::<#ty>))
        }
    };
    let judged_result = output.checked();
    Ok(quote! {
        #(#attrs)*
        #quiet
        #vis fn #name(#(#seen),*) -> #result {
            #checked
            fn check(#(#twin),*) #judged_result { #judged }
            let _ = check;
            ::asm::dsl::rt::Subprog::call(#symbol) #(#given)* .#method(#text, || { #(#taken)* #recorded })
        }
    })
}

fn parse(args: TokenStream, item: TokenStream, attribute: &str) -> Result<ItemFn> {
    if !args.is_empty() {
        return Err(Error::new(args.span(), format!("{attribute} takes no arguments")));
    }
    syn::parse2(item)
}

/// The generic arguments of the function, to name it inside itself.
fn turbofish(item: &ItemFn) -> Option<TokenStream> {
    let params: Vec<_> = item
        .sig
        .generics
        .params
        .iter()
        .filter_map(|param| match param {
            GenericParam::Type(param) => Some(&param.ident),
            GenericParam::Const(param) => Some(&param.ident),
            GenericParam::Lifetime(_) => None,
        })
        .collect();
    (!params.is_empty()).then(|| quote!(::<#(#params),*>))
}
