//! One manifest file: reads it again when it changed and keeps its last valid state.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use super::{
    document::{Ignored, RawDocument},
    problem::Problem,
    text,
};

/// A larger file is not a manifest.
const MAX_FILE_BYTES: u64 = 16 << 20;

#[derive(Debug, Default)]
pub(super) struct File {
    /// The documents of the last state without a problem.
    pub(super) valid: Vec<Arc<RawDocument>>,
    pub(super) problems: Vec<Problem>,
    pub(super) ignored: Vec<Ignored>,
    stamp: Option<Stamp>,
    /// A hash of the text that was read last.
    content: Option<u64>,
}

/// Shows whether a file may have changed.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

impl File {
    /// Reads the file again if it may have changed. True if it has.
    pub(super) fn refresh(&mut self, path: &Path) -> bool {
        let stamp = match fs::metadata(path) {
            Ok(meta) => Stamp::of(&meta),
            Err(error) => return self.unreadable(path, &error),
        };
        if self.stamp.as_ref() == Some(&stamp) {
            return false;
        }
        if stamp.bytes > MAX_FILE_BYTES {
            let reason = format!("has {} bytes, more than the limit of {MAX_FILE_BYTES}", stamp.bytes);
            let advice = "split it; until then its last valid state applies";
            self.stamp = Some(stamp);
            return self.fail(Problem::of_file(path, reason, advice));
        }
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.unreadable(path, &error),
        };
        let content = hash(&text);
        let is_same = self.content == Some(content);
        self.content = Some(content);
        // Two changes within one tick of the kernel's clock have the same stamp: a recent one proves nothing.
        self.stamp = Some(stamp).filter(Stamp::is_settled);
        if !is_same {
            let parsed = text::parse(path, &text);
            self.ignored = parsed.ignored;
            if parsed.problems.is_empty() {
                self.valid = parsed.documents;
            }
            self.problems = parsed.problems;
        }
        !is_same
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) -> bool {
        self.stamp = None;
        let advice = "make it a readable UTF-8 file; until then its last valid state applies";
        self.fail(Problem::of_file(path, format!("cannot be read: {error}"), advice))
    }

    fn fail(&mut self, problem: Problem) -> bool {
        self.content = None;
        let is_new = self.problems != [problem.clone()];
        self.problems = vec![problem];
        is_new
    }
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            bytes: meta.size(),
            // The time of the last status change: unlike the modification time, no program can set it.
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        i64::try_from(now).unwrap_or(i64::MAX) - self.changed.0 >= 2
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
