//! Conformance suites: their results directly, and through weft.

mod h2spec;
mod interop;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

pub use self::{h2spec::h2spec, interop::interop};

/// The cases of a suite. A failed one has the suite's words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Results(BTreeMap<String, Result<(), String>>);

impl Results {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn passed(&self) -> usize {
        self.0.values().filter(|outcome| outcome.is_ok()).count()
    }

    /// The names of the cases that failed.
    pub fn failed(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, outcome)| outcome.is_err()).map(|(name, _)| name.as_str()).collect()
    }

    /// Fails unless these are results of the same cases, and everything that passed in `direct` has passed.
    pub fn at_least(&self, direct: &Self) -> Result<()> {
        ensure!(self.0.keys().eq(direct.0.keys()), "other cases were run: {self:?} instead of {direct:?}");
        let worse = direct.0.iter().filter(|(_, outcome)| outcome.is_ok());
        let worse: Vec<_> =
            worse.filter_map(|(name, _)| Some(format!("{name}: {}", self.0[name].as_ref().err()?))).collect();
        ensure!(worse.is_empty(), "{} cases pass only directly:\n{}", worse.len(), worse.join("\n"));
        Ok(())
    }

    /// [`Self::at_least`], and nothing else has passed.
    pub fn equal(&self, direct: &Self) -> Result<()> {
        self.at_least(direct)?;
        ensure!(
            self.failed() == direct.failed(),
            "directly, {:?} fail; here {:?}",
            direct.failed(),
            self.failed()
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(cases: &[(&str, bool)]) -> Results {
        let outcome = |passed: bool| if passed { Ok(()) } else { Err("wrong".to_owned()) };
        Results(cases.iter().map(|(name, passed)| ((*name).to_owned(), outcome(*passed))).collect())
    }

    #[test]
    fn only_what_passes_directly_has_to_pass() {
        let direct = results(&[("a", true), ("b", false)]);
        results(&[("a", true), ("b", true)]).at_least(&direct).expect("it is better");
        assert!(results(&[("a", true), ("b", true)]).equal(&direct).is_err());
        assert!(results(&[("a", false), ("b", true)]).at_least(&direct).is_err());
        assert!(results(&[("a", true)]).at_least(&direct).is_err());
        results(&[("a", true), ("b", false)]).equal(&direct).expect("it is equal");
    }
}
