//! `bypass`: TCP between processes of one host, past the TCP/IP stack.
//!
//! Stage: kernel programs. A message that one local socket sends to another is put straight into the other's queue. The pair that
//! everybody writes first stands in `naive.rs`, with what is wrong in it; the rest is how to do it without that. TCP stays where it is
//! under all of it: a connection that is not enrolled, a message that is in doubt, goes by TCP. Next file to read: `naive.rs`, then
//! `types.rs`, `origin.rs`, `policy.rs`, `enrol.rs`, `acked.rs`, `redirect.rs`, `waiting.rs`, `leave.rs`, `read.rs`.

mod acked;
pub mod audit;
pub mod control;
pub mod drain;
mod enrol;
pub mod first;
pub mod flows;
pub mod host;
mod leave;
pub mod naive;
pub mod origin;
pub mod policy;
pub mod probe;
pub mod quarantine;
mod read;
mod redirect;
pub mod rules;
pub mod share;
pub mod types;
mod waiting;

use asm::codegen::Profile;
use asm::dsl::Module;

/// All programs and their maps. Of `heard` and `heard_fexit` the kernel takes both, one or none; one is enough. With none, all goes by TCP.
#[must_use]
pub fn module() -> Module {
    Module::new(crate::LICENSE)
        .prog(origin::made())
        .prog(enrol::enrol())
        .prog(redirect::redirect())
        .prog(read::heard())
        .prog(read::heard_fexit())
        .prog(quarantine::spliced())
        .prog(quarantine::asked())
        .prog(quarantine::optioned())
        .prog(quarantine::calls())
}

/// The ELF object, for the oldest kernel.
pub(crate) fn object() -> Result<Vec<u8>, crate::Error> {
    Ok(module().object(&Profile::linux_5_10())?.write()?)
}
