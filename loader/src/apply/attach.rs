//! Stage: apply. The steps that change what runs on a hook, and the way back from each.
//!
//! Input: the pin name of a wanted link. Output: the link attached, replaced or gone, its record, an entry in the list of what
//! to undo. Read next: `hook.rs`.

use asm::object::AttachType;

use super::down;
use super::error::Error;
use super::event::{Event, Tell};
use super::hook::{self, Attached, On};
use super::job::Job;
use super::undo::{Undo, pin_over};
use crate::lab::build;
use crate::link::{Link, sockmap};
use crate::manifest::Hook;
use crate::map::Map;
use crate::pin::Kind;
use crate::plan::WantedLink;
use crate::prog::Prog;

impl Job<'_, '_> {
    fn wanted_link(&self, pin: &str) -> Option<WantedLink> {
        self.prepared.wanted.links.iter().find(|link| link.pin == pin).cloned()
    }

    /// Runs work in the namespace of a hook.
    pub(super) fn at<T: Send>(
        &self,
        host: Option<&str>,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        match host {
            None => work(),
            Some(host) => self.hosts.get(host)?.run(work).map_err(build::Error::from)?,
        }
    }

    /// What a hook is on that only this deployment knows.
    fn on(&self, wanted: &WantedLink) -> Result<On, Error> {
        let cgroup = wanted.hook.is_labs_cgroup().then(|| self.hosts.cgroup(wanted.host.as_deref())).flatten();
        Ok(On { map: self.map_of(&wanted.hook)?, cgroup })
    }

    /// The map whose sockets a hook is on: the one just loaded, or the one pinned.
    fn map_of(&self, hook: &Hook) -> Result<Option<Map>, Error> {
        let Hook::Sockmap { map: pin } = hook else { return Ok(None) };
        match self.loaded_map(pin)? {
            Some(map) => Ok(Some(map)),
            None => Ok(Some(Map::from_pin(self.pin(Kind::Map, pin))?)),
        }
    }

    /// Attaches a wanted link; an optional one that is refused is left out.
    pub(super) fn attach(&mut self, pin: &str, tell: &mut Tell<'_>) -> Result<(), Error> {
        let Some(wanted) = self.wanted_link(pin).filter(|link| !self.left_out.contains_key(&link.program)) else {
            return Ok(());
        };
        self.left_out.remove(pin);
        match self.attach_as(pin, &wanted, None, tell) {
            Err(error @ Error::Attach { .. }) if wanted.optional => {
                self.leave_out(pin.to_owned(), &error, tell);
                Ok(())
            }
            done => done,
        }
    }

    /// Attaches `prog`, or the wanted program, and pins the link.
    pub(super) fn attach_as(
        &mut self,
        pin: &str,
        wanted: &WantedLink,
        prog: Option<&Prog>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Error> {
        let host = wanted.host.as_deref();
        let on = self.on(wanted)?;
        let attach = |prog: &Prog| {
            let attached = self.at(host, || hook::attach(prog, wanted, &on))?;
            Ok((attached, Prog::from_id(prog.id()?)?))
        };
        let (attached, prog) = match prog {
            Some(prog) => attach(prog)?,
            None => self.with_prog(&wanted.program, attach)?,
        };
        let Attached { link, record, displaced } = attached;
        for displaced in displaced {
            tell(Event::Note(format!("  {}", displaced.words())));
            // First in the list, so last to be taken back: ours must be off the hook by then.
            self.done.insert(0, Undo::Restore(wanted.host.clone(), Box::new(displaced)));
        }
        match (link, on.map) {
            (Some(link), _) => {
                let path = self.pin(Kind::Link, pin);
                link.pin(&path)?;
                self.remember(Undo::Detach(path));
            }
            (None, Some(map)) => self.remember(Undo::DetachBare(prog, map, wanted.attach_type)),
            (None, None) => {}
        }
        tell(Event::Attached(&record));
        self.links.insert(pin.to_owned(), record);
        Ok(())
    }

    /// Puts the new program in the place of the old one; one that was left out goes from its hook.
    pub(super) fn replace(&mut self, pin: &str, tell: &mut Tell<'_>) -> Result<(), Error> {
        let Some(wanted) = self.wanted_link(pin) else { return Ok(()) };
        if self.left_out.contains_key(&wanted.program) {
            return self.detach(pin);
        }
        let new = match self.links.get(pin).filter(|record| record.bare) {
            Some(_) => self.replace_bare(pin, &wanted)?,
            // The kernel updates no link to a tracepoint or function; there, old and new can run side by side.
            None if wanted.hook == Hook::Auto && wanted.attach_type != AttachType::SK_LOOKUP => {
                return self.overlap(pin, &wanted, tell);
            }
            None => {
                let path = self.pin(Kind::Link, pin);
                let link = Link::from_pin(&path)?;
                let old = Prog::from_id(link.info()?.prog_id)?;
                let new = self.with_prog(&wanted.program, |new| {
                    link.update(new, Some(&old))?;
                    Ok(new.id()?)
                })?;
                self.remember(Undo::PutBack(path, old));
                new
            }
        };
        let before = self.links.get(pin).cloned();
        let record = self.at(wanted.host.as_deref(), || hook::look(&wanted, new, before.as_ref()))?;
        tell(Event::Attached(&record));
        self.links.insert(pin.to_owned(), record);
        Ok(())
    }

    /// Attaches the new program beside the old one, gives the new link the old one's name, and lets the old one go.
    fn overlap(&mut self, pin: &str, wanted: &WantedLink, tell: &mut Tell<'_>) -> Result<(), Error> {
        let path = self.pin(Kind::Link, pin);
        let old = Link::from_pin(&path)?;
        let old_prog = Prog::from_id(old.info()?.prog_id)?;
        let attached = match self.with_prog(&wanted.program, |prog| hook::attach(prog, wanted, &On::default())) {
            Err(error @ Error::Attach { .. }) if wanted.optional => {
                self.leave_out(pin.to_owned(), &error, tell);
                return self.detach(pin);
            }
            attached => attached?,
        };
        if let Some(link) = attached.link {
            pin_over(&path, |path| Ok(link.pin(path)?))?;
        }
        if let Some(before) = self.links.insert(pin.to_owned(), attached.record) {
            self.remember(Undo::Reattach(pin.to_owned(), old_prog, Box::new(before)));
            self.remember(Undo::Detach(path));
        }
        old.close_proven()?;
        if let Some(record) = self.links.get(pin) {
            tell(Event::Attached(record));
        }
        Ok(())
    }

    /// Without a link: the kernel puts the new program in the old one's place by itself.
    fn replace_bare(&mut self, pin: &str, wanted: &WantedLink) -> Result<u32, Error> {
        let old = self.observed.links.get(pin).and_then(|seen| Prog::from_id(seen.prog_id).ok());
        let Some(map) = self.map_of(&wanted.hook)? else { return Ok(0) };
        let new = self.with_prog(&wanted.program, |new| {
            sockmap::replace(new, &map, wanted.attach_type)?;
            Ok(new.id()?)
        })?;
        if let Some(old) = old {
            self.remember(Undo::PutBackBare(old, map, wanted.attach_type));
        }
        Ok(new)
    }

    pub(super) fn detach(&mut self, pin: &str) -> Result<(), Error> {
        let path = self.pin(Kind::Link, pin);
        let seen = self.observed.links.get(pin).filter(|seen| seen.attached);
        let prog = seen.and_then(|seen| Prog::from_id(seen.prog_id).ok());
        let record = self.links.remove(pin);
        match (&record, &prog) {
            (Some(record), Some(prog)) if record.bare => {
                if let Hook::Sockmap { map } = &record.hook {
                    let map = Map::from_pin(self.pin(Kind::Map, map))?;
                    sockmap::detach(prog, &map, AttachType(record.attach_type))?;
                }
            }
            _ => drop(down::detach(&path)?),
        }
        if let (Some(prog), Some(record)) = (prog, record) {
            self.remember(Undo::Reattach(pin.to_owned(), prog, Box::new(record)));
        }
        Ok(())
    }
}
