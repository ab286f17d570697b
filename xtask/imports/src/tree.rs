//! Reads the modules of a crate from its root file, as the compiler finds them, without those of `#[cfg(test)]`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta};

use crate::collect::{self, Names};

/// The modules of a crate; the first one is its root.
#[derive(Default)]
pub(crate) struct Tree {
    pub(crate) modules: Vec<Module>,
    pub(crate) files: Vec<PathBuf>,
}

pub(crate) struct Module {
    pub(crate) parent: Option<usize>,
    /// The file that has it: an inline module shares its parent's.
    pub(crate) file: usize,
    pub(crate) children: BTreeMap<String, usize>,
    pub(crate) names: Names,
}

/// Where the files of a module's children are looked for.
struct Place {
    /// The folder of the file itself, for `#[path]`.
    file_folder: PathBuf,
    /// `x/` for `x.rs`, the own folder for `mod.rs` and a root.
    children: PathBuf,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.read_file(root, None, true)?;
        Ok(tree)
    }

    /// Whether a file has the module that another file's module lies in.
    pub(crate) fn is_above(&self, upper: usize, lower: usize) -> bool {
        let mut module = self.modules.iter().position(|module| module.file == lower);
        while let Some(parent) = module.and_then(|module| self.modules[module].parent) {
            if self.modules[parent].file == upper {
                return upper != lower;
            }
            module = Some(parent);
        }
        false
    }

    fn read_file(&mut self, file: &Path, parent: Option<usize>, owns_folder: bool) -> Result<usize> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let parsed = syn::parse_file(&text).with_context(|| file.display().to_string())?;
        let folder = file.parent().unwrap_or(Path::new("")).to_owned();
        let children =
            if owns_folder { folder.clone() } else { folder.join(file.file_stem().unwrap_or_default()) };
        self.files.push(file.canonicalize().with_context(|| file.display().to_string())?);
        let place = Place { file_folder: folder, children };
        self.read_module(&parsed.items, parent, self.files.len() - 1, &place)
    }

    fn read_module(
        &mut self,
        items: &[Item],
        parent: Option<usize>,
        file: usize,
        place: &Place,
    ) -> Result<usize> {
        let own = self.modules.len();
        self.modules.push(Module { parent, file, children: BTreeMap::new(), names: collect::names(items) });
        for item in items {
            if let Item::Mod(item) = item
                && !collect::is_test(&item.attrs)
            {
                let child = self.read_child(item, own, file, place)?;
                self.modules[own].children.insert(item.ident.to_string(), child);
            }
        }
        Ok(own)
    }

    fn read_child(&mut self, item: &ItemMod, parent: usize, file: usize, place: &Place) -> Result<usize> {
        let name = item.ident.to_string();
        if let Some((_, items)) = &item.content {
            let inside = place.children.join(&name);
            let place = Place { file_folder: inside.clone(), children: inside };
            return self.read_module(items, Some(parent), file, &place);
        }
        if let Some(path) = item.attrs.iter().find_map(path_attribute) {
            return self.read_file(&place.file_folder.join(path), Some(parent), true);
        }
        let file = place.children.join(format!("{name}.rs"));
        if file.is_file() {
            return self.read_file(&file, Some(parent), false);
        }
        self.read_file(&place.children.join(name).join("mod.rs"), Some(parent), true)
    }
}

/// The value of `#[path = "…"]`.
fn path_attribute(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("path") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
