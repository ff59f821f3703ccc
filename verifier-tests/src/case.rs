//! A case file as a value.
//!
//! Input: text. Output: [`Case`]: the assembled program and what must happen to it. Read next: `judge.rs`.

use asm::text::{self, Diagnostics, Program};
use loader::sys::uapi::ProgFlags;

/// A kernel's version, with its patch level: 0 where that is not told.
pub type Version = (u32, u32, u32);

/// One case.
#[derive(Debug)]
pub struct Case {
    /// The file's name.
    pub name: String,
    /// What it assembles to.
    pub program: Program,
    /// Lines that must be refused.
    pub marks: Vec<Mark>,
    /// Instructions that the verifier may process, all programs of the file together.
    pub budget: Option<u64>,
    /// A feature and the first kernel that has it: older ones skip the case.
    pub needs: Option<(String, Version)>,
    /// What every program of the file is loaded with.
    pub flags: ProgFlags,
}

/// What `#@ flag` takes.
const FLAGS: [(&str, ProgFlags); 2] =
    [("strict_alignment", ProgFlags::STRICT_ALIGNMENT), ("any_alignment", ProgFlags::ANY_ALIGNMENT)];

/// A refusal that must come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The line of the file, from 1; `None` for a refusal that names no line.
    pub line: Option<u32>,
    /// The first kernel it holds for.
    pub since: Option<Version>,
    /// The first kernel it no longer holds for.
    pub before: Option<Version>,
    /// What the verifier must say behind the last instruction.
    pub message: String,
}

/// Why a file is no case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseError {
    /// The text does not assemble.
    #[error("{0}")]
    Text(Diagnostics),
    /// A mark that nobody understands.
    #[error("{name}:{line}: `{mark}`: {why}")]
    Mark {
        /// The file's name.
        name: String,
        /// The line, from 1.
        line: u32,
        /// What stands there.
        mark: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Mark {
    /// Does it hold for this kernel?
    #[must_use]
    pub fn holds(&self, kernel: Version) -> bool {
        self.since.is_none_or(|since| since <= kernel) && self.before.is_none_or(|before| kernel < before)
    }

    /// `[since X.Y] [before X.Y:] MESSAGE`.
    fn parse(text: &str, line: Option<u32>) -> Result<Self, &'static str> {
        let mut mark = Self { line, since: None, before: None, message: String::new() };
        let mut rest = text.trim();
        if let Some((range, message)) =
            rest.split_once(':').filter(|(r, _)| r.starts_with("since ") || r.starts_with("before "))
        {
            let mut words = range.split_whitespace();
            while let Some(word) = words.next() {
                let version = words.next().and_then(version).ok_or("a version like 6.12 is missing")?;
                match word {
                    "since" => mark.since = Some(version),
                    "before" => mark.before = Some(version),
                    _ => return Err("ranges are written `since X.Y`, `before X.Y`, or both, and end with a colon"),
                }
            }
            rest = message.trim();
        }
        if rest.is_empty() {
            return Err("the verifier's words are missing");
        }
        rest.clone_into(&mut mark.message);
        Ok(mark)
    }
}

impl Case {
    /// Reads a case; `name` is the file's name in errors.
    ///
    /// # Errors
    ///
    /// The text does not assemble, or a mark is wrong.
    pub fn parse(name: &str, text: &str) -> Result<Self, CaseError> {
        let program = text::parse(name, text).map_err(CaseError::Text)?;
        let flags = ProgFlags::empty();
        let mut case = Self { name: name.into(), program, marks: Vec::new(), budget: None, needs: None, flags };
        let mut marked = 1;
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = |mark: &str, why| CaseError::Mark { name: name.into(), line: number, mark: mark.into(), why };
            if let Some((code, mark)) = line.split_once("#!") {
                // A mark on a line of its own is one more for the line above.
                marked = if code.trim().is_empty() { marked } else { number };
                let (place, words) = mark.strip_prefix('!').map_or((Some(marked), mark), |whole| (None, whole));
                case.marks.push(Mark::parse(words, place).map_err(|why| wrong(mark, why))?);
            } else if let Some(directive) = line.strip_prefix("#@") {
                case.directive(directive.trim()).map_err(|why| wrong(directive, why))?;
            }
        }
        Ok(case)
    }

    fn directive(&mut self, text: &str) -> Result<(), &'static str> {
        if let Some(number) = text.strip_prefix("processed <= ") {
            self.budget = Some(number.parse().map_err(|_| "a budget is a number")?);
        } else if let Some(needs) = text.strip_prefix("needs ") {
            let (feature, first) = needs.rsplit_once(' ').ok_or("write `needs FEATURE X.Y`")?;
            self.needs = Some((feature.into(), version(first).ok_or("write `needs FEATURE X.Y`")?));
        } else if let Some(flag) = text.strip_prefix("flag ") {
            let known = FLAGS.iter().find(|(name, _)| *name == flag);
            self.flags |= known.ok_or("flags are `strict_alignment` and `any_alignment`")?.1;
        } else {
            return Err("known are `processed <= N`, `needs FEATURE X.Y` and `flag NAME`");
        }
        Ok(())
    }
}

/// `6.12`, or `6.18.44`.
pub(super) fn version(text: &str) -> Option<Version> {
    let mut numbers = text.split('.').map(str::parse);
    let mut next = || numbers.next().map(Result::ok);
    let (major, minor, patch) = (next()??, next()??, next().unwrap_or(Some(0))?);
    numbers.next().is_none().then_some((major, minor, patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Shows something.\n#@ processed <= 9\n#@ needs bpf_loop 5.17\n.section xdp\ncase:\n  r0 = 2\n  exit #! since 6.1 before 6.12: R0 is wrong\n    #! since 6.12: R0 is odd\n";

    #[test]
    fn a_case_says_what_must_happen() {
        let case = Case::parse("case.bpf", TEXT).expect("a case");
        assert_eq!((case.budget, case.needs), (Some(9), Some(("bpf_loop".into(), (5, 17, 0)))));
        let mark = &case.marks[0];
        assert_eq!((mark.line, mark.message.as_str()), (Some(7), "R0 is wrong"));
        assert_eq!((case.marks[1].line, case.marks[1].message.as_str()), (Some(7), "R0 is odd"));
        let holds = [(5, 10, 0), (6, 1, 0), (6, 11, 99), (6, 12, 0)].map(|kernel| mark.holds(kernel));
        assert_eq!(holds, [false, true, true, false]);
    }

    #[test]
    fn a_wrong_mark_is_named_with_its_line() {
        for (marked, want) in [
            ("exit #! before x: y", "c:2: ` before x: y`: a version like 6.12 is missing"),
            ("exit #!", "c:2: ``: the verifier's words are missing"),
            ("#@ nonsense\nexit", "c:2: ` nonsense`: known are `processed <= N`, `needs FEATURE X.Y` and `flag NAME`"),
        ] {
            let error = Case::parse("c", &format!("case:\n{marked}\n")).map(drop).expect_err(marked).to_string();
            assert_eq!(error, want);
        }
    }
}
