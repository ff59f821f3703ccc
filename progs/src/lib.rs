//! Stage: systems. Kernel programs and their control planes, on top of `asm` (which makes objects) and `loader`.
//!
//! Input: nothing for the kernel programs, a manifest's tables for the control planes. Output: ELF objects, map contents.
//! Next file to read: `lb/mod.rs`.
#![forbid(unsafe_code)]

use asm::codegen::Profile;
use asm::dsl::Module;

pub mod bypass;
pub mod examples;
pub mod lb;
pub mod net;
mod pass;

/// License of every kernel program here, as the kernel wants it spelled.
pub const LICENSE: &str = "Dual MIT/GPL";

/// An object that is built into this crate, known to manifests by its name.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// The name, as in `object = "lb"`.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Its programs, in the order of the object.
    pub programs: &'static [&'static str],
    module: fn() -> Module,
}

impl BuiltIn {
    /// The programs, to be looked at in every stage.
    #[must_use]
    pub fn module(&self) -> Module {
        (self.module)()
    }

    /// The ELF object, for every kernel from 5.10 on: the same bytes every time.
    ///
    /// # Errors
    /// Only if this crate is wrong.
    pub fn object(&self) -> Result<Vec<u8>, Error> {
        self.object_for(&Profile::linux_5_10())
    }

    /// The ELF object for the kernels of that profile.
    ///
    /// # Errors
    /// Only if this crate is wrong.
    pub fn object_for(&self, profile: &Profile) -> Result<Vec<u8>, Error> {
        Ok(self.module().object(profile)?.write()?)
    }
}

/// Why a built-in object could not be written: a mistake in this crate, found by its tests.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program, or its code.
    #[error("a built-in program is malformed")]
    Program(#[from] asm::dsl::Error),
    /// The object around it.
    #[error("a built-in object is malformed")]
    Object(#[from] asm::object::Error),
}

/// Every object that is built in.
///
/// ```
/// let lb = progs::by_name("lb").ok_or("lb is built in")?;
/// assert_eq!(lb.programs, ["balance"]);
/// assert_eq!(&lb.object()?[..4], b"\x7fELF");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn built_in() -> &'static [BuiltIn] {
    &[
        BuiltIn {
            name: "lb",
            about: "load balancer: IP-in-IP to real servers",
            programs: &["balance"],
            module: lb::balancer,
        },
        BuiltIn {
            name: "lb-decap",
            about: "load balancer, at a real server: unwraps",
            programs: &["decap"],
            module: lb::real_server,
        },
        BuiltIn {
            name: "bypass",
            about: "TCP between processes of one host, past the stack",
            programs: &["made", "enrol", "redirect", "heard", "heard_fexit", "spliced", "asked", "optioned", "calls"],
            module: bypass::module,
        },
        BuiltIn {
            name: "pass",
            about: "passes everything: makes a veth's other end able to transmit",
            programs: &["pass"],
            module: pass::module,
        },
    ]
}

/// One of them.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static BuiltIn> {
    built_in().iter().find(|object| object.name == name)
}
