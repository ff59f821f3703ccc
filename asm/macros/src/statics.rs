//! Statics: maps and global variables.
//!
//! Stage: entry. Input: `#[map] static HITS: Array<u64, 1> = map();`. Output: the static, with its name in small letters as
//! symbol of the object. Read next: `layout.rs`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{
    Error, Expr, Ident, ItemStatic, LitStr, Result, StaticMutability, Token,
    parse::{ParseStream, Parser},
    spanned::Spanned,
};

/// The symbol of a static.
fn symbol(item: &ItemStatic) -> String {
    item.ident.to_string().to_lowercase()
}

fn parse(item: TokenStream) -> Result<ItemStatic> {
    let item: ItemStatic = syn::parse2(item)?;
    match &item.mutability {
        StaticMutability::None => Ok(item),
        other => Err(Error::new(other.span(), "drop the `mut`: the kernel shares it, not this process")),
    }
}

pub(crate) fn map(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let flags = |input: ParseStream<'_>| -> Result<Option<Expr>> {
        if input.is_empty() {
            return Ok(None);
        }
        let word: Ident = input.parse()?;
        if word != "flags" {
            return Err(Error::new(word.span(), "#[map] takes `flags = ..` and nothing else"));
        }
        input.parse::<Token![=]>()?;
        input.parse().map(Some)
    };
    let flags = flags.parse2(args)?.map(|flags| quote_spanned!(flags.span()=> .flags(#flags)));
    let item = parse(item)?;
    let is_call = matches!(&*item.expr, Expr::Call(call) if call.args.is_empty()
        && matches!(&*call.func, Expr::Path(path) if path.path.is_ident("map")));
    if !is_call {
        return Err(Error::new(item.expr.span(), "the value of a map is `map()`: the kernel makes it"));
    }
    let (attrs, vis, name, ty, symbol) = (&item.attrs, &item.vis, &item.ident, &item.ty, symbol(&item));
    Ok(quote_spanned!(ty.span()=> #(#attrs)* #vis static #name: #ty = <#ty>::new(#symbol)#flags;))
}

pub(crate) fn global(section: &str, args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let own = |input: ParseStream<'_>| -> Result<Option<LitStr>> {
        if input.is_empty() {
            return Ok(None);
        }
        let name: LitStr = input.parse()?;
        let ours = name.value().strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        if ours { Ok(Some(name)) } else { Err(Error::new(name.span(), format!("a section like {section}.name"))) }
    };
    let own = own.parse2(args)?.map(|name| name.value());
    let section = own.as_deref().unwrap_or(section);
    let item = parse(item)?;
    let (attrs, vis, name, ty, value, symbol) =
        (&item.attrs, &item.vis, &item.ident, &item.ty, &item.expr, symbol(&item));
    Ok(if section.starts_with(".rodata") {
        quote!(#(#attrs)* #vis static #name: ::asm::dsl::Rodata<#ty> = ::asm::dsl::Rodata::new(#symbol, #value);)
    } else {
        quote!(#(#attrs)* #vis static #name: ::asm::dsl::Global<#ty> = ::asm::dsl::Global::new(#section, #symbol, #value);)
    })
}
