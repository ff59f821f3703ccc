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
    /// Has the line no token so far?
    fresh: bool,
    /// Where a `;` behind a token starts a comment; for the parser to take.
    pub(super) semicolon: Option<usize>,
}

/// What a byte can be; one look-up instead of a row of comparisons.
mod class {
    pub(super) const NAME_START: u8 = 1;
    pub(super) const NAME: u8 = 2;
    pub(super) const NUMBER: u8 = 4;
    /// A bracket or separator: always one byte.
    pub(super) const SINGLE: u8 = 8;
    /// May be followed by `=`.
    pub(super) const OPERATOR: u8 = 16;

    const fn of(b: u8) -> u8 {
        let mut class = 0;
        if b.is_ascii_alphabetic() || matches!(b, b'_' | b'.' | b'$') {
            class |= NAME_START;
        }
        if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$') {
            class |= NAME;
        }
        if b.is_ascii_alphanumeric() || b == b'_' {
            class |= NUMBER;
        }
        if matches!(b, b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b':' | b'@' | b'~') {
            class |= SINGLE;
        }
        if matches!(b, b'+' | b'-' | b'*' | b'/' | b'%' | b'&' | b'|' | b'^' | b'=' | b'!' | b'<' | b'>') {
            class |= OPERATOR;
        }
        class
    }

    pub(super) static TABLE: [u8; 256] = {
        let (mut table, mut b) = ([0; 256], 0u8);
        loop {
            table[b as usize] = of(b);
            if b == u8::MAX {
                break table;
            }
            b += 1;
        }
    };
}

const fn is(b: u8, class: u8) -> bool {
    class::TABLE[b as usize] & class != 0
}

impl<'s> Lexer<'s> {
    /// Starts at the beginning of `text`, which must not be longer than [`MAX_FILE`].
    pub(super) fn new(text: &'s str) -> Self {
        Self { text, at: 0, line: 1, line_start: 0, fresh: true, semicolon: None }
    }

    pub(super) fn text(&self, token: Token) -> &'s str {
        self.text.get(token.span()).unwrap_or("")
    }

    #[inline]
    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    #[inline]
    fn skip_while(&mut self, keep: impl Fn(u8) -> bool) {
        let bytes = self.text.as_bytes();
        while self.at < bytes.len() && keep(bytes[self.at]) {
            self.at += 1;
        }
    }

    /// Skips blanks and comments. The newline that ends a comment stays.
    #[inline]
    fn skip_blank(&mut self) {
        loop {
            match self.byte(0) {
                b' ' | b'\t' | b'\r' => self.at += 1,
                b'#' | b';' | b'/' if self.skip_comment() => {}
                _ => return,
            }
        }
    }

    /// Skips a comment, if one starts here.
    fn skip_comment(&mut self) -> bool {
        match (self.byte(0), self.byte(1)) {
            (b'/', b'*') => self.skip_block_comment(),
            (b'/', b'/') | (b'#', _) => self.skip_line(),
            (b'/', _) => return false,
            _ => {
                if !self.fresh {
                    self.semicolon = Some(self.at);
                }
                self.skip_line();
            }
        }
        true
    }

    fn skip_line(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
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

    /// The text of the line from `at` on.
    pub(super) fn line_from(&self, at: usize) -> &'s str {
        self.text.get(at..).and_then(|rest| rest.lines().next()).unwrap_or_default()
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Token {
        self.skip_blank();
        let start = self.at;
        self.fresh = self.byte(0) == b'\n';
        let first = self.byte(0);
        let tok = match class::TABLE[usize::from(first)] {
            class if class & class::NAME_START != 0 => {
                self.at += 1;
                self.skip_while(|b| is(b, class::NAME));
                Tok::Name
            }
            class if class & class::NUMBER != 0 => {
                self.at += 1;
                self.skip_while(|b| is(b, class::NUMBER));
                Tok::Number
            }
            class if class & class::SINGLE != 0 => {
                self.at += 1;
                Tok::Op([first, 0, 0])
            }
            class if class & class::OPERATOR != 0 => self.operator(first),
            _ => self.other(first),
        };
        Token { tok, start: narrow(start), end: narrow(self.at) }
    }

    /// The ends of line and file, texts in quotes, and what starts no token.
    fn other(&mut self, first: u8) -> Tok {
        match first {
            b'\n' => {
                self.at += 1;
                self.line += 1;
                self.line_start = self.at;
                Tok::Line
            }
            b'"' => self.quoted(b'"', Tok::Str),
            b'\'' => self.quoted(b'\'', Tok::Char),
            _ if self.at >= self.text.len() => Tok::End,
            _ => {
                // One whole character, so that positions stay between characters.
                self.at += self.text[self.at..].chars().next().map_or(1, char::len_utf8);
                Tok::Bad
            }
        }
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

    /// An operator of up to three bytes.
    fn operator(&mut self, first: u8) -> Tok {
        let second = self.byte(1);
        let spelled = match (first, second) {
            (b'<', b'<') | (b'>', b'>') if self.byte(2) == b'=' => [first, second, b'='],
            (b'<', b'<') | (b'>', b'>') | (b'-', b'>') | (_, b'=') => [first, second, 0],
            _ => [first, 0, 0],
        };
        self.at += 1 + usize::from(spelled[1] != 0) + usize::from(spelled[2] != 0);
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
