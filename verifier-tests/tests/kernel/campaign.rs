//! Random programs by the tens of thousands: the kernel and the interpreter judge them by the batch, on every processor.
//!
//! Input: a [`Twin`], which makes programs and judges them. Output: nothing, or the smallest program on which the two
//! disagree, as assembly text with the command that makes it again. Read next: `scalar.rs`, `structured/mod.rs`.
//!
//! Loading is what costs, so a batch of programs is loaded as one. Where a batch fails its programs are judged one by one,
//! and the first that fails alone is made smaller.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use asm::object::Object;
use loader::Spec;
use loader::disasm::disasm;
use proptest::strategy::{BoxedStrategy, Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// Number of programs a test makes, in place of its own.
const CASES: &str = "DIFFERENTIAL_CASES";
/// Part of its own number that a test makes: 20 is a twentieth. For guests, which are slow.
const PART: &str = "DIFFERENTIAL_PART";
/// Seed of the first batch; the next has the next number. The name is proptest's own.
const SEED: &str = "PROPTEST_RNG_SEED";
/// The seed where the environment names none.
const FIXED_SEED: u64 = 1;
/// A smaller program is looked for this many times.
const SHRINK_STEPS: u32 = 2_000;

/// A program judged by the kernel and by the interpreter.
pub(super) trait Twin {
    /// The program with its inputs, as proptest makes it.
    type Case: std::fmt::Debug + Clone + 'static;

    /// Programs that are loaded as one.
    const BATCH: u32;

    /// How programs are made.
    fn cases(&self) -> BoxedStrategy<Self::Case>;

    /// Runs the programs in both; an error says where they differ.
    fn judge(&self, cases: &[Self::Case]) -> Result<(), String>;

    /// A program of its own as text, ready to be saved among the regression cases.
    fn text(&self, case: &Self::Case) -> String;
}

/// Judges `default` random programs, or as many as the environment says. `make` makes the judge of one thread.
///
/// # Panics
/// When the kernel and the interpreter disagree, or the kernel refuses a program.
pub(super) fn agree<T: Twin>(test: &str, default: u32, make: impl Fn() -> T + Sync) {
    let seed = number(SEED).unwrap_or(FIXED_SEED);
    let cases = number(CASES).unwrap_or(default / number(PART).unwrap_or(1).max(1));
    let batches = cases.div_ceil(T::BATCH);
    let next = AtomicU32::new(0);
    let failed = Mutex::new(None);
    let work = || {
        let twin = make();
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            if batch >= batches {
                return;
            }
            let seed = seed.wrapping_add(batch.into());
            if let Err(why) = judge_batch(&twin, seed) {
                next.store(batches, Ordering::Relaxed);
                let again = format!("{SEED}={seed} {CASES}=1 cargo test -p verifier-tests --test kernel {test}");
                *failed.lock().expect("no thread panics while it holds this") = Some(format!("{why}\nagain: {again}"));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    println!("{} random programs, seed {seed}", u64::from(batches) * u64::from(T::BATCH));
    if let Some(why) = failed.into_inner().expect("no thread panics while it holds this") {
        panic!("{why}");
    }
}

/// One batch, whose programs follow from `seed` alone.
fn judge_batch<T: Twin>(twin: &T, seed: u64) -> Result<(), String> {
    let config = Config { failure_persistence: None, max_shrink_iters: SHRINK_STEPS, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, rng(seed));
    let strategy = twin.cases();
    let made = (0..T::BATCH).map(|_| strategy.new_tree(&mut runner).map_err(|why| why.to_string()));
    let trees: Vec<_> = made.collect::<Result<_, _>>()?;
    let cases: Vec<_> = trees.iter().map(|tree| tree.current()).collect();
    let Err(together) = twin.judge(&cases) else { return Ok(()) };
    // Said at once: making it smaller takes its time.
    println!("seed {seed}: {}", together.lines().next().unwrap_or_default());
    for tree in trees {
        let alone = runner.run_one(tree, |case| twin.judge(&[case]).map_err(TestCaseError::fail));
        if let Err(TestError::Fail(why, case)) = alone {
            return Err(format!("{why}\n{}", twin.text(&case)));
        }
    }
    Err(format!("only together: {together}"))
}

/// Numbers that follow from `seed`. The plain algorithm: making random numbers would else cost more than all the rest.
fn rng(seed: u64) -> TestRng {
    // Neighbouring seeds shall have nothing in common (the finalizer of SplitMix64).
    let mixed = [seed, !seed].map(|n| {
        let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ n >> 31
    });
    TestRng::from_seed(RngAlgorithm::XorShift, mixed.map(u64::to_le_bytes).as_flattened())
}

/// An object as assembly text.
pub(super) fn listing(object: &Object) -> String {
    let spec = object.write().map(|bytes| Spec::parse(&bytes));
    match spec {
        Ok(Ok(spec)) => disasm(&spec, false),
        other => format!("# cannot be shown: {other:?}"),
    }
}

fn number<N: std::str::FromStr>(variable: &str) -> Option<N> {
    std::env::var(variable).ok()?.parse().ok()
}
