//! The fuzz bodies on stable Rust: arbitrary bytes, and files that were right before they were cut, flipped and spliced. The
//! process may have [`ADDRESS_SPACE`] and no more: whatever allocates without bound ends the run.
//!
//! `cargo ci` fixes the seed (`PROPTEST_RNG_SEED` chooses another).

use std::sync::{LazyLock, Once};

use nix::sys::resource::{Resource, setrlimit};
use object::{Object as _, ObjectSection as _};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Bytes of address space for this process: code, threads, and all that a few thousand hostile files of some kilobytes make it
/// allocate.
const ADDRESS_SPACE: u64 = 1 << 30;

/// Files that are right.
struct Corpus {
    texts: Vec<Vec<u8>>,
    objects: Vec<Vec<u8>>,
    types: Vec<Vec<u8>>,
    code: Vec<Vec<u8>>,
}

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let goldens = [include_str!("../../tests/golden/text/lb.s"), include_str!("../../tests/golden/text/manual.s")];
    let texts = goldens.map(|text| text.lines().filter(|line| !line.starts_with("#>")).collect::<Vec<_>>().join("\n"));
    let write = |text: &String| asm::text::parse("golden.s", text).expect("a golden file").object().write();
    let objects: Vec<_> = texts.iter().map(|text| write(text).expect("a golden file")).collect();
    let sections = |names: &[&str]| {
        let mut found = Vec::new();
        for bytes in &objects {
            let file = object::File::parse(&**bytes).expect("our own file");
            let sections = file.sections().filter(|section| names.contains(&section.name().unwrap_or_default()));
            found.extend(sections.map(|section| section.data().expect("our own file").to_vec()));
        }
        found
    };
    let (types, code) = (sections(&[".BTF", ".BTF.ext"]), sections(&["xdp", ".text"]));
    Corpus { texts: texts.map(String::into_bytes).to_vec(), objects, types, code }
});

fn limit_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| setrlimit(Resource::RLIMIT_AS, ADDRESS_SPACE, ADDRESS_SPACE).expect("a limit can be lowered"));
}

/// A change of a file.
#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    /// A number of four bytes, at a multiple of four: where formats keep lengths, offsets and types.
    Word(Index, u32),
    Cut(Index),
    /// Some bytes of another file over those here.
    Splice(Index, Index, usize),
    /// Some bytes twice.
    Double(Index, usize),
}

fn edit() -> impl Strategy<Value = Edit> {
    let word = select(vec![0, 1, 2, 0xff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX, 24, 0x0100_0000]);
    prop_oneof![
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        4 => (any::<Index>(), prop_oneof![word, any::<u32>(), 0..64u32]).prop_map(|(at, word)| Edit::Word(at, word)),
        1 => any::<Index>().prop_map(Edit::Cut),
        2 => (any::<Index>(), any::<Index>(), 1..200usize).prop_map(|(at, from, len)| Edit::Splice(at, from, len)),
        1 => (any::<Index>(), 1..200usize).prop_map(|(at, len)| Edit::Double(at, len)),
    ]
}

fn apply(edits: &[Edit], mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
    for edit in edits {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        match edit {
            Edit::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Edit::Word(at, word) => {
                let at = at.index(len) / 4 * 4;
                let end = (at + 4).min(len);
                bytes[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
            }
            Edit::Cut(at) => bytes.truncate(at.index(len)),
            Edit::Splice(at, from, size) => {
                let (at, from) = (at.index(len), from.index(other.len()));
                let size = (*size).min(len - at).min(other.len() - from);
                bytes[at..at + size].copy_from_slice(&other[from..from + size]);
            }
            Edit::Double(at, size) => {
                let at = at.index(len);
                let again = bytes[at..(at + size).min(len)].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

/// Bytes that a failed test shows as hex.
#[derive(Clone)]
struct Hostile(Vec<u8>);

impl std::fmt::Debug for Hostile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Files of the corpus with some edits, the other files being those of the same kind; and now and then anything.
fn hostile(corpus: fn(&Corpus) -> &Vec<Vec<u8>>) -> impl Strategy<Value = Hostile> {
    let mutated = (any::<Index>(), any::<Index>(), vec(edit(), 0..6)).prop_map(move |(file, other, edits)| {
        let files = corpus(&CORPUS);
        apply(&edits, files[file.index(files.len())].clone(), &files[other.index(files.len())])
    });
    prop_oneof![9 => mutated, 1 => vec(any::<u8>(), 0..400)].prop_map(Hostile)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn decode(Hostile(bytes) in hostile(|corpus| &corpus.code)) {
        limit_memory();
        asm_fuzz::decode(&bytes);
    }

    #[test]
    fn btf(Hostile(bytes) in hostile(|corpus| &corpus.types)) {
        limit_memory();
        asm_fuzz::btf(&bytes);
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn text(Hostile(bytes) in hostile(|corpus| &corpus.texts)) {
        limit_memory();
        asm_fuzz::text(&bytes);
    }

    #[test]
    fn elf(Hostile(bytes) in hostile(|corpus| &corpus.objects)) {
        limit_memory();
        asm_fuzz::elf(&bytes);
    }
}
