    r6 = r1
    r7 = *(u32 *)(r6 + 0)
    r8 = *(u32 *)(r6 + 4)
    r2 = r7
    r2 += 38
    if r2 > r8 goto pass_short
    r2 = *(u16 *)(r7 + 12)
    if r2 != 8 goto not_ipv4
    r2 = *(u8 *)(r7 + 14)
    if r2 != 69 goto options
    r2 = *(u16 *)(r7 + 20)
    if r2 & 65343 goto fragment
    r3 = *(u8 *)(r7 + 23)
    if r3 == 6 goto ports
    if r3 != 17 goto icmp
ports:
    r4 = *(u32 *)(r7 + 30)
    w4 *= -1640531535
    w4 >>= 20
    r2 = r4
    r2 >>= 6
    r2 <<= 3
    r1 = map[config][0]+24 ll
    r1 += r2
    r1 = *(u64 *)(r1 + 0)
    r1 >>= r4
    r1 &= 1
    if r1 == 0 goto pass_not_vip
    r4 = *(u32 *)(r7 + 30)
    r5 = *(u16 *)(r7 + 36)
    r5 <<= 32
    r4 |= r5
    r3 <<= 48
    r4 |= r3
    *(u64 *)(r10 - 8) = r4
    r4 = *(u32 *)(r7 + 26)
    r5 = *(u32 *)(r7 + 34)
    r5 <<= 32
    r4 |= r5
    *(u64 *)(r10 - 16) = r4
    r9 = 28
lookup:
    r2 = r10
    r2 += -8
    r1 = map[vips] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto miss
found:
    r1 = *(u64 *)(r0 + 0)
    *(u64 *)(r10 - 24) = r1
    r1 = *(u16 *)(r7 + 16)
    r1 = be16 r1
    if r1 < r9 goto drop_bad_length
    r9 = r1
    r8 -= r7
    r8 -= 14
    if r9 > r8 goto drop_bad_length
    r1 = r9
    r1 += 20
    r1 = be16 r1
    r1 <<= 16
    r2 = *(u8 *)(r7 + 15)
    r2 <<= 8
    r1 |= r2
    r1 |= 69
    *(u32 *)(r10 - 32) = r1
    r2 = r10
    r2 += -24
    r1 = map[rings] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto drop_no_real
    r3 = map[config][0]+0 ll
    r1 = *(u64 *)(r10 - 16)
    r2 = *(u64 *)(r3 + 0)
    r1 ^= r2
    r4 = 0x9e3779b97f4a7c15 ll
    r1 *= r4
    r2 = r1
    r2 >>= 32
    r1 ^= r2
    r2 = *(u64 *)(r10 - 8)
    r1 ^= r2
    r2 = *(u64 *)(r3 + 8)
    r1 += r2
    r4 = 0xff51afd7ed558ccd ll
    r1 *= r4
    r2 = r1
    r2 >>= 29
    r1 ^= r2
    r4 = 0xc4ceb9fe1a85ec53 ll
    r1 *= r4
    r1 >>= 48
    r1 <<= 2
    r0 += r1
    r1 = *(u32 *)(r0 + 0)
    *(u32 *)(r10 - 28) = r1
    r2 = r10
    r2 += -28
    r1 = map[backends] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto drop_no_real
    r7 = r0
    call bpf_jiffies64
    r1 = *(u64 *)(r7 + 16)
    if r0 >= r1 goto refresh
hop_ready:
    r1 = r8
    r1 += 20
    r2 = *(u32 *)(r7 + 44)
    if r1 > r2 goto too_big
    r1 = r6
    r2 = -20
    call bpf_xdp_adjust_head
    if r0 != 0 goto drop_no_headroom
    r2 = *(u32 *)(r6 + 0)
    r3 = *(u32 *)(r6 + 4)
    r1 = r2
    r1 += 34
    if r1 > r3 goto drop_no_headroom
    r1 = *(u64 *)(r7 + 24)
    *(u64 *)(r2 + 0) = r1
    r1 = *(u32 *)(r7 + 32)
    *(u32 *)(r2 + 8) = r1
    r1 = *(u16 *)(r7 + 36)
    *(u16 *)(r2 + 12) = r1
    r1 = *(u32 *)(r10 - 32)
    *(u32 *)(r2 + 14) = r1
    *(u32 *)(r2 + 18) = 4194304
    r3 = *(u32 *)(r7 + 8)
    r3 += r1
    r4 = r3
    r4 >>= 16
    r3 &= 65535
    r3 += r4
    r4 = r3
    r4 >>= 16
    r3 &= 65535
    r3 += r4
    r3 ^= 65535
    r3 <<= 16
    r3 |= 1088
    *(u32 *)(r2 + 22) = r3
    r1 = *(u64 *)(r7 + 0)
    *(u64 *)(r2 + 26) = r1
    r1 = *(u64 *)(r7 + 48)
    r1 += 1
    *(u64 *)(r7 + 48) = r1
    r1 = *(u64 *)(r7 + 56)
    r1 += r9
    *(u64 *)(r7 + 56) = r1
    r1 = *(u32 *)(r7 + 40)
    r2 = *(u32 *)(r6 + 12)
    if r1 != r2 goto redirect
    r0 = 3
    exit
redirect:
    r2 = 0
    call bpf_redirect
    exit
refresh:
    *(u64 *)(r10 - 104) = 0
    *(u64 *)(r10 - 96) = 0
    *(u64 *)(r10 - 88) = 0
    *(u64 *)(r10 - 80) = 0
    *(u64 *)(r10 - 72) = 0
    *(u64 *)(r10 - 64) = 0
    *(u64 *)(r10 - 56) = 0
    *(u64 *)(r10 - 48) = 0
    *(u8 *)(r10 - 104) = 2
    *(u8 *)(r10 - 103) = 4
    *(u16 *)(r10 - 98) = 1
    r1 = *(u32 *)(r6 + 12)
    *(u32 *)(r10 - 96) = r1
    r1 = *(u32 *)(r7 + 0)
    *(u32 *)(r10 - 88) = r1
    r1 = *(u32 *)(r7 + 4)
    *(u32 *)(r10 - 72) = r1
    r1 = r6
    r2 = r10
    r2 += -104
    r3 = 64
    r4 = 0
    call bpf_fib_lookup
    r1 = *(u16 *)(r10 - 98)
    if r1 >= 68 goto mtu_told
    r1 = *(u16 *)(r7 + 12)
    if r1 != 0 goto mtu_told
    r1 = 1500
mtu_told:
mtu_known:
    *(u32 *)(r7 + 44) = r1
    if r0 == 7 goto to_stack
    if r0 == 6 goto to_stack
    if r0 == 5 goto drop_forwarding_off
    if r0 != 0 goto drop_no_route
    r1 = *(u16 *)(r10 - 46)
    r2 = *(u16 *)(r10 - 44)
    r3 = *(u16 *)(r10 - 42)
    r4 = r1
    r4 |= r2
    r4 |= r3
    if r4 == 0 goto to_stack
    *(u16 *)(r7 + 24) = r1
    *(u16 *)(r7 + 26) = r2
    *(u16 *)(r7 + 28) = r3
    r1 = *(u16 *)(r10 - 52)
    *(u16 *)(r7 + 30) = r1
    r1 = *(u16 *)(r10 - 50)
    *(u16 *)(r7 + 32) = r1
    r1 = *(u16 *)(r10 - 48)
    *(u16 *)(r7 + 34) = r1
    *(u16 *)(r7 + 36) = 8
    r1 = *(u32 *)(r10 - 96)
    *(u32 *)(r7 + 40) = r1
    call bpf_jiffies64
    r0 += 64
    *(u64 *)(r7 + 16) = r0
    goto hop_ready
to_stack:
    r1 = r8
    r1 += 20
    r2 = *(u32 *)(r7 + 44)
    if r1 > r2 goto too_big
    r1 = r6
    r2 = -20
    call bpf_xdp_adjust_head
    if r0 != 0 goto drop_no_headroom
    r2 = *(u32 *)(r6 + 0)
    r3 = *(u32 *)(r6 + 4)
    r1 = r2
    r1 += 48
    if r1 > r3 goto drop_no_headroom
    r5 = *(u64 *)(r2 + 20)
    *(u64 *)(r2 + 0) = r5
    r5 = *(u32 *)(r2 + 28)
    *(u32 *)(r2 + 8) = r5
    r5 = *(u16 *)(r2 + 32)
    *(u16 *)(r2 + 12) = r5
    r1 = *(u32 *)(r10 - 32)
    *(u32 *)(r2 + 14) = r1
    *(u32 *)(r2 + 18) = 4194304
    r3 = *(u32 *)(r7 + 8)
    r3 += r1
    r4 = r3
    r4 >>= 16
    r3 &= 65535
    r3 += r4
    r4 = r3
    r4 >>= 16
    r3 &= 65535
    r3 += r4
    r3 ^= 65535
    r3 <<= 16
    r3 |= 1088
    *(u32 *)(r2 + 22) = r3
    r1 = *(u64 *)(r7 + 0)
    *(u64 *)(r2 + 26) = r1
    r1 = *(u64 *)(r7 + 48)
    r1 += 1
    *(u64 *)(r7 + 48) = r1
    r1 = *(u64 *)(r7 + 56)
    r1 += r9
    *(u64 *)(r7 + 56) = r1
    goto pass_no_neighbour
too_big:
    r2 = *(u32 *)(r6 + 0)
    r3 = *(u32 *)(r6 + 4)
    r1 = r2
    r1 += 34
    if r1 > r3 goto drop_too_big
    r1 = *(u16 *)(r2 + 20)
    r1 &= 64
    if r1 == 0 goto drop_too_big
    if r8 < 504 goto drop_too_big
    r1 = r6
    r2 = -28
    call bpf_xdp_adjust_head
    if r0 != 0 goto drop_no_headroom
    r1 = r6
    r2 = 504
    r2 -= r8
    call bpf_xdp_adjust_tail
    if r0 != 0 goto drop_no_headroom
    r8 = *(u32 *)(r6 + 0)
    r3 = *(u32 *)(r6 + 4)
    r1 = r8
    r1 += 546
    if r1 > r3 goto drop_no_headroom
    r1 = *(u32 *)(r8 + 34)
    r2 = *(u16 *)(r8 + 38)
    r3 = *(u32 *)(r8 + 28)
    r4 = *(u16 *)(r8 + 32)
    *(u32 *)(r8 + 0) = r1
    *(u16 *)(r8 + 4) = r2
    *(u32 *)(r8 + 6) = r3
    *(u16 *)(r8 + 10) = r4
    *(u16 *)(r8 + 12) = 8
    *(u32 *)(r8 + 14) = 335724613
    *(u32 *)(r8 + 18) = 4194304
    r1 = *(u32 *)(r8 + 58)
    r2 = *(u32 *)(r8 + 54)
    *(u32 *)(r8 + 26) = r1
    *(u32 *)(r8 + 30) = r2
    w3 = 335724613
    w4 = 4194304
    r3 += r4
    r3 += 320
    r3 += r1
    r3 += r2
    r4 = r3
    r4 >>= 32
    r3 <<= 32
    r3 >>= 32
    r3 += r4
    r4 = r3
    r4 >>= 16
    r3 &= 65535
    r3 += r4
    r4 = r3
    r4 >>= 16
    r3 &= 65535
    r3 += r4
    r3 ^= 65535
    r3 <<= 16
    r3 |= 320
    *(u32 *)(r8 + 22) = r3
    *(u32 *)(r8 + 34) = 1027
    r1 = *(u32 *)(r7 + 44)
    r1 -= 20
    r1 = be16 r1
    r1 <<= 16
    *(u32 *)(r8 + 38) = r1
    r1 = 0
    r2 = 0
    r3 = r8
    r3 += 34
    r4 = 512
    r5 = 0
    call bpf_csum_diff
    r1 = r0
    r1 >>= 16
    r0 &= 65535
    r0 += r1
    r1 = r0
    r1 >>= 16
    r0 &= 65535
    r0 += r1
    r0 ^= 65535
    *(u16 *)(r8 + 36) = r0
    goto tx_too_big_answered
miss:
    r1 = map[config][0]+16 ll
    r1 = *(u32 *)(r1 + 0)
    if r1 == 0 goto pass_not_vip
    *(u16 *)(r10 - 4) = 0
    r2 = r10
    r2 += -8
    r1 = map[vips] ll
    call bpf_map_lookup_elem
    if r0 != 0 goto found
    goto pass_not_vip
fragment:
    r3 = *(u8 *)(r7 + 23)
    if r3 == 6 goto fragment_lookup
    if r3 != 17 goto pass_other_protocol
fragment_lookup:
    r4 = *(u32 *)(r7 + 30)
    r3 |= 256
    r3 <<= 48
    r4 |= r3
    *(u64 *)(r10 - 8) = r4
    r2 = r10
    r2 += -8
    r1 = map[vips] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto pass_not_vip
    goto drop_fragment
options:
    r3 = r2
    r3 >>= 4
    if r3 != 4 goto pass_malformed
    r2 &= 15
    if r2 < 5 goto pass_malformed
    r3 = *(u16 *)(r7 + 20)
    if r3 & 65343 goto fragment
    r3 = *(u8 *)(r7 + 23)
    if r3 == 6 goto options_ports
    if r3 != 17 goto pass_other_protocol
options_ports:
    r2 <<= 2
    r9 = r2
    r9 += 8
    r1 = r7
    r1 += r2
    r2 = r1
    r2 += 18
    if r2 > r8 goto pass_short
    r4 = *(u32 *)(r7 + 30)
    r5 = *(u16 *)(r1 + 16)
    r5 <<= 32
    r4 |= r5
    r3 <<= 48
    r4 |= r3
    *(u64 *)(r10 - 8) = r4
    r4 = *(u32 *)(r7 + 26)
    r5 = *(u32 *)(r1 + 14)
    r5 <<= 32
    r4 |= r5
    *(u64 *)(r10 - 16) = r4
    goto lookup
icmp:
    if r3 != 1 goto pass_other_protocol
    r2 = r7
    r2 += 70
    if r2 > r8 goto pass_other_protocol
    r2 = *(u8 *)(r7 + 34)
    if r2 == 3 goto icmp_error
    if r2 == 11 goto icmp_error
    if r2 != 12 goto pass_other_protocol
icmp_error:
    r2 = *(u8 *)(r7 + 42)
    if r2 != 69 goto pass_other_protocol
    r2 = *(u16 *)(r7 + 48)
    if r2 & 65311 goto pass_other_protocol
    r3 = *(u8 *)(r7 + 51)
    if r3 == 6 goto icmp_ports
    if r3 != 17 goto pass_other_protocol
icmp_ports:
    r4 = *(u32 *)(r7 + 54)
    r5 = *(u32 *)(r7 + 30)
    if r4 != r5 goto pass_not_vip
    r5 = *(u16 *)(r7 + 62)
    r1 = r5
    r5 <<= 32
    r4 |= r5
    r3 <<= 48
    r4 |= r3
    *(u64 *)(r10 - 8) = r4
    r4 = *(u32 *)(r7 + 58)
    r5 = *(u16 *)(r7 + 64)
    r5 <<= 32
    r4 |= r5
    r1 <<= 48
    r4 |= r1
    *(u64 *)(r10 - 16) = r4
    r9 = 56
    goto lookup
not_ipv4:
    if r2 == 129 goto pass_vlan
    if r2 == 43144 goto pass_vlan
    goto pass_not_ipv4
pass_short:
    *(u32 *)(r10 - 36) = 2
    r6 = 2
    goto count
pass_not_vip:
    *(u32 *)(r10 - 36) = 5
    r6 = 2
    goto count
drop_no_real:
    r1 = *(u32 *)(r10 - 20)
    r1 <<= 5
    r1 += 8
    *(u32 *)(r10 - 36) = r1
    r6 = 1
    goto count
drop_bad_length:
    r1 = *(u32 *)(r10 - 20)
    r1 <<= 5
    r1 += 7
    *(u32 *)(r10 - 36) = r1
    r6 = 1
    goto count
drop_no_headroom:
    r1 = *(u32 *)(r10 - 20)
    r1 <<= 5
    r1 += 14
    *(u32 *)(r10 - 36) = r1
    r6 = 1
    goto count
drop_no_route:
    r1 = *(u32 *)(r10 - 20)
    r1 <<= 5
    r1 += 9
    *(u32 *)(r10 - 36) = r1
    r6 = 1
    goto count
drop_forwarding_off:
    r1 = *(u32 *)(r10 - 20)
    r1 <<= 5
    r1 += 10
    *(u32 *)(r10 - 36) = r1
    r6 = 1
    goto count
pass_no_neighbour:
    r1 = *(u32 *)(r10 - 20)
    r1 <<= 5
    r1 += 11
    *(u32 *)(r10 - 36) = r1
    r6 = 2
    goto count
drop_too_big:
    r1 = *(u32 *)(r10 - 20)
    r1 <<= 5
    r1 += 12
    *(u32 *)(r10 - 36) = r1
    r6 = 1
    goto count
tx_too_big_answered:
    r1 = *(u32 *)(r10 - 20)
    r1 <<= 5
    r1 += 13
    *(u32 *)(r10 - 36) = r1
    r6 = 3
    goto count
pass_other_protocol:
    *(u32 *)(r10 - 36) = 4
    r6 = 2
    goto count
drop_fragment:
    *(u32 *)(r10 - 36) = 6
    r6 = 1
    goto count
pass_malformed:
    *(u32 *)(r10 - 36) = 3
    r6 = 2
    goto count
pass_vlan:
    *(u32 *)(r10 - 36) = 1
    r6 = 2
    goto count
pass_not_ipv4:
    *(u32 *)(r10 - 36) = 0
    r6 = 2
    goto count
count:
    r2 = r10
    r2 += -36
    r1 = map[reasons] ll
    call bpf_map_lookup_elem
    if r0 == 0 goto out
    r3 = *(u64 *)(r0 + 0)
    r3 += 1
    *(u64 *)(r0 + 0) = r3
out:
    r0 = r6
    exit
