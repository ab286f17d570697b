//! Collects what a module defines, what it imports and which paths its code names.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItemFn, Item, ItemUse, Macro, Meta, Path, Token, UseTree, Visibility,
    punctuated::Punctuated,
    visit::{self, Visit},
};

/// The names in one module, without those of its child modules.
#[derive(Default)]
pub(crate) struct Names {
    /// What it defines itself.
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    /// Every path in its code.
    pub(crate) paths: Vec<Named>,
}

/// One name of a `use`.
pub(crate) struct Import {
    pub(crate) target: Named,
    /// The name that it gets here; none for `*`.
    pub(crate) alias: Option<String>,
    /// Visible elsewhere: whoever uses it depends on what it names, this module does not.
    pub(crate) is_reexport: bool,
}

/// A path in the source.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

pub(crate) fn names(items: &[Item]) -> Names {
    let mut names = Names::default();
    for item in items {
        if let Some(name) = defined(item) {
            names.items.insert(name);
        }
        if !matches!(item, Item::Mod(_)) {
            names.visit_item(item);
        }
    }
    names
}

/// Whether a `#[cfg]` leaves it to tests: `test`, or `all(…)` with it.
pub(crate) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            attribute.parse_args::<Meta>().is_ok_and(|condition| needs_test(&condition))
        }
        _ => false,
    })
}

fn needs_test(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
            .is_ok_and(|conditions| conditions.iter().any(needs_test)),
        _ => false,
    }
}

fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::TraitAlias(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

impl Visit<'_> for Names {
    fn visit_item(&mut self, item: &Item) {
        if !is_test(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item_fn(&mut self, function: &ImplItemFn) {
        if !is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        if item.leading_colon.is_none() {
            let is_reexport = !matches!(item.vis, Visibility::Inherited);
            self.add_imports(&item.tree, &[], is_reexport);
        }
    }

    fn visit_path(&mut self, path: &Path) {
        if path.leading_colon.is_none()
            && let Some(first) = path.segments.first()
        {
            let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.paths.push(Named { segments, line: first.ident.span().start().line });
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &Macro) {
        self.visit_path(&call.path);
        self.add_tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &Attribute) {}

    fn visit_visibility(&mut self, _: &Visibility) {}
}

impl Names {
    fn add_imports(&mut self, tree: &UseTree, prefix: &[String], is_reexport: bool) {
        let with = |name: &syn::Ident| {
            let mut segments = prefix.to_vec();
            if name != "self" || prefix.is_empty() {
                segments.push(name.to_string());
            }
            (segments, name.span().start().line)
        };
        let (target, line, alias) = match tree {
            UseTree::Path(path) => return self.add_imports(&path.tree, &with(&path.ident).0, is_reexport),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.add_imports(tree, prefix, is_reexport));
            }
            UseTree::Name(name) => {
                let (segments, line) = with(&name.ident);
                let alias = segments.last().cloned();
                (segments, line, alias)
            }
            UseTree::Rename(rename) => {
                let (segments, line) = with(&rename.ident);
                (segments, line, Some(rename.rename.to_string()))
            }
            UseTree::Glob(glob) => (prefix.to_vec(), glob.star_token.spans[0].start().line, None),
        };
        self.imports.push(Import { target: Named { segments: target, line }, alias, is_reexport });
    }

    /// Paths inside a macro's arguments, which are no syntax tree: every `a::b::c`, and single names.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Option<Named> = None;
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    match &mut path {
                        Some(path) if colons == 2 => path.segments.push(ident.to_string()),
                        _ => {
                            self.paths.extend(path.take());
                            let line = ident.span().start().line;
                            path = Some(Named { segments: vec![ident.to_string()], line });
                        }
                    }
                    colons = 0;
                }
                other => {
                    self.paths.extend(path.take());
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.paths.extend(path);
    }
}
