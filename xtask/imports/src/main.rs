//! Reports import circles: files of one crate that depend on each other, directly or through other files.
//!
//! A file depends on another if its code names an item that the other one defines. What counts and what does not is
//! written down in docs/decisions/0016-import-circles.md.
#![forbid(unsafe_code)]

mod circles;
mod collect;
mod resolve;
mod targets;
#[cfg(test)]
mod tests;
mod tree;

use std::{env, path::Path, process::ExitCode};

use anyhow::Result;

use self::{resolve::Edges, tree::Tree};

fn main() -> ExitCode {
    let manifests: Vec<String> = env::args().skip(1).collect();
    if manifests.is_empty() {
        eprintln!("usage: xtask-imports CARGO_TOML…");
        return ExitCode::from(2);
    }
    match check(&manifests) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask-imports: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints every circle in the crates of the workspaces; returns how many there are.
fn check(manifests: &[String]) -> Result<usize> {
    let current = env::current_dir()?;
    let (mut files, mut count) = (0, 0);
    let targets = targets::of(manifests)?;
    for target in &targets {
        let tree = Tree::read(&target.root)?;
        files += tree.files.len();
        let edges = resolve::edges(&tree);
        for circle in circles_of(&tree, &edges) {
            count += 1;
            println!("{}: {} files depend on each other:", target.name, circle.len());
            print_circle(&circle, &tree, &edges, &current);
        }
    }
    println!("{} crates, {files} files, {count} import circles", targets.len());
    Ok(count)
}

/// The circles among the files of a crate.
fn circles_of(tree: &Tree, edges: &Edges) -> Vec<Vec<usize>> {
    let edges: Vec<_> = edges.keys().copied().collect();
    circles::find(tree.files.len(), &edges, &|upper, lower| tree.is_above(upper, lower))
}

fn print_circle(circle: &[usize], tree: &Tree, edges: &Edges, current: &Path) {
    let shown = |file: usize| {
        let path = &tree.files[file];
        path.strip_prefix(current).unwrap_or(path).display().to_string()
    };
    for ((from, to), reason) in edges {
        if circle.contains(from) && circle.contains(to) {
            println!("  {}:{} uses {} of {}", shown(*from), reason.line, reason.name, shown(*to));
        }
    }
}
