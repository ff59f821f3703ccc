    r8 = r1
    *(u64 *)(r10 - 8) = 0
    r6 = *(u32 *)(r8 + 0)
    r1 = *(u32 *)(r8 + 4)
    r0 = r6
    r0 += 38
    if r0 > r1 goto .L376
    r0 = *(u16 *)(r6 + 12)
    if w0 != 8 goto .L433
    r0 = *(u8 *)(r6 + 14)
    if w0 == 69 goto .L16
    r2 = r0
    w2 >>= 4
    if w2 != 4 goto .L431
    w0 &= 15
    if w0 < 5 goto .L431
.L16:
    r0 = *(u16 *)(r6 + 20)
    w0 &= 65343
    if w0 != 0 goto .L412
    r2 = *(u8 *)(r6 + 23)
    if w2 == 6 goto .L22
    if w2 != 17 goto .L378
.L22:
    r9 = *(u8 *)(r6 + 14)
    if w9 != 69 goto .L364
    r0 = *(u32 *)(r6 + 30)
    w0 *= -1640531535
    w0 >>= 20
    r3 = map[config][0]+0 ll
    r2 = r0
    w2 >>= 6
    r2 <<= 3
    r3 += r2
    r2 = *(u64 *)(r3 + 24)
    r2 >>= r0
    r2 &= 1
    if r2 == 0 goto .L362
    r0 = *(u32 *)(r6 + 26)
    r3 = *(u32 *)(r6 + 34)
    r2 = *(u8 *)(r6 + 23)
    r9 = 28
.L41:
    r4 = r3
    w4 >>= 16
    r5 = *(u32 *)(r6 + 30)
    r4 <<= 32
    r5 |= r4
    r2 <<= 48
    r5 |= r2
    *(u64 *)(r10 - 24) = r5
    r3 <<= 32
    r0 |= r3
    *(u64 *)(r10 - 112) = r0
    r1 -= r6
    *(u64 *)(r10 - 96) = r1
    r0 = *(u64 *)(r10 - 96)
    r0 -= 14
    *(u64 *)(r10 - 96) = r0
    r1 = map[vips] ll
    r2 = r10
    r2 += -24
    call bpf_map_lookup_elem
    if r0 != 0 goto .L74
    r0 = map[config][0]+0 ll
    r0 = *(u32 *)(r0 + 16)
    if w0 == 0 goto .L362
    *(u16 *)(r10 - 20) = 0
    r1 = map[vips] ll
    r2 = r10
    r2 += -24
    call bpf_map_lookup_elem
    if r0 == 0 goto .L362
.L74:
    r0 = *(u64 *)(r0 + 0)
    *(u64 *)(r10 - 8) = r0
    r7 = *(u16 *)(r6 + 16)
    r7 = be16 r7
    if r7 < r9 goto .L360
    r0 = *(u64 *)(r10 - 96)
    if r7 > r0 goto .L360
    r1 = *(u8 *)(r6 + 15)
    r0 = r7
    r0 += 20
    r0 = be16 r0
    w0 <<= 16
    w1 <<= 8
    w0 |= w1
    w0 |= 69
    *(u64 *)(r10 - 104) = r0
    r1 = map[rings] ll
    r2 = r10
    r2 += -8
    call bpf_map_lookup_elem
    if r0 == 0 goto .L358
    r4 = *(u64 *)(r10 - 24)
    r3 = map[config][0]+0 ll
    r2 = *(u64 *)(r3 + 0)
    r1 = *(u64 *)(r10 - 112)
    r1 ^= r2
    r2 = 0x9e3779b97f4a7c15 ll
    r1 *= r2
    r2 = r1
    r2 >>= 32
    r2 ^= r1
    r2 ^= r4
    r1 = *(u64 *)(r3 + 8)
    r2 += r1
    r1 = 0xff51afd7ed558ccd ll
    r2 *= r1
    r1 = r2
    r1 >>= 29
    r1 ^= r2
    r2 = 0xc4ceb9fe1a85ec53 ll
    r1 *= r2
    r1 >>= 48
    r1 <<= 2
    r2 = r0
    r2 += r1
    r1 = map[backends] ll
    call bpf_map_lookup_elem
    r6 = r0
    if r6 == 0 goto .L358
    call bpf_jiffies64
    r1 = *(u64 *)(r6 + 16)
    if r0 < r1 goto .L356
    r2 = *(u32 *)(r8 + 12)
    r1 = *(u32 *)(r6 + 0)
    r0 = *(u32 *)(r6 + 4)
    *(u32 *)(r10 - 88) = 1026
    *(u32 *)(r10 - 84) = 65536
    *(u64 *)(r10 - 80) = r2
    *(u64 *)(r10 - 72) = r1
    *(u64 *)(r10 - 64) = 0
    *(u64 *)(r10 - 56) = r0
    *(u64 *)(r10 - 48) = 0
    *(u64 *)(r10 - 40) = 0
    *(u64 *)(r10 - 32) = 0
    r1 = r8
    r2 = r10
    r2 += -88
    r3 = 64
    r4 = 0
    call bpf_fib_lookup
    r1 = *(u16 *)(r10 - 82)
    r2 = *(u16 *)(r6 + 12)
    if w1 >= 68 goto .L155
    if w2 != 0 goto .L354
    r1 = 1500
.L155:
    *(u32 *)(r6 + 44) = r1
    if r0 == 0 goto .L335
    if r0 == 7 goto .L181
    if r0 == 6 goto .L181
    if r0 == 5 goto .L179
    r6 = 73
.L161:
    r0 = *(u32 *)(r10 - 4)
    w0 <<= 5
    r1 = r6
    w1 >>= 3
    w0 += w1
    *(u32 *)(r10 - 4) = r0
    r1 = map[reasons] ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto .L176
    r1 = *(u64 *)(r0 + 0)
    r1 += 1
    *(u64 *)(r0 + 0) = r1
.L176:
    r0 = r6
    w0 &= 7
.L178:
    exit
.L179:
    r6 = 81
    goto .L161
.L181:
    r9 = 0
.L182:
    r1 = *(u64 *)(r10 - 96)
    r1 += 20
    r0 = *(u32 *)(r6 + 44)
    if r1 > r0 goto .L249
    r1 = r8
    w2 = -20
    call bpf_xdp_adjust_head
    if r0 != 0 goto .L247
    r2 = *(u32 *)(r8 + 0)
    r1 = *(u32 *)(r8 + 4)
    r0 = r2
    r0 += 34
    if r0 > r1 goto .L247
    if w9 == 0 goto .L240
    r3 = *(u64 *)(r6 + 24)
    r1 = *(u32 *)(r6 + 32)
    r0 = *(u16 *)(r6 + 36)
    *(u64 *)(r2 + 0) = r3
    *(u32 *)(r2 + 8) = r1
    *(u16 *)(r2 + 12) = r0
.L202:
    r0 = *(u32 *)(r6 + 8)
    r1 = *(u64 *)(r10 - 104)
    r0 += r1
    r1 = r0
    r1 &= 65535
    r0 >>= 16
    r1 += r0
    r0 = r1
    r0 &= 65535
    r1 >>= 16
    r0 += r1
    r0 ^= 65535
    r0 <<= 16
    w0 |= 1088
    r1 = *(u64 *)(r10 - 104)
    *(u32 *)(r2 + 14) = r1
    *(u32 *)(r2 + 18) = 4194304
    *(u32 *)(r2 + 22) = r0
    r0 = *(u64 *)(r6 + 0)
    *(u64 *)(r2 + 26) = r0
    r0 = *(u64 *)(r6 + 48)
    r0 += 1
    *(u64 *)(r6 + 48) = r0
    r0 = *(u64 *)(r6 + 56)
    r0 += r7
    *(u64 *)(r6 + 56) = r0
    r0 = *(u32 *)(r8 + 12)
    if w9 == w0 goto .L238
    if w9 == 0 goto .L236
    r1 = r9
    r2 = 0
    call bpf_redirect
    w0 = w0
    goto .L178
.L236:
    r6 = 90
    goto .L161
.L238:
    r0 = 3
    exit
.L240:
    r3 = *(u64 *)(r2 + 20)
    r1 = *(u32 *)(r2 + 28)
    r0 = *(u16 *)(r2 + 32)
    *(u64 *)(r2 + 0) = r3
    *(u32 *)(r2 + 8) = r1
    *(u16 *)(r2 + 12) = r0
    goto .L202
.L247:
    r6 = 113
    goto .L161
.L249:
    r1 = *(u32 *)(r8 + 0)
    r2 = *(u32 *)(r8 + 4)
    r0 = r1
    r0 += 34
    if r0 > r2 goto .L333
    r0 = *(u16 *)(r1 + 20)
    w0 &= 64
    if w0 == 0 goto .L333
    r0 = *(u64 *)(r10 - 96)
    if r0 < 504 goto .L333
    r1 = r8
    w2 = -28
    call bpf_xdp_adjust_head
    if r0 != 0 goto .L247
    r2 = 504
    r0 = *(u64 *)(r10 - 96)
    w2 -= w0
    r1 = r8
    call bpf_xdp_adjust_tail
    if r0 != 0 goto .L247
    r7 = *(u32 *)(r8 + 0)
    r1 = *(u32 *)(r8 + 4)
    r0 = r7
    r0 += 546
    if r0 > r1 goto .L247
    r3 = *(u32 *)(r7 + 34)
    r2 = *(u16 *)(r7 + 38)
    r1 = *(u32 *)(r7 + 28)
    r0 = *(u16 *)(r7 + 32)
    *(u32 *)(r7 + 0) = r3
    *(u16 *)(r7 + 4) = r2
    *(u32 *)(r7 + 6) = r1
    *(u16 *)(r7 + 10) = r0
    *(u16 *)(r7 + 12) = 8
    r1 = *(u32 *)(r7 + 58)
    r3 = *(u32 *)(r7 + 54)
    r0 = r1
    r0 += 339919237
    r2 = r0
    r2 += r3
    w0 += w3
    r2 >>= 32
    r0 += r2
    r2 = r0
    r2 &= 65535
    r0 >>= 16
    r2 += r0
    r0 = r2
    r0 &= 65535
    r2 >>= 16
    r0 += r2
    r0 ^= 65535
    r0 <<= 16
    w0 |= 320
    *(u32 *)(r7 + 14) = 335724613
    *(u32 *)(r7 + 18) = 4194304
    *(u32 *)(r7 + 22) = r0
    *(u32 *)(r7 + 26) = r1
    *(u32 *)(r7 + 30) = r3
    *(u32 *)(r7 + 34) = 1027
    r0 = *(u32 *)(r6 + 44)
    r0 -= 20
    r0 = be16 r0
    w0 <<= 16
    *(u32 *)(r7 + 38) = r0
    r1 = 0
    r2 = 0
    r3 = r7
    r3 += 34
    r4 = 512
    r5 = 0
    call bpf_csum_diff
    r1 = r0
    r1 &= 65535
    r0 >>= 16
    r1 += r0
    r0 = r1
    r0 &= 65535
    r1 >>= 16
    r0 += r1
    r0 ^= 65535
    *(u16 *)(r7 + 36) = r0
    r6 = 107
    goto .L161
.L333:
    r6 = 97
    goto .L161
.L335:
    r2 = *(u16 *)(r10 - 30)
    r1 = *(u32 *)(r10 - 28)
    r0 = r1
    r0 |= r2
    if r0 == 0 goto .L181
    *(u16 *)(r6 + 24) = r2
    *(u32 *)(r6 + 26) = r1
    r1 = *(u32 *)(r10 - 36)
    r0 = *(u16 *)(r10 - 32)
    *(u32 *)(r6 + 30) = r1
    *(u16 *)(r6 + 34) = r0
    *(u16 *)(r6 + 36) = 8
    r0 = *(u32 *)(r10 - 80)
    *(u32 *)(r6 + 40) = r0
    call bpf_jiffies64
    r0 += 64
    *(u64 *)(r6 + 16) = r0
    r9 = *(u32 *)(r10 - 80)
    goto .L182
.L354:
    r1 = r2
    goto .L155
.L356:
    r9 = *(u32 *)(r6 + 40)
    goto .L182
.L358:
    r6 = 65
    goto .L161
.L360:
    r6 = 57
    goto .L161
.L362:
    r6 = 42
    goto .L161
.L364:
    w9 &= 15
    r9 <<= 2
    r2 = r6
    r2 += r9
    r0 = r2
    r0 += 18
    if r0 > r1 goto .L376
    r0 = *(u32 *)(r6 + 26)
    r3 = *(u32 *)(r2 + 14)
    r2 = *(u8 *)(r6 + 23)
    r9 += 8
    goto .L41
.L376:
    r6 = 18
    goto .L161
.L378:
    r0 = *(u8 *)(r6 + 14)
    if w0 != 69 goto .L410
    if w2 != 1 goto .L410
    r0 = r6
    r0 += 70
    if r0 > r1 goto .L410
    r2 = *(u8 *)(r6 + 34)
    if w2 > 12 goto .L410
    r0 = 6152
    r0 >>= r2
    r0 &= 1
    if r0 == 0 goto .L410
    r0 = *(u8 *)(r6 + 42)
    if w0 != 69 goto .L410
    r0 = *(u16 *)(r6 + 48)
    w0 &= 65311
    if w0 != 0 goto .L410
    r0 = *(u8 *)(r6 + 51)
    if w0 == 6 goto .L398
    if w0 != 17 goto .L410
.L398:
    r2 = *(u32 *)(r6 + 54)
    r0 = *(u32 *)(r6 + 30)
    if w2 != w0 goto .L362
    r2 = *(u32 *)(r6 + 62)
    r0 = *(u32 *)(r6 + 58)
    r3 = r2
    w3 <<= 16
    w2 >>= 16
    w3 |= w2
    r2 = *(u8 *)(r6 + 51)
    r9 = 56
    goto .L41
.L410:
    r6 = 34
    goto .L161
.L412:
    r0 = *(u8 *)(r6 + 23)
    if w0 == 6 goto .L415
    if w0 != 17 goto .L410
.L415:
    r1 = *(u32 *)(r6 + 30)
    r0 = *(u8 *)(r6 + 23)
    r0 <<= 48
    r1 |= r0
    r0 = 0x100000000000000 ll
    r1 |= r0
    *(u64 *)(r10 - 16) = r1
    r1 = map[vips] ll
    r2 = r10
    r2 += -16
    call bpf_map_lookup_elem
    if r0 == 0 goto .L362
    r6 = 49
    goto .L161
.L431:
    r6 = 26
    goto .L161
.L433:
    if w0 == 129 goto .L437
    if w0 == 43144 goto .L437
    r6 = 2
    goto .L161
.L437:
    r6 = 10
    goto .L161
