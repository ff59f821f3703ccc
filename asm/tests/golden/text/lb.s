# A small program with everything a file can have: types, maps, variables, a called function, line marks.

.license "Dual MIT/GPL"

.struct Eth {
    dst: u8[6]
    src: u8[6]
    proto: be16
}

.struct VipKey { addr: be32, port: be16, proto: u8, pad: u8 }
.enum verdict { DROP = 1, PASS }
.typedef counter_t = u64
.union word { whole: u32, half: u16[2] }
.struct Stat packed {
    kind: u8
    hits: counter_t
    last: word
}

.map vips: hash { key: VipKey, value: Stat, max_entries: 512, pinning: by_name }
.map stats: percpu_array { key: u32, value: Stat, max_entries: 4 }
.map jumps: prog_array { key_size: 4, value_size: 4, max_entries: 1, slots: [balance] }

.equ ETH_P_IP, 0x0800
ctx = r6                            # a register under another name

.data
.var hits: u64 = 0
.var table: VipKey[2] = 0x0a000001, 80, 6, 0, 0x0a000002, 443

.rodata
.var ports: u16[3] = 80, 443, 8080
.var banner: char[6] = "lb v1"

.bss
.var scratch: u8[32]

.section xdp
.func balance(ctx: *xdp_md) -> int
balance:
    ctx = r1
    r1 = *(u32 *)(ctx + 0)
    r2 = *(u32 *)(ctx + 4)
    r3 = r1
    r3 += sizeof(Eth)
    if r3 > r2 goto 1f
    r4 = *(u16 *)(r1 + Eth.proto)
    r4 = be16 r4
    if w4 != ETH_P_IP goto 1f
    *(u64 *)(r10 - 8) = 0
    r1 = vips ll
    r2 = r10
    r2 += -sizeof(VipKey)
    call map_lookup_elem
    if r0 == 0 goto 1f
    r1 = r0
    call count
    r1 = hits ll
    r2 = 1
    lock *(u64 *)(r1 + 0) += r2
    r1 = table + sizeof(VipKey) ll
    r0 = *(u32 *)(r1 + VipKey.addr)
1:
    r0 = PASS
    exit

.text
.func static count(stat: *Stat) -> s32
count:
    .loc "count.c" 12 5
    r2 = *(u64 *)(r1 + Stat.hits)
    r2 += 1
    .loc "count.c" 13
    *(u64 *)(r1 + Stat.hits) = r2
    r0 = 0
    exit
#> xdp balance global
#>     .loc "lb.s" 42 5 "ctx = r1"
#> balance:
#>     r6 = r1  // 0
#>     .loc "lb.s" 43 5 "r1 = *(u32 *)(ctx + 0)"
#>     r1 = *(u32 *)(r6 + 0)  // 1
#>     .loc "lb.s" 44 5 "r2 = *(u32 *)(ctx + 4)"
#>     r2 = *(u32 *)(r6 + 4)  // 2
#>     .loc "lb.s" 45 5 "r3 = r1"
#>     r3 = r1  // 3
#>     .loc "lb.s" 46 5 "r3 += sizeof(Eth)"
#>     r3 += 14  // 4
#>     .loc "lb.s" 47 5 "if r3 > r2 goto 1f"
#>     if r3 > r2 goto .L25  // 5
#>     .loc "lb.s" 48 5 "r4 = *(u16 *)(r1 + Eth.proto)"
#>     r4 = *(u16 *)(r1 + 12)  // 6
#>     .loc "lb.s" 49 5 "r4 = be16 r4"
#>     r4 = be16 r4  // 7
#>     .loc "lb.s" 50 5 "if w4 != ETH_P_IP goto 1f"
#>     if w4 != 2048 goto .L25  // 8
#>     .loc "lb.s" 51 5 "*(u64 *)(r10 - 8) = 0"
#>     *(u64 *)(r10 - 8) = 0  // 9
#>     .loc "lb.s" 52 5 "r1 = vips ll"
#>     r1 = map[vips] ll  // 10
#>     .loc "lb.s" 53 5 "r2 = r10"
#>     r2 = r10  // 12
#>     .loc "lb.s" 54 5 "r2 += -sizeof(VipKey)"
#>     r2 += -8  // 13
#>     .loc "lb.s" 55 5 "call map_lookup_elem"
#>     call bpf_map_lookup_elem  // 14
#>     .loc "lb.s" 56 5 "if r0 == 0 goto 1f"
#>     if r0 == 0 goto .L25  // 15
#>     .loc "lb.s" 57 5 "r1 = r0"
#>     r1 = r0  // 16
#>     .loc "lb.s" 58 5 "call count"
#>     call count  // 17
#>     .loc "lb.s" 59 5 "r1 = hits ll"
#>     r1 = map[hits][0]+0 ll  // 18
#>     .loc "lb.s" 60 5 "r2 = 1"
#>     r2 = 1  // 20
#>     .loc "lb.s" 61 5 "lock *(u64 *)(r1 + 0) += r2"
#>     lock *(u64 *)(r1 + 0) += r2  // 21
#>     .loc "lb.s" 62 5 "r1 = table + sizeof(VipKey) ll"
#>     r1 = map[table][0]+8 ll  // 22
#>     .loc "lb.s" 63 5 "r0 = *(u32 *)(r1 + VipKey.addr)"
#>     r0 = *(u32 *)(r1 + 0)  // 24
#>     .loc "lb.s" 65 5 "r0 = PASS"
#> .L25:
#>     r0 = 2  // 25
#>     .loc "lb.s" 66 5 "exit"
#>     exit  // 26
#> .text count static
#>     .loc "count.c" 12 5
#> count:
#>     r2 = *(u64 *)(r1 + 1)  // 0
#>     r2 += 1  // 1
#>     .loc "count.c" 13 0
#>     *(u64 *)(r1 + 1) = r2  // 2
#>     r0 = 0  // 3
#>     exit  // 4
#> xdp 216 bytes, 4 relocations
#> .text 40 bytes, 0 relocations
#> license 13 bytes, 0 relocations
#> .maps 112 bytes, 1 relocations
#> .data 24 bytes, 0 relocations
#> .rodata 12 bytes, 0 relocations
#> .bss 32 bytes, 0 relocations
#> [1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
#> [2] INT '__ARRAY_SIZE_TYPE__' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [3] ARRAY '(anon)' type_id=1 index_type_id=2 nr_elems=1
#> [4] PTR '(anon)' type_id=3
#> [5] ARRAY '(anon)' type_id=1 index_type_id=2 nr_elems=512
#> [6] PTR '(anon)' type_id=5
#> [7] INT 'u32' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [8] TYPEDEF '__be32' type_id=7
#> [9] INT 'u16' size=2 bits_offset=0 nr_bits=16 encoding=(none)
#> [10] TYPEDEF '__be16' type_id=9
#> [11] INT 'u8' size=1 bits_offset=0 nr_bits=8 encoding=(none)
#> [12] STRUCT 'VipKey' size=8 vlen=4
#> 	'addr' type_id=8 bits_offset=0
#> 	'port' type_id=10 bits_offset=32
#> 	'proto' type_id=11 bits_offset=48
#> 	'pad' type_id=11 bits_offset=56
#> [13] PTR '(anon)' type_id=12
#> [14] INT 'u64' size=8 bits_offset=0 nr_bits=64 encoding=(none)
#> [15] TYPEDEF 'counter_t' type_id=14
#> [16] ARRAY '(anon)' type_id=9 index_type_id=2 nr_elems=2
#> [17] UNION 'word' size=4 vlen=2
#> 	'whole' type_id=7 bits_offset=0
#> 	'half' type_id=16 bits_offset=0
#> [18] STRUCT 'Stat' size=13 vlen=3
#> 	'kind' type_id=11 bits_offset=0
#> 	'hits' type_id=15 bits_offset=8
#> 	'last' type_id=17 bits_offset=72
#> [19] PTR '(anon)' type_id=18
#> [20] STRUCT '(anon)' size=40 vlen=5
#> 	'type' type_id=4 bits_offset=0
#> 	'max_entries' type_id=6 bits_offset=64
#> 	'pinning' type_id=4 bits_offset=128
#> 	'key' type_id=13 bits_offset=192
#> 	'value' type_id=19 bits_offset=256
#> [21] VAR 'vips' type_id=20, linkage=global
#> [22] ARRAY '(anon)' type_id=1 index_type_id=2 nr_elems=6
#> [23] PTR '(anon)' type_id=22
#> [24] ARRAY '(anon)' type_id=1 index_type_id=2 nr_elems=4
#> [25] PTR '(anon)' type_id=24
#> [26] PTR '(anon)' type_id=7
#> [27] STRUCT '(anon)' size=32 vlen=4
#> 	'type' type_id=23 bits_offset=0
#> 	'max_entries' type_id=25 bits_offset=64
#> 	'key' type_id=26 bits_offset=128
#> 	'value' type_id=19 bits_offset=192
#> [28] VAR 'stats' type_id=27, linkage=global
#> [29] ARRAY '(anon)' type_id=1 index_type_id=2 nr_elems=3
#> [30] PTR '(anon)' type_id=29
#> [31] PTR '(anon)' type_id=0
#> [32] FUNC_PROTO '(anon)' ret_type_id=1 vlen=1
#> 	'ctx' type_id=31
#> [33] PTR '(anon)' type_id=32
#> [34] ARRAY '(anon)' type_id=33 index_type_id=2 nr_elems=0
#> [35] STRUCT '(anon)' size=32 vlen=5
#> 	'type' type_id=30 bits_offset=0
#> 	'key_size' type_id=25 bits_offset=64
#> 	'value_size' type_id=25 bits_offset=128
#> 	'max_entries' type_id=4 bits_offset=192
#> 	'values' type_id=34 bits_offset=256
#> [36] VAR 'jumps' type_id=35, linkage=global
#> [37] DATASEC '.maps' size=112 vlen=3
#> 	type_id=21 offset=0 size=40 (VAR 'vips')
#> 	type_id=28 offset=40 size=32 (VAR 'stats')
#> 	type_id=36 offset=72 size=40 (VAR 'jumps')
#> [38] VAR 'hits' type_id=14, linkage=global
#> [39] ARRAY '(anon)' type_id=12 index_type_id=2 nr_elems=2
#> [40] VAR 'table' type_id=39, linkage=global
#> [41] DATASEC '.data' size=24 vlen=2
#> 	type_id=38 offset=0 size=8 (VAR 'hits')
#> 	type_id=40 offset=8 size=16 (VAR 'table')
#> [42] ARRAY '(anon)' type_id=9 index_type_id=2 nr_elems=3
#> [43] CONST '(anon)' type_id=42
#> [44] VAR 'ports' type_id=43, linkage=global
#> [45] INT 'char' size=1 bits_offset=0 nr_bits=8 encoding=SIGNED
#> [46] ARRAY '(anon)' type_id=45 index_type_id=2 nr_elems=6
#> [47] CONST '(anon)' type_id=46
#> [48] VAR 'banner' type_id=47, linkage=global
#> [49] DATASEC '.rodata' size=12 vlen=2
#> 	type_id=44 offset=0 size=6 (VAR 'ports')
#> 	type_id=48 offset=6 size=6 (VAR 'banner')
#> [50] ARRAY '(anon)' type_id=11 index_type_id=2 nr_elems=32
#> [51] VAR 'scratch' type_id=50, linkage=global
#> [52] DATASEC '.bss' size=32 vlen=1
#> 	type_id=51 offset=0 size=32 (VAR 'scratch')
#> [53] ARRAY '(anon)' type_id=45 index_type_id=2 nr_elems=13
#> [54] VAR '_license' type_id=53, linkage=global
#> [55] DATASEC 'license' size=13 vlen=1
#> 	type_id=54 offset=0 size=13 (VAR '_license')
#> [56] STRUCT 'xdp_md' size=24 vlen=6
#> 	'data' type_id=7 bits_offset=0
#> 	'data_end' type_id=7 bits_offset=32
#> 	'data_meta' type_id=7 bits_offset=64
#> 	'ingress_ifindex' type_id=7 bits_offset=96
#> 	'rx_queue_index' type_id=7 bits_offset=128
#> 	'egress_ifindex' type_id=7 bits_offset=160
#> [57] PTR '(anon)' type_id=56
#> [58] FUNC_PROTO '(anon)' ret_type_id=1 vlen=1
#> 	'ctx' type_id=57
#> [59] FUNC 'balance' type_id=58 linkage=global
#> [60] INT 's32' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
#> [61] FUNC_PROTO '(anon)' ret_type_id=60 vlen=1
#> 	'stat' type_id=19
#> [62] FUNC 'count' type_id=61 linkage=static
