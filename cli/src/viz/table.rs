//! Tables as Linkerd prints them: columns three spaces apart.

use super::access::printable;

/// Characters between columns.
const GAP: usize = 3;

/// Where a column's text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

/// A table with a heading.
pub(super) struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns.iter().map(|(name, align)| ((*name).to_owned(), *align)).collect();
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row with a text for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, with a line break at its end.
    pub(super) fn render(&self) -> String {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (name, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                cells.map(|cell| width(cell)).chain([width(name)]).max().unwrap_or(0)
            })
            .collect();
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let mut text = String::new();
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                let Some((_, align)) = self.columns.get(at) else { break };
                if at > 0 {
                    line.push_str(&" ".repeat(GAP));
                }
                let space = " ".repeat(widths[at].saturating_sub(width(cell)));
                match align {
                    Align::Left => line.extend([cell.as_str(), &space]),
                    Align::Right => line.extend([space.as_str(), cell]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_left_and_figures_right() {
        let mut table = Table::new(&[("NAME", Align::Left), ("RPS", Align::Right), ("SECURED", Align::Left)]);
        table.row(["web", "10.0rps", "√"].map(str::to_owned));
        table.row(["vote-bot", "-", "no_identity"].map(str::to_owned));
        assert_eq!(
            table.render(),
            "NAME           RPS   SECURED\nweb        10.0rps   √\nvote-bot         -   no_identity\n"
        );
    }

    #[test]
    fn a_name_with_control_characters_cannot_write_to_the_terminal() {
        let mut table = Table::new(&[("NAME", Align::Left)]);
        table.row(["a\x1b[31m\n".to_owned()]);
        assert_eq!(table.render(), "NAME\na\u{fffd}[31m\u{fffd}\n");
    }
}
