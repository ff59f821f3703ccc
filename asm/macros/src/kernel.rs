//! `#[kernel_struct("sock")]`: a struct of the kernel's, with the fields that a program reads.
//!
//! Stage: entry. Input: a struct whose fields have the kernel's names. Output: a type that only names it, and a struct of its fields.
//! Read next: `lower/mod.rs`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, Fields, ItemStruct, LitStr, Result, spanned::Spanned};

use crate::program::quiet;

pub(crate) fn expand(args: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let name: LitStr = syn::parse2(args)?;
    let item: ItemStruct = syn::parse2(item)?;
    if let Some(param) = item.generics.params.first() {
        return Err(Error::new(param.span(), "a type of the kernel's has no parameters"));
    }
    let Fields::Named(fields) = &item.fields else {
        return Err(Error::new(item.fields.span(), "write the fields that are read, by the kernel's names"));
    };
    let (attrs, vis, ident) = (&item.attrs, &item.vis, &item.ident);
    let companion = format_ident!("{ident}Fields");
    let docs = format!("The fields of a [`{ident}`].");
    let names: Vec<_> = fields.named.iter().map(|field| &field.ident).collect();
    let symbols: Vec<_> = names.iter().map(|name| name.as_ref().map(ToString::to_string)).collect();
    let types: Vec<_> = fields.named.iter().map(|field| &field.ty).collect();
    let seen: Vec<_> = fields.named.iter().map(|field| &field.vis).collect();
    let texts: Vec<_> = fields.named.iter().map(|field| &field.attrs).collect();
    let quiet = quiet();
    Ok(quote! {
        #(#attrs)*
        #[derive(Clone, Copy, Debug)]
        #vis struct #ident;

        #[doc = #docs]
        #[derive(Clone, Copy, Debug)]
        #quiet
        #vis struct #companion {
            #(#(#texts)* #seen #names: <#types as ::asm::dsl::kernel::KernelField>::Of,)*
        }

        impl ::asm::dsl::kernel::Kernel for #ident {
            const NAME: &'static str = #name;
            type Fields = #companion;
            fn fields(at: ::asm::dsl::kernel::At) -> #companion {
                #companion {
                    #(#names: <#types as ::asm::dsl::kernel::KernelField>::field(at.then(#symbols)),)*
                }
            }
        }

        impl ::asm::dsl::kernel::KernelField for #ident {
            type Of = #companion;
            fn field(at: ::asm::dsl::kernel::At) -> #companion {
                <Self as ::asm::dsl::kernel::Kernel>::fields(at)
            }
        }
    })
}
