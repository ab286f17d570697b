//! Shows the logs of the cluster's programs.

use std::{fs, path::PathBuf};

use crate::layout::{Layout, NODES};

const LINES: usize = 15;
/// Longer lines are cut.
const COLUMNS: usize = 240;

/// All log files: the control plane's, then the nodes'.
pub(crate) fn files(layout: &Layout) -> Vec<PathBuf> {
    let folders = [layout.control_logs()].into_iter().chain(NODES.map(|node| layout.node_logs(node)));
    let mut files: Vec<PathBuf> = folders
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    files
}

/// The last lines of all of them.
pub(crate) fn tails(layout: &Layout) -> String {
    files(layout)
        .into_iter()
        .map(|file| {
            let text = fs::read(&file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let lines: Vec<&str> = text.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES)..];
            let cut = |line: &&str| format!("{}\n", line.chars().take(COLUMNS).collect::<String>());
            format!("--- end of {}\n{}", file.display(), last.iter().map(cut).collect::<String>())
        })
        .collect()
}

pub(crate) fn print(layout: &Layout) {
    print!("{}", tails(layout));
}
