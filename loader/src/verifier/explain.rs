//! Stage: verification. Input: a refusal's log and the program's source places. Output: the error a person reads.
//! Read next: `crate::link`.

use std::fmt;

use super::parse::{Finding, parse};
use crate::errno::Errno;

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The text of that line, if it is known.
    pub text: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A program that the verifier refused.
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
        Self { name: name.to_owned(), errno, finding, place: None, log }
    }

    /// Adds the source of the instruction, which `place` finds by the instruction's number in the program.
    #[must_use]
    pub fn locate(mut self, place: impl FnOnce(u32) -> Option<Place>) -> Self {
        self.place = self.finding.insn.and_then(place);
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the verifier refused program `{}` ({}): {}", self.name, self.errno, self.finding.last_line)?;
        if let Some(place) = &self.place {
            write!(f, "\n  at {place}")?;
        }
        Ok(())
    }
}
