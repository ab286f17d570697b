//! The tokens by which nodes authenticate, and weft-viz on a dev VM.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use rand::{TryRngCore, rngs::OsRng};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{index::Cluster, names, state};

/// Random bytes of a token; its text has two hexadecimal digits for each.
const RANDOM_BYTES: usize = 32;
/// A shorter token could be guessed.
const MIN_CHARACTERS: usize = 32;
/// The file with the token of weft-viz. No node may have this name.
const VIZ: &str = "viz";
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);

/// Whom a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The proxy of this node.
    Node(String),
    /// weft-viz.
    Viz,
}

/// The tokens of all nodes and of weft-viz, each in a file that only its owner can read.
#[derive(Debug)]
pub(crate) struct Tokens {
    folder: PathBuf,
    by_name: RwLock<BTreeMap<String, Token>>,
    /// Nodes whose token could not be created: this is logged once.
    failed: Mutex<BTreeSet<String>>,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("{path}: {error}", path = path.display())]
    File { path: PathBuf, error: io::Error },
    #[error("{0:?} is not a valid name of a node: use lower-case letters, digits, - and .")]
    Name(String),
    #[error("{VIZ:?} is not allowed as the name of a node: weft-viz has the token of that name")]
    Reserved,
    #[error("the kernel returned no random bytes: {0}")]
    Random(rand::rand_core::OsError),
}

#[derive(PartialEq, Eq)]
struct Token(Vec<u8>);

impl Tokens {
    /// Opens the tokens in `folder`, which is created if it does not exist.
    pub(crate) fn open(folder: PathBuf) -> Result<Self, TokenError> {
        state::private_dir(&folder).map_err(|error| TokenError::File { path: folder.clone(), error })?;
        let tokens = Self { folder, by_name: RwLock::default(), failed: Mutex::default() };
        tokens.reload()?;
        tokens.create_if_absent(VIZ)?;
        Ok(tokens)
    }

    /// Reads the files again: replaced tokens are valid from now on, removed ones no longer.
    fn reload(&self) -> Result<(), TokenError> {
        let failed = |path: &Path, error| TokenError::File { path: path.to_owned(), error };
        // Locked while reading, so that a token that is created meanwhile is not lost.
        let mut by_name = self.by_name.write();
        let entries = fs::read_dir(&self.folder).map_err(|error| failed(&self.folder, error))?;
        let mut found = BTreeMap::new();
        for entry in entries {
            let path = entry.map_err(|error| failed(&self.folder, error))?.path();
            let Some(node) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if names::is_subdomain(node) {
                let text = fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
                let token = text.trim().as_bytes().to_vec();
                if token.len() >= MIN_CHARACTERS {
                    found.insert(node.to_owned(), Token(token));
                } else {
                    tracing::warn!(path = %path.display(), "ignored a token with fewer than {MIN_CHARACTERS} characters");
                }
            }
        }
        *by_name = found;
        Ok(())
    }

    /// Creates a token for `node` if it has none.
    pub(crate) fn ensure(&self, node: &str) -> Result<(), TokenError> {
        if !names::is_subdomain(node) {
            return Err(TokenError::Name(node.to_owned()));
        }
        if node == VIZ {
            return Err(TokenError::Reserved);
        }
        self.create_if_absent(node)
    }

    fn create_if_absent(&self, name: &str) -> Result<(), TokenError> {
        let mut by_name = self.by_name.write();
        if by_name.contains_key(name) {
            return Ok(());
        }
        let mut random = [0; RANDOM_BYTES];
        OsRng.try_fill_bytes(&mut random).map_err(TokenError::Random)?;
        let mut token = String::with_capacity(2 * RANDOM_BYTES);
        for byte in random {
            // Writing to a String cannot fail.
            let _ = write!(token, "{byte:02x}");
        }
        let path = self.folder.join(name);
        state::write(&path, token.as_bytes(), 0o600)
            .map_err(|error| TokenError::File { path: path.clone(), error })?;
        tracing::info!(name, path = %path.display(), "created a token");
        by_name.insert(name.to_owned(), Token(token.into_bytes()));
        Ok(())
    }

    /// Who has this token. All tokens are compared in full, so that the duration reveals nothing about them.
    pub(super) fn owner_of(&self, token: &[u8]) -> Option<Owner> {
        let token = token.trim_ascii();
        let by_name = self.by_name.read();
        let mut found = 0;
        for (position, known) in (1..).zip(by_name.values()) {
            let equal: Choice = known.0.ct_eq(token);
            found = u32::conditional_select(&found, &position, equal);
        }
        let position = usize::try_from(found).ok()?.checked_sub(1)?;
        let name = by_name.keys().nth(position)?;
        Some(if name == VIZ { Owner::Viz } else { Owner::Node(name.clone()) })
    }

    /// Creates tokens for all nodes that have pods; failures are logged.
    pub(crate) fn ensure_all(&self, cluster: &Cluster) {
        let mut failed = self.failed.lock();
        for node in cluster.nodes() {
            match self.ensure(node) {
                Ok(()) => _ = failed.remove(node),
                Err(error) if failed.insert(node.to_owned()) => {
                    tracing::error!(node, "cannot create a token: {error}");
                }
                Err(_) => {}
            }
        }
    }

    /// Reads changed files and creates tokens for new nodes until `stop`.
    pub(crate) async fn run(
        self: Arc<Self>,
        mut cluster: watch::Receiver<Arc<Cluster>>,
        stop: CancellationToken,
    ) {
        let mut reload = tokio::time::interval(RELOAD_INTERVAL);
        loop {
            let is_reload = tokio::select! {
                () = stop.cancelled() => return,
                changed = cluster.changed() => match changed {
                    Ok(()) => false,
                    Err(_) => return,
                },
                _ = reload.tick() => true,
            };
            if is_reload && let Err(error) = self.reload() {
                tracing::error!("cannot read the nodes' tokens: {error}; the previous ones stay valid");
            }
            let snapshot = cluster.borrow_and_update().clone();
            self.ensure_all(&snapshot);
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
        assert_eq!(again.owner_of(&one), Some(Owner::Node("one".to_owned())));
        assert_eq!(again.owner_of(&[&one[..], b"\n"].concat()), Some(Owner::Node("one".to_owned())));
        assert_eq!(again.owner_of(&one[1..]), None);
        assert_eq!(again.owner_of(b""), None);
        assert!(!format!("{again:?}").contains(std::str::from_utf8(&one).unwrap()));
    }

    #[test]
    fn weft_viz_has_a_token_of_its_own_and_no_node_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path().join("tokens")).unwrap();
        let token = fs::read(dir.path().join("tokens/viz")).unwrap();
        assert_eq!(tokens.owner_of(&token), Some(Owner::Viz));
        assert!(matches!(tokens.ensure("viz"), Err(TokenError::Reserved)));
    }

    #[test]
    fn a_path_is_not_a_valid_name_of_a_node() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(dir.path().join("tokens")).unwrap();
        for name in ["../x", "a/b", "", ".", "A"] {
            assert!(matches!(tokens.ensure(name), Err(TokenError::Name(_))), "{name}");
        }
    }
}
