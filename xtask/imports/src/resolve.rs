//! Finds the file that defines what a path names, through imports, re-exports and globs.

use std::collections::BTreeMap;

use crate::tree::Tree;

/// For a pair of files (the one that uses, the one that defines): where that is seen first.
pub(crate) type Edges = BTreeMap<(usize, usize), Reason>;

pub(crate) struct Reason {
    pub(crate) line: usize,
    pub(crate) name: String,
}

/// What a path leads to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Module(usize),
    /// An item, in this file.
    Item(usize),
}

/// Which file depends on which. A `mod` is no dependency, nor is a re-export, nor the import of a module: what is
/// named through them is.
pub(crate) fn edges(tree: &Tree) -> Edges {
    let mut edges = Edges::new();
    for (number, module) in tree.modules.iter().enumerate() {
        let mut add = |found, named: &crate::collect::Named| {
            let to = match found {
                Some(Found::Item(file)) => file,
                _ => return,
            };
            if to != module.file {
                let reason = Reason { line: named.line, name: named.segments.join("::") };
                edges.entry((module.file, to)).or_insert(reason);
            }
        };
        let resolver = || Resolver { tree, open: Vec::new() };
        for import in module.names.imports.iter().filter(|import| !import.is_reexport) {
            let found = resolver().path(number, &import.target.segments);
            match found {
                Some(Found::Module(used)) if import.alias.is_none() => {
                    add(Some(Found::Item(tree.modules[used].file)), &import.target);
                }
                found => add(found, &import.target),
            }
        }
        for named in &module.names.paths {
            add(resolver().path(number, &named.segments), named);
        }
    }
    edges
}

struct Resolver<'a> {
    tree: &'a Tree,
    /// Names that are being looked up: a name that leads back to itself leads out of the crate.
    open: Vec<(usize, String)>,
}

impl Resolver<'_> {
    fn path(&mut self, module: usize, segments: &[String]) -> Option<Found> {
        let mut found = Found::Module(module);
        for (position, segment) in segments.iter().enumerate() {
            let Found::Module(current) = found else { return Some(found) };
            found = match segment.as_str() {
                "crate" => Found::Module(0),
                "self" if position == 0 => found,
                "super" => Found::Module(self.tree.modules[current].parent?),
                name => self.name(current, name)?,
            };
        }
        Some(found)
    }

    fn name(&mut self, module: usize, name: &str) -> Option<Found> {
        let key = (module, name.to_owned());
        if self.open.contains(&key) {
            return None;
        }
        self.open.push(key);
        let found = self.look(module, name);
        self.open.pop();
        found
    }

    fn look(&mut self, number: usize, name: &str) -> Option<Found> {
        let module = &self.tree.modules[number];
        if let Some(child) = module.children.get(name) {
            return Some(Found::Module(*child));
        }
        if module.names.items.contains(name) {
            return Some(Found::Item(module.file));
        }
        let imports = &module.names.imports;
        let mut named = imports.iter().filter(|import| import.alias.as_deref() == Some(name));
        if let Some(found) = named.find_map(|import| self.path(number, &import.target.segments)) {
            return Some(found);
        }
        imports.iter().filter(|import| import.alias.is_none()).find_map(|import| {
            match self.path(number, &import.target.segments)? {
                Found::Module(module) => self.name(module, name),
                Found::Item(_) => None,
            }
        })
    }
}
