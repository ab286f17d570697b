//! Checks that sources and the index know the model, but not each other.

use std::{fs, path::Path};

/// The code of a folder without comments and tests.
fn code(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder);
    let mut code = String::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("tests.rs") {
            let text = fs::read_to_string(path).unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            code.extend(lines.flat_map(|line| [line, "\n"]));
        }
    }
    code
}

#[test]
fn sources_and_the_index_do_not_import_each_other() {
    for (folder, others) in [
        ("index", ["manifests", "feed"]),
        ("manifests", ["index", "feed"]),
        ("model", ["index", "manifests"]),
    ] {
        let code = code(folder);
        assert!(code.contains("model") || folder == "model", "{folder} does not use the model");
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        for other in others {
            // `index` is also the name of variables.
            let imports = code.match_indices(other).filter(|(at, _)| {
                let (before, after) = (&code[..*at], &code[at + other.len()..]);
                let is_path = before.ends_with("crate::") || after.starts_with("::");
                !before.ends_with(is_word) && !after.starts_with(is_word) && (is_path || other != "index")
            });
            let found: Vec<_> = imports.map(|(at, _)| code[at..].lines().next()).collect();
            assert!(found.is_empty(), "{folder} imports {other}: {found:?}");
        }
    }
}
