//! Stage: code generation. What the kernel that the code is for can do.
//!
//! Input: probed features, or the name of a kernel. Output: [`Profile`]. Next: `opt/mod.rs`.

use crate::ir::Sight;

/// Features of a kernel that code generation may use, one by one: stable kernels carry features back, so these are
/// probed where a kernel is at hand. The named profiles say what the releases have by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Atomic operations other than a plain addition. Linux 5.12.
    pub atomics: bool,
    /// Stores that release. Linux 6.15.
    pub release: bool,
    /// Sign-extending moves and loads, signed division, unconditional byte swap. Linux 6.6.
    pub v4: bool,
    /// Jumps over more than 32,767 slots. Linux 6.6, and carried back.
    pub gotol: bool,
    /// Constants may be stored into a context. Linux 6.12 as measured.
    pub store_imm_ctx: bool,
    /// What the verifier sees.
    pub sight: Sight,
    /// Run the passes. Off, code is slow and correct: for tests.
    pub passes: bool,
    /// How registers are given out.
    pub allocation: Allocation,
}

/// How registers are given out; all but the first are for tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allocation {
    /// As well as can be.
    #[default]
    Best,
    /// With so few of `r6`–`r9` and `r0`–`r5` as an operation can do with.
    FewRegisters,
    /// Every value that can lives on the stack.
    SpillAll,
}

impl Profile {
    /// Linux 5.10: the floor.
    #[must_use]
    pub const fn linux_5_10() -> Self {
        Self {
            atomics: false,
            release: false,
            v4: false,
            gotol: false,
            store_imm_ctx: false,
            sight: Sight::FLOOR,
            passes: true,
            allocation: Allocation::Best,
        }
    }

    /// Linux 6.1.
    #[must_use]
    pub const fn linux_6_1() -> Self {
        let sight = Sight { unwritten_stack: true, ..Sight::FLOOR };
        Self { atomics: true, sight, ..Self::linux_5_10() }
    }

    /// Linux 6.12.
    #[must_use]
    pub const fn linux_6_12() -> Self {
        let sight = Sight { registers: true, ..Self::linux_6_1().sight };
        Self { v4: true, gotol: true, store_imm_ctx: true, sight, ..Self::linux_6_1() }
    }

    /// The newest kernel that was measured: 6.18.
    #[must_use]
    pub const fn newest() -> Self {
        Self { release: true, sight: Sight::NEWEST, ..Self::linux_6_12() }
    }

    /// The named profile for a release such as `5.10`: that of the newest one that is not above it.
    #[must_use]
    pub fn named(release: &str) -> Option<Self> {
        let mut parts = release.split('.').map(|part| part.parse::<u32>().ok());
        let version = (parts.next()??, parts.next()??);
        Some(match version {
            (major, minor) if (major, minor) < (5, 10) => return None,
            (major, minor) if (major, minor) < (6, 1) => Self::linux_5_10(),
            (major, minor) if (major, minor) < (6, 12) => Self::linux_6_1(),
            (major, minor) if (major, minor) < (6, 18) => Self::linux_6_12(),
            _ => Self::newest(),
        })
    }
}
