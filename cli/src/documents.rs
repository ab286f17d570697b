//! Checks that the commands in the documents are commands of this tool, and that the files that they name exist.

use std::{fs, path::Path};

use clap::{Parser, error::ErrorKind};

use crate::args::Cli;

const CHECKOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const FOLDERS: [&str; 4] = ["deploy/charts", "deploy/demo", "deploy/grafana", "deploy/images"];
/// Words that stand for what a user fills in, and an example of it.
const EXAMPLES: [(&str, &str); 3] =
    [("IP:PORT", "10.0.0.1:80"), ("cluster.local:PORT", "cluster.local:80"), ("PORT", "80")];

/// The readme, the pages of docs and the readmes of the charts, by their names.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(CHECKOUT);
    let folders = [root.to_owned(), root.join("docs"), root.join("docs/decisions")];
    let charts = fs::read_dir(root.join("deploy/charts")).unwrap().map(|chart| chart.unwrap().path());
    let files = folders.into_iter().chain(charts).flat_map(|folder| fs::read_dir(folder).unwrap());
    let paths = files.map(|file| file.unwrap().path()).filter(|path| {
        // What it says of earlier versions need not hold.
        path.extension().is_some_and(|extension| extension == "md") && !path.ends_with("CHANGELOG.md")
    });
    paths.map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap())).collect()
}

/// The blocks and the prose between them, each as one text; what ends with a backslash in a block is one line with the
/// next.
fn blocks_and_prose(document: &str) -> [String; 2] {
    let mut texts = [String::new(), String::new()];
    let mut in_block = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if let (true, Some(begun)) = (in_block, line.strip_suffix('\\')) {
            texts[0] += begun.trim();
            texts[0].push(' ');
        } else {
            let text = &mut texts[usize::from(!in_block)];
            *text += line.trim_start();
            text.push('\n');
        }
    }
    texts
}

/// What stands between single backticks.
fn spans(prose: &str) -> impl Iterator<Item = String> {
    prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "))
}

/// The commands of this tool in a line of a shell, each as its words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let line = line.split(" #").next().unwrap_or_default();
    let parts = line.split(['|', '&', ';', '>']).map(|part| part.trim().trim_start_matches("$ "));
    let ours = parts.filter(|part| *part == "weft" || part.starts_with("weft "));
    // Words after a wide gap are a description, and arrows are a picture.
    let complete = ours.filter(|part| !part.contains(['…', '─', '▶']) && !part.contains("   "));
    complete
        .map(|part| part.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect())
        .collect()
}

fn parsed(words: &[String]) -> Result<(), clap::Error> {
    let fill = |word: &String| {
        EXAMPLES.iter().fold(word.clone(), |word, (name, example)| word.replace(name, example))
    };
    match Cli::try_parse_from(words.iter().map(fill)) {
        Err(error) if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Err(error)
        }
        _ => Ok(()),
    }
}

#[test]
fn every_command_in_a_block_can_be_typed() {
    let mut seen = 0;
    for (name, text) in documents() {
        let [blocks, _] = blocks_and_prose(&text);
        for line in blocks.lines() {
            for words in commands(line) {
                let result = parsed(&words);
                assert!(result.is_ok(), "{name}: {line}\n{}", result.unwrap_err());
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "only {seen} commands were found");
}

#[test]
fn every_command_that_is_mentioned_exists() {
    let mut seen = 0;
    for (name, text) in documents() {
        let [_, prose] = blocks_and_prose(&text);
        for span in spans(&prose).filter(|span| span.starts_with("weft ")) {
            for words in commands(&span) {
                // What is mentioned may lack what it needs: an argument, a command, the value of an option.
                let without_value = words.last().is_some_and(|word| word.starts_with("--"));
                let known = parsed(&words).or_else(|error| match error.kind() {
                    ErrorKind::MissingRequiredArgument
                    | ErrorKind::MissingSubcommand
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(()),
                    ErrorKind::InvalidValue if without_value => Ok(()),
                    _ => Err(error),
                });
                assert!(known.is_ok(), "{name} mentions `{span}`\n{}", known.unwrap_err());
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "only {seen} commands were found");
}

#[test]
fn every_file_of_the_checkout_that_a_command_names_exists() {
    let mut seen = 0;
    for (name, text) in documents() {
        let [blocks, _] = blocks_and_prose(&text);
        let is_path = |word: &&str| FOLDERS.iter().any(|folder| word.starts_with(folder));
        for path in blocks.split([' ', '\n', '=', '"', '\'']).filter(is_path) {
            assert!(Path::new(CHECKOUT).join(path).exists(), "{name} names {path}");
            seen += 1;
        }
    }
    assert!(seen > 3, "only {seen} files were found");
}
