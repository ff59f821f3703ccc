//! Stage: plan. The steps, and how they print.
//!
//! Input: made by the planner in `../plan.rs`. Output: carried out by `apply/job.rs`. Read next: `../apply/mod.rs`.

use std::fmt;

use serde::Serialize;

use crate::manifest::Mode;

/// One step. Those on the kernel's side name what they make by its pin, so that the step can be found again afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// Create an object's maps, relocate its programs, have them verified.
    Load {
        /// The object.
        object: String,
        /// Its programs.
        progs: Vec<String>,
        /// Maps that are made, by their names in the object.
        maps: Vec<String>,
        /// Maps that are there already and used again.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        kept: Vec<String>,
    },
    /// A map that is there already is not the wanted one: the new one takes its place.
    Renew {
        /// The map's pin name.
        map: String,
        /// Why, in words.
        differences: Vec<String>,
        /// Whether the entries are copied.
        migrate: bool,
    },
    /// Put into its maps what the manifest says: into new ones, or those in use.
    Set {
        /// The object.
        object: String,
        /// What, in words.
        contents: Vec<String>,
    },
    /// Write its system's configuration into the maps: new ones, or those in use, which the system changes without a gap.
    Configure {
        /// The object.
        object: String,
        /// What is written, in words.
        config: Vec<String>,
    },
    /// Have an object's system let go of what it holds for others.
    Drain {
        /// The object.
        object: String,
    },
    /// Have a new one take on nothing yet: an interrupted run would leave it with what it cannot see any more.
    Hold {
        /// The object.
        object: String,
    },
    /// Have it begin, or go on.
    Resume {
        /// The object.
        object: String,
    },
    /// Take away everything there is of the deployment.
    Clear {
        /// Why.
        why: String,
    },
    /// Make a host of the lab: a namespace with a veth to the switch.
    MakeHost {
        /// The host.
        host: String,
        /// Its namespace.
        netns: String,
        /// Its addresses, in words.
        addresses: Vec<String>,
    },
    /// Give an object's programs and maps their names on bpffs, in place of older ones of the same names.
    Pin {
        /// The object.
        object: String,
        /// How many programs and maps.
        count: usize,
    },
    /// Attach a program to a hook on which nothing of ours is.
    Attach {
        /// The link's pin name.
        link: String,
        /// The program's pin name.
        program: String,
        /// The hook, with the lab's host before it.
        at: String,
        /// Modes to try, for a hook that has some.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        modes: Vec<Mode>,
    },
    /// Put the new program in the place of the old one, without a gap.
    Replace {
        /// The link's pin name.
        link: String,
        /// The program's pin name.
        program: String,
        /// The hook, with the lab's host before it.
        at: String,
    },
    /// Take an attachment away.
    Detach {
        /// The link's pin name.
        link: String,
    },
    /// Remove the pin of something that is no longer wanted.
    Unpin {
        /// The pin, below the deployment's directory.
        pin: String,
    },
    /// Send real traffic through the lab.
    Try {
        /// What, in words.
        trial: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load { object, progs, maps, kept } => {
                write!(f, "load {object}: programs {}; maps {}", list(progs), list(maps))?;
                if kept.is_empty() { Ok(()) } else { write!(f, "; keep {}", kept.join(", ")) }
            }
            Self::Renew { map, differences, migrate } => {
                let entries = if *migrate { "copy the entries that fit" } else { "its entries are lost" };
                write!(f, "renew map {map}, {entries}: {}", differences.join("; "))
            }
            Self::Set { object, contents } => write!(f, "set in {object}: {}", list(contents)),
            Self::Configure { object, config } => write!(f, "configure {object}: {}", config.join("; ")),
            Self::Drain { object } => write!(f, "drain {object}: what it holds goes to whom it belongs"),
            Self::Hold { object } => write!(f, "hold {object}: it begins when all of it is there"),
            Self::Resume { object } => write!(f, "resume {object}"),
            Self::Clear { why } => write!(f, "clear away what is there: {why}"),
            Self::MakeHost { host, netns, addresses } => {
                write!(f, "make host {host} in network namespace {netns}: {}", list(addresses))
            }
            Self::Pin { object, count } => write!(f, "pin {object}: {count} programs and maps"),
            Self::Attach { program, at, modes, .. } if modes.is_empty() => write!(f, "attach {program} to {at}"),
            Self::Attach { program, at, modes, .. } => write!(f, "attach {program} to {at}, {}", wish(modes)),
            Self::Replace { program, at, .. } => write!(f, "replace the program on {at} by {program}"),
            Self::Detach { link } => write!(f, "detach {link}"),
            Self::Unpin { pin } => write!(f, "unpin {pin}"),
            Self::Try { trial } => write!(f, "try {trial}"),
        }
    }
}

fn list(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

fn wish(modes: &[Mode]) -> String {
    let words: Vec<_> = modes.iter().map(Mode::to_string).collect();
    words.join(", else ")
}
