//! Lists the files of the charts, so that the tool contains them all.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
};

fn main() -> io::Result<()> {
    let charts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/charts").canonicalize()?;
    let mut out =
        fs::File::create(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("charts.rs"))?;
    for (constant, chart) in [
        ("CONTROL_PLANE_FILES", "weft-control-plane"),
        ("CRDS_FILES", "weft-crds"),
        ("VIZ_FILES", "weft-viz"),
    ] {
        writeln!(out, "const {constant}: &[(&str, &str)] = &[")?;
        let root = charts.join(chart);
        println!("cargo::rerun-if-changed={}", root.display());
        if root.is_dir() {
            list(&root, &root, &mut out)?;
        }
        writeln!(out, "];")?;
    }
    Ok(())
}

fn list(root: &Path, folder: &Path, out: &mut fs::File) -> io::Result<()> {
    let mut paths: Vec<_> =
        fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list(root, &path, out)?;
        } else if let Ok(name) = path.strip_prefix(root) {
            writeln!(
                out,
                "    ({:?}, include_str!({:?})),",
                name.display().to_string(),
                path.display().to_string()
            )?;
        }
    }
    Ok(())
}
