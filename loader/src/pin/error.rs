//! Stage: names that outlive us, errors. Input: refusals of the kernel. Output: what a person reads of them.
//! Read next: `../pin.rs`, which makes them.

use std::io;
use std::path::PathBuf;

use super::Kind;
use crate::sys::Errno;

/// What can go wrong with pins.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel did not pin.
    #[error("{path} was not pinned{}", pin_hint(*source))]
    Pin {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// The kernel did not open the pin.
    #[error("the pin {path} was not opened")]
    Open {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// The pin holds another kind of object.
    #[error("{path} holds a {found}, not a {wanted}")]
    Kind {
        /// Where.
        path: PathBuf,
        /// What was wanted.
        wanted: Kind,
        /// What it is.
        found: String,
    },
    /// The path cannot be given to the kernel.
    #[error("{path} is no path for a pin: it has a zero byte")]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// A file or directory operation failed.
    #[error("{what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// bpffs is not there and could not be mounted.
    #[error("{path} is not a BPF file system, and mounting one there failed{}", mount_hint(*source))]
    Mount {
        /// Where.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
    /// A deployment's or an object's name is not fit for a file on bpffs.
    #[error("`{name}` is no name for a pin: {why}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Somebody else is at work on the deployment.
    #[error("another loader is at work on `{deployment}` (it holds the lock on {path}); try again when it is done")]
    Locked {
        /// The deployment.
        deployment: String,
        /// Its directory.
        path: PathBuf,
    },
}

fn pin_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => " (is that directory on a BPF file system, and the name without a dot?)",
        Errno::EEXIST => " (there is a pin of that name already)",
        Errno::ENOENT => " (the directory does not exist)",
        _ => "",
    }
}

fn mount_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => " (that needs root in the machine's own user namespace)",
        Errno::ENOENT => " (is sysfs mounted on /sys?)",
        Errno::ENODEV => " (this kernel has no BPF)",
        _ => "",
    }
}
