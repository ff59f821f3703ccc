# Reads of a packet without looking where it ends.
.license "GPL"

.section xdp
.func case(ctx: *void) -> int
.globl case
case:
    r6 = r1
    r1 = *(u32 *)(r6 + 0)
    r4 = *(u16 *)(r1 + 12)
    r0 = 2
    exit
