//! `#[derive(Layout)]`: structs get places and parts, enums become numbers.
//!
//! Stage: entry. Input: a `#[repr(C)]` struct, or an enum without fields. Output: implementations of `asm::dsl::Layout` and
//! its kin; a struct with hidden padding does not compile. Read next: `lower/mod.rs`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Data, DataEnum, DataStruct, DeriveInput, Error, Field, Fields, Ident, Result, spanned::Spanned};

pub(crate) fn derive(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    if let Some(param) = item.generics.params.first() {
        return Err(Error::new(param.span(), "a type of kernel memory has one layout, hence no parameters"));
    }
    match &item.data {
        Data::Struct(data) => structure(&item, data),
        Data::Enum(data) => enumeration(&item, data),
        Data::Union(data) => {
            Err(Error::new(data.union_token.span, "a union has no layout that can be checked: use a struct"))
        }
    }
}

/// The word inside `#[repr(..)]`.
fn repr(item: &DeriveInput) -> Option<Ident> {
    let attribute = item.attrs.iter().find(|attribute| attribute.path().is_ident("repr"))?;
    attribute.parse_args().ok()
}

/// The doc comments among the attributes.
fn docs(attrs: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attrs.iter().filter(|attribute| attribute.path().is_ident("doc"))
}

fn structure(item: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new(data.fields.span(), "the fields of kernel memory have names, for BTF"));
    };
    if repr(item).is_none_or(|word| word != "C") {
        return Err(Error::new(item.ident.span(), "add #[repr(C)]: the order of fields must not be the compiler's"));
    }
    let fields: Vec<&Field> = fields.named.iter().collect();
    let layout = struct_layout(item, &fields);
    let (place, parts) = (place_values(item), parts_values(item));
    Ok(quote!(#layout #place #parts))
}

/// Names of the generated structs.
fn companions(item: &DeriveInput) -> (Ident, Ident) {
    (format_ident!("{}Place", item.ident), format_ident!("{}Parts", item.ident))
}

/// The companions and the layout.
fn struct_layout(item: &DeriveInput, fields: &[&Field]) -> TokenStream {
    let (name, vis) = (&item.ident, &item.vis);
    let (place, parts) = companions(item);
    let names: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    let seen: Vec<_> = fields.iter().map(|field| &field.vis).collect();
    let texts: Vec<_> = fields.iter().map(|field| docs(&field.attrs).collect::<Vec<_>>()).collect();
    let symbol = name.to_string();
    let symbols: Vec<_> = names.iter().map(|name| name.as_ref().map(ToString::to_string)).collect();
    let place_doc = format!("A place that holds a [`{name}`].");
    let parts_doc = format!("A [`{name}`] to be written, field by field.");
    let padding = quote_spanned!(name.span()=> const _: () = assert!(
        ::core::mem::size_of::<#name>() == <#name as ::asm::dsl::Layout>::SIZE as usize,
        "hidden padding: add a field for it, so that it is written",
    ););
    quote! {
        #[doc = #place_doc]
        #[derive(Clone, Copy, Debug)]
        #vis struct #place {
            __at: ::asm::dsl::Addr,
            #(#(#texts)* #seen #names: <#types as ::asm::dsl::Layout>::Place,)*
        }

        #[doc = #parts_doc]
        #[derive(Clone, Copy, Debug)]
        #vis struct #parts {
            #(#(#texts)* #seen #names: ::asm::dsl::Val<#types>,)*
        }

        #padding

        impl ::asm::btf::BtfType for #name {
            fn btf(b: &mut ::asm::btf::BtfBuilder) -> ::asm::btf::TypeId {
                let members = [#(::asm::btf::member::<#types>(b, #symbols, ::core::mem::offset_of!(#name, #names)),)*];
                b.struct_(#symbol, <#name as ::asm::dsl::Layout>::SIZE, &members)
            }
        }

        impl ::asm::dsl::Layout for #name {
            const SIZE: u32 = ::asm::dsl::rt::total(&[#(<#types as ::asm::dsl::Layout>::SIZE),*]);
            const ALIGN: u32 = ::asm::dsl::rt::greatest(&[#(<#types as ::asm::dsl::Layout>::ALIGN),*]);
            type Place = #place;
            fn place(at: ::asm::dsl::Addr) -> #place {
                #place {
                    __at: at,
                    #(#names: <#types as ::asm::dsl::Layout>::place(at.offset(::core::mem::offset_of!(#name, #names))),)*
                }
            }
        }

        impl ::asm::dsl::Struct for #name {
            type Parts = #parts;
        }

        impl ::asm::dsl::Parts for #parts {
            type Of = #name;
            #[track_caller]
            fn write(self, to: ::asm::dsl::Addr) {
                #(::asm::dsl::rt::write::<#types>(to.offset(::core::mem::offset_of!(#name, #names)), self.#names);)*
            }
        }
    }
}

/// What a place that holds a struct is worth.
fn place_values(item: &DeriveInput) -> TokenStream {
    let name = &item.ident;
    let (place, _) = companions(item);
    quote! {
        impl ::asm::dsl::IntoVal<#name> for #place {
            #[track_caller]
            fn into_val(self) -> ::asm::dsl::Val<#name> {
                ::asm::dsl::rt::loaded(self)
            }
            #[track_caller]
            fn put(self, to: ::asm::dsl::Addr) {
                ::asm::dsl::rt::copied(self, to);
            }
        }

        impl ::asm::dsl::AnyPlace for #place {
            type Of = #name;
            fn addr(self) -> ::asm::dsl::Addr {
                self.__at
            }
        }

        impl ::asm::dsl::rt::Own for #place {
            type Owned = ::asm::dsl::Val<#name>;
            #[track_caller]
            fn own(self) -> Self::Owned {
                ::asm::dsl::rt::loaded(self)
            }
        }

        impl ::asm::dsl::rt::Stage for #place {
            type Out = ::asm::dsl::Val<#name>;
            #[track_caller]
            fn stage(self) -> Self::Out {
                ::asm::dsl::rt::loaded(self)
            }
        }

        impl<E: ::asm::dsl::IntoVal<#name>> ::asm::dsl::rt::Assign<E> for #place {
            #[track_caller]
            fn assign(&self, value: E) {
                value.put(self.__at);
            }
        }

        impl ::asm::dsl::Pointed<#name> for #place {
            #[track_caller]
            fn pointer(&self) -> ::asm::ir::Value {
                ::asm::dsl::rt::address(*self)
            }
        }
    }
}

/// What a struct's parts are worth.
fn parts_values(item: &DeriveInput) -> TokenStream {
    let name = &item.ident;
    let (_, parts) = companions(item);
    quote! {
        impl ::asm::dsl::IntoVal<#name> for #parts {
            #[track_caller]
            fn into_val(self) -> ::asm::dsl::Val<#name> {
                ::asm::dsl::rt::whole(self)
            }
            #[track_caller]
            fn put(self, to: ::asm::dsl::Addr) {
                ::asm::dsl::Parts::write(self, to);
            }
        }

        impl ::asm::dsl::rt::Own for #parts {
            type Owned = ::asm::dsl::Obj<#name>;
            #[track_caller]
            fn own(self) -> Self::Owned {
                ::asm::dsl::rt::object(self)
            }
        }

        impl ::asm::dsl::rt::Stage for #parts {
            type Out = ::asm::dsl::Obj<#name, ::asm::dsl::rt::Free>;
            #[track_caller]
            fn stage(self) -> Self::Out {
                ::asm::dsl::rt::object(self)
            }
        }

        impl ::asm::dsl::Pointed<#name> for #parts {
            #[track_caller]
            fn pointer(&self) -> ::asm::ir::Value {
                ::asm::dsl::rt::pointer(*self)
            }
        }
    }
}

fn enumeration(item: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let why = "add #[repr(u8)], u16, u32 or i32: the size of the enum must not be the compiler's";
    let Some(repr) = repr(item) else { return Err(Error::new(item.ident.span(), why)) };
    let width = match repr.to_string().as_str() {
        "u8" => "I8",
        "u16" => "I16",
        "u32" | "i32" => "I32",
        _ => return Err(Error::new(repr.span(), why)),
    };
    if let Some(variant) = data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
        return Err(Error::new(variant.fields.span(), "a variant of kernel memory is a number, without fields"));
    }
    let (name, symbol, width) = (&item.ident, item.ident.to_string(), format_ident!("{width}"));
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let symbols: Vec<_> = variants.iter().map(ToString::to_string).collect();
    Ok(quote! {
        impl ::asm::btf::BtfType for #name {
            fn btf(b: &mut ::asm::btf::BtfBuilder) -> ::asm::btf::TypeId {
                let signed = <#repr>::MIN != 0;
                let values = vec![#((#symbols, ::asm::dsl::Scalar::to_bits(#name::#variants) as u32)),*];
                b.add(::asm::btf::Type::Enum { name: #symbol, size: <#repr>::BITS / 8, signed, values })
            }
        }

        impl ::asm::dsl::Layout for #name {
            const SIZE: u32 = <#repr>::BITS / 8;
            const ALIGN: u32 = <#repr>::BITS / 8;
            type Place = ::asm::dsl::Place<#name>;
            fn place(at: ::asm::dsl::Addr) -> Self::Place {
                ::asm::dsl::Place::new(at)
            }
        }

        impl ::asm::dsl::Scalar for #name {
            const TY: ::asm::ir::Ty = ::asm::ir::Ty::#width;
            fn to_bits(self) -> u64 {
                ::asm::dsl::Scalar::to_bits(self as #repr)
            }
        }

        impl ::asm::dsl::IntoVal<#name> for #name {
            fn into_val(self) -> ::asm::dsl::Val<#name> {
                ::asm::dsl::rt::constant(::asm::dsl::Scalar::to_bits(self))
            }
        }

        impl ::asm::dsl::rt::Own for #name {
            type Owned = ::asm::dsl::Val<#name>;
            fn own(self) -> Self::Owned {
                ::asm::dsl::IntoVal::into_val(self)
            }
        }

        impl ::asm::dsl::rt::Stage for #name {
            type Out = ::asm::dsl::Val<#name>;
            fn stage(self) -> Self::Out {
                ::asm::dsl::IntoVal::into_val(self)
            }
        }
    })
}
