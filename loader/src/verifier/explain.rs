//! Stage: verification. Input: a refusal's log and the program's source places. Output: the error a person reads.
//!
//! The same shape on every kernel: the verifier's last line, what it means, the place in the source, the instruction, what
//! to do. Where the kernel gives a reason and a suggestion of its own (7.3), they are shown; else ours from `messages.rs`.
//! Read next: `crate::link`.

use std::fmt;

use super::messages::{Meaning, meaning};
use super::parse::{Finding, Report, is_statistics, parse};
use crate::errno::Errno;

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0 if it is not known.
    pub column: u32,
    /// The text of that line; empty if it is not known.
    pub text: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if self.column == 0 { Ok(()) } else { write!(f, ":{}", self.column) }
    }
}

/// A program that the verifier refused.
///
/// ```
/// use loader::errno::Errno;
/// use loader::verifier::{Place, Refusal};
/// let log = "0: (95) exit\nR0 !read_ok\nprocessed 1 insns (limit 1000000)\n".to_owned();
/// let place = Place { file: "src/pass.rs".into(), line: 3, column: 5, text: String::new() };
/// let refusal = Refusal::new("pass", Errno::EACCES, log).locate(|_insn| Some(place));
/// assert!(refusal.to_string().contains("R0 !read_ok"));
/// assert!(refusal.to_string().contains("src/pass.rs:3:5"));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
pub struct Refusal {
    /// The program's name.
    pub name: String,
    /// The kernel's answer.
    pub errno: Errno,
    /// What the log says.
    pub finding: Finding,
    /// The source of the instruction it was at.
    pub place: Option<Place>,
    /// The whole log.
    pub log: String,
}

impl Refusal {
    /// Reads the log.
    #[must_use]
    pub fn new(name: &str, errno: Errno, log: String) -> Self {
        let finding = parse(&log);
        let place = finding.source.as_ref().and_then(|source| {
            let (file, line) = source.place.clone()?;
            Some(Place { file, line, column: 0, text: source.text.clone() })
        });
        Self { name: name.to_owned(), errno, finding, place, log }
    }

    /// Adds the source of the instruction, which `place` finds by the instruction's number in the program. The kernel's
    /// own word for it, which has only the last part of the path and no column, stays where `place` finds nothing.
    #[must_use]
    pub fn locate(mut self, place: impl FnOnce(u32) -> Option<Place>) -> Self {
        self.place = self.finding.insn.and_then(place).or(self.place);
        self
    }

    /// Everything that can be said about it, as text in fields.
    #[must_use]
    pub fn explain(&self) -> Explained {
        let Finding { last_line, insn, insn_text, report, .. } = &self.finding;
        let ours = meaning(&self.log_end());
        let theirs = |part: fn(&Report) -> &String| report.as_ref().map(part).filter(|text| !text.is_empty()).cloned();
        Explained {
            errno: self.errno.name(),
            said: last_line.clone(),
            reason: theirs(|report| &report.reason)
                .or_else(|| ours.as_ref().map(|Meaning { means, .. }| means.clone())),
            at: self.place.clone(),
            source: self.source_text().map(str::to_owned),
            insn: *insn,
            insn_text: insn_text.clone(),
            path: theirs(|report| &report.causal_path),
            advice: theirs(|report| &report.suggestion)
                .or_else(|| ours.map(|Meaning { advice, .. }| advice.to_owned())),
        }
    }

    /// The text of the source line, if there is one. Objects written without their source at hand carry the place in
    /// its stead, which is shown already.
    fn source_text(&self) -> Option<&str> {
        let ours = self.place.as_ref().map(|place| place.text.as_str()).filter(|text| !text.is_empty());
        let kernels = || self.finding.source.as_ref().map(|source| source.text.as_str());
        let text = ours.or_else(kernels)?;
        let repeats = self.place.as_ref().is_some_and(|place| text == place.to_string());
        (!repeats).then_some(text)
    }

    /// The lines after the last instruction, where the verifier says what is wrong, the last one first.
    fn log_end(&self) -> Vec<&str> {
        let lines = self.log.lines().rev().take(12).take_while(|line| !line.contains(": ("));
        lines.filter(|line| !is_state(line) && !is_statistics(line)).collect()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the verifier refused program `{}` {}", self.name, self.explain())
    }
}

/// A line of registers and what is in them, such as ` R1_w=pkt(id=0,off=0,r=0) R10=fp0`.
fn is_state(line: &str) -> bool {
    let name = line.trim_start().split(['=', '_', '(']).next().unwrap_or_default();
    name.strip_prefix('R').is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// A refusal, explained: what is not known is `None`. Prints as the parts that are there, a line each.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Explained {
    /// The name of the kernel's answer, such as `EACCES`.
    pub errno: String,
    /// The verifier's last line.
    pub said: String,
    /// What that means: the kernel's words (Linux 7.3) or ours.
    pub reason: Option<String>,
    /// The source of the instruction it was at.
    pub at: Option<Place>,
    /// The text of that line.
    pub source: Option<String>,
    /// The instruction, counted in the whole program with its subprograms.
    pub insn: Option<u32>,
    /// That instruction as text.
    pub insn_text: Option<String>,
    /// What led there (Linux 7.3).
    pub path: Option<String>,
    /// What to do: the kernel's suggestion (Linux 7.3) or ours.
    pub advice: Option<String>,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let insn = self.insn.map(|insn| format!("{insn}: {}", self.insn_text.as_deref().unwrap_or("?")));
        write!(f, "({}): {}", self.errno, self.said)?;
        row(f, "reason", self.reason.as_deref())?;
        row(f, "at", self.at.as_ref().map(Place::to_string).as_deref())?;
        row(f, "source", self.source.as_deref())?;
        row(f, "insn", insn.as_deref())?;
        row(f, "path", self.path.as_deref())?;
        row(f, "advice", self.advice.as_deref())
    }
}

/// A named part on lines of its own; nothing for one that is not there.
fn row(f: &mut fmt::Formatter<'_>, name: &str, text: Option<&str>) -> fmt::Result {
    const WIDTH: usize = 8;
    for (at, line) in text.unwrap_or_default().lines().enumerate() {
        let name = if at == 0 { format!("{name}:") } else { String::new() };
        write!(f, "\n  {name:WIDTH$}{line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "; let b = data[20]; @ pass.rs:12\n1: (71) r0 = *(u8 *)(r2 +20)\n\
        invalid access to packet, off=20 size=1, R2(id=0,off=20,r=0)\nR2 offset is outside of the packet\nprocessed 2 insns\n";

    #[test]
    fn what_a_person_reads_on_an_old_kernel() {
        let refusal = Refusal::new("pass", Errno::EACCES, LOG.to_owned());
        insta::assert_snapshot!(refusal, @"
        the verifier refused program `pass` (EACCES): R2 offset is outside of the packet
          reason: the access at offset 20, size 1, reaches past what was checked: 0 bytes are known to be there
          at:     pass.rs:12
          source: let b = data[20];
          insn:   1: (71) r0 = *(u8 *)(r2 +20)
          advice: compare the end of what is read with data_end first, and read through the same pointer that was compared
        ");
        let place = Place { file: "src/pass.rs".into(), line: 12, column: 9, text: "let b = data[20];".into() };
        let text = refusal.locate(|insn| (insn == 1).then_some(place)).to_string();
        assert!(text.contains("at:     src/pass.rs:12:9"), "{text}");
    }

    #[test]
    fn the_kernels_own_reason_and_suggestion_come_first() {
        let log = "0: (95) exit\nR0 !read_ok\n\nVerification failed: Register Type Safety: Unreadable register\n\nReason:\n  \
            R0 has never been initialized.\n\nAt:\n  insn 0\n\nCausal path:\n  insn 0: entry\n  insn 1: branch\n\n\
            Suggestion:\n  Initialize R0.\n\nprocessed 1 insns\n";
        insta::assert_snapshot!(Refusal::new("pass", Errno::EACCES, log.to_owned()), @"
        the verifier refused program `pass` (EACCES): R0 !read_ok
          reason: R0 has never been initialized.
          insn:   0: (95) exit
          path:   insn 0: entry
                  insn 1: branch
          advice: Initialize R0.
        ");
    }
}
