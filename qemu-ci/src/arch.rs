//! What a kernel runs on: a machine that QEMU plays, or, for User-mode Linux, a process of this machine.
//!
//! In: `arch` of `kernels.toml`, `--arch`. Out: everything that differs between them, each as a table of this file but for
//! the arguments of QEMU, which `qemu.rs` has. Next to read: `config.rs`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::tools::{self, Tool};

/// An architecture, by the kernel's name for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Arch {
    /// A PC.
    #[default]
    X86_64,
    /// 64-bit ARM, as QEMU's `virt` machine.
    Aarch64,
    /// User-mode Linux: a kernel that is a program of this machine. Without JIT and BTF, it stands for all poor kernels.
    Um,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Um];

    /// The name, as `--arch` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Um => "um",
        }
    }

    /// True for the architecture that is meant when none is named; `kernels.lock` then leaves it out.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Debian's name of the architecture whose archive has its kernels.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 | Self::Um => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// What programs in its guests are compiled for.
    pub fn target(self) -> &'static str {
        match self {
            Self::X86_64 | Self::Um => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// True where programs of this machine run too.
    pub fn runs_ours(self) -> bool {
        self.target().starts_with(std::env::consts::ARCH)
    }

    /// The guest's device of the result stream. A PC has a second port; QEMU's ARM machine gets one on its PCI bus, which
    /// is the first of that kind there because the console is another kind.
    pub fn results(self) -> &'static str {
        match self {
            Self::X86_64 | Self::Um => "/dev/ttyS1",
            Self::Aarch64 => "/dev/ttyS0",
        }
    }

    /// The program that plays the machine; `None` where the kernel is a program itself.
    pub fn tool(self) -> Option<Tool> {
        match self {
            Self::X86_64 => Some(tools::QEMU),
            Self::Aarch64 => Some(tools::QEMU_ARM),
            Self::Um => None,
        }
    }

    /// The path of the program to start for this kernel.
    ///
    /// # Errors
    /// It is not installed; the text says what to type.
    pub fn emulator(self, kernel: &Path) -> Result<PathBuf> {
        let Some(tool) = self.tool() else { return Ok(kernel.to_owned()) };
        tools::find(tool.program).with_context(|| format!("{} is missing: {}", tool.program, tools::by_hand(&[tool])))
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Arch {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        match Self::ALL.into_iter().find(|arch| arch.name() == text) {
            Some(arch) => Ok(arch),
            None => bail!("no architecture `{text}`: there are {}", Self::ALL.map(Self::name).join(", ")),
        }
    }
}

impl TryFrom<String> for Arch {
    type Error = anyhow::Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Arch> for String {
    fn from(arch: Arch) -> Self {
        arch.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for arch in Arch::ALL {
            assert_eq!(arch.to_string().parse::<Arch>().unwrap(), arch);
        }
        assert_eq!(
            "mips".parse::<Arch>().unwrap_err().to_string(),
            "no architecture `mips`: there are x86_64, aarch64, um"
        );
    }

    #[test]
    fn programs_of_this_machine_run_on_its_own_architecture_alone() {
        let ours: Vec<_> = Arch::ALL.into_iter().filter(|arch| arch.runs_ours()).collect();
        match std::env::consts::ARCH {
            "aarch64" => assert_eq!(ours, [Arch::Aarch64]),
            _ => assert_eq!(ours, [Arch::X86_64, Arch::Um]),
        }
    }

    #[test]
    fn a_kernel_that_is_a_program_plays_itself() {
        assert_eq!(Arch::Um.emulator(Path::new("/k/linux")).unwrap(), Path::new("/k/linux"));
    }
}
