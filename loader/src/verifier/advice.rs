//! Stage: verification. Input: the verifier's last lines. Output: what to do, for the refusals people meet most.
//! Read next: `explain.rs`, which shows it.

/// One row a refusal: words of the verifier, our advice. The first row that fits is taken.
const ADVICE: &[(&str, &str)] = &[
    ("!read_ok", "write the register on every path to this instruction; a call leaves only r0 and r6 to r9 readable"),
    (
        "invalid access to packet",
        "compare the end of what is read with data_end first, and read through the same pointer that was compared",
    ),
    (
        "outside of the packet",
        "compare the end of what is read with data_end first, and read through the same pointer that was compared",
    ),
    ("map_value_or_null", "test the result of the lookup for zero before it is used"),
    ("_or_null'", "test the pointer for zero before it is used"),
    (
        "invalid access to map value",
        "the offset may lie outside the map's value: limit the index with a comparison or a mask before it is added",
    ),
    ("outside of the allowed memory range", "limit the offset with a comparison or a mask before it is added"),
    ("unbounded memory access", "give the offset an upper bound: compare it, or mask it with a constant"),
    ("unbounded min value", "make the value unsigned or compare it with zero before it is added to a pointer"),
    ("min value is negative", "make the length unsigned or compare it with zero before it is passed"),
    ("invalid zero-sized read", "compare the length with zero before it is passed"),
    (
        "invalid mem access 'scalar'",
        "a number is used as a pointer: packet pointers must be read again from the context after a helper that moves \
         packet data, and a pointer does not survive arithmetic that the verifier cannot follow",
    ),
    (
        "invalid mem access 'inv'",
        "a number is used as a pointer: packet pointers must be read again from the context after a helper that moves \
         packet data, and a pointer does not survive arithmetic that the verifier cannot follow",
    ),
    ("read from stack", "write all bytes that are read, padding included, before the address is passed to a helper"),
    ("invalid write to stack", "the stack ends 512 bytes below r10"),
    ("combined stack size", "the functions of one call chain share 512 bytes: move data to a per-CPU array"),
    ("unreachable insn", "remove the code that no path reaches"),
    ("back-edge", "this kernel allows no loop here: unroll it, or give it a counter with a constant limit"),
    ("infinite loop", "give the loop a counter that the verifier can follow, with a constant limit"),
    ("program is too large", "split the program into functions verified by themselves, or into tail calls"),
    ("jumps is too complex", "split the program into functions verified by themselves, or into tail calls"),
    ("Unreleased reference", "release what was acquired on every path, also on the early returns"),
    ("unknown func", "this kernel has no such helper, or this program type may not call it"),
    ("cannot use helper", "this program type may not call this helper on this kernel"),
    ("GPL", "declare a license that is compatible with the GPL: this helper is for such programs only"),
    (
        "invalid bpf_context access",
        "this field of the context does not exist for this program type, or has another size",
    ),
    (
        "dereference of modified ctx ptr",
        "read the context through the pointer that the program was given, at constant offsets",
    ),
    ("misaligned", "read at an address that is a multiple of the size, or byte by byte"),
    ("At program exit the register R0", "return one of the values that this program type allows"),
    ("R0 leaks addr", "return a number, not a pointer"),
    ("pointer arithmetic", "only additions of bounded numbers are allowed on this kind of pointer"),
    ("prohibited", "only additions of bounded numbers are allowed on this kind of pointer"),
    ("unknown opcode", "this kernel does not know the instruction: generate code for an older instruction set"),
    ("last insn is not an exit or jmp", "end every function with an exit or a jump"),
    ("jump out of range", "a jump leaves its function: check the labels"),
    ("write into map forbidden", "the map is read-only to programs"),
    (
        "calling kernel function",
        "this program type may not call this kernel function, or the kernel has none of that name",
    ),
];

/// What to do about the refusal that these lines tell.
pub(super) fn advice(said: &str) -> Option<&'static str> {
    ADVICE.iter().find(|(words, _)| said.contains(words)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_real_kernels_find_their_row() {
        for (said, want) in [
            ("R0 !read_ok", "write the register"),
            ("R1 invalid mem access 'map_value_or_null'", "result of the lookup"),
            ("R1 invalid mem access 'sock_or_null'", "test the pointer"),
            ("R3 invalid mem access 'inv'", "a number is used as a pointer"),
            ("invalid indirect read from stack R2 off -16+4 size 16", "write all bytes"),
            ("invalid read from stack off -8+0 size 8", "write all bytes"),
            ("unknown func bpf_xdp_load_bytes#189", "no such helper"),
            ("cannot call GPL-restricted function from non-GPL compatible program", "declare a license"),
        ] {
            let found = advice(said);
            assert!(found.is_some_and(|text| text.contains(want)), "{said}: {found:?}");
        }
        assert_eq!(advice("something new"), None);
    }
}
