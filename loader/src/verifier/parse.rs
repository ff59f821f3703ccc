//! Stage: verification. Input: the verifier's log as text. Output: [`Finding`], its last words and the instruction.
//! Read next: `explain.rs`.

/// What a log says about a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// The verifier's last line before its statistics.
    pub last_line: String,
    /// The instruction it was at.
    pub insn: Option<u32>,
}

/// Reads a log.
#[must_use]
pub fn parse(log: &str) -> Finding {
    let last_line = log.lines().rev().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("processed "));
    Finding { last_line: last_line.unwrap_or_default().to_owned(), insn: None }
}
