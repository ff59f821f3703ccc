//! Stage: control plane. The rules of who is enrolled, changed while connections live.
//!
//! Input: a rule. Output: entries of the maps that `policy.rs` reads. A manifest writes the same maps as `[[map.policy_port.entry]]`
//! and its like, and `loader map set` does at any time. Next file to read: `control.rs`.

use std::net::IpAddr;
use std::time::Duration;

use asm::dsl::{Be32, Chars};
use loader::map::{self, Map};
use zerocopy::IntoBytes;

use super::control::{Bypass, Error};
use super::policy::{Command, Net4, Net6, Port, Refusal, Rule, Settings};
use super::quarantine::{Quarantined, Who};

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Ends whose socket was made by a thread of that name.
    Command(String),
    /// Ends of this cgroup, or of one below it, by id.
    Cgroup(u64),
    /// Ends whose other end's address begins with so many bits of this one.
    Net(IpAddr, u32),
    /// Ends with a port in this range.
    Ports {
        /// Place of the rule, below [`PORT_RULES`](super::policy::PORT_RULES).
        slot: u32,
        /// The first port.
        first: u16,
        /// The last port.
        last: u16,
        /// Whose port.
        of: Port,
    },
}

impl Bypass {
    /// Makes a rule, or takes it back with [`Rule::None`]. New connections follow it at once, living ones at their next message.
    ///
    /// # Errors
    ///
    /// [`Error::Map`]: the map is full, the number of bits or the slot too large.
    pub fn rule(&self, subject: &Subject, rule: Rule) -> Result<(), Error> {
        match subject {
            Subject::Command(command) => {
                let key = Command { command: Chars::new(command) };
                set(self.map("policy_command")?, key.as_bytes(), rule)?;
            }
            Subject::Cgroup(id) => set(self.map("policy_cgroup")?, id.as_bytes(), rule)?,
            Subject::Net(IpAddr::V4(address), bits) => {
                let key = Net4 { bits: *bits, address: Be32::new((*address).into()) };
                set(self.map("policy_net4")?, key.as_bytes(), rule)?;
            }
            Subject::Net(IpAddr::V6(address), bits) => {
                let key = Net6 { bits: *bits, address: (*address).into() };
                set(self.map("policy_net6")?, key.as_bytes(), rule)?;
            }
            Subject::Ports { slot, first, last, of } => {
                let value = [[*first, *last].as_bytes(), (*of as u32).as_bytes(), (rule as u32).as_bytes()].concat();
                self.map("policy_port")?.update(slot.as_bytes(), &value, loader::sys::uapi::UpdateFlags::ANY)?;
            }
        }
        self.rules_changed()
    }

    /// Only whom a rule allows is enrolled, or everybody whom no rule denies.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn only_allowed(&self, only: bool) -> Result<(), Error> {
        let settings = Settings { only_allowed: only.into(), ..self.settings()? };
        self.set_settings(settings)?;
        self.rules_changed()
    }

    /// Ends that rules have left with TCP since the start, by reason.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn refused(&self, why: Refusal) -> Result<u64, Error> {
        let refused = self.map("refused")?.typed::<u32, u64>()?;
        Ok(refused.get_per_cpu(&why.number())?.unwrap_or_default().iter().sum())
    }

    /// How long somebody stays in quarantine from now on, in whole seconds; for no time, nobody comes there.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn quarantine_for(&self, time: Duration) -> Result<(), Error> {
        let quarantine_seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        self.set_settings(Settings { quarantine_seconds, ..self.settings()? })
    }

    /// Who is in quarantine.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn quarantine(&self) -> Result<Vec<(Who, Quarantined)>, Error> {
        Ok(self.map("quarantine")?.typed()?.entries()?)
    }

    /// Puts somebody into quarantine; `None` takes him out of it.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn set_quarantine(&self, who: &Who, held: Option<&Quarantined>) -> Result<(), Error> {
        let quarantine = self.map("quarantine")?.typed::<Who, Quarantined>()?;
        match held {
            Some(held) => quarantine.set(who, held)?,
            None => drop(quarantine.delete(who)?),
        }
        self.rules_changed()
    }

    /// Living connections are judged again at their next message.
    fn rules_changed(&self) -> Result<(), Error> {
        let settings = self.settings()?;
        self.set_settings(Settings { generation: settings.generation.wrapping_add(1), ..settings })
    }

    fn settings(&self) -> Result<Settings, Error> {
        Ok(self.map(".data.policy")?.typed::<u32, Settings>()?.get(&0)?.unwrap_or_default())
    }

    fn set_settings(&self, settings: Settings) -> Result<(), Error> {
        Ok(self.map(".data.policy")?.typed::<u32, Settings>()?.set(&0, &settings)?)
    }
}

fn set(map: &Map, key: &[u8], rule: Rule) -> Result<(), map::Error> {
    match rule {
        Rule::None => map.delete(key).map(drop),
        rule => map.update(key, (rule as u32).as_bytes(), loader::sys::uapi::UpdateFlags::ANY),
    }
}
