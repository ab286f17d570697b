//! Which node is it that calls?

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::RwLock;
use rand::{TryRngCore, rngs::OsRng};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::sync::watch;

use crate::{names, state};

/// A token is 256 random bits, in hexadecimal digits.
const TOKEN_BYTES: usize = 32;
/// A shorter token could be guessed.
const MIN_TOKEN_BYTES: usize = 32;
/// How often the files are read again.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The tokens of all nodes: one file for each, which only its owner can read.
#[derive(Debug)]
pub(crate) struct Tokens {
    folder: PathBuf,
    by_node: RwLock<BTreeMap<String, Token>>,
}

/// Why tokens cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A file or folder.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// A name that cannot be a file's name.
    #[error("{0:?} is not a node's name: write lower-case letters, digits, - and .")]
    Name(String),
    /// The kernel gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(rand::rand_core::OsError),
}

#[derive(PartialEq, Eq)]
struct Token(Vec<u8>);

impl Tokens {
    /// The tokens in `folder`, which is made if it is not there.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, TokenError> {
        state::private_dir(&folder).map_err(|error| TokenError::File { path: folder.clone(), error })?;
        let tokens = Self { folder, by_node: RwLock::default() };
        tokens.reload()?;
        Ok(tokens)
    }

    /// Reads the files again: a token that was replaced counts from now on, one that was removed does not any more.
    pub(crate) fn reload(&self) -> Result<(), TokenError> {
        let failed = |path: &Path, error| TokenError::File { path: path.to_owned(), error };
        // Held while reading, so that a token that is being made is not forgotten again.
        let mut by_node = self.by_node.write();
        let entries = fs::read_dir(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let mut found = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(|error| failed(&self.folder, error))?.path();
            let Some(node) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if names::is_subdomain(node) {
                let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
                let token = text.trim().as_bytes().to_vec();
                if token.len() >= MIN_TOKEN_BYTES {
                    found.insert(node.to_owned(), Token(token));
                } else {
                    tracing::warn!(path = %path.display(), "token is shorter than {MIN_TOKEN_BYTES} characters: not used");
                }
            }
        }
        *by_node = found;
        Ok(())
    }

    /// Makes a token for `node` if it has none.
    pub(crate) fn ensure(&self, node: &str) -> Result<(), TokenError> {
        if !names::is_subdomain(node) {
            return Err(TokenError::Name(node.to_owned()));
        }
        let mut by_node = self.by_node.write();
        if by_node.contains_key(node) {
            return Ok(());
        }
        let mut random = [0; TOKEN_BYTES];
        OsRng.try_fill_bytes(&mut random).map_err(TokenError::Random)?;
        let mut token = String::with_capacity(2 * TOKEN_BYTES);
        for byte in random {
            // Writing to a String cannot fail.
            let _ = write!(token, "{byte:02x}");
        }
        let path = self.folder.join(node);
        state::write(&path, token.as_bytes(), 0o600)
            .map_err(|error| TokenError::File { path: path.clone(), error })?;
        tracing::info!(node, path = %path.display(), "made a token for a node");
        by_node.insert(node.to_owned(), Token(token.into_bytes()));
        Ok(())
    }

    /// The node whose token this is. All tokens are compared in full, so that the time says nothing about them.
    pub(crate) fn node_of(&self, token: &[u8]) -> Option<String> {
        let token = token.trim_ascii();
        let by_node = self.by_node.read();
        let mut found = 0;
        for (position, known) in (1..).zip(by_node.values()) {
            let equal: Choice = known.0.ct_eq(token);
            found = u32::conditional_select(&found, &position, equal);
        }
        let position = usize::try_from(found).ok()?.checked_sub(1)?;
        by_node.keys().nth(position).cloned()
    }
}

impl Tokens {
    /// Reloads every now and then, until `stopping`.
    pub(crate) async fn follow(&self, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = stopping.wait_for(|stopping| *stopping) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.reload() {
                tracing::error!("cannot read the nodes' tokens: {error}; those read before stay in force");
            }
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_node_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path().join("tokens")).unwrap();
        tokens.ensure("one").unwrap();
        tokens.ensure("two").unwrap();
        let one = fs::read(dir.path().join("tokens/one")).unwrap();
        assert_eq!(one.len(), 64);
        let again = Tokens::open(dir.path().join("tokens")).unwrap();
        again.ensure("one").unwrap();
        assert_eq!(again.node_of(&one).as_deref(), Some("one"));
        assert_eq!(again.node_of(&[&one[..], b"\n"].concat()).as_deref(), Some("one"));
        assert_eq!(again.node_of(&one[1..]), None);
        assert_eq!(again.node_of(b""), None);
        assert!(!format!("{again:?}").contains(std::str::from_utf8(&one).unwrap()));
    }

    #[test]
    fn a_node_cannot_be_named_like_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path().join("tokens")).unwrap();
        for name in ["../x", "a/b", "", ".", "A"] {
            assert!(matches!(tokens.ensure(name), Err(TokenError::Name(_))), "{name}");
        }
    }
}
