# What types can say: bit fields, nameless parts, circles, marks, and first values of all of it.

.license "GPL"

.basetype "odd one" int 4 bits 7
.typedef __u32 = "unsigned int"
.typedef visit_t = fn(*node, *void) -> int
.enum state { IDLE, BUSY = 7 }
.enum small size 1 { LOW = 1 }
.enum wide { TOP = 0xffffffffffff }

.struct node {
    next: *node                     # itself
    owner: *list                    # declared below
    kptr: *tag("kptr") task_struct  # declared nowhere
    link: u64[2] decl_tag("contains:node:next")
    flags: u32 : 3
    more: u32 : 20
    state: state
    union { whole: __u32, half: u16[2] }
    weight: double
    visit: *visit_t
    log: *fn("char", ...) -> void
}
.union either {
    number: "odd one"
    struct packed { kind: u8, value: u32 }
}
.struct list decl_tag("lists") { first: *node, kinds: either[2], wide: wide, small: small }
.struct apart size 24 { a: u8 @ 3, bits: u32 : 5 @ 8:7, end: u64 @ 16 }
.typedef list = struct list         # a name of its own

.section .data
.var first: node = { flags: 5, more: 1, state: BUSY, whole: 7 }
.var static hidden: struct list = { wide: TOP, small: LOW }
.var gaps: apart = bytes 0, 0, 0, 9, 1
.var banner: struct { len: u8, text: char[7] } = { len: 3, text: "abc" }

.section xdp
.func types(ctx: *xdp_md decl_tag("arg:ctx")) -> int decl_tag("entry")
types:
    r1 = first ll
    w0 = *(u16 *)(r1 + node.half)
    r1 = hidden + list.wide ll
    r1 = *(u64 *)(r1 + 0)
    exit
#> xdp types global
#>     .loc "types.s" 42 5 "r1 = first ll"
#> types:
#>     r1 = map[first][0]+0 ll  // 0
#>     .loc "types.s" 43 5 "w0 = *(u16 *)(r1 + node.half)"
#>     r0 = *(u16 *)(r1 + 48)  // 2
#>     .loc "types.s" 44 5 "r1 = hidden + list.wide ll"
#>     r1 = map[hidden][0]+24 ll  // 3
#>     .loc "types.s" 45 5 "r1 = *(u64 *)(r1 + 0)"
#>     r1 = *(u64 *)(r1 + 0)  // 5
#>     .loc "types.s" 46 5 "exit"
#>     exit  // 6
#> xdp 56 bytes, 2 relocations
#> license 4 bytes, 0 relocations
#> .data 152 bytes, 0 relocations
#> [1] STRUCT 'node' size=80 vlen=11
#> 	'next' type_id=2 bits_offset=0
#> 	'owner' type_id=4 bits_offset=64
#> 	'kptr' type_id=7 bits_offset=128
#> 	'link' type_id=10 bits_offset=192
#> 	'flags' type_id=11 bits_offset=320 bitfield_size=3
#> 	'more' type_id=11 bits_offset=323 bitfield_size=20
#> 	'state' type_id=12 bits_offset=352
#> 	'(anon)' type_id=17 bits_offset=384
#> 	'weight' type_id=18 bits_offset=448
#> 	'visit' type_id=23 bits_offset=512
#> 	'log' type_id=26 bits_offset=576
#> [2] PTR '(anon)' type_id=1
#> [3] STRUCT 'list' size=40 vlen=4
#> 	'first' type_id=2 bits_offset=0
#> 	'kinds' type_id=32 bits_offset=64
#> 	'wide' type_id=33 bits_offset=192
#> 	'small' type_id=34 bits_offset=256
#> [4] PTR '(anon)' type_id=3
#> [5] FWD 'task_struct' fwd_kind=struct
#> [6] TYPE_TAG 'kptr' type_id=5
#> [7] PTR '(anon)' type_id=6
#> [8] INT 'u64' size=8 bits_offset=0 nr_bits=64 encoding=(none)
#> [9] INT '__ARRAY_SIZE_TYPE__' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [10] ARRAY '(anon)' type_id=8 index_type_id=9 nr_elems=2
#> [11] INT 'u32' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [12] ENUM 'state' encoding=UNSIGNED size=4 vlen=2
#> 	'IDLE' val=0
#> 	'BUSY' val=7
#> [13] INT 'unsigned int' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [14] TYPEDEF '__u32' type_id=13
#> [15] INT 'u16' size=2 bits_offset=0 nr_bits=16 encoding=(none)
#> [16] ARRAY '(anon)' type_id=15 index_type_id=9 nr_elems=2
#> [17] UNION '(anon)' size=4 vlen=2
#> 	'whole' type_id=14 bits_offset=0
#> 	'half' type_id=16 bits_offset=0
#> [18] FLOAT 'double' size=8
#> [19] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
#> [20] PTR '(anon)' type_id=0
#> [21] FUNC_PROTO '(anon)' ret_type_id=19 vlen=2
#> 	'(anon)' type_id=2
#> 	'(anon)' type_id=20
#> [22] TYPEDEF 'visit_t' type_id=21
#> [23] PTR '(anon)' type_id=22
#> [24] INT 'char' size=1 bits_offset=0 nr_bits=8 encoding=SIGNED
#> [25] FUNC_PROTO '(anon)' ret_type_id=0 vlen=2
#> 	'(anon)' type_id=24
#> 	'(anon)' type_id=0
#> [26] PTR '(anon)' type_id=25
#> [27] DECL_TAG 'contains:node:next' type_id=1 component_idx=3
#> [28] INT 'odd one' size=4 bits_offset=0 nr_bits=7 encoding=(none)
#> [29] INT 'u8' size=1 bits_offset=0 nr_bits=8 encoding=(none)
#> [30] STRUCT '(anon)' size=5 vlen=2
#> 	'kind' type_id=29 bits_offset=0
#> 	'value' type_id=11 bits_offset=8
#> [31] UNION 'either' size=8 vlen=2
#> 	'number' type_id=28 bits_offset=0
#> 	'(anon)' type_id=30 bits_offset=0
#> [32] ARRAY '(anon)' type_id=31 index_type_id=9 nr_elems=2
#> [33] ENUM64 'wide' encoding=UNSIGNED size=8 vlen=1
#> 	'TOP' val=281474976710655ULL
#> [34] ENUM 'small' encoding=UNSIGNED size=1 vlen=1
#> 	'LOW' val=1
#> [35] DECL_TAG 'lists' type_id=3 component_idx=-1
#> [36] VAR 'first' type_id=1, linkage=global
#> [37] VAR 'hidden' type_id=3, linkage=static
#> [38] STRUCT 'apart' size=24 vlen=3
#> 	'a' type_id=29 bits_offset=24
#> 	'bits' type_id=11 bits_offset=71 bitfield_size=5
#> 	'end' type_id=8 bits_offset=128
#> [39] VAR 'gaps' type_id=38, linkage=global
#> [40] ARRAY '(anon)' type_id=24 index_type_id=9 nr_elems=7
#> [41] STRUCT '(anon)' size=8 vlen=2
#> 	'len' type_id=29 bits_offset=0
#> 	'text' type_id=40 bits_offset=8
#> [42] VAR 'banner' type_id=41, linkage=global
#> [43] DATASEC '.data' size=152 vlen=4
#> 	type_id=36 offset=0 size=80 (VAR 'first')
#> 	type_id=37 offset=80 size=40 (VAR 'hidden')
#> 	type_id=39 offset=120 size=24 (VAR 'gaps')
#> 	type_id=42 offset=144 size=8 (VAR 'banner')
#> [44] ARRAY '(anon)' type_id=24 index_type_id=9 nr_elems=4
#> [45] VAR '_license' type_id=44, linkage=global
#> [46] DATASEC 'license' size=4 vlen=1
#> 	type_id=45 offset=0 size=4 (VAR '_license')
#> [47] STRUCT 'xdp_md' size=24 vlen=6
#> 	'data' type_id=11 bits_offset=0
#> 	'data_end' type_id=11 bits_offset=32
#> 	'data_meta' type_id=11 bits_offset=64
#> 	'ingress_ifindex' type_id=11 bits_offset=96
#> 	'rx_queue_index' type_id=11 bits_offset=128
#> 	'egress_ifindex' type_id=11 bits_offset=160
#> [48] PTR '(anon)' type_id=47
#> [49] FUNC_PROTO '(anon)' ret_type_id=19 vlen=1
#> 	'ctx' type_id=48
#> [50] FUNC 'types' type_id=49 linkage=global
#> [51] DECL_TAG 'arg:ctx' type_id=50 component_idx=0
#> [52] DECL_TAG 'entry' type_id=50 component_idx=-1
