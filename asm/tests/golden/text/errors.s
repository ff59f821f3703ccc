# Mistakes, all reported at once.

.struct Eth {
    proto: be16
    next: nosuch
}
.map m: hsh { key: u32, value: u64 }
.map n: hash { key: u32, valu: u64 }
.sectoin xdp
.section xdp
main:
    r0 = w2
    r1 = 0xffffffff
    r11 = 4
    r1 = *(u32 *)(r2 + 40000)
    r1 = *(u33 *)(r2 + 0)
    r1 = r2 + 3
    r1 += Eth.prto
    r1 = nosuch ll
    w1 = *(u64 *)(r2 + 0)
    r2 = -r3
    r2 = be16 r3
    r2 = atomic_fetch_add((u64 *)(r1 + 0), r3)
    lock *(u16 *)(r1 + 0) += r2
    lock *(u32 *)(r1 + 0) <<= w2
    if r1 ~ 4 goto out
    if r1 == 4 goto owt
    goto 5
    goto 1f
    call map_lokup_elem
    call nothing_like_it
    r0 = 1; r1 = 2
    r0 = 10 / 0
    *(s32 *)(r1 + 0) = 3
    exti
    r1 = 1 << 70
out:
out:
    exit
.data
    r0 = 0
.var v: u8[2] = 1, 2, 3
.var w: u8 = 300
.ascii "\q"
.byte ?
#> error: there is no type `nosuch`
#>  --> errors.s:5:11
#>   |
#> 5 |     next: nosuch
#>   |           ^^^^^^
#>   |
#>   = help: types are u8 to u64, s8 to s64, be16 to be64, bool, char, *T, T[n], and what `.struct` declares
#>
#> error: there is no map type `hsh`
#>  --> errors.s:7:9
#>   |
#> 7 | .map m: hsh { key: u32, value: u64 }
#>   |         ^^^
#>   |
#>   = help: did you mean `hash`?
#>
#> error: a map has no field `valu`
#>  --> errors.s:8:26
#>   |
#> 8 | .map n: hash { key: u32, valu: u64 }
#>   |                          ^^^^
#>   |
#>   = help: did you mean `value`? fields are key, value, key_size, value_size, max_entries, flags, numa_node, pinning, inner, slots
#>
#> error: there is no directive `.sectoin`
#>  --> errors.s:9:1
#>   |
#> 9 | .sectoin xdp
#>   | ^^^^^^^^
#>   |
#>   = help: did you mean `.section`?
#>
#> error: both sides must have the same width: r (64 bits) or w (the low 32 bits)
#>   --> errors.s:12:10
#>    |
#> 12 |     r0 = w2
#>    |          ^^
#>    |
#>    = help: write r2
#>
#> error: 4294967295 does not fit into a signed 32-bit constant
#>   --> errors.s:13:10
#>    |
#> 13 |     r1 = 0xffffffff
#>    |          ^^^^^^^^^^
#>    |
#>    = help: constants are sign-extended to 64 bits: write -1, or load it with `rN = 0xffffffff ll`
#>
#> error: there is no register 11
#>   --> errors.s:14:5
#>    |
#> 14 |     r11 = 4
#>    |     ^^^
#>    |
#>    = help: registers are r0 to r10, and w0 to w10
#>
#> error: the offset 40000 does not fit into 16 bits
#>   --> errors.s:15:22
#>    |
#> 15 |     r1 = *(u32 *)(r2 + 40000)
#>    |                      ^^^^^^^
#>    |
#>    = help: offsets go from -32768 to 32767; add the rest to r2 first
#>
#> error: `u33` is no size of a memory access
#>   --> errors.s:16:12
#>    |
#> 16 |     r1 = *(u33 *)(r2 + 0)
#>    |            ^^^
#>    |
#>    = help: sizes are u8, u16, u32, u64, and s8, s16, s32 for loads that sign-extend
#>
#> error: `+` is left over
#>   --> errors.s:17:13
#>    |
#> 17 |     r1 = r2 + 3
#>    |             ^
#>    |
#>    = help: an instruction does one operation: first `r1 = r2`, then `r1 += 3`
#>
#> error: `Eth.prto` is no constant
#>   --> errors.s:18:11
#>    |
#> 18 |     r1 += Eth.prto
#>    |           ^^^^^^^^
#>    |
#>    = help: did you mean `Eth.proto`?
#>
#> error: nothing has the name `nosuch`
#>   --> errors.s:19:10
#>    |
#> 19 |     r1 = nosuch ll
#>    |          ^^^^^^
#>    |
#>    = help: declare it: `.map` for a map, `.var` for a variable, `.extern var` for one of the kernel's
#>
#> error: this load fills 64 bits
#>   --> errors.s:20:10
#>    |
#> 20 |     w1 = *(u64 *)(r2 + 0)
#>    |          ^
#>    |
#>    = help: write r1
#>
#> error: the negated register must be the assigned one, r2
#>   --> errors.s:21:11
#>    |
#> 21 |     r2 = -r3
#>    |           ^^
#>    |
#>    = help: the operation changes its register in place; first `r2 = r3`, then this with r2
#>
#> error: the swapped register must be the assigned one, r2
#>   --> errors.s:22:15
#>    |
#> 22 |     r2 = be16 r3
#>    |               ^^
#>    |
#>    = help: the operation changes its register in place; first `r2 = r3`, then this with r2
#>
#> error: the old value comes back in the operand's own register
#>   --> errors.s:23:44
#>    |
#> 23 |     r2 = atomic_fetch_add((u64 *)(r1 + 0), r3)
#>    |                                            ^^
#>    |
#>    = help: write r3 on both sides
#>
#> error: atomic operations work on 4 or 8 bytes
#>   --> errors.s:24:10
#>    |
#> 24 |     lock *(u16 *)(r1 + 0) += r2
#>    |          ^^^^^^^^^^^^^^^^
#>    |
#>    = help: use u32 or u64
#>
#> error: `<<=` cannot be atomic
#>   --> errors.s:25:27
#>    |
#> 25 |     lock *(u32 *)(r1 + 0) <<= w2
#>    |                           ^^^
#>    |
#>    = help: atomic assignments are += |= &= ^=
#>
#> error: expected a comparison, found `~`
#>   --> errors.s:26:11
#>    |
#> 26 |     if r1 ~ 4 goto out
#>    |           ^
#>    |
#>    = help: comparisons are == != > >= < <= s> s>= s< s<= and & (some bit in common)
#>
#> error: there is no label `owt`
#>   --> errors.s:27:21
#>    |
#> 27 |     if r1 == 4 goto owt
#>    |                     ^^^
#>    |
#>    = help: did you mean `out`?
#>
#> error: a jump to a bare number is ambiguous
#>   --> errors.s:28:10
#>    |
#> 28 |     goto 5
#>    |          ^
#>    |
#>    = help: write +5 for a distance in slots, or 5f and 5b for the label `5:`
#>
#> error: there is no label `1f`
#>   --> errors.s:29:10
#>    |
#> 29 |     goto 1f
#>    |          ^^
#>    |
#>    = help: `1f` is the next label `1:` behind the jump, `1b` the last one before it
#>
#> error: `map_lokup_elem` is neither a function here nor a helper
#>   --> errors.s:30:10
#>    |
#> 30 |     call map_lokup_elem
#>    |          ^^^^^^^^^^^^^^
#>    |
#>    = help: did you mean `map_lookup_elem`?
#>
#> error: `nothing_like_it` is neither a function here nor a helper
#>   --> errors.s:31:10
#>    |
#> 31 |     call nothing_like_it
#>    |          ^^^^^^^^^^^^^^^
#>    |
#>    = help: declare a function of the kernel's: `.extern func nothing_like_it(…) -> …`
#>
#> error: `;` starts a comment, and what follows would be lost
#>   --> errors.s:32:11
#>    |
#> 32 |     r0 = 1; r1 = 2
#>    |           ^
#>    |
#>    = help: put the second statement on a line of its own
#>
#> error: `10 / 0` has no value
#>   --> errors.s:33:10
#>    |
#> 33 |     r0 = 10 / 0
#>    |          ^^^^^^
#>
#> error: only loads sign-extend
#>   --> errors.s:34:6
#>    |
#> 34 |     *(s32 *)(r1 + 0) = 3
#>    |      ^^^^^^^
#>    |
#>    = help: use u8, u16, u32 or u64 here
#>
#> error: `exti` starts no instruction
#>   --> errors.s:35:5
#>    |
#> 35 |     exti
#>    |     ^^^^
#>    |
#>    = help: an instruction is `r1 = …`, `*(u32 *)(r1 + 0) = …`, `if … goto …`, `goto`, `call`, `lock` or `exit`
#>
#> error: `1 << 70` has no value
#>   --> errors.s:36:10
#>    |
#> 36 |     r1 = 1 << 70
#>    |          ^^^^^^^
#>
#> error: the label `out` is defined a second time
#>   --> errors.s:38:1
#>    |
#> 38 | out:
#>    | ^^^
#>    |
#>    = help: rename one of them
#>
#> error: `.data` holds variables, not code
#>   --> errors.s:41:5
#>    |
#> 41 |     r0 = 0
#>    |     ^^
#>    |
#>    = help: go back with `.text`, or `.section xdp` for a program
#>
#> error: the type has no room for so many numbers
#>   --> errors.s:42:23
#>    |
#> 42 | .var v: u8[2] = 1, 2, 3
#>    |                       ^
#>
#> error: 300 does not fit into 1 bytes
#>   --> errors.s:43:14
#>    |
#> 43 | .var w: u8 = 300
#>    |              ^^^
#>
#> error: unknown escape in a text
#>   --> errors.s:44:8
#>    |
#> 44 | .ascii "\q"
#>    |        ^^^^
#>    |
#>    = help: known are \n \t \r \0 \\ \" \'
#>
#> error: expected a number, found `?`
#>   --> errors.s:45:7
#>    |
#> 45 | .byte ?
#>    |       ^
