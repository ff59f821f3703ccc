# What the kernel and its configuration have, and an interface of the kernel's that programs implement.

.license "GPL"

.extern config LINUX_KERNEL_VERSION: u32
.extern weak config CONFIG_HZ: u32
.extern weak func bpf_task_acquire(*task_struct) -> *task_struct
.extern var jiffies: void

.struct tcp_congestion_ops {
    ssthresh: *fn(sk: *sock) -> u32
    undo_cwnd: *fn(sk: *sock) -> u32
    cong_avoid: *fn(sk: *sock, ack: u32, acked: u32) -> void
    flags: u32
    name: char[16]
}

.section .struct_ops.link
.var ours: tcp_congestion_ops = {
    ssthresh: fixed
    undo_cwnd: fixed
    cong_avoid: nothing
    name: "asm_fixed"
}

.section struct_ops
.func fixed(ctx: *u64) -> int
fixed:
    r0 = 10
    exit
.func nothing(ctx: *u64) -> int
nothing:
    exit

.section tc
version:
    r1 = LINUX_KERNEL_VERSION ll
    w0 = *(u32 *)(r1 + 0)
    r1 = CONFIG_HZ ll
    w1 = *(u32 *)(r1 + 0)
    r2 = jiffies ll
    if w1 == 0 goto out
    r3 = bpf_task_acquire ll
out:
    exit
#> struct_ops fixed global
#>     .loc "kernel.s" 29 5 "r0 = 10"
#> fixed:
#>     r0 = 10  // 0
#>     .loc "kernel.s" 30 5 "exit"
#>     exit  // 1
#> struct_ops nothing global
#>     .loc "kernel.s" 33 5 "exit"
#> nothing:
#>     exit  // 0
#> tc version global
#>     .loc "kernel.s" 37 5 "r1 = LINUX_KERNEL_VERSION ll"
#> version:
#>     r1 = ksym[LINUX_KERNEL_VERSION] ll  // 0
#>     .loc "kernel.s" 38 5 "w0 = *(u32 *)(r1 + 0)"
#>     r0 = *(u32 *)(r1 + 0)  // 2
#>     .loc "kernel.s" 39 5 "r1 = CONFIG_HZ ll"
#>     r1 = ksym[CONFIG_HZ] ll  // 3
#>     .loc "kernel.s" 40 5 "w1 = *(u32 *)(r1 + 0)"
#>     r1 = *(u32 *)(r1 + 0)  // 5
#>     .loc "kernel.s" 41 5 "r2 = jiffies ll"
#>     r2 = ksym[jiffies] ll  // 6
#>     .loc "kernel.s" 42 5 "if w1 == 0 goto out"
#>     if w1 == 0 goto out  // 8
#>     .loc "kernel.s" 43 5 "r3 = bpf_task_acquire ll"
#>     r3 = ksym[bpf_task_acquire] ll  // 9
#>     .loc "kernel.s" 45 5 "exit"
#> out:
#>     exit  // 11
#> struct_ops 24 bytes, 0 relocations
#> tc 96 bytes, 4 relocations
#> license 4 bytes, 0 relocations
#> .struct_ops.link 48 bytes, 3 relocations
#> [1] INT 'u32' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [2] FWD 'sock' fwd_kind=struct
#> [3] PTR '(anon)' type_id=2
#> [4] FUNC_PROTO '(anon)' ret_type_id=1 vlen=1
#> 	'sk' type_id=3
#> [5] PTR '(anon)' type_id=4
#> [6] FUNC_PROTO '(anon)' ret_type_id=0 vlen=3
#> 	'sk' type_id=3
#> 	'ack' type_id=1
#> 	'acked' type_id=1
#> [7] PTR '(anon)' type_id=6
#> [8] INT 'char' size=1 bits_offset=0 nr_bits=8 encoding=SIGNED
#> [9] INT '__ARRAY_SIZE_TYPE__' size=4 bits_offset=0 nr_bits=32 encoding=(none)
#> [10] ARRAY '(anon)' type_id=8 index_type_id=9 nr_elems=16
#> [11] STRUCT 'tcp_congestion_ops' size=48 vlen=5
#> 	'ssthresh' type_id=5 bits_offset=0
#> 	'undo_cwnd' type_id=5 bits_offset=64
#> 	'cong_avoid' type_id=7 bits_offset=128
#> 	'flags' type_id=1 bits_offset=192
#> 	'name' type_id=10 bits_offset=224
#> [12] VAR 'ours' type_id=11, linkage=global
#> [13] DATASEC '.struct_ops.link' size=48 vlen=1
#> 	type_id=12 offset=0 size=48 (VAR 'ours')
#> [14] VAR 'LINUX_KERNEL_VERSION' type_id=1, linkage=extern
#> [15] VAR 'CONFIG_HZ' type_id=1, linkage=extern
#> [16] FWD 'task_struct' fwd_kind=struct
#> [17] PTR '(anon)' type_id=16
#> [18] FUNC_PROTO '(anon)' ret_type_id=17 vlen=1
#> 	'(anon)' type_id=17
#> [19] FUNC 'bpf_task_acquire' type_id=18 linkage=extern
#> [20] VAR 'jiffies' type_id=0, linkage=extern
#> [21] DATASEC '.ksyms' size=0 vlen=2
#> 	type_id=19 offset=0 size=0 (FUNC 'bpf_task_acquire')
#> 	type_id=20 offset=0 size=0 (VAR 'jiffies')
#> [22] DATASEC '.kconfig' size=0 vlen=2
#> 	type_id=14 offset=0 size=4 (VAR 'LINUX_KERNEL_VERSION')
#> 	type_id=15 offset=0 size=4 (VAR 'CONFIG_HZ')
#> [23] ARRAY '(anon)' type_id=8 index_type_id=9 nr_elems=4
#> [24] VAR '_license' type_id=23, linkage=global
#> [25] DATASEC 'license' size=4 vlen=1
#> 	type_id=24 offset=0 size=4 (VAR '_license')
#> [26] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
#> [27] INT 'u64' size=8 bits_offset=0 nr_bits=64 encoding=(none)
#> [28] PTR '(anon)' type_id=27
#> [29] FUNC_PROTO '(anon)' ret_type_id=26 vlen=1
#> 	'ctx' type_id=28
#> [30] FUNC 'fixed' type_id=29 linkage=global
#> [31] FUNC 'nothing' type_id=29 linkage=global
#> [32] INT 'i32' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED
#> [33] STRUCT '__sk_buff' size=0 vlen=0
#> [34] PTR '(anon)' type_id=33
#> [35] FUNC_PROTO '(anon)' ret_type_id=32 vlen=1
#> 	'ctx' type_id=34
#> [36] FUNC 'version' type_id=35 linkage=global
