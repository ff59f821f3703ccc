//! What a program of the kernel's selftests says about itself, in declaration tags of its function.
//!
//! Input: the object's types. Output: [`Expected`]. The words are those of the selftests' `bpf_misc.h`; what is for programs
//! without privilege (`…_unpriv`) is not read. Read next: `words.rs`.

use asm::btf::{Btf, Kind, Type};
use loader::sys::uapi::{LogLevel, ProgFlags};

/// What must become of a program.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// Accepted, refused; `None` where only the unprivileged are told.
    pub(super) accepted: Option<bool>,
    /// What the log must contain, in this order.
    pub(super) words: Vec<String>,
    /// What it must give back, of a packet of [`PACKET`] zero bytes.
    pub(super) result: Option<Result64>,
    /// The log that is asked for.
    pub(super) log: Option<LogLevel>,
    /// What it is loaded with.
    pub(super) flags: u32,
    /// The machines it is for; empty for all.
    pub(super) machines: Vec<String>,
    /// It is to be fitted to the types of another file.
    pub(super) other_types: bool,
    /// No test of its own: always loaded with the others.
    pub(super) helper: bool,
    /// What is said of rewritten instructions or of machine code, which is not compared.
    pub(super) rewritten: usize,
}

/// A result to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Result64 {
    /// This one.
    Is(u32),
    /// Some address: not compared.
    Address,
}

/// Bytes of the packet that a program is run with (`TEST_DATA_LEN`).
pub(super) const PACKET: usize = 64;

/// `BPF_F_TEST_RND_HI32` and `BPF_F_TEST_REG_INVARIANTS`, with which the selftests load everything.
const ALWAYS: u32 = 1 << 2 | 1 << 7;

/// Names of flags that tags use.
const FLAGS: [(&str, u32); 7] = [
    ("BPF_F_STRICT_ALIGNMENT", ProgFlags::STRICT_ALIGNMENT.bits()),
    ("BPF_F_ANY_ALIGNMENT", ProgFlags::ANY_ALIGNMENT.bits()),
    ("BPF_F_TEST_RND_HI32", 1 << 2),
    ("BPF_F_TEST_STATE_FREQ", 1 << 3),
    ("BPF_F_SLEEPABLE", ProgFlags::SLEEPABLE.bits()),
    ("BPF_F_XDP_HAS_FRAGS", ProgFlags::XDP_HAS_FRAGS.bits()),
    ("BPF_F_TEST_REG_INVARIANTS", 1 << 7),
];

impl Expected {
    /// The tags of the function with this name.
    ///
    /// # Errors
    /// A tag that nobody understands, or damaged types.
    pub(super) fn of(btf: &Btf<'_>, name: &str) -> Result<Self, String> {
        let function = btf.find(name, Kind::FUNC).ok_or("no function of that name in the types")?;
        let mut expected = Self { flags: ALWAYS, ..Self::default() };
        for entry in btf.types() {
            let (_, ty) = entry.map_err(|e| e.to_string())?;
            if let Type::DeclTag { name: tag, ty, component: None, .. } = ty
                && ty == function
                && let Some(word) = tag.strip_prefix("comment:test_")
            {
                expected.read(word).map_err(|why| format!("tag `{tag}`: {why}"))?;
            }
        }
        Ok(expected)
    }

    fn read(&mut self, word: &str) -> Result<(), &'static str> {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        // `KEY=COUNTER=TEXT`: the counter keeps tags apart that say the same.
        let text = || value.split_once('=').map(|(_, text)| text.to_owned()).ok_or("a text is missing");
        match key {
            "expect_success" => self.accepted = Some(true),
            "expect_failure" => self.accepted = Some(false),
            "expect_msg" => self.words.push(text()?),
            "expect_xlated" | "jited" => self.rewritten += 1,
            "retval" => self.result = Some(result(value).ok_or("not a number")?),
            "log_level" => self.log = Some(LogLevel::from_bits_retain(value.parse().map_err(|_| "not a number")?)),
            "prog_flags" => self.flag(value)?,
            "arch" => self.machines.push(value.to_lowercase()),
            "auxiliary" => self.helper = true,
            "btf_path" => self.other_types = true,
            "description" | "auxiliary_unpriv" => {}
            _ if key.ends_with("_unpriv") => {}
            _ => return Err("not known"),
        }
        Ok(())
    }

    fn flag(&mut self, text: &str) -> Result<(), &'static str> {
        let name = text.strip_prefix('!').unwrap_or(text);
        let known = FLAGS.iter().find(|(known, _)| *known == name).map(|(_, bit)| *bit);
        let bits = known.or_else(|| number(name).map(i64::cast_unsigned).and_then(|n| u32::try_from(n).ok()));
        let bits = bits.ok_or("no flag of that name")?;
        self.flags = if name == text { self.flags | bits } else { self.flags & !bits };
        Ok(())
    }
}

fn result(text: &str) -> Option<Result64> {
    Some(match text {
        "POINTER_VALUE" | "0xcafe4all" => Result64::Address,
        "INT_MIN" => Result64::Is(i32::MIN.cast_unsigned()),
        "TEST_DATA_LEN" => Result64::Is(u32::try_from(PACKET).ok()?),
        // A result has 32 bits: of a wider or negative number the low ones count.
        _ => Result64::Is(u32::try_from(number(text)? & 0xffff_ffff).ok()?),
    })
}

/// Decimal or hexadecimal, with a sign.
fn number(text: &str) -> Option<i64> {
    let text = text.trim_start_matches('(').trim_end_matches(')');
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let value = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.checked_neg()? } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read() {
        let mut expected = Expected { flags: ALWAYS, ..Expected::default() };
        for word in ["expect_failure", "expect_msg=3=R0 a=b", "retval=-22", "prog_flags=!0x4", "arch=X86_64"] {
            expected.read(word).expect(word);
        }
        assert_eq!((expected.accepted, expected.words.as_slice()), (Some(false), ["R0 a=b".to_owned()].as_slice()));
        assert_eq!((expected.result, expected.flags), (Some(Result64::Is((-22i32).cast_unsigned())), 1 << 7));
        assert_eq!(expected.machines, ["x86_64"]);
        assert_eq!(expected.read("nonsense"), Err("not known"));
    }
}
