//! May every dependency be used under the licences that this project accepts?

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::host;

pub(super) fn check() -> Result<()> {
    let list = host::root().join("deny.toml");
    let list = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let allowed = allowed(&list).context("deny.toml has no allow = […] in [licenses]")?;
    let mut complaints = Vec::new();
    let mut count = 0;
    for manifest in ["Cargo.toml", "proxy-ebpf/Cargo.toml"] {
        for package in packages(manifest)? {
            count += 1;
            let name = format!(
                "{} {}",
                package["name"].as_str().unwrap_or("?"),
                package["version"].as_str().unwrap_or("?")
            );
            match package["license"].as_str() {
                None => complaints.push(format!("{name} names no licence")),
                Some(licence) if !is_allowed(licence, &allowed) => {
                    complaints.push(format!("{name}: {licence}"))
                }
                Some(_) => {}
            }
        }
    }
    if !complaints.is_empty() {
        bail!("not allowed by deny.toml:\n{}", complaints.join("\n"));
    }
    println!("    {count} packages");
    Ok(())
}

fn packages(manifest: &str) -> Result<Vec<Value>> {
    let mut cargo = host::cargo();
    cargo.args(["metadata", "--format-version=1", "--quiet", "--manifest-path", manifest]);
    let output = cargo.output().context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(metadata["packages"].as_array().cloned().unwrap_or_default())
}

/// `allow` of `[licenses]`: strings between the brackets, comments aside.
fn allowed(list: &str) -> Option<Vec<String>> {
    let (_, section) = list.split_once("[licenses]")?;
    let (_, value) = section.split_once("\nallow = [")?;
    let (value, _) = value.split_once(']')?;
    let lines = value.lines().map(|line| line.split('#').next().unwrap_or_default());
    let strings = lines.flat_map(|line| line.split(',').map(|word| word.trim().trim_matches('"').to_owned()));
    Some(strings.filter(|word| !word.is_empty()).collect())
}

/// Whether an SPDX expression can be met with allowed licences; `/` is an old spelling of OR.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { words: &words, allowed };
    reader.any() == Some(true) && reader.words.is_empty()
}

struct Reader<'a> {
    words: &'a [&'a str],
    allowed: &'a [String],
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn next_is(&mut self, word: &str) -> bool {
        let is = self.words.first() == Some(&word);
        if is {
            self.next();
        }
        is
    }

    /// `a OR b`.
    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.next_is("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    /// `a AND b`, which binds tighter.
    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.next_is("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    /// `( … )`, `licence`, `licence WITH exception`.
    fn one(&mut self) -> Option<bool> {
        let word = self.next()?;
        if word == "(" {
            let met = self.any()?;
            return self.next_is(")").then_some(met);
        }
        let name =
            if self.next_is("WITH") { format!("{word} WITH {}", self.next()?) } else { word.to_owned() };
        Some(self.allowed.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(expression: &str) -> bool {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"].map(String::from);
        is_allowed(expression, &allowed)
    }

    #[test]
    fn expressions_are_weighed() {
        assert!(met("MIT"));
        assert!(met("MIT OR GPL-3.0"));
        assert!(met("GPL-2.0/MIT"));
        assert!(met("ISC AND (Apache-2.0 OR OpenSSL)"));
        assert!(met("Apache-2.0 WITH LLVM-exception"));
        assert!(met("GPL-2.0 AND MIT OR ISC"));
        assert!(!met("GPL-3.0"));
        assert!(!met("MIT AND GPL-3.0"));
        assert!(!met("MIT WITH LLVM-exception"));
        assert!(!met("GPL-2.0 AND (MIT OR ISC)"));
    }

    #[test]
    fn nonsense_is_not_allowed() {
        for expression in ["", "(MIT", "MIT)", "MIT OR", "MIT Apache-2.0", "OR MIT", "MIT WITH"] {
            assert!(!met(expression), "{expression}");
        }
    }

    #[test]
    fn the_list_is_read() {
        let list = "# x\n[licenses]\nversion = 2\nallow = [\n    \"MIT\", # the usual\n    \"Apache-2.0\",\n]\n[bans]\n";
        assert_eq!(allowed(list), Some(vec!["MIT".to_owned(), "Apache-2.0".to_owned()]));
        assert_eq!(allowed("[bans]\n"), None);
    }
}
