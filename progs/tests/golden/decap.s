    *(u64 *)(r10 - 16) = r1
    r9 = *(u32 *)(r1 + 0)
    r1 = *(u32 *)(r1 + 4)
    r0 = r9
    r0 += 54
    if r0 > r1 goto .L151
    r0 = *(u16 *)(r9 + 12)
    if w0 != 8 goto .L149
    r0 = *(u8 *)(r9 + 23)
    if w0 != 4 goto .L147
    r0 = *(u8 *)(r9 + 14)
    if w0 != 69 goto .L147
    r0 = *(u16 *)(r9 + 20)
    w0 &= 65343
    if w0 != 0 goto .L145
    *(u64 *)(r10 - 24) = r1
    r0 = *(u64 *)(r10 - 24)
    r0 -= r9
    *(u64 *)(r10 - 24) = r0
    r1 = map[served] ll
    r2 = r9
    r2 += 50
    call bpf_map_lookup_elem
    r8 = r0
    if r8 == 0 goto .L143
    r1 = *(u32 *)(r9 + 26)
    r0 = *(u32 *)(r9 + 30)
    r0 <<= 32
    r1 |= r0
    *(u64 *)(r10 - 8) = r1
    r1 = map[tunnels] ll
    r2 = r10
    r2 += -8
    call bpf_map_lookup_elem
    if r0 == 0 goto .L132
    r7 = r0
.L38:
    r0 = *(u64 *)(r7 + 0)
    if r0 == 0 goto .L130
    r6 = *(u16 *)(r9 + 36)
    r6 = be16 r6
    r0 = *(u16 *)(r9 + 16)
    r0 = be16 r0
    r1 = *(u8 *)(r9 + 34)
    r2 = r1
    w2 >>= 4
    if w2 != 4 goto .L128
    w1 &= 15
    if w1 < 5 goto .L128
    r1 <<= 2
    if r6 < r1 goto .L128
    r1 = r6
    r1 += 20
    if r1 > r0 goto .L128
    r0 += 14
    r1 = *(u64 *)(r10 - 24)
    if r0 > r1 goto .L128
    r0 = *(u8 *)(r9 + 15)
    w0 &= 3
    if w0 != 3 goto .L102
    r1 = *(u8 *)(r9 + 35)
    r0 = r1
    w0 &= 3
    if w0 == 3 goto .L102
    if w1 & 3 goto .L82
    r6 = 65
.L67:
    r0 = r6
    w0 >>= 3
    *(u32 *)(r10 - 28) = r0
    r1 = map[decap_reasons] ll
    r2 = r10
    r2 += -28
    call bpf_map_lookup_elem
    if r0 == 0 goto .L79
    r1 = *(u64 *)(r0 + 0)
    r1 += 1
    *(u64 *)(r0 + 0) = r1
.L79:
    r0 = r6
    w0 &= 7
    exit
.L82:
    r0 = r1
    w0 |= 3
    *(u8 *)(r9 + 35) = r0
    r2 = *(u16 *)(r9 + 44)
    r2 ^= 65535
    r1 <<= 8
    r1 ^= 65535
    r2 += r1
    r0 <<= 8
    r2 += r0
    r0 = r2
    r0 &= 65535
    r2 >>= 16
    r0 += r2
    r1 = r0
    r1 &= 65535
    r0 >>= 16
    r1 += r0
    r1 ^= 65535
    *(u16 *)(r9 + 44) = r1
.L102:
    r2 = *(u64 *)(r9 + 0)
    r1 = *(u32 *)(r9 + 8)
    r0 = *(u16 *)(r9 + 12)
    *(u64 *)(r9 + 20) = r2
    *(u32 *)(r9 + 28) = r1
    *(u16 *)(r9 + 32) = r0
    r1 = *(u64 *)(r10 - 16)
    r2 = 20
    call bpf_xdp_adjust_head
    if r0 != 0 goto .L126
    r0 = *(u64 *)(r8 + 0)
    r0 += 1
    *(u64 *)(r8 + 0) = r0
    r0 = *(u64 *)(r8 + 8)
    r0 += r6
    *(u64 *)(r8 + 8) = r0
    r0 = *(u64 *)(r7 + 8)
    r0 += 1
    *(u64 *)(r7 + 8) = r0
    r0 = *(u64 *)(r7 + 16)
    r0 += r6
    *(u64 *)(r7 + 16) = r0
    r6 = 82
    goto .L67
.L126:
    r6 = 73
    goto .L67
.L128:
    r6 = 57
    goto .L67
.L130:
    r6 = 49
    goto .L67
.L132:
    *(u32 *)(r10 - 8) = 0
    r1 = map[tunnels] ll
    r2 = r10
    r2 += -8
    call bpf_map_lookup_elem
    if r0 == 0 goto .L141
    r7 = r0
    goto .L38
.L141:
    r6 = 42
    goto .L67
.L143:
    r6 = 34
    goto .L67
.L145:
    r6 = 26
    goto .L67
.L147:
    r6 = 18
    goto .L67
.L149:
    r6 = 2
    goto .L67
.L151:
    r6 = 10
    goto .L67
