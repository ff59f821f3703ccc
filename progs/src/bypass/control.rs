//! Stage: control plane. Brings the programs up on cgroups, and takes them down without losing a byte.
//!
//! Input: cgroups. Output: [`Bypass`], which keeps the programs attached. What the kernel does not take is left out, and said: TCP is
//! under all of it. Next file to read: `../../tests/live/main.rs`.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use asm::object::AttachType;
use loader::btf::KernelBtf;
use loader::link::cgroup::Cgroup;
use loader::link::sockmap::{self, Attachment};
use loader::link::{self, Link, tracing};
use loader::map::{self, Map};
use loader::{LoadOptions, Loaded, Spec};
use zerocopy::IntoBytes;

use super::drain::{self, Drained, Maps, Unread};
use super::first::Audit;
use super::flows::Flow;
use super::types::Inbox;

/// Why it could not be brought up, or down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object is malformed: a mistake in this crate.
    #[error("the object of `bypass` cannot be written")]
    Write(#[from] crate::Error),
    /// It cannot be read back.
    #[error("the object of `bypass` cannot be read")]
    Spec(#[from] loader::elf::ElfError),
    /// The kernel refused it.
    #[error("the kernel does not take the programs of `bypass`")]
    Load(#[from] Box<loader::load::Error>),
    /// A program was not attached, or not taken off.
    #[error(transparent)]
    Link(#[from] link::Error),
    /// A map could not be read or written.
    #[error(transparent)]
    Map(#[from] map::Error),
    /// The map of directions has other counters than this version.
    #[error(
        "its map `inboxes` does not say what was read and what was redirected, as this version of `bypass` asks: take it down by the \
         `loader` that brought it up (`loader down bypass`), then bring it up by this one; nothing was changed"
    )]
    Foreign,
    /// Bytes lie in queues that nobody reads.
    #[error(
        "after {waited:.1?} there are unread bytes in {} queues: {}; nothing is lost, and nothing was taken off",
        unread.len(),
        drain::named(unread)
    )]
    Unread {
        /// How long was waited.
        waited: Duration,
        /// The sockets that do not read.
        unread: Vec<Unread>,
    },
}

/// How it is known what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counting {
    /// By the tracepoint (Linux 6.3).
    Tracepoint,
    /// By the end of the receiving function (Linux 5.11).
    Function,
    /// Not at all: each direction is redirected until its credit is used up, and then goes by TCP. Order holds and memory is bounded, but
    /// readers that splice see nothing, half-closed sockets stay enrolled, and nobody knows when a queue is empty.
    None,
}

impl Counting {
    fn program(self) -> Option<&'static str> {
        match self {
            Self::Tracepoint => Some("heard"),
            Self::Function => Some("heard_fexit"),
            Self::None => None,
        }
    }
}

/// Programs that may be missing: without `made`, nobody knows whose a socket is, and rules about commands and cgroups name nobody; without
/// one of the others, what it sees brings nobody into quarantine.
const OPTIONAL: [&str; 5] = ["made", "spliced", "asked", "optioned", "calls"];

/// Bytes of the ring buffer for records; of the smallest one; and about so many for a record, of which most ends make none.
const RECORDS: u32 = 1 << 18;
const PAGE: u32 = 4096;
const RECORD: u32 = 64;

/// The programs, at their places as long as this lives.
#[derive(Debug)]
pub struct Bypass {
    /// What was attached since, in this order: to cgroups, and to each system call.
    links: Vec<Link>,
    /// What was attached when it was loaded: to the kernel's own functions.
    hooks: Vec<Link>,
    verdict: Attachment,
    loaded: Loaded,
    counting: Counting,
}

impl Bypass {
    /// Loads the programs, and attaches what is not a cgroup's: nothing is enrolled yet. Where the kernel cannot say what was read, it
    /// stays switched off, and all goes by TCP until [`Bypass::open`] is called by somebody who knows the programs that will run.
    /// `entries` as in [`Bypass::load_sized`].
    ///
    /// # Errors
    ///
    /// [`Error::Load`] if the kernel takes them in no way, [`Error::Link`].
    pub fn load(entries: Option<u32>) -> Result<Self, Error> {
        let load = |counting| Self::load_sized(counting, entries);
        load(Counting::Tracepoint).or_else(|_| load(Counting::Function)).or_else(|_| {
            let bypass = load(Counting::None)?;
            bypass.open(false)?;
            Ok(bypass)
        })
    }

    /// As [`Bypass::load`], in one way, switched on, with room for so many ends of connections; 65,536 by default, which take the kernel
    /// as long as everything else. What finds no room goes by TCP.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn load_sized(counting: Counting, entries: Option<u32>) -> Result<Self, Error> {
        let programs = ["enrol", "redirect"].into_iter().chain(OPTIONAL).chain(counting.program());
        let mut options = LoadOptions {
            only: Some(programs.map(str::to_owned).collect()),
            optional: OPTIONAL.map(str::to_owned).into(),
            kernel_btf: kernel_types(),
            ..LoadOptions::default()
        };
        let counted = u32::from(counting != Counting::None);
        options.variables.insert("counted".to_owned(), counted.as_bytes().to_vec());
        let told = super::host::told().into_iter();
        options.variables.extend(told.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())));
        let sizes = ["inboxes", "peers", "ends"].into_iter().zip(entries.into_iter().cycle());
        options.max_entries = sizes.map(|(map, entries)| (map.to_owned(), entries)).collect();
        // And room for a record of each, in whole pages, as many as there are by default at most.
        let records = |entries: u32| (entries.min(RECORDS / RECORD) * RECORD).next_power_of_two().max(PAGE);
        options.max_entries.extend(entries.map(|entries| ("flows".to_owned(), records(entries))));
        let loaded = loader::load(&Spec::parse(object()?)?, &options).map_err(Box::new)?;
        let prog = |name| loaded.prog(name).map_err(Box::new);
        let map = |name| loaded.map(name).map_err(Box::new);
        let mut hooks = Vec::new();
        if let Some(name) = counting.program() {
            hooks.push(tracing::attach(prog(name)?)?);
        }
        for watching in ["spliced", "asked"].into_iter().filter_map(|name| loaded.prog(name).ok()) {
            // Architectures without trampolines take the program and refuse its place.
            hooks.extend(tracing::attach(watching));
        }
        let verdict = sockmap::attach(prog("redirect")?, map("peers")?, AttachType::SK_MSG_VERDICT)?;
        Ok(Self { links: Vec::new(), hooks, verdict, loaded, counting })
    }

    /// Connections of the cgroup, and of those below it, are enrolled from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Link`].
    pub fn attach(&mut self, cgroup: &Cgroup) -> Result<(), Error> {
        let optional = [("made", AttachType::CGROUP_INET_SOCK_CREATE), ("optioned", AttachType::CGROUP_SETSOCKOPT)];
        for (name, attach_type) in optional {
            if let Ok(prog) = self.loaded.prog(name) {
                self.links.push(cgroup.attach(prog, attach_type)?);
            }
        }
        let enrol = self.loaded.prog("enrol").map_err(Box::new)?;
        self.links.push(cgroup.attach(enrol, AttachType::CGROUP_SOCK_OPS)?);
        Ok(())
    }

    /// Looks at every system call of the machine, for what only a call shows: it makes each of them slower.
    ///
    /// # Errors
    ///
    /// [`Error::Load`] if the kernel did not take the program, [`Error::Link`].
    pub fn watch_calls(&mut self) -> Result<(), Error> {
        self.links.push(tracing::attach(self.loaded.prog("calls").map_err(Box::new)?)?);
        Ok(())
    }

    /// Takes it off whatever it was attached to since it was loaded: no connection is enrolled any more. Those that were stay so.
    ///
    /// # Errors
    ///
    /// [`Error::Link`].
    pub fn leave(&mut self) -> Result<(), Error> {
        for link in self.links.drain(..) {
            link.close_proven()?;
        }
        Ok(())
    }

    /// Its maps and programs.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// How it is known what was read.
    #[must_use]
    pub fn counting(&self) -> Counting {
        self.counting
    }

    /// The directions there are, by the key of the socket that receives.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn inboxes(&self) -> Result<Vec<(u64, Inbox)>, Error> {
        Ok(self.map("inboxes")?.typed::<u64, Inbox>()?.entries()?)
    }

    /// The pairs that live.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn flows(&self) -> Result<Vec<Flow>, Error> {
        Ok(super::flows::living(self.map("ends")?, self.map("inboxes")?)?)
    }

    /// Has the first bytes that each end of a pair sends copied to the ring buffer, so many, at most [`MOST`](super::first::MOST); 0: none.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn copy_first(&self, bytes: u32) -> Result<(), Error> {
        Ok(self.map(".data.audit")?.typed::<u32, Audit>()?.set(&0, &Audit { first_bytes: bytes })?)
    }

    /// Records that found no room in the ring buffer.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn lost(&self) -> Result<u64, Error> {
        Ok(self.map(".data.lost")?.typed::<u32, u64>()?.get(&0)?.unwrap_or_default())
    }

    /// Switches redirection off or on. What was redirected stays where it is until it is read.
    ///
    /// # Errors
    ///
    /// [`Error::Map`].
    pub fn open(&self, open: bool) -> Result<(), Error> {
        drain::open(self.map(".data")?, open).map(drop)
    }

    /// Takes everything down: nothing new is redirected, queues are left to their readers, and only then do the sockets become plain
    /// TCP's again.
    ///
    /// # Errors
    ///
    /// [`Error::Unread`] if that takes longer than `patience`: then everything is as it was.
    pub fn down(mut self, patience: Duration) -> Result<(), Box<(Self, Error)>> {
        match self.drain(patience).and_then(|_| self.detach()) {
            Ok(()) => Ok(()),
            Err(error) => Err(Box::new((self, error))),
        }
    }

    fn drain(&self, patience: Duration) -> Result<Drained, Error> {
        let (open, inboxes, peers) = (self.map(".data")?, self.map("inboxes")?, self.map("peers")?);
        drain::drain(&Maps { open, inboxes, peers, ends: self.map("ends").ok() }, patience)
    }

    fn detach(&mut self) -> Result<(), Error> {
        self.leave()?;
        for hook in self.hooks.drain(..) {
            hook.close_proven()?;
        }
        if let Attachment::Bare = self.verdict {
            let redirect = self.loaded.prog("redirect").map_err(Box::new)?;
            sockmap::detach(redirect, self.loaded.map("peers").map_err(Box::new)?, AttachType::SK_MSG_VERDICT)?;
        }
        Ok(())
    }

    pub(super) fn map(&self, name: &str) -> Result<&Map, Error> {
        Ok(self.loaded.map(name).map_err(Box::new)?)
    }
}

/// The usual pair at its places, for comparison. Not for use.
#[derive(Debug)]
pub struct Naive {
    link: Link,
    verdict: Attachment,
    loaded: Loaded,
}

impl Naive {
    /// Loads it, and attaches it.
    ///
    /// # Errors
    ///
    /// [`Error::Load`], [`Error::Link`].
    pub fn attach(cgroup: &Cgroup) -> Result<Self, Error> {
        static OBJECT: OnceLock<Vec<u8>> = OnceLock::new();
        let bytes = written(&OBJECT, super::naive::object)?;
        let loaded = loader::load(&Spec::parse(bytes)?, &LoadOptions::default()).map_err(Box::new)?;
        let prog = |name| loaded.prog(name).map_err(Box::new);
        let sockets = loaded.map("sockets").map_err(Box::new)?;
        let verdict = sockmap::attach(prog("naive_redirect")?, sockets, AttachType::SK_MSG_VERDICT)?;
        let link = cgroup.attach(prog("naive_enrol")?, AttachType::CGROUP_SOCK_OPS)?;
        Ok(Self { link, verdict, loaded })
    }

    /// Its maps and programs.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Takes its programs off. The sockets that it has enrolled go on as before; that is one of the things that are wrong with it.
    ///
    /// # Errors
    ///
    /// [`Error::Link`].
    pub fn detach(self) -> Result<Loaded, Error> {
        self.link.close_proven()?;
        if let Attachment::Link(verdict) = self.verdict {
            verdict.close_proven()?;
        }
        Ok(self.loaded)
    }
}

/// Bytes that are written once.
fn written(
    once: &'static OnceLock<Vec<u8>>,
    write: fn() -> Result<Vec<u8>, crate::Error>,
) -> Result<&'static [u8], Error> {
    if once.get().is_none() {
        let bytes = write()?;
        return Ok(once.get_or_init(|| bytes));
    }
    Ok(once.get().map_or(&[], Vec::as_slice))
}

/// The object, written once.
///
/// # Errors
///
/// [`Error::Write`]: a mistake in this crate.
pub fn object() -> Result<&'static [u8], Error> {
    static OBJECT: OnceLock<Vec<u8>> = OnceLock::new();
    written(&OBJECT, super::object)
}

/// The kernel's types, read once. A kernel without them says so when it is asked for a tracepoint.
pub(super) fn kernel_types() -> Option<Arc<KernelBtf>> {
    static TYPES: OnceLock<Option<Arc<KernelBtf>>> = OnceLock::new();
    TYPES.get_or_init(|| KernelBtf::running().ok().map(Arc::new)).clone()
}
