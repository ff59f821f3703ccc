# The example of docs/assembly.md.

.license "Dual MIT/GPL"

.struct Eth { dst: u8[6], src: u8[6], proto: be16 }
.map hits: array { key: u32, value: u64, max_entries: 1 }
.equ ETH_P_IP, 0x0800

.section xdp
.func count(ctx: *xdp_md) -> int
count:
    r2 = *(u32 *)(r1 + 4)               # data_end
    r1 = *(u32 *)(r1 + 0)               # data
    r3 = r1
    r3 += sizeof(Eth)
    if r3 > r2 goto pass
    r4 = *(u16 *)(r1 + Eth.proto)
    r4 = be16 r4
    if w4 != ETH_P_IP goto pass
    *(u32 *)(r10 - 4) = 0
    r1 = hits ll
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem
    if r0 == 0 goto pass
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
pass:
    r0 = 2
    exit
#> xdp count global
#>     .loc "manual.s" 12 5 "r2 = *(u32 *)(r1 + 4)               # data_end"
#> count:
#>     r2 = *(u32 *)(r1 + 4)  // 0
#>     .loc "manual.s" 13 5 "r1 = *(u32 *)(r1 + 0)               # data"
#>     r1 = *(u32 *)(r1 + 0)  // 1
#>     .loc "manual.s" 14 5 "r3 = r1"
#>     r3 = r1  // 2
#>     .loc "manual.s" 15 5 "r3 += sizeof(Eth)"
#>     r3 += 14  // 3
#>     .loc "manual.s" 16 5 "if r3 > r2 goto pass"
#>     if r3 > r2 goto pass  // 4
#>     .loc "manual.s" 17 5 "r4 = *(u16 *)(r1 + Eth.proto)"
#>     r4 = *(u16 *)(r1 + 12)  // 5
#>     .loc "manual.s" 18 5 "r4 = be16 r4"
#>     r4 = be16 r4  // 6
#>     .loc "manual.s" 19 5 "if w4 != ETH_P_IP goto pass"
#>     if w4 != 2048 goto pass  // 7
#>     .loc "manual.s" 20 5 "*(u32 *)(r10 - 4) = 0"
#>     *(u32 *)(r10 - 4) = 0  // 8
#>     .loc "manual.s" 21 5 "r1 = hits ll"
#>     r1 = map[hits] ll  // 9
#>     .loc "manual.s" 22 5 "r2 = r10"
#>     r2 = r10  // 11
#>     .loc "manual.s" 23 5 "r2 += -4"
#>     r2 += -4  // 12
#>     .loc "manual.s" 24 5 "call bpf_map_lookup_elem"
#>     call bpf_map_lookup_elem  // 13
#>     .loc "manual.s" 25 5 "if r0 == 0 goto pass"
#>     if r0 == 0 goto pass  // 14
#>     .loc "manual.s" 26 5 "r1 = 1"
#>     r1 = 1  // 15
#>     .loc "manual.s" 27 5 "lock *(u64 *)(r0 + 0) += r1"
#>     lock *(u64 *)(r0 + 0) += r1  // 16
#>     .loc "manual.s" 29 5 "r0 = 2"
#> pass:
#>     r0 = 2  // 17
#>     .loc "manual.s" 30 5 "exit"
#>     exit  // 18
#> xdp 152 bytes, 1 relocations
#> license 13 bytes, 0 relocations
#> .maps 32 bytes, 0 relocations
#> [1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
#> [2] INT '__ARRAY_SIZE_TYPE__' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [3] ARRAY '(anon)' type_id=1 index_type_id=2 nr_elems=2
#> [4] PTR '(anon)' type_id=3
#> [5] ARRAY '(anon)' type_id=1 index_type_id=2 nr_elems=1
#> [6] PTR '(anon)' type_id=5
#> [7] INT 'u32' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [8] PTR '(anon)' type_id=7
#> [9] INT 'u64' size=8 bits_offset=0 nr_bits=64 encoding=(none)
#> [10] PTR '(anon)' type_id=9
#> [11] STRUCT '(anon)' size=32 vlen=4
#> 	'type' type_id=4 bits_offset=0
#> 	'max_entries' type_id=6 bits_offset=64
#> 	'key' type_id=8 bits_offset=128
#> 	'value' type_id=10 bits_offset=192
#> [12] VAR 'hits' type_id=11, linkage=global
#> [13] DATASEC '.maps' size=32 vlen=1
#> 	type_id=12 offset=0 size=32 (VAR 'hits')
#> [14] INT 'char' size=1 bits_offset=0 nr_bits=8 encoding=SIGNED
#> [15] ARRAY '(anon)' type_id=14 index_type_id=2 nr_elems=13
#> [16] VAR '_license' type_id=15, linkage=global
#> [17] DATASEC 'license' size=13 vlen=1
#> 	type_id=16 offset=0 size=13 (VAR '_license')
#> [18] STRUCT 'xdp_md' size=24 vlen=6
#> 	'data' type_id=7 bits_offset=0
#> 	'data_end' type_id=7 bits_offset=32
#> 	'data_meta' type_id=7 bits_offset=64
#> 	'ingress_ifindex' type_id=7 bits_offset=96
#> 	'rx_queue_index' type_id=7 bits_offset=128
#> 	'egress_ifindex' type_id=7 bits_offset=160
#> [19] PTR '(anon)' type_id=18
#> [20] FUNC_PROTO '(anon)' ret_type_id=1 vlen=1
#> 	'ctx' type_id=19
#> [21] FUNC 'count' type_id=20 linkage=global
