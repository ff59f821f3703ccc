//! Stage: code generation. Why a function cannot become instructions.
//!
//! Input: every file of this module returns these. Output: [`Error`]. Next: `profile.rs`.

use std::sync::Arc;

use crate::ir::error::place;
use crate::ir::{self, Loc};

/// Why a function cannot become instructions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The function breaks a rule.
    #[error(transparent)]
    Ir(#[from] ir::Error),
    /// Something the kernel it is for does not have.
    #[error("{place}function `{func}` uses {what}, which needs {needs}", place = place(.loc))]
    Profile {
        /// The function.
        func: Arc<str>,
        /// What it uses.
        what: &'static str,
        /// The first kernel that has it.
        needs: &'static str,
        /// The place in source, where it is known.
        loc: Option<Loc>,
    },
    /// More stack than there is.
    #[error(
        "function `{func}` needs {total} bytes of stack, and there are 512: {objects} bytes of objects, {spills} bytes \
         of values that found no register; put large objects into a per-CPU array map"
    )]
    Stack {
        /// The function.
        func: Arc<str>,
        /// All of it, in bytes.
        total: u32,
        /// Objects that the function asks for.
        objects: u32,
        /// Values that live on the stack.
        spills: u32,
    },
    /// A jump too far.
    #[error(
        "{place}function `{func}` has a jump over {distance} slots; before Linux 6.6 a jump reaches 32,767: move what it \
         jumps over into a function of its own",
        place = place(.loc)
    )]
    TooFar {
        /// The function.
        func: Arc<str>,
        /// Slots.
        distance: i64,
        /// The place in source, where it is known.
        loc: Option<Loc>,
    },
    /// A block that is marked as never reached, and may be for all that is known.
    #[error("{place}function `{func}`: this place is said to be unreachable, and nothing shows that it is", place = place(.loc))]
    Unreachable {
        /// The function.
        func: Arc<str>,
        /// The place in source, where it is known.
        loc: Option<Loc>,
    },
    /// A mistake of the code generator's own, found by its checks.
    #[error("function `{func}`: the code generator is wrong here: {what}; please report this")]
    Internal {
        /// The function.
        func: Arc<str>,
        /// What was found.
        what: String,
    },
}
