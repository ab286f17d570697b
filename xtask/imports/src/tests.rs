//! Checks which circles are found, and what is none.

use std::fs;

use crate::{circles_of, resolve, tree::Tree};

/// Writes the files of a crate, the first one its root; returns its circles by file name.
fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let tree = Tree::read(&folder.path().join(files[0].0)).expect("a crate");
    assert_eq!(tree.files.len(), files.len(), "every file is found");
    let edges = resolve::edges(&tree);
    let root = folder.path().canonicalize().expect("a path");
    let name = |file: usize| tree.files[file].strip_prefix(&root).expect("inside").display().to_string();
    circles_of(&tree, &edges).into_iter().map(|circle| circle.into_iter().map(name).collect()).collect()
}

const NONE: [[&str; 0]; 0] = [];

#[test]
fn a_direct_circle_is_found() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        ("b.rs", "pub struct B; fn f(_: super::a::A) {}"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs"]]);
}

#[test]
fn a_circle_through_others_is_found() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; mod c; mod d;"),
        ("a.rs", "use crate::b::B; pub struct A; impl A { fn f(_: B) {} }"),
        ("b.rs", "use crate::c; pub struct B(c::C);"),
        ("c.rs", "pub struct C; fn f() { println!(\"{:?}\", crate::a::A); }"),
        ("d.rs", "use crate::{a::A, b::B}; struct D(A, B);"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs", "c.rs"]]);
}

#[test]
fn neither_a_module_nor_its_import_is_a_dependency() {
    let found = circles(&[
        ("lib.rs", "mod a; pub struct Root;"),
        ("a/mod.rs", "mod b; use crate::Root; pub struct A(Root);"),
        ("a/b.rs", "use super::super::a; use super::A; use a as other; fn f(_: A) {}"),
    ]);
    assert_eq!(found, NONE);
}

#[test]
fn a_reexport_leads_to_what_it_names() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod b; mod c; pub(crate) use self::b::B; pub use c::*;"),
        ("a/b.rs", "pub struct B;"),
        ("a/c.rs", "use super::B; pub struct C(B);"),
    ];
    assert_eq!(circles(&files), NONE);
    let mut closed = files;
    closed[2].1 = "use crate::a::C; pub struct B(C);";
    assert_eq!(circles(&closed), [["a/b.rs", "a/c.rs"]]);
}

#[test]
fn a_parent_and_its_children_may_use_each_other() {
    let files = [
        ("lib.rs", "mod a; pub struct Root(a::A);"),
        ("a.rs", "mod b; mod c; pub use b::B; pub struct A; fn f(_: B, _: c::C, _: crate::Root) {}"),
        ("a/b.rs", "use super::A; pub struct B(A);"),
        ("a/c.rs", "use super::{A, b::B}; pub struct C(A, B);"),
    ];
    assert_eq!(circles(&files), NONE);
    let mut closed = files;
    closed[2].1 = "use super::{A, c::C}; pub struct B(A, C);";
    assert_eq!(circles(&closed), [["a/b.rs", "a/c.rs"]]);
}

#[test]
fn a_circle_through_a_parent_and_an_outsider_is_found() {
    let found = circles(&[
        ("lib.rs", "mod a; mod x;"),
        ("a.rs", "mod b; pub mod c; pub struct A; fn f() { b::f() }"),
        ("a/b.rs", "pub fn f() { crate::x::f() }"),
        ("a/c.rs", "pub fn f(_: super::A) {}"),
        ("x.rs", "pub fn f() { crate::a::c::f(todo!()) }"),
    ]);
    assert_eq!(found, [["a.rs", "a/b.rs", "a/c.rs", "x.rs"]]);
}

#[test]
fn tests_do_not_count() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; #[cfg(test)] mod missing;"),
        (
            "a.rs",
            "pub struct A; #[cfg(test)] use crate::b::B; #[cfg(all(test, unix))] mod t { use crate::b::B; }",
        ),
        ("b.rs", "use crate::a::A; pub struct B(A);"),
    ]);
    assert_eq!(found, NONE);
}

#[test]
fn inline_modules_and_paths_are_followed() {
    let found = circles(&[
        ("lib.rs", "mod a { pub mod deep; pub struct A; } #[path = \"elsewhere/x.rs\"] mod b;"),
        ("a/deep.rs", "use crate::b::B; pub struct Deep(B);"),
        ("elsewhere/x.rs", "use crate::a::deep; pub struct B; fn f() -> deep::Deep { loop {} }"),
    ]);
    assert_eq!(found, [["a/deep.rs", "elsewhere/x.rs"]]);
}

#[test]
fn names_of_other_crates_are_no_files() {
    let found = circles(&[
        ("lib.rs", "mod fs; mod io;"),
        ("fs.rs", "use io::Read; use ::io::Write; use std::io; fn f() -> io::Result<()> { Ok(()) }"),
        ("io.rs", "use crate::fs::f; fn g() { f(); }"),
    ]);
    assert_eq!(found, NONE);
}

#[test]
fn a_glob_leads_to_the_module_and_to_what_it_brings() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::*; pub struct A;"),
        ("b.rs", "pub trait B { fn f(a: crate::a::A); }"),
    ]);
    assert_eq!(found, [["a.rs", "b.rs"]]);
}
