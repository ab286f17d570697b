//! Prints `weft viz top` where there is no terminal: a table, or JSON, every ten seconds.

use anyhow::Result;
use serde_json::json;

use super::{
    calls::{Key, Summing, Sums},
    state::{Column, State},
};
use crate::viz::{
    format::{duration, percent},
    table::{Align, Table},
};

pub(super) fn table(state: &State) -> String {
    let columns = state.columns();
    let titles: Vec<_> = columns.iter().map(|column| (state.title_of(*column), side(*column))).collect();
    let mut table = Table::new(&titles);
    for (key, sums) in state.rows() {
        table.row(columns.iter().map(|column| cell(*column, &key, &sums)));
    }
    table.render()
}

fn side(column: Column) -> Align {
    match column {
        Column::Source | Column::Destination | Column::Method | Column::Path => Align::Left,
        _ => Align::Right,
    }
}

fn cell(column: Column, key: &Key, sums: &Sums) -> String {
    match column {
        Column::Source => key.source.clone(),
        Column::Destination => key.destination.clone(),
        Column::Method => key.method.clone(),
        Column::Path => key.path.clone(),
        Column::Count => sums.count.to_string(),
        Column::Best => duration(sums.best),
        Column::Worst => duration(sums.worst),
        Column::Last => duration(sums.last),
        Column::Success => percent(Some(sums.success_rate())),
    }
}

/// One line with all rows.
pub(super) fn json_line(state: &State) -> Result<String> {
    let rows: Vec<_> = state.rows().iter().map(|(key, sums)| json_row(key, sums, state.by)).collect();
    Ok(format!("{}\n", serde_json::to_string(&rows)?))
}

fn json_row(key: &Key, sums: &Sums, by: Summing) -> serde_json::Value {
    let mut row = json!({
        "destination": key.destination,
        "count": sums.count,
        "best_ms": sums.best,
        "worst_ms": sums.worst,
        "last_ms": sums.last,
        "success": sums.success_rate(),
    });
    if by.routes {
        row["route"] = json!(key.path);
    } else {
        row["method"] = json!(key.method);
        row["path"] = json!(key.path);
    }
    if !by.hide_sources {
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
        let mut state = State::new(String::new(), Summing::default());
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

    #[test]
    fn calls_by_route_have_no_method() {
        let mut state = State::new(String::new(), Summing { hide_sources: true, routes: true });
        call(&mut state.calls, "a", "/api/list", 2.0);
        call(&mut state.calls, "b", "/api/vote", 4.0);
        assert_eq!(
            table(&state),
            "\
Destination   Route       Count   Best   Worst   Last   Success Rate
web           [DEFAULT]       2    2ms     4ms    4ms        100.00%
"
        );
        assert!(json_line(&state).unwrap().contains("\"route\":\"[DEFAULT]\""));
    }
}
