//! Log files of weft's processes.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Result, bail};

use crate::wait;

/// A log file, read from a mark on.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    mark: AtomicUsize,
}

impl Log {
    /// The log at `path`, read from its beginning; it need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mark: AtomicUsize::new(0) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the mark to the end of what has been logged.
    pub fn mark(&self) {
        self.mark.store(self.bytes().len(), Ordering::Relaxed);
    }

    /// The text since the mark.
    pub fn text(&self) -> String {
        let bytes = self.bytes();
        let fresh = bytes.get(self.mark.load(Ordering::Relaxed)..).unwrap_or_default();
        String::from_utf8_lossy(fresh).into_owned()
    }

    /// The last lines, regardless of the mark.
    pub fn tail(&self, lines: usize) -> String {
        let bytes = self.bytes();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<_> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The first line since the mark that contains all of these words, in any case.
    pub fn line_with(&self, words: &[&str]) -> Option<String> {
        let words: Vec<_> = words.iter().map(|word| word.to_lowercase()).collect();
        let fits = |line: &&str| {
            let line = line.to_lowercase();
            words.iter().all(|word| line.contains(word))
        };
        self.text().lines().find(fits).map(str::to_owned)
    }

    /// Waits for a line that contains all of these words and returns it.
    pub fn expect_line(&self, words: &[&str]) -> Result<String> {
        let mut line = None;
        let waited = wait::until_for(wait::PROMPTLY, "the line", || {
            line = self.line_with(words);
            line.is_some()
        });
        match (waited, line) {
            (Ok(()), Some(line)) => Ok(line),
            _ => bail!(
                "{} has no line with {words:?}; its last lines:\n{}",
                self.path.display(),
                self.tail(15)
            ),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap_or_default()
    }
}
