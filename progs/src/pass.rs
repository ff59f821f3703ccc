//! Stage: kernel programs. `pass`: gives every packet to the stack.
//!
//! Input: nothing. Output: an object. Its use is to *be* there: the end of a veth pair takes packets that the other end's XDP
//! program transmits or redirects only while it runs an XDP program itself (or has GRO on). Next file to read:
//! `lb/mod.rs`.

use asm::{
    insn::{Builder, R0},
    object::{Object, ProgDef},
};

use crate::{Error, LICENSE, lb::types::Verdict};

/// The object `pass`.
pub(crate) fn object() -> Result<Vec<u8>, Error> {
    let mut b = Builder::new();
    b.mov(R0, Verdict::Pass as i32);
    b.exit();
    Ok(Object::new(LICENSE).prog(ProgDef::new("xdp", "pass", b.finish()?)).write()?)
}
