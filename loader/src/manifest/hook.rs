//! Stage: manifest. Where a program is attached: the table behind `attach`.
//!
//! Input: the keys of one attachment. Output: a [`Hook`], which prints in the words that plans and errors use. Read next:
//! `program.rs`.

use std::fmt;
use std::path::PathBuf;

use asm::object::{AttachType, ProgType};
use serde::{Deserialize, Serialize};

pub use crate::link::xdp::Mode;

/// Where a program runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hook {
    /// On what an interface receives, before the network stack.
    Xdp {
        /// The interface's name.
        iface: String,
        /// Modes to try, in this order.
        modes: Vec<Mode>,
    },
    /// On an interface's packets in the network stack (Linux 6.6).
    Tcx {
        /// The interface's name.
        iface: String,
        /// Which packets.
        direction: Direction,
    },
    /// On the sockets and processes of a cgroup and those below it.
    Cgroup {
        /// The cgroup's directory; `lab` stands for the lab's own.
        path: PathBuf,
    },
    /// On the messages or bytes of the sockets in a sockmap or sockhash of the deployment.
    Sockmap {
        /// The map: its name in the object, then that of its pin.
        map: String,
    },
    /// Where the program's section says: `tp_btf/…`, `fentry/…`, `raw_tp/…`, or the network namespace for `sk_lookup`.
    Auto,
}

/// Packets that come or that go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Received.
    Ingress,
    /// Sent.
    Egress,
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Xdp { iface, .. } => f.write_str(iface),
            Self::Tcx { iface, direction: Direction::Ingress } => write!(f, "{iface} ingress"),
            Self::Tcx { iface, direction: Direction::Egress } => write!(f, "{iface} egress"),
            Self::Cgroup { path } => write!(f, "cgroup {}", path.display()),
            Self::Sockmap { map } => write!(f, "sockets of {map}"),
            Self::Auto => f.write_str("its own place"),
        }
    }
}

impl Hook {
    /// The modes to try, for a hook that has some.
    #[must_use]
    pub fn modes(&self) -> &[Mode] {
        match self {
            Self::Xdp { modes, .. } => modes,
            _ => &[],
        }
    }

    /// The same hook with the one mode that was got.
    #[must_use]
    pub fn in_mode(&self, got: Option<Mode>) -> Self {
        match (self, got) {
            (Self::Xdp { iface, .. }, Some(mode)) => Self::Xdp { iface: iface.clone(), modes: vec![mode] },
            _ => self.clone(),
        }
    }

    /// Whether it is found in a network namespace, so that a lab has to say which.
    #[must_use]
    pub fn needs_host(&self) -> bool {
        matches!(self, Self::Xdp { .. } | Self::Tcx { .. })
    }

    /// Whether it is on the cgroups of the lab, whose place only the lab knows.
    #[must_use]
    pub fn is_labs_cgroup(&self) -> bool {
        matches!(self, Self::Cgroup { path } if path.as_os_str() == "lab")
    }

    /// The attach type with which a program of this kind goes here.
    ///
    /// # Errors
    /// What goes here, if such a program does not.
    pub fn attach_type(&self, prog: ProgType, loaded_for: Option<AttachType>) -> Result<AttachType, &'static str> {
        match (self, prog, loaded_for) {
            (Self::Xdp { .. }, ProgType::XDP, _) => Ok(AttachType::XDP),
            (Self::Xdp { .. }, ..) => Err("`xdp = …` takes programs of section xdp"),
            (Self::Tcx { direction: Direction::Ingress, .. }, ProgType::SCHED_CLS, _) => Ok(AttachType::TCX_INGRESS),
            (Self::Tcx { direction: Direction::Egress, .. }, ProgType::SCHED_CLS, _) => Ok(AttachType::TCX_EGRESS),
            (Self::Tcx { .. }, ..) => Err("`tcx = …` takes programs of section tc"),
            (Self::Cgroup { .. }, ProgType::CGROUP_SKB, None) => {
                Err("section cgroup/skb does not say which packets: cgroup_skb/ingress and cgroup_skb/egress do")
            }
            (Self::Cgroup { .. }, _, Some(kind)) if kind.name().is_some_and(of_cgroups) => Ok(kind),
            (Self::Cgroup { .. }, ..) => Err("`cgroup = …` takes programs of the sections sockops and cgroup/…"),
            (Self::Sockmap { .. }, ProgType::SK_MSG, _) => Ok(AttachType::SK_MSG_VERDICT),
            (Self::Sockmap { .. }, ProgType::SK_SKB, Some(kind)) => Ok(kind),
            (Self::Sockmap { .. }, ..) => Err("`sockmap = …` takes programs of the sections sk_msg and sk_skb/…"),
            (Self::Auto, ProgType::RAW_TRACEPOINT | ProgType::RAW_TRACEPOINT_WRITABLE, _) => {
                Ok(AttachType::TRACE_RAW_TP)
            }
            (Self::Auto, ProgType::TRACING | ProgType::LSM | ProgType::SK_LOOKUP, Some(kind)) => Ok(kind),
            (Self::Auto, ..) => {
                Err("`auto = true` takes tp_btf, fentry, fexit, fmod_ret, lsm, iter, raw_tp and sk_lookup")
            }
        }
    }
}

fn of_cgroups(attach_type: &str) -> bool {
    attach_type.starts_with("cgroup_") || attach_type == "lsm_cgroup"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_takes_its_programs_and_says_which() {
        let xdp = Hook::Xdp { iface: "eth0".to_owned(), modes: vec![Mode::Native] };
        let tcx = Hook::Tcx { iface: "eth0".to_owned(), direction: Direction::Egress };
        let cgroup = Hook::Cgroup { path: "/sys/fs/cgroup/web".into() };
        let sockmap = Hook::Sockmap { map: "peers".to_owned() };
        let table = [
            (&sockmap, ProgType::SK_MSG, Some(AttachType::SK_MSG_VERDICT), Ok(AttachType::SK_MSG_VERDICT)),
            (&sockmap, ProgType::SK_SKB, Some(AttachType::SK_SKB_VERDICT), Ok(AttachType::SK_SKB_VERDICT)),
            (&sockmap, ProgType::SK_SKB, None, Err("sk_skb/")),
            (&sockmap, ProgType::SOCK_OPS, None, Err("sections sk_msg")),
            (&xdp, ProgType::XDP, Some(AttachType::XDP), Ok(AttachType::XDP)),
            (&xdp, ProgType::SCHED_CLS, None, Err("section xdp")),
            (&tcx, ProgType::SCHED_CLS, None, Ok(AttachType::TCX_EGRESS)),
            (&tcx, ProgType::XDP, None, Err("section tc")),
            (&cgroup, ProgType::SOCK_OPS, Some(AttachType::CGROUP_SOCK_OPS), Ok(AttachType::CGROUP_SOCK_OPS)),
            (&cgroup, ProgType::LSM, Some(AttachType::LSM_CGROUP), Ok(AttachType::LSM_CGROUP)),
            (&cgroup, ProgType::CGROUP_SKB, None, Err("which packets")),
            (&cgroup, ProgType::XDP, Some(AttachType::XDP), Err("sections sockops and cgroup")),
            (&Hook::Auto, ProgType::TRACING, Some(AttachType::TRACE_FENTRY), Ok(AttachType::TRACE_FENTRY)),
            (&Hook::Auto, ProgType::RAW_TRACEPOINT, None, Ok(AttachType::TRACE_RAW_TP)),
            (&Hook::Auto, ProgType::KPROBE, None, Err("tp_btf")),
        ];
        for (hook, prog, loaded_for, want) in table {
            match (hook.attach_type(prog, loaded_for), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{hook} {prog}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{hook} {prog}: {got}"),
                (got, want) => panic!("{hook} {prog}: {got:?}, not {want:?}"),
            }
        }
    }
}
