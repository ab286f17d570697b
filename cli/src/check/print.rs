//! Prints the results of checks: as they come, or at the end as JSON.

use std::cell::Cell;

use anyhow::Result;
use serde_json::json;

use super::{
    Output, Results,
    model::{CheckResult, HINTS, Outcome},
};
use crate::terminal::{bold, colours, green, print, red_if, yellow};

pub(super) struct Printer {
    output: Output,
    colours: bool,
    /// Whether something was printed already.
    begun: Cell<bool>,
    /// The category whose heading was printed last.
    category: Cell<&'static str>,
}

impl Printer {
    pub(super) fn new(output: Output) -> Self {
        Self { output, colours: colours(), begun: Cell::new(false), category: Cell::new("") }
    }

    /// Prints a result when it is known.
    pub(super) fn result(&self, category: &'static str, result: &CheckResult) {
        let well = matches!(result.outcome, Outcome::Success);
        if self.output == Output::Json || (self.output == Output::Short && well) {
            return;
        }
        let mut out = String::new();
        if self.category.replace(category) != category {
            if self.begun.get() {
                out.push('\n');
            }
            let line = "-".repeat(category.len());
            out.push_str(&format!("{}\n{line}\n", bold(category, self.colours)));
        }
        let (symbol, problem) = match &result.outcome {
            Outcome::Success => (green("√", self.colours), None),
            Outcome::Warning(problem) => (yellow("‼", self.colours), Some(problem)),
            Outcome::Error(problem) => (red_if("×", self.colours), Some(problem)),
        };
        out.push_str(&format!("{symbol} {}\n", result.description));
        if let Some(problem) = problem {
            for line in problem.lines() {
                out.push_str(&format!("    {line}\n"));
            }
            out.push_str(&format!("    see {HINTS}#{} for hints\n", result.anchor));
        }
        self.begun.set(true);
        // What cannot be printed cannot be reported either; `finish` fails for the same reason.
        let _ = print(&out);
    }

    pub(super) fn finish(&self, results: &Results) -> Result<()> {
        let failed = results
            .iter()
            .flat_map(|(_, results)| results)
            .any(|result| matches!(result.outcome, Outcome::Error(_)));
        if self.output == Output::Json {
            let categories: Vec<_> = results
                .iter()
                .map(|(category, results)| {
                    let checks: Vec<_> = results.iter().map(json_result).collect();
                    json!({ "categoryName": category.name, "checks": checks })
                })
                .collect();
            let all = json!({ "success": !failed, "categories": categories });
            return print(&format!("{}\n", serde_json::to_string_pretty(&all)?));
        }
        let symbol = if failed { red_if("×", self.colours) } else { green("√", self.colours) };
        let space = if self.begun.get() { "\n" } else { "" };
        print(&format!("{space}Status check results are {symbol}\n"))
    }
}

fn json_result(result: &CheckResult) -> serde_json::Value {
    let hint = format!("{HINTS}#{}", result.anchor);
    match &result.outcome {
        Outcome::Success => json!({ "description": result.description, "result": "success" }),
        Outcome::Warning(error) => {
            json!({ "description": result.description, "hint": hint, "error": error, "result": "warning" })
        }
        Outcome::Error(error) => {
            json!({ "description": result.description, "hint": hint, "error": error, "result": "error" })
        }
    }
}
