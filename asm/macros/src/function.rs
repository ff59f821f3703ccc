//! Functions that kernel programs call: written into the caller, or of their own.
//!
//! Stage: entry. Input: `#[bpf_fn] fn f(a: u32, pkt: &mut Packet<'_>) -> u32`. Output: a function of the same name over staged
//! values, with its check twin inside. Read next: `layout.rs`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Error, FnArg, GenericParam, Ident, ItemFn, Pat, Result, ReturnType, Type, spanned::Spanned};

use crate::lower::{Leaves, Lower, Twin, is_value_type, value_type};
use crate::program::{checked, quiet, text};

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
            let value = quote!(::asm::dsl::rt::typed::<#ty>(#name));
            if self.mutable {
                quote!(let mut #name = ::asm::dsl::rt::mutable(#value);)
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

/// The result type: a value's, or none.
fn result(item: &ItemFn) -> Result<Option<TokenStream>> {
    match &item.sig.output {
        ReturnType::Default => Ok(None),
        ReturnType::Type(_, ty) if is_value_type(ty) => Ok(Some(value_type(ty))),
        ReturnType::Type(_, ty) => Err(Error::new(
            ty.span(),
            "a function of a kernel program returns a number or nothing; test options where they are",
        )),
    }
}

/// Both bodies.
fn bodies(item: &ItemFn, has_result: bool) -> Result<(TokenStream, TokenStream)> {
    let mut check = Lower::new(Twin::Check, Leaves::Plain);
    let judged = check.function(&item.block, has_result);
    Lower::refused(check)?;
    Ok((judged, Lower::new(Twin::Staged, Leaves::Plain).function(&item.block, has_result)))
}

pub(crate) fn inline(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let item: ItemFn = parse(args, item, "#[bpf_fn]")?;
    let (params, result) = (params(&item)?, result(&item)?);
    let (judged, recorded) = bodies(&item, result.is_some())?;
    let (name, vis, attrs, generics) = (&item.sig.ident, &item.vis, &item.attrs, &item.sig.generics);
    let (seen, twin): (Vec<_>, Vec<_>) = params.iter().map(|param| (param.seen(), param.judged())).unzip();
    let begun: Vec<_> = params.iter().filter_map(Param::begun).collect();
    let output = result.as_ref().map(|ty| quote!(-> ::asm::dsl::Val<#ty>));
    let end = match &result {
        Some(ty) => quote!(__function.end::<#ty>()),
        None => quote!(__function.end_unit()),
    };
    let (text, quiet, checked, turbofish) = (text(&item), quiet(), checked(), turbofish(&item));
    Ok(quote! {
        #(#attrs)*
        #quiet
        #vis fn #name #generics(#(#seen),*) #output {
            #checked
            fn check #generics(#(#twin),*) #output { #judged }
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
    let (params, result) = (params(&item)?, result(&item)?);
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
    let Some(ty) = result else {
        return Err(Error::new(item.sig.ident.span(), "a function of its own returns a number: the kernel wants one"));
    };
    let (judged, recorded) = bodies(&item, true)?;
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
    Ok(quote! {
        #(#attrs)*
        #quiet
        #vis fn #name(#(#seen),*) -> ::asm::dsl::Val<#ty> {
            #checked
            fn check(#(#twin),*) -> ::asm::dsl::Val<#ty> { #judged }
            let _ = check;
            ::asm::dsl::rt::Subprog::call(#symbol) #(#given)* .result::<#ty, _>(#text, || { #(#taken)* #recorded })
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
