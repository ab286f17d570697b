//! Reads folders of manifests and merges overlays.

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    path::PathBuf,
    sync::Arc,
};

use super::{
    document::{Ignored, RawDocument},
    file::File,
    folder, patch,
    problem::{Location, Problem},
};
use crate::{
    model::{Key, Object},
    validation,
};

/// An object with the places that it was read from.
#[derive(Clone, Debug)]
pub struct Document {
    pub key: Key,
    /// Overlays are merged into it.
    pub object: Arc<Object>,
    /// The document itself, then its overlays.
    pub locations: Vec<Location>,
}

/// The state of the folders.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Ordered by key. A document that did not change is the same `Arc` as before.
    pub documents: Vec<Arc<Document>>,
    /// Everything that is wrong at present.
    pub problems: Vec<Problem>,
    /// Documents of other kinds, once per file and kind.
    pub ignored: Vec<Ignored>,
}

/// Reads folders again and again.
#[derive(Debug)]
pub struct Loader {
    roots: Vec<PathBuf>,
    files: BTreeMap<(usize, PathBuf), File>,
    merged: HashMap<Key, Merged>,
    /// The previous result, with the problems of folders that it had.
    last: Option<(Vec<Problem>, Loaded)>,
}

/// Reads `roots` once. Documents of a later root are merged onto those with the same key in an earlier root.
pub fn load(roots: &[PathBuf]) -> Loaded {
    Loader::new(roots.to_vec()).reload()
}

/// The parts that a document was merged from, and the result.
#[derive(Debug)]
struct Merged {
    parts: Vec<Arc<RawDocument>>,
    document: Option<Arc<Document>>,
    problems: Vec<Problem>,
}

impl Loader {
    /// A loader of `roots`. Nothing is read yet.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, files: BTreeMap::new(), merged: HashMap::new(), last: None }
    }

    /// Reads the files that changed since the last call.
    pub fn reload(&mut self) -> Loaded {
        let mut of_folders = Vec::new();
        let is_changed = self.read_files(&mut of_folders);
        match &self.last {
            Some((before, loaded)) if !is_changed && *before == of_folders => loaded.clone(),
            _ => {
                let loaded = self.merge_all(of_folders.clone());
                self.last = Some((of_folders, loaded.clone()));
                loaded
            }
        }
    }

    /// True if a file was changed, added or removed.
    fn read_files(&mut self, problems: &mut Vec<Problem>) -> bool {
        let mut present = BTreeMap::new();
        let mut is_changed = false;
        for (position, root) in self.roots.iter().enumerate() {
            let (files, broken) = folder::manifests(root);
            if !broken.is_empty() {
                // Files below a folder that cannot be read may still exist: their last valid state is kept.
                let listed: HashSet<&PathBuf> = files.iter().collect();
                let (kept, rest) =
                    std::mem::take(&mut self.files).into_iter().partition(|((root, path), _)| {
                        *root == position
                            && !listed.contains(path)
                            && broken.iter().any(|problem| path.starts_with(&problem.location.file))
                    });
                present.extend::<BTreeMap<_, _>>(kept);
                self.files = rest;
            }
            for path in files {
                let known = self.files.remove(&(position, path.clone()));
                is_changed |= known.is_none();
                let mut file = known.unwrap_or_default();
                is_changed |= file.refresh(&path);
                present.insert((position, path), file);
            }
            problems.extend(broken);
        }
        let removed = std::mem::replace(&mut self.files, present);
        is_changed || !removed.is_empty()
    }

    fn merge_all(&mut self, of_folders: Vec<Problem>) -> Loaded {
        let mut loaded = Loaded { problems: of_folders, ..Loaded::default() };
        for file in self.files.values() {
            loaded.problems.extend(file.problems.iter().cloned());
            loaded.ignored.extend(file.ignored.iter().cloned());
        }
        let mut before = std::mem::take(&mut self.merged);
        for (key, parts) in self.collect_parts(&mut loaded.problems) {
            let merged = match before.remove(&key) {
                Some(before) if are_same(&before.parts, &parts) => before,
                before => Merged::new(&key, parts, before.and_then(|before| before.document)),
            };
            loaded.documents.extend(merged.document.clone());
            loaded.problems.extend(merged.problems.iter().cloned());
            self.merged.insert(key, merged);
        }
        loaded.problems.sort();
        loaded.problems.dedup();
        loaded
    }

    /// The documents with each key: the one of the first root that has it, then its overlays.
    fn collect_parts(&self, problems: &mut Vec<Problem>) -> BTreeMap<Key, Vec<Arc<RawDocument>>> {
        let mut parts: BTreeMap<Key, (usize, Vec<Arc<RawDocument>>)> = BTreeMap::new();
        for ((root, _), file) in &self.files {
            for document in &file.valid {
                match parts.entry(document.key.clone()) {
                    Entry::Vacant(entry) => {
                        entry.insert((*root, vec![document.clone()]));
                    }
                    Entry::Occupied(mut entry) if entry.get().0 != *root => {
                        entry.get_mut().0 = *root;
                        entry.get_mut().1.push(document.clone());
                    }
                    Entry::Occupied(entry) => {
                        let first = &entry.get().1[entry.get().1.len() - 1];
                        problems.push(Problem {
                            location: document.location.clone(),
                            object: Some(document.key.to_string()),
                            field: "metadata.name".into(),
                            reason: format!("the same object is already at {}", first.location),
                            advice: "remove one of the two; the first one applies".into(),
                        });
                    }
                }
            }
        }
        parts.into_iter().map(|(key, (_, parts))| (key, parts)).collect()
    }
}

impl Merged {
    /// If the merged document is wrong, `last_valid` stays.
    fn new(key: &Key, parts: Vec<Arc<RawDocument>>, last_valid: Option<Arc<Document>>) -> Self {
        let value = patch::merged(parts.iter().map(|part| part.value()));
        match validation::written(key.kind, &value).and_then(validation::complete) {
            Ok(object) => {
                let locations = parts.iter().map(|part| part.location.clone()).collect();
                let document = Document { key: key.clone(), object: Arc::new(object), locations };
                Self { parts, document: Some(Arc::new(document)), problems: Vec::new() }
            }
            Err(findings) => {
                // Each part is valid by itself, so the mistake is in what the last overlay changed.
                let last = &parts[parts.len() - 1];
                let problems = findings.into_iter().map(|finding| last.problem(finding)).collect();
                Self { document: last_valid, problems, parts }
            }
        }
    }
}

fn are_same(left: &[Arc<RawDocument>], right: &[Arc<RawDocument>]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| Arc::ptr_eq(left, right))
}
