//! What is the state of the folders now, with overlays merged and broken files at their last good state?

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    folder,
    object::{Key, Object},
    patch,
    problem::{Problem, Source},
    text::{self, Ignored, RawDocument},
};

/// An object with the places that it was read from.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its name in the cluster.
    pub key: Key,
    /// What it says, overlays included.
    pub object: Object,
    /// Where it stands: first the document itself, then its overlays.
    pub sources: Vec<Source>,
}

/// The state of the folders.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// All objects, in the order of their keys. A document that did not change is the same `Arc` as before.
    pub documents: Vec<Arc<Document>>,
    /// Everything that is wrong at present.
    pub problems: Vec<Problem>,
    /// Documents of other kinds, once per file and kind.
    pub ignored: Vec<Ignored>,
}

/// Reads folders, again and again.
#[derive(Debug)]
pub struct Loader {
    roots: Vec<PathBuf>,
    files: BTreeMap<(usize, PathBuf), File>,
    merged: HashMap<Key, Merged>,
}

/// Reads `roots` once. Documents of a later root are merged onto those of the same name in an earlier one.
pub fn load(roots: &[PathBuf]) -> Loaded {
    Loader::new(roots.to_vec()).reload()
}

#[derive(Debug, Default)]
struct File {
    stamp: Option<Stamp>,
    good: Vec<Arc<RawDocument>>,
    problems: Vec<Problem>,
    ignored: Vec<Ignored>,
}

/// Tells whether a file may have changed.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    changed: (i64, i64),
}

/// The parts that a document was merged from, and the result.
#[derive(Debug)]
struct Merged {
    parts: Vec<Arc<RawDocument>>,
    document: Option<Arc<Document>>,
    problems: Vec<Problem>,
}

impl Loader {
    /// A loader of `roots`; nothing is read yet.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, files: BTreeMap::new(), merged: HashMap::new() }
    }

    /// Reads what changed since the last time.
    pub fn reload(&mut self) -> Loaded {
        let mut loaded = Loaded::default();
        self.read_files(&mut loaded.problems);
        for file in self.files.values() {
            loaded.problems.extend(file.problems.iter().cloned());
            loaded.ignored.extend(file.ignored.iter().cloned());
        }
        let parts = self.collect_parts(&mut loaded.problems);
        self.merged.retain(|key, _| parts.contains_key(key));
        for (key, parts) in parts {
            let previous = self.merged.remove(&key);
            let merged = match previous {
                Some(previous) if same(&previous.parts, &parts) => previous,
                previous => merge(&key, parts, previous.and_then(|previous| previous.document)),
            };
            loaded.documents.extend(merged.document.clone());
            loaded.problems.extend(merged.problems.iter().cloned());
            self.merged.insert(key, merged);
        }
        loaded.problems.sort();
        loaded.problems.dedup();
        loaded
    }

    fn read_files(&mut self, problems: &mut Vec<Problem>) {
        let mut present = BTreeMap::new();
        for (position, root) in self.roots.iter().enumerate() {
            let (files, broken) = folder::manifests(root);
            if !broken.is_empty() {
                // Files below a folder that cannot be read are not gone: their last good state stays.
                let listed: HashSet<&PathBuf> = files.iter().collect();
                let (kept, rest) =
                    std::mem::take(&mut self.files).into_iter().partition(|((root, path), _)| {
                        *root == position
                            && !listed.contains(path)
                            && broken.iter().any(|problem| path.starts_with(&problem.source_at.file))
                    });
                present.extend::<BTreeMap<_, _>>(kept);
                self.files = rest;
            }
            for path in files {
                let mut file = self.files.remove(&(position, path.clone())).unwrap_or_default();
                file.refresh(&path);
                present.insert((position, path), file);
            }
            problems.extend(broken);
        }
        self.files = present;
    }

    /// The documents of each name: the one of the first root that has it, then its overlays.
    fn collect_parts(&self, problems: &mut Vec<Problem>) -> BTreeMap<Key, Vec<Arc<RawDocument>>> {
        let mut parts: BTreeMap<Key, (usize, Vec<Arc<RawDocument>>)> = BTreeMap::new();
        for ((root, _), file) in &self.files {
            for document in &file.good {
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
                            source_at: document.source.clone(),
                            object: Some(document.key.to_string()),
                            field: "metadata.name".into(),
                            reason: format!("the same object stands at {} already", first.source),
                            advice: "remove one of the two; the first is in force".into(),
                        });
                    }
                }
            }
        }
        parts.into_iter().map(|(key, (_, parts))| (key, parts)).collect()
    }
}

impl File {
    fn refresh(&mut self, path: &Path) {
        let stamp = match fs::metadata(path) {
            Ok(meta) => Stamp::of(&meta),
            Err(error) => return self.unreadable(path, &error),
        };
        if self.stamp.as_ref() == Some(&stamp) {
            return;
        }
        if stamp.bytes > folder::MAX_FILE_BYTES {
            self.problems = vec![Problem::whole(
                path,
                format!("has {} bytes, more than the limit of {}", stamp.bytes, folder::MAX_FILE_BYTES),
                "split it; its last good state stays in force",
            )];
            self.stamp = Some(stamp);
            return;
        }
        match fs::read_to_string(path) {
            Ok(text) => {
                let parsed = text::parse(path, &text);
                self.ignored = parsed.ignored;
                if parsed.problems.is_empty() {
                    self.good = parsed.documents;
                }
                self.problems = parsed.problems;
                self.stamp = Some(stamp);
            }
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.stamp = None;
        let advice = "make it a readable UTF-8 text; its last good state stays in force";
        self.problems = vec![Problem::whole(path, format!("cannot be read: {error}"), advice)];
    }
}

impl Stamp {
    fn of(meta: &fs::Metadata) -> Self {
        Self {
            inode: (meta.dev(), meta.ino()),
            bytes: meta.size(),
            // The change time: unlike the modification time no program can set it back.
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

fn same(left: &[Arc<RawDocument>], right: &[Arc<RawDocument>]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| Arc::ptr_eq(left, right))
}

fn merge(key: &Key, parts: Vec<Arc<RawDocument>>, last_good: Option<Arc<Document>>) -> Merged {
    match text::check(key, &patch::merged(parts.iter().map(|part| &part.value))) {
        Ok(object) => {
            let sources = parts.iter().map(|part| part.source.clone()).collect();
            let document = Arc::new(Document { key: key.clone(), object, sources });
            Merged { parts, document: Some(document), problems: Vec::new() }
        }
        Err(findings) => {
            // Each part was fine alone, so the mistake is what the last overlay made of the others.
            let blamed = &parts[parts.len() - 1];
            let problems = findings.into_iter().map(|finding| blamed.problem(finding)).collect();
            Merged { document: last_good, problems, parts }
        }
    }
}
