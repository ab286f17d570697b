//! What is the state of the folders now, with overlays merged and broken files at their last good state?

use std::{
    collections::{BTreeMap, HashMap, HashSet, btree_map::Entry},
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
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
    /// The mistakes of the folders themselves and the state that was found last.
    last: Option<(Vec<Problem>, Loaded)>,
}

/// Reads `roots` once. Documents of a later root are merged onto those of the same name in an earlier one.
pub fn load(roots: &[PathBuf]) -> Loaded {
    Loader::new(roots.to_vec()).reload()
}

#[derive(Debug, Default)]
struct File {
    stamp: Option<Stamp>,
    /// A hash of the text that was read last.
    content: Option<u64>,
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
        Self { roots, files: BTreeMap::new(), merged: HashMap::new(), last: None }
    }

    /// Reads what changed since the last time.
    pub fn reload(&mut self) -> Loaded {
        let mut broken = Vec::new();
        let is_changed = self.read_files(&mut broken);
        match &self.last {
            Some((same, loaded)) if !is_changed && *same == broken => loaded.clone(),
            _ => {
                let loaded = self.merge_all(broken.clone());
                self.last = Some((broken, loaded.clone()));
                loaded
            }
        }
    }

    fn merge_all(&mut self, broken: Vec<Problem>) -> Loaded {
        let mut loaded = Loaded { problems: broken, ..Loaded::default() };
        for file in self.files.values() {
            loaded.problems.extend(file.problems.iter().cloned());
            loaded.ignored.extend(file.ignored.iter().cloned());
        }
        let mut before = std::mem::take(&mut self.merged);
        for (key, parts) in self.collect_parts(&mut loaded.problems) {
            let merged = match before.remove(&key) {
                Some(before) if same(&before.parts, &parts) => before,
                before => merge(&key, parts, before.and_then(|before| before.document)),
            };
            loaded.documents.extend(merged.document.clone());
            loaded.problems.extend(merged.problems.iter().cloned());
            self.merged.insert(key, merged);
        }
        loaded.problems.sort();
        loaded.problems.dedup();
        loaded
    }

    /// True if any file has changed, come or gone.
    fn read_files(&mut self, problems: &mut Vec<Problem>) -> bool {
        let mut present = BTreeMap::new();
        let mut is_changed = false;
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
                let known = self.files.remove(&(position, path.clone()));
                is_changed |= known.is_none();
                let mut file = known.unwrap_or_default();
                is_changed |= file.refresh(&path);
                present.insert((position, path), file);
            }
            problems.extend(broken);
        }
        let gone = std::mem::replace(&mut self.files, present);
        is_changed || !gone.is_empty()
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
    /// Reads the file again if it may have changed; true if it has.
    fn refresh(&mut self, path: &Path) -> bool {
        let stamp = match fs::metadata(path) {
            Ok(meta) => Stamp::of(&meta),
            Err(error) => return self.unreadable(path, &error),
        };
        if self.stamp.as_ref() == Some(&stamp) {
            return false;
        }
        if stamp.bytes > folder::MAX_FILE_BYTES {
            let reason =
                format!("has {} bytes, more than the limit of {}", stamp.bytes, folder::MAX_FILE_BYTES);
            self.stamp = Some(stamp);
            return self.fail(Problem::whole(path, reason, "split it; its last good state stays in force"));
        }
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => return self.unreadable(path, &error),
        };
        let content = hash(&text);
        let is_same = self.content == Some(content);
        self.content = Some(content);
        // Two changes within one tick of the kernel's clock leave the same stamp: a fresh one proves nothing yet.
        self.stamp = Some(stamp).filter(Stamp::is_settled);
        if !is_same {
            let parsed = text::parse(path, &text);
            self.ignored = parsed.ignored;
            if parsed.problems.is_empty() {
                self.good = parsed.documents;
            }
            self.problems = parsed.problems;
        }
        !is_same
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) -> bool {
        self.stamp = None;
        let advice = "make it a readable UTF-8 text; its last good state stays in force";
        self.fail(Problem::whole(path, format!("cannot be read: {error}"), advice))
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
            // The change time: unlike the modification time no program can set it back.
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

fn same(left: &[Arc<RawDocument>], right: &[Arc<RawDocument>]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| Arc::ptr_eq(left, right))
}

fn merge(key: &Key, parts: Vec<Arc<RawDocument>>, last_good: Option<Arc<Document>>) -> Merged {
    match text::check(key, &patch::merged(parts.iter().map(|part| part.value()))) {
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
