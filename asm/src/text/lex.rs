//! Stage: text in, first half. Bytes to tokens, one at a time, without allocation.
//!
//! Input: the text of a file. Output: [`Token`] values that point back into it. Comments (`#`, `//`, `;`, `/* */`) and
//! blanks vanish; the end of a line is a token, because it ends a statement. Next: `expr.rs`.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tok {
    /// A name: letters, digits, `_`, `.`, `$`; not starting with a digit.
    Name,
    /// A digit and the letters and digits after it: `42`, `0x2a`, and the local label `1f`.
    Number,
    /// A string, quotes included.
    Str,
    /// A character constant, quotes included.
    Char,
    /// An operator or bracket; up to three bytes, zero-padded.
    Op([u8; 3]),
    /// End of a line.
    Line,
    /// End of the file.
    End,
    /// Something that starts no token.
    Bad,
}

/// The operator spelled so, for comparison with [`Tok::Op`].
pub(super) const fn op(text: &str) -> Tok {
    let text = text.as_bytes();
    match *text {
        [a] => Tok::Op([a, 0, 0]),
        [a, b] => Tok::Op([a, b, 0]),
        [a, b, c, ..] => Tok::Op([a, b, c]),
        [] => Tok::Bad,
    }
}

/// A token and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) tok: Tok,
    start: u32,
    end: u32,
}

impl Token {
    pub(super) fn span(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Largest file, in bytes: positions are 32 bits wide.
pub(super) const MAX_FILE: usize = u32::MAX as usize;

/// Cuts a text into tokens.
#[derive(Clone, Debug)]
pub(super) struct Lexer<'s> {
    text: &'s str,
    at: usize,
    /// Number of the line that `at` is in, from 1.
    pub(super) line: u32,
    /// Where that line starts.
    pub(super) line_start: usize,
}

const fn name_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || matches!(b, b'_' | b'.' | b'$')
}

const fn name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$')
}

impl<'s> Lexer<'s> {
    /// Starts at the beginning of `text`, which must not be longer than [`MAX_FILE`].
    pub(super) fn new(text: &'s str) -> Self {
        Self { text, at: 0, line: 1, line_start: 0 }
    }

    pub(super) fn text(&self, token: Token) -> &'s str {
        self.text.get(token.span()).unwrap_or("")
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|&b| !keep(b)).unwrap_or(rest.len());
    }

    /// Skips blanks and comments. The newline that ends a comment stays.
    fn skip_blank(&mut self) {
        loop {
            match (self.byte(0), self.byte(1)) {
                (b' ' | b'\t' | b'\r', _) => self.at += 1,
                (b'#' | b';', _) | (b'/', b'/') => self.skip_while(|b| b != b'\n'),
                (b'/', b'*') => self.skip_block_comment(),
                _ => return,
            }
        }
    }

    fn skip_block_comment(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let len = rest.windows(2).skip(2).position(|pair| pair == b"*/").map_or(rest.len(), |at| at + 4);
        for (i, _) in rest[..len].iter().enumerate().filter(|(_, b)| **b == b'\n') {
            self.line += 1;
            self.line_start = self.at + i + 1;
        }
        self.at += len;
    }

    /// The text between the last token and the end of its line if that starts with `;`: most often a comment.
    pub(super) fn after_semicolon(&self) -> Option<(&'s str, Range<usize>)> {
        let rest = self.text[self.at..].lines().next()?;
        let blank = rest.len() - rest.trim_start().len();
        let tail = rest.trim_start().strip_prefix(';')?;
        let start = self.at + blank;
        Some((tail.trim_start(), start..start + 1))
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Token {
        self.skip_blank();
        let start = self.at;
        let tok = match self.byte(0) {
            b'\n' => {
                self.at += 1;
                self.line += 1;
                self.line_start = self.at;
                Tok::Line
            }
            b if name_start(b) => {
                self.skip_while(name_byte);
                Tok::Name
            }
            b if b.is_ascii_digit() => {
                self.skip_while(|b| b.is_ascii_alphanumeric() || b == b'_');
                Tok::Number
            }
            b'"' => self.quoted(b'"', Tok::Str),
            b'\'' => self.quoted(b'\'', Tok::Char),
            _ if self.at >= self.text.len() => Tok::End,
            b => self.operator(b),
        };
        Token { tok, start: narrow(start), end: narrow(self.at) }
    }

    fn quoted(&mut self, quote: u8, tok: Tok) -> Tok {
        self.at += 1;
        loop {
            match self.byte(0) {
                b if b == quote => {
                    self.at += 1;
                    return tok;
                }
                b'\\' if self.byte(1) != b'\n' && self.at + 1 < self.text.len() => self.at += 2,
                b'\n' => return Tok::Bad,
                _ if self.at >= self.text.len() => return Tok::Bad,
                _ => self.at += 1,
            }
        }
    }

    fn operator(&mut self, first: u8) -> Tok {
        let (second, third) = (self.byte(1), self.byte(2));
        let len = match (first, second, third) {
            (b'<', b'<', b'=') | (b'>', b'>', b'=') => 3,
            (b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'=' | b'!' | b'<' | b'>', b'=', _) => 2,
            (b'<', b'<', _) | (b'>', b'>', _) | (b'-', b'>', _) => 2,
            (b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'=' | b'!' | b'<' | b'>' | b'~', ..) => 1,
            (b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b':' | b'@', ..) => 1,
            _ => {
                // One whole character, so that positions stay between characters.
                self.at += self.text[self.at..].chars().next().map_or(1, char::len_utf8);
                return Tok::Bad;
            }
        };
        self.at += len;
        let mut spelled = [first, second, third];
        spelled[len..].fill(0);
        Tok::Op(spelled)
    }
}

fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelled(text: &str) -> Vec<&str> {
        let mut lexer = Lexer::new(text);
        let mut out = Vec::new();
        loop {
            let token = lexer.next();
            match token.tok {
                Tok::End => return out,
                Tok::Line => out.push("\\n"),
                Tok::Bad => out.push("BAD"),
                _ => out.push(lexer.text(token)),
            }
        }
    }

    #[test]
    fn tokens_of_every_kind() {
        let table: &[(&str, &[&str])] = &[
            ("r1 = *(u32 *)(r10 -8)", &["r1", "=", "*", "(", "u32", "*", ")", "(", "r10", "-", "8", ")"]),
            ("w1 s>>=0x2a", &["w1", "s", ">>=", "0x2a"]),
            ("if r1!=-1 goto .L_2$x", &["if", "r1", "!=", "-", "1", "goto", ".L_2$x"]),
            ("1: goto 1b # back", &["1", ":", "goto", "1b"]),
            ("a // b\nc ; d\n/* e\n */ f", &["a", "\\n", "c", "\\n", "f"]),
            ("\"a \\\" ; b\" '#'", &["\"a \\\" ; b\"", "'#'"]),
            ("a ? \u{e9} b \"open", &["a", "BAD", "BAD", "b", "BAD"]),
            ("/* open", &[]),
        ];
        for (text, want) in table {
            assert_eq!(spelled(text), *want, "{text}");
        }
    }

    #[test]
    fn lines_are_counted_through_comments() {
        let mut lexer = Lexer::new("/* 1\n2 */ a\nb");
        assert_eq!((lexer.next().span(), lexer.line), (10..11, 2));
        assert_eq!(lexer.next().tok, Tok::Line);
        assert_eq!((lexer.next().span(), lexer.line, lexer.line_start), (12..13, 3, 12));
    }
}
