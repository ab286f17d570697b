//! Prints `weft viz top` where there is no terminal: a table, or JSON, every ten seconds.

use anyhow::Result;
use serde_json::json;

use super::{
    calls::{Key, Sums},
    state::State,
};
use crate::viz::{
    format::{duration, percent},
    table::{Align, Table},
};

pub(super) fn table(state: &State) -> String {
    let columns = state.columns();
    let titles: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let names = columns.len() - 5;
            (column.title(), if at < names { Align::Left } else { Align::Right })
        })
        .collect();
    let mut table = Table::new(&titles);
    for (Key { source, destination, method, path }, sums) in state.rows() {
        let mut cells = Vec::new();
        if !state.hide_sources {
            cells.push(source);
        }
        cells.extend([destination, method, path, sums.count.to_string()]);
        cells.extend([sums.best, sums.worst, sums.last].map(duration));
        cells.push(percent(Some(sums.success_rate())));
        table.row(cells);
    }
    table.render()
}

/// One line with all rows.
pub(super) fn json_line(state: &State) -> Result<String> {
    let rows: Vec<_> =
        state.rows().iter().map(|(key, sums)| json_row(key, sums, state.hide_sources)).collect();
    Ok(format!("{}\n", serde_json::to_string(&rows)?))
}

fn json_row(key: &Key, sums: &Sums, hide_sources: bool) -> serde_json::Value {
    let mut row = json!({
        "destination": key.destination,
        "method": key.method,
        "path": key.path,
        "count": sums.count,
        "best_ms": sums.best,
        "worst_ms": sums.worst,
        "last_ms": sums.last,
        "success": sums.success_rate(),
    });
    if !hide_sources {
        row["source"] = json!(key.source);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viz::top::tests::call;

    #[test]
    fn without_a_terminal_the_same_columns_are_printed() {
        let mut state = State::new(String::new(), false);
        call(&mut state.calls, "a", "/api/list", 2.0);
        assert_eq!(
            table(&state),
            "\
Source   Destination   Method   Path        Count   Best   Worst   Last   Success Rate
bot      web           GET      /api/list       1    2ms     2ms    2ms        100.00%
"
        );
        assert!(json_line(&state).unwrap().contains("\"worst_ms\":2.0"));
    }
}
