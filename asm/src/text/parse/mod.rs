//! Stage: text in, second half. Statements: labels, instructions, directives.
//!
//! Input: tokens. Output: a [`Unit`](super::unit::Unit) a section, plus types, maps and data. A mistake ends its
//! statement, not the reading: the rest of the line is skipped and the next line is read. Next: `insn.rs`.

use std::collections::HashMap;
use std::ops::Range;

use super::diag::Collector;
use super::file::File;
use super::lex::{Lexer, Tok, Token, op};
use super::unit::Mark;
use crate::insn::{Reg, Width};

mod data;
mod declare;
mod directive;
mod expr;
mod insn;
mod map;
mod mem;
mod types;
mod ubpf;

/// A mistake, before it is filed.
#[derive(Debug)]
pub(super) struct Wrong {
    span: Range<usize>,
    message: String,
    advice: Option<String>,
}

impl Wrong {
    pub(super) fn file(self, errors: &mut Collector) {
        errors.add(self.span, self.message, self.advice);
    }
}

/// Boxed, so that the good case stays small.
pub(super) type Parsed<T> = Result<T, Box<Wrong>>;

/// Files a mistake at `span`.
pub(super) fn wrong<T>(span: Range<usize>, message: impl Into<String>) -> Parsed<T> {
    Err(Box::new(Wrong { span, message: message.into(), advice: None }))
}

/// As [`wrong`], with advice.
pub(super) fn wrong_help<T>(span: Range<usize>, message: impl Into<String>, advice: impl Into<String>) -> Parsed<T> {
    Err(Box::new(Wrong { span, message: message.into(), advice: Some(advice.into()) }))
}

/// What a name given by `.equ` stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Constant {
    Number(i128),
    Register(Width, Reg),
}

/// Which language the instructions are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Pseudo-C: what LLVM and the verifier's log write.
    PseudoC,
    /// Mnemonics: what ubpf and the `bpf_conformance` suite write.
    Mnemonic,
}

/// Reads one file.
pub(super) struct Parser<'s> {
    text: &'s str,
    lexer: Lexer<'s>,
    tok: Token,
    /// The token behind `tok`.
    ahead: Token,
    /// Line and line start of `tok` and of `ahead`.
    line: (u32, usize),
    ahead_line: (u32, usize),
    prev_end: usize,
    dialect: Dialect,
    /// Line marks by `.loc` replace the file's own lines from here on.
    loc: Option<Mark>,
    equs: HashMap<&'s str, Constant>,
    /// Source files by the number that `.file` gave them.
    numbered_files: HashMap<i128, u32>,
    pub(super) errors: Collector,
    pub(super) file: File<'s>,
}

impl<'s> Parser<'s> {
    pub(super) fn new(text: &'s str, dialect: Dialect, file: File<'s>) -> Self {
        let mut lexer = Lexer::new(text);
        let tok = lexer.next();
        let line = (lexer.line, lexer.line_start);
        let ahead = lexer.next();
        let ahead_line = (lexer.line, lexer.line_start);
        let (equs, numbered_files, errors) = (HashMap::new(), HashMap::new(), Collector::default());
        let (prev_end, loc) = (0, None);
        Self { text, lexer, tok, ahead, line, ahead_line, prev_end, dialect, loc, equs, numbered_files, errors, file }
    }

    /// Reads everything; mistakes are in `errors` afterwards.
    pub(super) fn run(&mut self) {
        while self.tok.tok != Tok::End {
            if let Err(wrong) = self.statement() {
                self.report(*wrong);
                self.skip_line();
            }
        }
    }

    fn report(&mut self, wrong: Wrong) {
        wrong.file(&mut self.errors);
    }

    /// Labels, then nothing, a directive or an instruction, then the end of the line.
    fn statement(&mut self) -> Parsed<()> {
        loop {
            match self.tok.tok {
                Tok::Line | Tok::End => {
                    self.bump();
                    return Ok(());
                }
                Tok::Name | Tok::Number if self.peek().tok == op(":") => self.label()?,
                _ => break,
            }
        }
        let name = self.word();
        if name.starts_with('.') {
            self.directive(name)?;
        } else if self.tok.tok == Tok::Name && self.is_definition(name) {
            self.define(name)?;
        } else {
            self.instruction_statement()?;
        }
        self.end_of_statement()
    }

    /// `name = …`, where the name is no register.
    fn is_definition(&self, name: &str) -> bool {
        self.dialect == Dialect::PseudoC && self.peek().tok == op("=") && self.register_named(name).is_none()
    }

    fn label(&mut self) -> Parsed<()> {
        let (name, span, tok) = (self.word(), self.tok.span(), self.tok.tok);
        self.bump();
        self.bump();
        if tok == Tok::Number {
            return match name.parse::<u32>() {
                Ok(number) => {
                    self.file.code(&span)?.local_label(number);
                    Ok(())
                }
                Err(_) => wrong_help(span, format!("`{name}` is no label"), "names start with a letter, `_` or `.`"),
            };
        }
        if self.register_named(name).is_some() {
            return wrong_help(span, format!("a register cannot be a label: `{name}`"), "choose another name");
        }
        self.file.label(name, span)
    }

    fn instruction_statement(&mut self) -> Parsed<()> {
        let start = self.tok.span();
        let mark = self.mark(&start);
        let (op, fix) = match self.dialect {
            Dialect::PseudoC => self.instruction()?,
            Dialect::Mnemonic => self.mnemonic()?,
        };
        self.file.code(&start)?.push(op, mark, fix);
        Ok(())
    }

    /// The source position of what starts at `span`: by `.loc`, or in this file.
    fn mark(&self, span: &Range<usize>) -> Mark {
        let (line, line_start) = self.line;
        let col = self.text.get(line_start..span.start).map_or(0, |before| before.chars().count());
        let own = Mark { file: 0, line, col: u32::try_from(col + 1).unwrap_or(u32::MAX) };
        self.loc.unwrap_or(own)
    }

    fn end_of_statement(&mut self) -> Parsed<()> {
        match self.tok.tok {
            Tok::Line | Tok::End => {
                self.bump();
                Ok(())
            }
            Tok::Op([b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'<' | b'>', ..]) => {
                let help = "an instruction does one operation: first `r1 = r2`, then `r1 += 3`";
                wrong_help(self.tok.span(), format!("{} is left over", self.shown()), help)
            }
            _ => {
                let help = "one statement a line; a comment starts with `#`, `//` or `;`";
                wrong_help(self.tok.span(), format!("{} is left over", self.shown()), help)
            }
        }
    }

    fn skip_line(&mut self) {
        while !matches!(self.tok.tok, Tok::Line | Tok::End) {
            self.bump();
        }
        self.bump();
    }

    /// Moves to the next token. A `;` between two statements is filed as a mistake: it starts a comment here.
    fn bump(&mut self) {
        self.prev_end = self.tok.span().end;
        (self.tok, self.line) = (self.ahead, self.ahead_line);
        self.ahead = self.lexer.next();
        self.ahead_line = (self.lexer.line, self.lexer.line_start);
        if self.lexer.semicolon.is_some() {
            self.check_semicolon();
        }
    }

    #[cold]
    fn check_semicolon(&mut self) {
        if let Some(at) = self.lexer.semicolon.take()
            && looks_like_statement(self.lexer.line_from(at + 1))
        {
            let advice = "put the second statement on a line of its own".to_owned();
            self.errors.add(at..at + 1, "`;` starts a comment, and what follows would be lost", Some(advice));
        }
    }

    fn peek(&self) -> Token {
        self.ahead
    }

    /// Text of the current token if it is a name or number, else nothing.
    fn word(&self) -> &'s str {
        match self.tok.tok {
            Tok::Name | Tok::Number => self.lexer.text(self.tok),
            _ => "",
        }
    }

    /// The current token for an error message.
    fn shown(&self) -> String {
        match self.tok.tok {
            Tok::Line => "the end of the line".to_owned(),
            Tok::End => "the end of the file".to_owned(),
            _ => format!("`{}`", self.lexer.text(self.tok)),
        }
    }

    /// Consumes the current token if it is this operator.
    fn eat(&mut self, text: &str) -> bool {
        let found = self.tok.tok == op(text);
        if found {
            self.bump();
        }
        found
    }

    /// Consumes the current token if it is this word.
    fn eat_word(&mut self, text: &str) -> bool {
        let found = self.tok.tok == Tok::Name && self.word() == text;
        if found {
            self.bump();
        }
        found
    }

    fn expect(&mut self, text: &str) -> Parsed<()> {
        if self.eat(text) {
            return Ok(());
        }
        wrong(self.tok.span(), format!("expected `{text}`, found {}", self.shown()))
    }

    /// As [`Parser::expect`], with advice.
    fn expect_help(&mut self, text: &str, help: &str) -> Parsed<()> {
        self.expect(text).map_err(|wrong| Box::new(Wrong { advice: Some(help.to_owned()), ..*wrong }))
    }

    /// A name, consumed.
    fn name(&mut self, what: &str) -> Parsed<&'s str> {
        if self.tok.tok != Tok::Name {
            return wrong(self.tok.span(), format!("expected {what}, found {}", self.shown()));
        }
        let name = self.word();
        self.bump();
        Ok(name)
    }

    /// A name, or one in quotes when it has characters that names do not have.
    fn symbol(&mut self, what: &str) -> Parsed<&'s str> {
        if self.tok.tok == Tok::Str {
            let quoted = self.lexer.text(self.tok);
            let name = &quoted[1..quoted.len() - 1];
            if name.is_empty() || name.contains('\\') {
                return wrong(self.tok.span(), "a name in quotes is not empty and has no `\\`");
            }
            self.bump();
            return Ok(name);
        }
        self.name(what)
    }

    /// From `start` to the end of the last token.
    fn since(&self, start: &Range<usize>) -> Range<usize> {
        start.start..self.prev_end.max(start.start)
    }
}

/// Does the text after a `;` look like an instruction rather than a remark?
fn looks_like_statement(rest: &str) -> bool {
    let mut lexer = Lexer::new(rest);
    let first = lexer.next();
    let word = lexer.text(first);
    let second = lexer.next();
    match word {
        "exit" => matches!(second.tok, Tok::Line | Tok::End),
        "goto" | "call" => second.tok == Tok::Name,
        _ => {
            let number = word.strip_prefix(['r', 'w']).and_then(|n| n.parse::<u8>().ok());
            number.is_some() && (second.tok == op("=") || second.tok == op("+=") || second.tok == op("-="))
        }
    }
}
