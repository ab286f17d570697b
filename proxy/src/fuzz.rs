//! Fuzzes pure functions: inputs are mutated from a corpus, and a failing one is reduced before it is shown.
//!
//! A target runs for a few seconds, or for WEFT_FUZZ_SECONDS.

pub(crate) mod protobuf;

use std::{
    cell::Cell,
    env, fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestCaseResult, TestRunner},
};

/// How long a target runs by default.
const SECONDS: u64 = 4;
const BATCH: u32 = 256;
const MAX_EDITS: usize = 6;

/// Runs `check` on inputs of `strategy`, and prints how often.
pub(crate) fn fuzz<S: Strategy>(target: &str, strategy: &S, check: impl Fn(S::Value) -> TestCaseResult) {
    let seconds = env::var("WEFT_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let begun = Instant::now();
    let executions = Cell::new(0_u64);
    while begun.elapsed() < Duration::from_secs(seconds) {
        // A runner only runs its number of cases once.
        let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
        let ended = TestRunner::new(config).run(strategy, |input| {
            executions.set(executions.get() + 1);
            check(input)
        });
        if let Err(failure) = ended {
            panic!("{target}, after {} executions: {failure}", executions.get());
        }
    }
    // The test runner hides what is printed by macros.
    let _ = writeln!(
        std::io::stderr(),
        "fuzz {target}: {} executions in {:.1?}",
        executions.get(),
        begun.elapsed()
    );
}

/// The files of a folder of proxy/corpus.
pub(crate) fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", path.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One change of some bytes.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    /// Copies bytes to another place.
    Copy(Index, Index, usize),
    Truncate(Index),
    /// Appends one of the seeds.
    Append(Vec<u8>),
}

/// Bytes that begin as one of the `seeds`; `words` are inserted now and then.
pub(crate) fn mutated(seeds: Vec<Vec<u8>>, words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec());
    let edit = prop_oneof![
        3 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        6 => (any::<Index>(), word).prop_map(|(at, word)| Edit::Insert(at, word)),
        1 => (any::<Index>(), vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        3 => (any::<Index>(), 1..12_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
        2 => (any::<Index>(), any::<Index>(), 1..60_usize).prop_map(|(from, to, n)| Edit::Copy(from, to, n)),
        1 => any::<Index>().prop_map(Edit::Truncate),
        1 => prop::sample::select(seeds.clone()).prop_map(Edit::Append),
    ];
    (prop::sample::select(seeds), vec(edit, 0..MAX_EDITS)).prop_map(|(mut bytes, edits)| {
        edits.into_iter().for_each(|edit| edit.apply(&mut bytes));
        bytes
    })
}

/// Bytes with places to split them at.
pub(crate) fn split(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<Bytes>> {
    (bytes, vec(any::<Index>(), 0..8)).prop_map(|(bytes, places)| {
        let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        places.windows(2).map(|pair| Bytes::copy_from_slice(&bytes[pair[0]..pair[1]])).collect()
    })
}

impl Edit {
    fn apply(self, bytes: &mut Vec<u8>) {
        let place = |index: Index| index.index(bytes.len() + 1);
        match self {
            Self::Set(at, byte) => {
                let at = place(at);
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
            Self::Insert(at, word) => {
                let at = place(at);
                bytes.splice(at..at, word);
            }
            Self::Remove(at, count) => {
                let at = place(at);
                bytes.drain(at..bytes.len().min(at + count));
            }
            Self::Copy(from, to, count) => {
                let (from, to) = (place(from), place(to));
                let copied = bytes[from..bytes.len().min(from + count)].to_vec();
                bytes.splice(to..to, copied);
            }
            Self::Truncate(at) => bytes.truncate(place(at)),
            Self::Append(seed) => bytes.extend(seed),
        }
    }
}
