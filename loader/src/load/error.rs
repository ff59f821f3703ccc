//! Stage: spec → verified. Why an object was not loaded. Next file: `options.rs`.

use std::path::PathBuf;

use crate::btf::MatchError;
use crate::btf::kernel::KernelBtfError;
use crate::map::{self, Difference};
use crate::prog;
use crate::reloc::RelocError;

/// What can go wrong between a spec and loaded programs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such map.
    #[error("the object has no map `{name}`; it has: {known}")]
    NoMap {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// There is no such program.
    #[error("the object has no program `{name}` that was loaded; it has: {known}")]
    NoProg {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// An option names a variable that the object does not have.
    #[error("the object has no global variable `{name}` (variables are known by its BTF: compile it with `-g`)")]
    NoVariable {
        /// The name asked for.
        name: String,
    },
    /// An option's bytes do not fit.
    #[error("`{name}` has {want} bytes, {got} were given")]
    Size {
        /// The variable or data section.
        name: String,
        /// Its size.
        want: usize,
        /// How many were given.
        got: usize,
    },
    /// The section of a program is none of those that say a type.
    #[error("program `{prog}`: the section name `{section}` does not say what kind of program it is; give its type")]
    NoType {
        /// The program.
        prog: String,
        /// Its section.
        section: String,
    },
    /// Something that kernels can do and this loader cannot yet.
    #[error(
        "{what} needs {feature} (Linux {since}), which this loader does not do; leave it out, or load it with libbpf"
    )]
    Unsupported {
        /// The program or map.
        what: String,
        /// The feature.
        feature: &'static str,
        /// The first kernel that has it.
        since: &'static str,
    },
    /// A program of a kind that needs to be for something, but is not.
    #[error(
        "program `{prog}`: `{section}` does not say what it is for; name it as `{section}/<name>` or give its target"
    )]
    NoTarget {
        /// The program.
        prog: String,
        /// Its section.
        section: String,
    },
    /// What a program is for does not exist in this kernel.
    #[error("program `{prog}` is for `{target}`, and this kernel has no {symbol} in its types")]
    TargetMissing {
        /// The program.
        prog: String,
        /// What it is for.
        target: String,
        /// The symbol looked for.
        symbol: String,
    },
    /// A map of maps whose inner map is not described.
    #[error("map `{map}` holds maps, but the object does not say which kind: give it `values`")]
    NoInner {
        /// The map.
        map: String,
    },
    /// The license is not text that a kernel takes.
    #[error("the license {license:?} has a zero byte in it")]
    License {
        /// The license.
        license: String,
    },
    /// The kernel's types could not be read.
    #[error(transparent)]
    KernelBtf(#[from] KernelBtfError),
    /// The object's types are damaged.
    #[error("the object's types cannot be looked up in the kernel")]
    Match(#[from] MatchError),
    /// A symbol of the kernel's has another type than the object thinks.
    #[error(
        "the kernel's `{name}` is not of the type that the object declares: build it against this kernel's headers"
    )]
    OtherType {
        /// The symbol.
        name: String,
    },
    /// A value of the configuration cannot be used.
    #[error("configuration value `{name}`")]
    Config {
        /// The variable.
        name: String,
        /// Why.
        #[source]
        source: super::kconfig::ConfigError,
    },
    /// A program could not be relocated.
    #[error(transparent)]
    Reloc(#[from] RelocError),
    /// A map could not be made or used.
    #[error(transparent)]
    Map(#[from] map::Error),
    /// A map that is there already is not the one that the object wants.
    #[error("map `{map}` at {} cannot be used again: {}", path.display(), list(.differences))]
    Incompatible {
        /// The map.
        map: String,
        /// Where it is pinned; empty for one that was given.
        path: PathBuf,
        /// Everything that differs.
        differences: Vec<Difference>,
    },
    /// The kernel refused a program.
    #[error("{}", refused_text(.missing))]
    Prog {
        /// What the program would have needed and this kernel does not have.
        missing: Vec<String>,
        /// The refusal.
        #[source]
        source: Box<prog::Error>,
    },
}

fn list(differences: &[Difference]) -> String {
    differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn refused_text(missing: &[String]) -> String {
    match missing {
        [] => "the kernel refused a program".to_owned(),
        some => format!(
            "the kernel refused a program; it does not have {}, which may only be used where the program never comes",
            some.join(", ")
        ),
    }
}
