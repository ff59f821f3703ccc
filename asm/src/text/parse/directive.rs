//! Stage: text in. Directives.
//!
//! Input: a name that starts with `.`. Output: changes to the [`File`](crate::text::file::File). What other assemblers
//! write about symbols and does not matter here (`.type`, `.size`, `.ident` …) is read over. Next: `types.rs`, `declare.rs`, `data.rs`, `map.rs`.

use std::ops::Range;
use std::sync::Arc;

use super::{Constant, Parsed, Parser, wrong, wrong_help};
use crate::btf::CoreReloKind;
use crate::insn::{Insn, Op};
use crate::text::diag::nearest;
use crate::text::lex::Tok;
use crate::text::unit::{Core, Mark};

/// All directives, for "did you mean".
const KNOWN: &[&str] = &[
    ".section",
    ".text",
    ".data",
    ".rodata",
    ".bss",
    ".globl",
    ".global",
    ".equ",
    ".set",
    ".license",
    ".map",
    ".struct",
    ".union",
    ".enum",
    ".typedef",
    ".basetype",
    ".func",
    ".extern",
    ".var",
    ".byte",
    ".short",
    ".long",
    ".quad",
    ".ascii",
    ".asciz",
    ".zero",
    ".balign",
    ".p2align",
    ".file",
    ".loc",
    ".insn",
    ".core",
];

impl<'s> Parser<'s> {
    /// One directive; its name is the current token.
    pub(super) fn directive(&mut self, name: &'s str) -> Parsed<()> {
        let span = self.tok.span();
        self.bump();
        match name {
            ".section" => self.section(),
            ".text" | ".data" | ".rodata" | ".bss" => {
                self.file.enter(name);
                Ok(())
            }
            ".globl" | ".global" => self.globl(),
            ".equ" | ".set" => self.equ(),
            ".license" => self.license(),
            ".map" => self.declare_map(),
            ".struct" => self.declare_struct(false),
            ".union" => self.declare_struct(true),
            ".enum" => self.declare_enum(),
            ".typedef" => self.declare_typedef(),
            ".basetype" => self.declare_base(),
            ".func" => self.declare_func(),
            ".extern" => self.declare_extern(),
            ".var" => self.declare_var(),
            ".file" => self.file_name(),
            ".loc" => self.line_mark(),
            ".insn" => self.raw_insn(&span),
            ".core" => self.core(&span),
            _ => self.data_directive(name, span),
        }
    }

    fn data_directive(&mut self, name: &'s str, span: Range<usize>) -> Parsed<()> {
        match name {
            ".byte" => self.numbers(1, &span),
            ".short" | ".2byte" | ".hword" => self.numbers(2, &span),
            ".long" | ".4byte" | ".word" | ".int" => self.numbers(4, &span),
            ".quad" | ".8byte" => self.numbers(8, &span),
            ".ascii" => self.ascii(false, &span),
            ".asciz" | ".string" => self.ascii(true, &span),
            ".zero" | ".skip" | ".space" => self.zeros(&span),
            ".balign" | ".align" => self.align(false, &span),
            ".p2align" => self.align(true, &span),
            ".type" | ".size" | ".ident" | ".addrsig" | ".addrsig_sym" | ".hidden" | ".local" | ".weak" => {
                while !matches!(self.tok.tok, Tok::Line | Tok::End) {
                    self.bump();
                }
                Ok(())
            }
            _ => {
                let help = match nearest(name, KNOWN.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("directives are {}", KNOWN.join(" ")),
                };
                wrong_help(span, format!("there is no directive `{name}`"), help)
            }
        }
    }

    /// `.section name[, "flags", @progbits]`; the flags follow from the name here. Slashes are part of a name.
    fn section(&mut self) -> Parsed<()> {
        let start = self.tok.span();
        let name = if self.tok.tok == Tok::Str {
            self.symbol("a section")?
        } else {
            self.name("a section's name")?;
            while matches!(self.tok.tok, Tok::Op([b'/' | b'-' | b'*' | b'+' | b':', 0, _])) {
                self.bump();
                self.name("the rest of the section's name")?;
            }
            self.text.get(self.since(&start)).unwrap_or_default()
        };
        while !matches!(self.tok.tok, Tok::Line | Tok::End) {
            if self.tok.tok == Tok::Name {
                return wrong(self.tok.span(), format!("{} is left over", self.shown()));
            }
            self.eat(",");
            self.eat("@");
            self.bump();
        }
        if matches!(name, ".maps" | "maps") {
            let help = "declare maps with `.map name: hash { key: u32, value: u64, max_entries: 16 }`";
            return wrong_help(start, "the section of maps is written by the assembler", help);
        }
        if name.starts_with(".BTF") {
            let help = "types come from `.struct`, `.func`, `.var` and `.map`";
            return wrong_help(start, "BTF is written by the assembler", help);
        }
        self.file.enter(name);
        Ok(())
    }

    fn globl(&mut self) -> Parsed<()> {
        loop {
            let span = self.tok.span();
            let name = self.symbol("a name")?;
            self.file.globals.insert(name, span);
            if !self.eat(",") {
                return Ok(());
            }
        }
    }

    /// `.equ name, value`: a number, or a register under another name.
    fn equ(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let name = self.name("a name")?;
        self.expect(",")?;
        self.set_constant(name, span)
    }

    /// `name = value`.
    pub(super) fn define(&mut self, name: &'s str) -> Parsed<()> {
        let span = self.tok.span();
        self.bump();
        self.bump();
        self.set_constant(name, span)
    }

    fn set_constant(&mut self, name: &'s str, span: Range<usize>) -> Parsed<()> {
        if super::expr::register(name).is_some() {
            return wrong(span, format!("`{name}` is a register"));
        }
        let value = if self.at_register() {
            let (width, reg) = self.any_register()?;
            Constant::Register(width, reg)
        } else {
            Constant::Number(self.expr()?)
        };
        self.equs.insert(name, value);
        Ok(())
    }

    fn license(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let text = self.string()?;
        match String::from_utf8(text) {
            Ok(text) if !text.contains('\0') => {
                self.file.license = Some(text);
                Ok(())
            }
            _ => wrong(span, "a license is a text without zero bytes"),
        }
    }

    /// The number in `.file` and `.loc` of a source file's name.
    fn source_file(&mut self, name: &str) -> u32 {
        let files = &mut self.file.files;
        let at = files.iter().position(|file| &**file == name).unwrap_or_else(|| {
            files.push(name.into());
            files.len() - 1
        });
        u32::try_from(at).unwrap_or(0)
    }

    /// `.file "name"` (read over), `.file 1 "name"`.
    fn file_name(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let number = if self.tok.tok == Tok::Number { Some(self.expr()?) } else { None };
        let mut name = self.utf8()?;
        if self.tok.tok == Tok::Str {
            name = format!("{name}/{}", self.utf8()?);
        }
        // `md5 0x…` and `source "…"`, as compilers add them.
        while !matches!(self.tok.tok, Tok::Line | Tok::End) {
            self.bump();
        }
        match number {
            None => Ok(()),
            Some(number) if (0..1 << 16).contains(&number) => {
                let at = self.source_file(&name);
                self.numbered_files.insert(number, at);
                Ok(())
            }
            Some(_) => wrong(span, "files are numbered from 0 to 65535"),
        }
    }

    pub(super) fn utf8(&mut self) -> Parsed<String> {
        let span = self.tok.span();
        String::from_utf8(self.string()?).or_else(|_| wrong(span, "a text is UTF-8"))
    }

    /// `.loc "file" line [column] ["text"]`, `.loc 1 line [column]`: what follows comes from there.
    fn line_mark(&mut self) -> Parsed<()> {
        let span = self.tok.span();
        let file = if self.tok.tok == Tok::Str {
            let name: Arc<str> = self.utf8()?.into();
            self.source_file(&name)
        } else {
            let number = self.expr()?;
            match self.numbered_files.get(&number) {
                Some(file) => *file,
                None => {
                    let help = format!("name it first: `.file {number} \"name\"`");
                    return wrong_help(self.since(&span), format!("there is no file {number}"), help);
                }
            }
        };
        let line = self.position()?;
        let col = if self.tok.tok == Tok::Number { self.position()? } else { 0 };
        // `prologue_end` and the like, as compilers add them.
        while matches!(self.tok.tok, Tok::Name | Tok::Number) {
            self.bump();
        }
        if self.tok.tok == Tok::Str {
            let text = self.utf8()?;
            self.file.line_texts.push((file, line, text));
        }
        self.loc = Some(Mark { file, line, col });
        Ok(())
    }

    fn position(&mut self) -> Parsed<u32> {
        let start = self.tok.span();
        let value = self.expr()?;
        match u32::try_from(value) {
            Ok(number) => Ok(number),
            Err(_) => wrong(self.since(&start), "lines and columns have 32 bits"),
        }
    }

    /// `.core byte_off, type, "0:5"`: the next instruction depends on the layout of the kernel's type.
    fn core(&mut self, span: &Range<usize>) -> Parsed<()> {
        let kind_span = self.tok.span();
        let name = self.name("what is asked about the type")?;
        let Some(kind) = CoreReloKind::from_name(name) else {
            let known: Vec<String> = CoreReloKind::ALL.iter().map(ToString::to_string).collect();
            let help = format!("it is one of {}", known.join(", "));
            return wrong_help(kind_span, format!("`{name}` cannot be asked about a type"), help);
        };
        self.expect(",")?;
        let ty = self.type_expr()?;
        self.expect(",")?;
        let access = self.utf8()?;
        let unit = self.file.code(span)?;
        let at = unit.len();
        unit.cores.push(Core { at, kind, ty, access });
        Ok(())
    }

    /// `.insn code, dst, src, off, imm`: eight bytes as they are.
    fn raw_insn(&mut self, span: &Range<usize>) -> Parsed<()> {
        let mut fields = [0i128; 5];
        for (i, field) in fields.iter_mut().enumerate() {
            if i > 0 {
                self.expect(",")?;
            }
            *field = self.expr()?;
        }
        let [code, dst, src, off, imm] = fields;
        let nibble = |value: i128| u8::try_from(value).ok().filter(|v| *v < 16);
        let imm = i32::try_from(imm).ok().or_else(|| u32::try_from(imm).ok().map(u32::cast_signed));
        match (u8::try_from(code), nibble(dst), nibble(src), i16::try_from(off), imm) {
            (Ok(code), Some(dst), Some(src), Ok(off), Some(imm)) => {
                let mark = self.mark(span);
                self.file.code(span)?.push(Op::Raw(Insn::new(code, dst, src, off, imm)), mark, None);
                Ok(())
            }
            _ => wrong_help(
                self.since(span),
                "a field is out of its range",
                "code has 8 bits, dst and src 4, off 16 (signed), imm 32 (signed)",
            ),
        }
    }
}
