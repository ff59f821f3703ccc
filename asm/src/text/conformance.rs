//! Case files of the public `bpf_conformance` suite.
//!
//! Stage: source. Input: the text of a `.data` file. Output: a [`Case`]: a program in the second language or as raw bytes,
//! the memory it gets, and what must come of it. A section starts at a line with `--`; comments start with `#`.
//! Next: `parse/ubpf.rs`, which reads the `asm` section.

use super::{Diagnostics, Dialect, assemble_as};
use crate::insn::{Code, DecodeError, Insn, InsnIdx, Op};

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The program as text.
    pub asm: Option<String>,
    /// The program, or what the text must become, as bytes.
    pub raw: Option<Vec<u8>>,
    /// What `r1` points at; `r2` is its length.
    pub mem: Vec<u8>,
    /// What `r0` must be at the end; `None` where the program must be refused.
    pub result: Option<u64>,
}

/// Why a case is not a program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// Neither an `asm` nor a `raw` section has instructions.
    #[error("the case has no instructions")]
    Empty,
    /// A number that is none.
    #[error("section `{section}`: `{text}` is no number")]
    Number {
        /// `mem`, `raw` or `result`.
        section: &'static str,
        /// What stands there.
        text: String,
    },
    /// A section that the suite does not have.
    #[error("unknown section `-- {0}`")]
    Section(String),
    /// The text does not assemble.
    #[error(transparent)]
    Text(#[from] Diagnostics),
    /// The bytes mean nothing, or a reserved field is not zero.
    #[error("instruction {at}: {source}")]
    Decode {
        /// Where.
        at: InsnIdx,
        /// What is wrong.
        #[source]
        source: DecodeError,
    },
    /// Text and bytes of the case differ.
    #[error("the text becomes {got:02x?}, and the case's bytes are {want:02x?}")]
    Differs {
        /// From the `asm` section.
        got: Vec<u8>,
        /// From the `raw` section.
        want: Vec<u8>,
    },
}

impl Case {
    /// Reads a case file.
    ///
    /// # Errors
    ///
    /// [`CaseError::Section`], [`CaseError::Number`].
    pub fn parse(text: &str) -> Result<Self, CaseError> {
        let (mut asm, mut raw, mut mem, mut result) = (None, None, String::new(), None);
        let mut ignored = String::new();
        let mut section = &mut ignored;
        let mut refused = false;
        for line in text.lines() {
            let Some((_, name)) = line.split_once("--") else {
                section.push_str(line);
                section.push('\n');
                continue;
            };
            section = match name.trim() {
                "asm" => asm.insert(String::new()),
                "raw" => raw.insert(String::new()),
                "mem" => &mut mem,
                "result" => result.insert(String::new()),
                "error" => {
                    refused = true;
                    &mut ignored
                }
                "c" | "no register offset" => &mut ignored,
                other => return Err(CaseError::Section(other.into())),
            };
        }
        let raw = raw.map(|text| bytes("raw", &text)).transpose()?;
        let result = result.filter(|_| !refused).map(|text| number("result", text.trim())).transpose()?;
        Ok(Self { asm, raw, mem: bytes("mem", &mem)?, result })
    }

    /// The program; `name` is the file's name in errors.
    ///
    /// # Errors
    ///
    /// The text or the bytes are wrong, or differ.
    pub fn code(&self, name: &str) -> Result<Code, CaseError> {
        let code = match &self.asm {
            Some(text) => assemble_as(Dialect::Mnemonic, name, text)?,
            None => {
                let slots = self.raw.as_deref().ok_or(CaseError::Empty)?.as_chunks::<8>().0;
                Code { insns: slots.iter().map(|slot| Insn::from_bytes(*slot)).collect(), ..Code::default() }
            }
        };
        let got: Vec<u8> = code.insns.iter().flat_map(|insn| insn.to_bytes()).collect();
        if let Some(want) = self.raw.as_ref().filter(|want| **want != got) {
            return Err(CaseError::Differs { got, want: want.clone() });
        }
        strict(&code.insns)?;
        if code.insns.is_empty() { Err(CaseError::Empty) } else { Ok(code) }
    }
}

/// Every instruction means something, and no reserved field is set.
fn strict(insns: &[Insn]) -> Result<(), CaseError> {
    let mut at = 0;
    while at < insns.len() {
        let decoded = Op::decode(&insns[at..]);
        at += decoded.map_err(|source| CaseError::Decode { at: at.into(), source })?.1;
    }
    Ok(())
}

/// Hex bytes, or `0x` words of eight bytes, apart by white space.
fn bytes(section: &'static str, text: &str) -> Result<Vec<u8>, CaseError> {
    let mut out = Vec::new();
    let words = text.lines().filter_map(|line| line.split('#').next()).flat_map(str::split_whitespace);
    for word in words {
        if word.starts_with("0x") {
            out.extend(number(section, word)?.to_le_bytes());
        } else {
            let byte = u8::from_str_radix(word, 16).ok();
            out.push(byte.ok_or_else(|| CaseError::Number { section, text: word.into() })?);
        }
    }
    Ok(out)
}

fn number(section: &'static str, text: &str) -> Result<u64, CaseError> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok().or_else(|| text.parse().ok().map(i64::cast_unsigned)),
    };
    parsed.ok_or_else(|| CaseError::Number { section, text: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_read_section_by_section() {
        let case = Case::parse("# a comment\n-- asm\nmov %r0, 1 # one\nexit\n-- mem\n01 ff\n-- result\n0x1\n");
        let case = case.expect("a case");
        assert_eq!((case.mem.as_slice(), case.result), (&[1, 255][..], Some(1)));
        assert_eq!(case.code("case").expect("assembles").insns.len(), 2);
    }

    #[test]
    fn raw_cases_come_as_bytes_and_as_words() {
        let by_bytes = Case::parse("-- raw\nb7 00 00 00 01 00 00 00\n95 00 00 00 00 00 00 00\n-- result\n1\n");
        let by_words = Case::parse("-- raw\n0x00000001000000b7\n0x0000000000000095\n-- result\n1\n");
        assert_eq!(by_bytes, by_words);
        assert_eq!(by_bytes.expect("a case").code("case").expect("decodes").insns.len(), 2);
    }

    #[test]
    fn what_must_be_refused_is() {
        for (text, want) in [
            ("-- asm\n-- Strange\n", "unknown section `-- Strange`"),
            ("-- mem\nxy\n", "section `mem`: `xy` is no number"),
            ("-- asm\nexit\n-- raw\n07\n", "the text becomes"),
            ("-- result\n0\n", "the case has no instructions"),
        ] {
            let error = Case::parse(text).and_then(|case| case.code("case")).expect_err(text).to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }
}
