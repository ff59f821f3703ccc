# What people write on their first day, and what they are told.

.license "GPL"
.map hits: array { key: u32, value: u64, max_entries: 1 }

.section xdp
first:
    mov r0, 1
    r0 = XDP_PASS
    r1 = hits
    r2 = fp
    r2 = r10 - 4
    *(u32 *)r10 - 4 = 0
    r3 = [r1 + 4]
    r3 = *(r1 + 4)
    r3 = *(u32)(r1 + 4)
    call bpf_map_lookup_elem(r1, r2)
    call bpf_map_lookup_element
    if (r0 == 0) goto out
    if r0 == NULL goto out
    if r0 goto out
    lock *(u64 *)(r0 + 0) += 1
    r4 = w3
    r5++
    r11 = 0
    rax = 0
    goto done
    return 2
out:
    r0 = 2, exit
.section .maps
#> error: `mov` starts no instruction
#>  --> newcomer.s:8:5
#>   |
#> 8 |     mov r0, 1
#>   |     ^^^
#>   |
#>   = help: that is the other language; here it is `r1 = 5`, `r1 += r2`, `r1 = *(u32 *)(r2 + 4)`, `if r1 == 5 goto out`
#>
#> error: `XDP_PASS` is no register and no constant
#>  --> newcomer.s:9:10
#>   |
#> 9 |     r0 = XDP_PASS
#>   |          ^^^^^^^^
#>   |
#>   = help: a constant is defined before its use: `.equ XDP_PASS, 1`; an address is `XDP_PASS ll`
#>
#> error: `hits` is no register and no constant
#>   --> newcomer.s:10:10
#>    |
#> 10 |     r1 = hits
#>    |          ^^^^
#>    |
#>    = help: a constant is defined before its use: `.equ hits, 1`; an address is `hits ll`
#>
#> error: `fp` is no register and no constant
#>   --> newcomer.s:11:10
#>    |
#> 11 |     r2 = fp
#>    |          ^^
#>    |
#>    = help: the frame pointer is r10
#>
#> error: `-` is left over
#>   --> newcomer.s:12:14
#>    |
#> 12 |     r2 = r10 - 4
#>    |              ^
#>    |
#>    = help: an instruction does one operation: first `r1 = r2`, then `r1 += 3`
#>
#> error: expected `(`, found `r10`
#>   --> newcomer.s:13:13
#>    |
#> 13 |     *(u32 *)r10 - 4 = 0
#>    |             ^^^
#>    |
#>    = help: an access says its size and its address: `*(u32 *)(r1 + 4)`
#>
#> error: expected a number, found `[`
#>   --> newcomer.s:14:10
#>    |
#> 14 |     r3 = [r1 + 4]
#>    |          ^
#>    |
#>    = help: memory is read like this: `r1 = *(u32 *)(r2 + 4)`
#>
#> error: `r1` is no size of a memory access
#>   --> newcomer.s:15:12
#>    |
#> 15 |     r3 = *(r1 + 4)
#>    |            ^^
#>    |
#>    = help: an access says its size and its address: `*(u32 *)(r1 + 4)`
#>
#> error: expected `*`, found `)`
#>   --> newcomer.s:16:15
#>    |
#> 16 |     r3 = *(u32)(r1 + 4)
#>    |               ^
#>    |
#>    = help: an access says its size and its address: `*(u32 *)(r1 + 4)`
#>
#> error: a call is written without its arguments
#>   --> newcomer.s:17:29
#>    |
#> 17 |     call bpf_map_lookup_elem(r1, r2)
#>    |                             ^
#>    |
#>    = help: put them into r1 to r5, in order, before the call; the result is in r0
#>
#> error: `bpf_map_lookup_element` is neither a function here nor a helper
#>   --> newcomer.s:18:10
#>    |
#> 18 |     call bpf_map_lookup_element
#>    |          ^^^^^^^^^^^^^^^^^^^^^^
#>    |
#>    = help: did you mean `map_lookup_elem`?
#>
#> error: expected a register, found `(`
#>   --> newcomer.s:19:8
#>    |
#> 19 |     if (r0 == 0) goto out
#>    |        ^
#>    |
#>    = help: leave the parentheses away
#>
#> error: `NULL` is no constant
#>   --> newcomer.s:20:14
#>    |
#> 20 |     if r0 == NULL goto out
#>    |              ^^^^
#>    |
#>    = help: define it before its use: `.equ NULL, 1`; an address is written `NULL ll`
#>
#> error: expected a comparison, found `goto`
#>   --> newcomer.s:21:11
#>    |
#> 21 |     if r0 goto out
#>    |           ^^^^
#>    |
#>    = help: comparisons are == != > >= < <= s> s>= s< s<= and & (some bit in common)
#>
#> error: expected a register, found `1`
#>   --> newcomer.s:22:30
#>    |
#> 22 |     lock *(u64 *)(r0 + 0) += 1
#>    |                              ^
#>    |
#>    = help: put the constant into a register first
#>
#> error: both sides must have the same width: r (64 bits) or w (the low 32 bits)
#>   --> newcomer.s:23:10
#>    |
#> 23 |     r4 = w3
#>    |          ^^
#>    |
#>    = help: write r3
#>
#> error: `+` is no assignment
#>   --> newcomer.s:24:7
#>    |
#> 24 |     r5++
#>    |       ^
#>    |
#>    = help: assignments are = += -= *= /= %= &= |= ^= <<= >>= s>>= s/= s%=
#>
#> error: there is no register 11
#>   --> newcomer.s:25:5
#>    |
#> 25 |     r11 = 0
#>    |     ^^^
#>    |
#>    = help: registers are r0 to r10, and w0 to w10
#>
#> error: there is no label `done`
#>   --> newcomer.s:27:10
#>    |
#> 27 |     goto done
#>    |          ^^^^
#>
#> error: `return` starts no instruction
#>   --> newcomer.s:28:5
#>    |
#> 28 |     return 2
#>    |     ^^^^^^
#>    |
#>    = help: `exit` leaves the function, and what it returns is in r0
#>
#> error: `,` is left over
#>   --> newcomer.s:30:11
#>    |
#> 30 |     r0 = 2, exit
#>    |           ^
#>    |
#>    = help: one statement a line; a comment starts with `#`, `//` or `;`
#>
#> error: the section of maps is written by the assembler
#>   --> newcomer.s:31:10
#>    |
#> 31 | .section .maps
#>    |          ^^^^^
#>    |
#>    = help: declare maps with `.map name: hash { key: u32, value: u64, max_entries: 16 }`
