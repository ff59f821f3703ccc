//! Stage: the intermediate representation. What can be wrong with a function, and where.
//!
//! Input: the builder and the checker. Output: [`Error`], with every problem and its place. Next: `build.rs`.

use std::fmt;
use std::sync::Arc;

use super::func::Loc;
use super::types::{Block, Ty, Value};

/// Everything that is wrong with a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("function `{func}`:\n{}", .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Error {
    /// The function.
    pub func: Arc<str>,
    /// All of it, in the order in which it was found.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The place in source, where it is known.
    pub loc: Option<Loc>,
    /// What is wrong.
    pub kind: ProblemKind,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", place(&self.loc), self.kind)
    }
}

/// `file:line:col: `, where it is known.
pub(crate) fn place(loc: &Option<Loc>) -> String {
    loc.as_ref().map(|Loc { file, line, col }| format!("{file}:{line}:{col}: ")).unwrap_or_default()
}

/// What can be wrong with a function.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// An operand is of a type that the operation does not take.
    #[error("{what}: {value} is {got}, and {want} is wanted")]
    Type {
        /// The operation.
        what: &'static str,
        /// The operand.
        value: Value,
        /// Its type.
        got: Ty,
        /// What would do.
        want: &'static str,
    },
    /// A variable is read where no value has reached it.
    #[error("a variable is read before it has a value")]
    Undefined,
    /// Too many or too few arguments.
    #[error("{what} takes {want} arguments, {got} are given")]
    Arguments {
        /// Who is called.
        what: String,
        /// How many it takes.
        want: usize,
        /// How many there are.
        got: usize,
    },
    /// A section name that stands for no program type.
    #[error("section `{0}` stands for no program type")]
    Section(Arc<str>),
    /// A helper that the table does not have.
    #[error("there is no helper number {0}")]
    NoHelper(i32),
    /// A block that was never ended.
    #[error("{0} does not end: give it a jump, a branch or a return")]
    Open(Block),
    /// Something that this program type does not have.
    #[error("{what} is not there in a {prog}")]
    NotHere {
        /// What was asked for.
        what: &'static str,
        /// The kind of program.
        prog: String,
    },
    /// A rule of well-formed code that is broken.
    #[error("{0}")]
    Malformed(String),
}
