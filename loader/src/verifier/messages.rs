//! Stage: verification. Input: the verifier's last lines. Output: what they mean in plain words, and what to do.
//!
//! One row a refusal. Kernels word the same refusal differently, so a row has all its wordings; the first row that fits is
//! taken, which is why narrow ones stand before wide ones. What a message names is put into the words: `{R}` is the first
//! register in it, `{off}` the number after `off=`. Read next: `explain.rs`, which shows it.

/// One refusal.
struct Message {
    /// Parts of the verifier's line, any of which is enough.
    words: &'static [&'static str],
    /// What it means. The first text for which the line has everything that it names.
    means: &'static [&'static str],
    /// What to do.
    advice: &'static str,
}

/// A refusal in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    /// What the verifier has found.
    pub(super) means: String,
    /// What to do.
    pub(super) advice: &'static str,
}

const CHECK_PACKET: &str =
    "compare the end of what is read with data_end first, and read through the same pointer that was compared";
const LIMIT_INDEX: &str =
    "limit the offset with an unsigned comparison or a mask, right before it is added to the pointer";
const SPLIT: &str = "split the program into global functions, which are verified by themselves, or into tail calls; \
                     limit loops by a constant";

#[rustfmt::skip]
const MESSAGES: &[Message] = &[
    Message {
        words: &["!read_ok"],
        means: &["{R} is read, but on this path nothing has been written to it"],
        advice: "write the register on every path to this instruction; a call leaves only r0 and r6 to r9 readable",
    },
    Message {
        words: &["invalid access to packet", "is outside of the packet"],
        means: &[
            "the access at offset {off}, size {size}, reaches past what was checked: {r} bytes are known to be there",
            "the access may lie behind the end of the packet",
        ],
        advice: CHECK_PACKET,
    },
    Message {
        words: &["frame pointer is read only"],
        means: &["r10 is written, and it always points to the end of the function's stack"],
        advice: "copy r10 into another register and change that",
    },
    Message {
        words: &["invalid size of register fill", "invalid size of register spill", "corrupt spilled pointer"],
        means: &["a pointer on the stack is read or written in parts"],
        advice: "store and load pointers as 8 bytes at an address that is a multiple of 8",
    },
    Message {
        words: &["variable-offset", "variable stack access"],
        means: &["the stack is accessed at an offset that is not a constant"],
        advice: "use constant offsets on the stack, or a map's value where the offset has to vary",
    },
    Message {
        words: &["stores into R"],
        means: &["an atomic operation is done on memory that does not take one"],
        advice: "atomics are for the stack and for values of maps: load, change and store packet data instead",
    },
    Message {
        words: &["div by zero", "invalid shift"],
        means: &["a division by the constant zero, or a shift by a constant as large as the register"],
        advice: "correct the constant; for numbers in registers a division by zero gives zero, and shifts are masked",
    },
    Message {
        words: &["must be a known constant", "is not a known constant", "is not a const"],
        means: &["the verifier has to know this argument as a number, and it is not the same on all paths"],
        advice: "pass a constant, set right before the call",
    },
    Message {
        words: &["_or_null prohibited"],
        means: &["an offset is added to a pointer that may be null"],
        advice: "test the pointer for zero first, then add",
    },
    Message {
        words: &["map_value_or_null"],
        means: &["{R} is the result of a lookup, and is null where the map has no such key"],
        advice: "test the result of the lookup for zero before it is used",
    },
    Message {
        words: &["or_null'", "or_null_'"],
        means: &["{R} may be null here"],
        advice: "test the pointer for zero before it is used",
    },
    Message {
        words: &["invalid access to map value"],
        means: &[
            "the access at offset {off}, size {size}, may reach past the map's value, which has {value_size} bytes",
            "the access may lie outside of the map's value",
        ],
        advice: LIMIT_INDEX,
    },
    Message {
        words: &["outside of the allowed memory range", "invalid access to memory", "outside of the memory region"],
        means: &["the offset in {R} may be too large, or negative, for the memory it points to"],
        advice: LIMIT_INDEX,
    },
    Message {
        words: &["unbounded memory access", "unbounded min value", "makes pkt pointer be out of bounds"],
        means: &["nothing limits the number in {R}, which is a length or is added to a pointer"],
        advice: "compare it with a constant, or mask it with one, first; arithmetic such as a byte swap or a division \
                 makes the verifier forget the limit, so compare or mask after it",
    },
    Message {
        words: &["min value is negative"],
        means: &["{R} is a length or an offset, and may be negative as a signed number"],
        advice: "make it unsigned, mask it with a constant, or compare it with zero first",
    },
    Message {
        words: &["invalid zero-sized read"],
        means: &["the length in {R} may be zero, which this helper does not take"],
        advice: "compare the length with zero before it is passed",
    },
    Message {
        words: &["invalid mem access 'scalar'", "invalid mem access 'inv'"],
        means: &["{R} holds a plain number to the verifier, not a pointer"],
        advice: "packet pointers must be read again from the context after a helper that moves packet data, and a pointer \
                 does not survive arithmetic or a narrow store that the verifier cannot follow",
    },
    Message {
        words: &["invalid indirect read from stack", "invalid read from stack"],
        means: &["bytes of the stack are read, or passed to a helper, that were never written"],
        advice: "write all bytes that are read, padding included, before the address is passed on",
    },
    Message {
        words: &["invalid write to stack", "invalid stack type", "invalid stack off"],
        means: &["the access lies outside of the function's stack"],
        advice: "the stack is the 512 bytes below r10; keep larger objects in a per-CPU array",
    },
    Message {
        words: &["combined stack size"],
        means: &["a chain of calls needs more than the 512 bytes of stack that its functions share"],
        advice: "move data to a per-CPU array, or call less deeply",
    },
    Message {
        words: &["Unreleased reference", "reference leak"],
        means: &["a path ends while the program still holds what a helper gave it"],
        advice: "release what was acquired on every path, also on the early returns",
    },
    Message {
        words: &["unreachable insn"],
        means: &["no path leads to this instruction"],
        advice: "remove the code that no path reaches, or the jump that skips it",
    },
    Message {
        words: &["infinite loop", "back-edge"],
        means: &["the loop comes back to where it was, and the verifier sees nothing that ends it"],
        advice: "give the loop a counter in a register that the verifier can follow, with a constant limit; or use bpf_loop \
                 (Linux 5.17)",
    },
    Message {
        words: &["program is too large", "jumps is too complex", "too many states"],
        means: &["the verifier gave up: the paths through the program are too many to be followed"],
        advice: SPLIT,
    },
    Message {
        words: &["invalid func unknown#195896080", "call unknown#195896080"],
        means: &["this code needs a type or a field that the kernel does not have"],
        advice: "ask with bpf_core_field_exists or bpf_core_type_exists first, and do without where the answer is no",
    },
    Message {
        words: &["unknown func", "cannot use helper", "invalid func"],
        means: &["the kernel has no such helper, or does not let this type of program call it"],
        advice: "see `loader features` for the helpers of this kernel; ask with bpf_core_enum_value_exists, or use an older \
                 helper",
    },
    Message {
        words: &["GPL-restricted", "from non-GPL compatible", "GPL compatible"],
        means: &["the helper is for programs under the GPL only, and this one declares another license"],
        advice: "declare a license that is compatible with the GPL, such as \"Dual MIT/GPL\"",
    },
    Message {
        words: &["invalid bpf_context access"],
        means: &[
            "the context of this program type has no field of {size} bytes at offset {off}, or it may not be accessed so",
            "the context of this program type has no such field, or it may not be accessed so",
        ],
        advice: "use offset and size as in the kernel's header for this program type; some fields are read-only, or came with \
                 later kernels",
    },
    Message {
        words: &["dereference of modified ctx ptr", "modified ctx ptr"],
        means: &["{R} is the context plus something, and the context is only read at its own address"],
        advice: "keep the context pointer as it was given, and access it at constant offsets",
    },
    Message {
        words: &["misaligned"],
        means: &["the address is not a multiple of the access's size"],
        advice: "access it at such an address, or byte by byte",
    },
    Message {
        words: &["At program exit the register R0", "At async callback the register R0", "At callback return the register R0"],
        means: &["the return value is, or may be, one that this program type does not allow"],
        advice: "return one of the values of this program type, as a constant on each path; an XDP program returns 0 to 4",
    },
    Message {
        words: &["leaks addr"],
        means: &["{R} holds an address of the kernel, which would leave the program"],
        advice: "return or store a number, not a pointer",
    },
    Message {
        words: &["cannot pass map_type"],
        means: &["the helper does not work on maps of this type"],
        advice: "use the helper that belongs to the map's type",
    },
    Message {
        words: &["or_null expected="],
        means: &["{R} may be null here, and the helper wants a pointer that is not"],
        advice: "test the pointer for zero before it is passed",
    },
    Message {
        words: &[" expected="],
        means: &["{R} is `{type}` here, and the helper wants `{expected}`", "an argument is not what the helper wants"],
        advice: "put the right kind of pointer into the register (fp is the stack); test it for zero first if it may be null; a \
                 number is no pointer, even if its value is an address",
    },
    Message {
        words: &["pointer += pointer prohibited", "pointer -= pointer prohibited"],
        means: &["two pointers are added"],
        advice: "add a number to a pointer; the difference of two packet pointers is a number, but tells the verifier nothing",
    },
    Message {
        words: &["pointer arithmetic", "bitwise operator", "with unbounded", "prohibited"],
        means: &["this operation is not allowed on the pointer in {R}"],
        advice: "only bounded numbers are added to a pointer, in 64 bits; compare or mask the number first",
    },
    Message {
        words: &["the call stack of", "recursive call", "is too deep"],
        means: &["functions call each other deeper than the 8 frames that are allowed, or in a circle"],
        advice: "turn the recursion into a loop, or the calls into tail calls",
    },
    Message {
        words: &["write into map forbidden", "cannot write into"],
        means: &["the memory is read-only to programs"],
        advice: "write to a map without BPF_F_RDONLY_PROG; constants in .rodata are frozen, variables belong to .data",
    },
    Message {
        words: &["BPF_XADD uses reserved fields", "BPF_ATOMIC uses invalid atomic opcode", "unknown opcode", "uses reserved fields"],
        means: &["the kernel does not know this instruction in this form"],
        advice: "generate code for an older instruction set: atomics that fetch are of 5.12, sign extension, byte swaps and \
                 signed division of 6.6",
    },
    Message {
        words: &["last insn is not an exit or jmp", "fell through"],
        means: &["the code runs over the end of its function"],
        advice: "end every function with an exit or a jump",
    },
    Message {
        words: &["jump out of range", "jump into the middle"],
        means: &["a jump leaves its function, or lands inside of an instruction of two slots"],
        advice: "check the labels",
    },
    Message {
        words: &["calling kernel function", "kernel function"],
        means: &["this program type may not call the kernel function, or the kernel has none of that name"],
        advice: "declare it weak and ask with bpf_ksym_exists, or use a helper",
    },
    Message {
        words: &["bpf_spin_unlock is missing", "while holding a lock", "is not allowed inside bpf_spin_lock"],
        means: &["between bpf_spin_lock and bpf_spin_unlock nothing else may be called, and no path may end"],
        advice: "unlock on every path, and move calls out of the locked part",
    },
    Message {
        words: &["func_info", "missing btf"],
        means: &["the records about functions do not describe every function of the program, or there are none"],
        advice: "build the object with types (`-g` for C; `.func` in assembly) for all functions, or for none",
    },
];

/// What the refusal that these lines tell means. What a text names is looked for in the line that fits, then in the others.
pub(super) fn meaning(said: &[&str]) -> Option<Meaning> {
    let fits = |message: &Message| {
        let mut lines = said.iter().copied();
        lines.find(|line| message.words.iter().any(|words| line.contains(words)))
    };
    let (message, line) = MESSAGES.iter().find_map(|message| Some((message, fits(message)?)))?;
    let mut texts = message.means.iter();
    let means = texts.find_map(|text| std::iter::once(&line).chain(said).find_map(|line| filled(text, line)))?;
    Some(Meaning { means, advice: message.advice })
}

/// The text with what it names taken from the line; `None` if the line does not have all of it.
fn filled(text: &str, line: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}')?;
        out.push_str(before);
        match name {
            "R" => out.push_str(register(line).unwrap_or("the register")),
            _ => out.push_str(value(line, name)?),
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// The first word that is a register's name, such as `R3`.
fn register(line: &str) -> Option<&str> {
    let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
    words.find(|word| word.strip_prefix('R').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())))
}

/// What stands after `name=`, up to the next space, comma or bracket.
fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let starts = line.match_indices(name).map(|(at, _)| at);
    let ends_word = |at: usize| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let mut values = starts.filter(|&at| ends_word(at)).filter_map(|at| line[at + name.len()..].strip_prefix('='));
    let rest = values.next()?;
    // What is expected is a list, and ends with the line.
    let end = rest.find([' ', ',', ')', '(']).filter(|_| name != "expected").unwrap_or(rest.len());
    rest.get(..end).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_real_kernels_find_their_row() {
        for (said, means, advice) in [
            ("R0 !read_ok", "R0 is read", "write the register"),
            ("R1 invalid mem access 'map_value_or_null'", "R1 is the result of a lookup", "result of the lookup"),
            ("R1 invalid mem access 'sock_or_null'", "R1 may be null", "test the pointer"),
            ("R3 invalid mem access 'inv'", "R3 holds a plain number", "packet pointers"),
            ("invalid indirect read from stack R2 off -16+4 size 16", "never written", "write all bytes"),
            ("invalid read from stack off -8+0 size 8", "never written", "write all bytes"),
            ("unknown func bpf_xdp_load_bytes#189", "no such helper", "loader features"),
            (
                "cannot call GPL-restricted function from non-GPL compatible program",
                "under the GPL",
                "declare a license",
            ),
            ("R1 type=inv expected=map_ptr", "R1 is `inv` here, and the helper wants `map_ptr`", "kind of pointer"),
            (
                "invalid access to packet, off=20 size=2, R2(id=0,off=20,r=14)",
                "the access at offset 20, size 2, reaches past what was checked: 14 bytes are known",
                "data_end",
            ),
            (
                "invalid access to map value, value_size=8 off=8 size=4",
                "the access at offset 8, size 4, may reach past the map's value, which has 8 bytes",
                "limit the offset",
            ),
            ("R1 pointer arithmetic on map_value_or_null prohibited, null-check it first", "may be null", "then add"),
        ] {
            let found = meaning(&[said]).expect(said);
            assert!(found.means.contains(means), "{said}: {found:?}");
            assert!(found.advice.contains(advice), "{said}: {found:?}");
        }
        assert_eq!(meaning(&["something new"]), None);
    }

    #[test]
    fn every_row_has_words_for_a_line_that_names_nothing() {
        for message in MESSAGES {
            let last = message.means.last().copied().unwrap_or_default();
            assert!(filled(last, "").is_some(), "{last}");
        }
    }

    #[test]
    fn values_are_whole_words() {
        let line = "invalid access to map value, value_size=64 off=60 size=8";
        assert_eq!((value(line, "size"), value(line, "value_size"), value(line, "r")), (Some("8"), Some("64"), None));
        assert_eq!((register("math between R12 and R3"), register("Rx 3")), (Some("R12"), None));
    }
}
