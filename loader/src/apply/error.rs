//! Stage: apply. What can go wrong between a plan and the kernel: what was tried, where, by whom refused, what to do next.
//!
//! Read next: `observe.rs`.

use std::path::PathBuf;

use super::{owner, prepare, record};
use crate::lab;
use crate::system::SystemError;
use crate::{link, map, pin, plan, prog};

/// Why `up`, `down` or `status` failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The manifest and its objects do not fit together.
    #[error(transparent)]
    Prepare(#[from] prepare::Error),
    /// The process may not do what it takes.
    #[error("{what} needs {}, which this process lacks: run it as root (`sudo loader …`)", missing.join(" and "))]
    Unprivileged {
        /// What was to be done.
        what: &'static str,
        /// The capabilities.
        missing: Vec<&'static str>,
    },
    /// Pins, the lock, bpffs.
    #[error(transparent)]
    Pin(#[from] pin::Error),
    /// The deployment's record cannot be read.
    #[error("deployment {name}: {} cannot be read; `loader down {name}` removes it with its pins", path.display())]
    Record {
        /// The deployment.
        name: String,
        /// The record's pin.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: record::Error,
    },
    /// A map that is the loader's own or the deployment's.
    #[error(transparent)]
    Map(#[from] map::Error),
    /// A program that is there already.
    #[error(transparent)]
    Prog(#[from] prog::Error),
    /// A link that is there already.
    #[error(transparent)]
    Link(#[from] link::Error),
    /// An object's maps or programs were refused.
    #[error("object {object} was not loaded")]
    Load {
        /// The object.
        object: String,
        /// By whom and why.
        #[source]
        source: Box<crate::load::Error>,
    },
    /// A system's control plane failed.
    #[error("{object}: {step} failed")]
    System {
        /// The system.
        object: String,
        /// What it was doing.
        step: &'static str,
        /// Why.
        #[source]
        source: SystemError,
    },
    /// Maps that cannot go on as they are.
    #[error(transparent)]
    Mismatch(#[from] plan::Mismatch),
    /// The lab.
    #[error(transparent)]
    Lab(#[from] lab::build::Error),
    /// A trial could not begin.
    #[error(transparent)]
    Trial(#[from] lab::trial::Error),
    /// A trial lost exchanges.
    #[error("trial: {succeeded} of {wanted} {protocol} exchanges with {to} worked{}", lines(failures))]
    TrialFailed {
        /// The transport.
        protocol: String,
        /// The address.
        to: std::net::SocketAddr,
        /// How many worked.
        succeeded: u32,
        /// How many should have.
        wanted: u32,
        /// The first failures.
        failures: Vec<String>,
    },
    /// The interface of an attachment does not exist.
    #[error("{place}: there is no interface {at}{}", nearest(there))]
    NoInterface {
        /// Where the manifest names it.
        place: String,
        /// The interface, with the lab's host before it.
        at: String,
        /// Those there are.
        there: Vec<String>,
    },
    /// Somebody else's program is on the hook.
    #[error(
        "{at} has an XDP program already, which is not ours: {owner}. Nothing was displaced; take it off, or say \
         `displace = true` in the attachment ({place})"
    )]
    Foreign {
        /// The interface, with the lab's host before it.
        at: String,
        /// Whose it is.
        owner: Box<owner::Owner>,
        /// Where the manifest attaches.
        place: String,
    },
    /// The kernel refused the attachment; for a hook with modes, in every one.
    #[error("{place}: {program} was not attached to {at}")]
    Attach {
        /// Where the manifest says so.
        place: String,
        /// The program.
        program: String,
        /// The hook, with the lab's host before it.
        at: String,
        /// Its words; for XDP each mode with the driver's.
        #[source]
        source: SystemError,
    },
    /// Netlink.
    #[error("{what}")]
    Net {
        /// What was asked.
        what: String,
        /// The kernel's words.
        #[source]
        source: Box<netlink::Error>,
    },
    /// A pin below the deployment's directory cannot be moved or removed.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// The pin.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no such deployment.
    #[error("there is no deployment {name}{}", nearest(there))]
    NoDeployment {
        /// Its name.
        name: String,
        /// Those there are.
        there: Vec<String>,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

fn lines(failures: &[String]) -> String {
    failures.iter().map(|failure| format!("\n  {failure}")).collect()
}

fn nearest(there: &[String]) -> String {
    if there.is_empty() { "; there is none".to_owned() } else { format!("; there are {}", there.join(", ")) }
}
