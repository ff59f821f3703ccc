//! What readers have read.
//!
//! Stage: kernel programs, tracing. Input: the end of each receiving call. Output: `read` of the direction, and that the reader is one that
//! sees its queue. Where the kernel has neither hook, `redirect.rs` does with less. Next file to read: `mod.rs`.

use asm::dsl::prelude::*;

use super::types::{INBOXES, ME, Me, PARAMETERS};

/// `MSG_OOB`, `MSG_PEEK`, `MSG_ERRQUEUE`: what these give is not taken out of the stream.
const NOT_TAKEN: u32 = 0x1 | 0x2 | 0x2000;

/// 1 once `heard_fexit` has run: within one call it comes before `heard`, which then leaves the counting to it.
#[bss]
static BY_FUNCTION: u32 = 0;

/// A receiving call has ended. Linux 6.3.
#[tp_btf("sock_recv_length", default = 0)]
pub(super) fn heard(ctx: &mut TpBtf) -> Result<u32> {
    let me = ME.get(&ctx.ptr::<0, kernel::Sock>())?;
    let (got, flags) = (ctx.arg::<1>() as i32, ctx.arg::<2>() as u32);
    if BY_FUNCTION.place() == 0 {
        count(me, got, flags);
    }
    Ok(0)
}

/// The same on kernels without the tracepoint: what enrolled sockets receive with. Linux 5.11.
#[fexit("tcp_bpf_recvmsg", default = Observed::Done)]
pub(super) fn heard_fexit(ctx: &mut Fentry) -> Result<Observed> {
    let me = ME.get(&ctx.ptr::<0, kernel::Sock>())?;
    BY_FUNCTION.place().store(1);
    if PARAMETERS == 4 {
        count(me, ctx.arg::<4>() as i32, ctx.arg::<3>() as u32);
    } else if PARAMETERS == 5 {
        count(me, ctx.arg::<5>() as i32, ctx.arg::<3>() as u32);
    } else {
        count(me, ctx.arg::<6>() as i32, ctx.arg::<4>() as u32);
    }
    Ok(Observed::Done)
}

/// Counts what a call took out of the stream.
#[bpf_fn]
fn count(me: ValRef<Me>, got: i32, flags: u32) {
    let Some(inbox) = INBOXES.get(&me.key) else { return };
    inbox.heard = 1;
    if got > 0 && flags & NOT_TAKEN == 0 {
        me.burst = 0;
        inbox.read.atomic_add(got as u64);
    }
}
