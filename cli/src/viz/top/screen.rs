//! Draws `weft viz top` on a terminal.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row, Table},
};

use super::{
    calls::{Key, Sums},
    state::{Column, State},
};
use crate::viz::format::{brief, percent};

/// Draws everything. `colours` is false if the terminal should have none.
pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State, colours: bool) {
    let [title, table, bottom] =
        Layout::vertical([Constraint::Length(2), Constraint::Min(1), Constraint::Length(1)])
            .areas(frame.area());
    let rows = state.rows();
    draw_title(frame, title, state, rows.len());
    draw_table(frame, table, state, &rows, colours);
    draw_bottom(frame, bottom, state);
    if state.help {
        draw_help(frame);
    }
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, state: &State, rows: usize) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut spans = vec![Span::styled(state.title.clone(), bold)];
    spans.push(Span::raw(format!("   {} calls, {rows} rows", state.calls.total())));
    if state.dropped > 0 {
        spans.push(Span::raw(format!("   {} events missed", state.dropped)));
    }
    if state.paused.is_some() {
        spans.push(Span::styled("   paused", bold));
    }
    if !state.filter.is_empty() && !state.typing {
        spans.push(Span::raw(format!("   filter: {}", state.filter)));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

fn draw_table(frame: &mut Frame<'_>, area: Rect, state: &mut State, rows: &[(Key, Sums)], colours: bool) {
    let columns = fitting(state.columns(), state.sort, area.width);
    let widths = widths(&columns, rows, usize::from(area.width));
    let room = usize::from(area.height.saturating_sub(1));
    state.offset = state.offset.min(rows.len().saturating_sub(room));
    let header = columns.iter().map(|column| {
        let mark = match (*column == state.sort, state.descending) {
            (true, true) => "▼",
            (true, false) => "▲",
            (false, _) => "",
        };
        align(*column, format!("{}{mark}", state.title_of(*column)))
    });
    let header = Row::new(header).style(Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED));
    let shown = rows.iter().skip(state.offset).take(room).map(|(key, sums)| {
        let style = if sums.failures > 0 && colours { Style::new().fg(Color::Red) } else { Style::new() };
        let cells = columns.iter().zip(&widths);
        let cells =
            cells.map(|(column, width)| align(*column, shortened(*column, cell(*column, key, sums), *width)));
        Row::new(cells).style(style)
    });
    let constraints = widths.iter().map(|width| Constraint::Length(length(*width)));
    frame.render_widget(Table::new(shown, constraints).header(header).column_spacing(length(GAP)), area);
    if rows.is_empty() {
        let text =
            if state.filter.is_empty() { "No call has ended yet." } else { "No call matches the filter." };
        let below = Rect { y: area.y + 1, height: area.height.saturating_sub(1).min(1), ..area };
        frame.render_widget(Paragraph::new(text), below);
    }
}

/// Columns between which there is room for the others, on a narrow terminal. The one that is sorted by stays.
fn fitting(mut columns: Vec<Column>, sort: Column, width: u16) -> Vec<Column> {
    let dropped: &[Column] = match width {
        0..70 => &[Column::Method, Column::Best, Column::Worst, Column::Last],
        70..100 => &[Column::Best, Column::Worst],
        _ => &[],
    };
    columns.retain(|column| *column == sort || !dropped.contains(column));
    columns
}

fn cell(column: Column, key: &Key, sums: &Sums) -> String {
    match column {
        Column::Source => key.source.clone(),
        Column::Destination => key.destination.clone(),
        Column::Method => key.method.clone(),
        Column::Path => key.path.clone(),
        Column::Count => sums.count.to_string(),
        Column::Best => brief(sums.best),
        Column::Worst => brief(sums.worst),
        Column::Last => brief(sums.last),
        Column::Success => percent(Some(sums.success_rate())),
    }
}

fn is_text(column: Column) -> bool {
    matches!(column, Column::Source | Column::Destination | Column::Method | Column::Path)
}

fn align(column: Column, text: String) -> Cell<'static> {
    let side = if is_text(column) { Alignment::Left } else { Alignment::Right };
    Cell::from(Line::from(text).alignment(side))
}

/// The end of a path tells more than its beginning; the beginning of a name more than its end.
fn shortened(column: Column, text: String, width: usize) -> String {
    let characters = text.chars().count();
    if !is_text(column) || characters <= width {
        return text;
    }
    let kept = width.saturating_sub(1);
    match column {
        Column::Path => format!("…{}", text.chars().skip(characters - kept).collect::<String>()),
        _ => format!("{}…", text.chars().take(kept).collect::<String>()),
    }
}

/// Spaces between columns.
const GAP: usize = 2;

/// Figures have the room that they need. The path has a third of the rest at least, and names share what it leaves.
fn widths(columns: &[Column], rows: &[(Key, Sums)], width: usize) -> Vec<usize> {
    const METHOD: usize = 8;
    let title = |column: Column| column.title().chars().count();
    let needed = |column: Column| {
        let cells = rows.iter().map(|(key, sums)| cell(column, key, sums).chars().count());
        cells.chain([title(column)]).max().unwrap_or(0)
    };
    let names = |column: &Column| matches!(column, Column::Source | Column::Destination);
    let fixed = |column: &Column| match column {
        Column::Method => needed(*column).min(METHOD),
        // The mark of the order needs a place.
        column => needed(*column).max(title(*column) + 1),
    };
    let figures: usize =
        columns.iter().filter(|column| **column != Column::Path && !names(column)).map(fixed).sum();
    let rest = width.saturating_sub(figures + GAP * columns.len().saturating_sub(1));
    let count = columns.iter().filter(|column| names(column)).count().max(1);
    let path = needed(Column::Path).min((rest / 3).max(rest.saturating_sub(count * 16)));
    let most = rest.saturating_sub(path) / count;
    let taken: usize =
        columns.iter().filter(|column| names(column)).map(|column| needed(*column).min(most)).sum();
    columns
        .iter()
        .map(|column| match column {
            Column::Path => rest.saturating_sub(taken),
            column if names(column) => needed(*column).min(most),
            column => fixed(column),
        })
        .collect()
}

fn length(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn draw_bottom(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let line = if state.typing {
        Line::from(vec![
            Span::raw("filter: "),
            Span::raw(state.filter.clone()),
            Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
            Span::raw("   Enter keeps it, Esc removes it"),
        ])
    } else if !state.note.is_empty() {
        Line::from(state.note.clone())
    } else {
        Line::from("q quit  ←→ sort  r reverse  / filter  space pause  c clear  ? help")
            .style(Style::new().add_modifier(Modifier::DIM))
    };
    frame.render_widget(Paragraph::new(line), area);
}

const HELP: &[&str] = &[
    "q, Ctrl-C    quit",
    "← →          sort by the column to the left or right",
    "1 to 9       sort by that column; again: reverse",
    "r            reverse the order",
    "/            filter: type words that rows must have",
    "Esc          remove the filter",
    "space, p     pause, and go on",
    "c            clear, and count anew",
    "↑ ↓ j k      scroll; also PageUp, PageDown, Home, End",
    "? or h       this help; any key closes it",
];

fn draw_help(frame: &mut Frame<'_>) {
    let area = frame.area();
    let width = HELP.iter().map(|line| line.chars().count()).max().unwrap_or(0) + 4;
    let width = length(width).min(area.width);
    let height = length(HELP.len() + 2).min(area.height);
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    let lines: Vec<_> = HELP.iter().map(|line| Line::from(format!(" {line}"))).collect();
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Keys ")), place);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::viz::{
        tap::tests::events,
        top::{calls::Summing, tests::call},
    };

    fn screen(state: &mut State, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state, true)).unwrap();
        let buffer = terminal.backend().buffer();
        let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..height).map(|y| line(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn calls_are_a_table_with_the_sorted_column_marked() {
        let mut state = State::new("deploy/web -n emojivoto".to_owned(), Summing::default());
        for event in events() {
            state.calls.add(&event);
        }
        call(&mut state.calls, "a", "/api/list", 2.0);
        call(&mut state.calls, "b", "/api/list", 4.0);
        assert_eq!(
            screen(&mut state, 120, 6),
            [
                "deploy/web -n emojivoto   3 calls, 2 rows",
                "",
                "Source  Destination  Method  Path                                            Count▼   Best   Worst   Last   Success Rate",
                "bot     web          GET     /api/list                                            2  2.0ms   4.0ms  4.0ms        100.00%",
                "web-1   voting-1     POST    /emojivoto.v1.VotingService/VoteDoughnut             1  1.2ms   1.2ms  1.2ms          0.00%",
                "q quit  ←→ sort  r reverse  / filter  space pause  c clear  ? help",
            ]
        );
    }

    #[test]
    fn on_a_narrow_terminal_both_ends_the_end_of_the_path_and_the_figures_stay() {
        let mut state = State::new("deploy/web".to_owned(), Summing::default());
        for event in events() {
            state.calls.add(&event);
        }
        assert_eq!(
            screen(&mut state, 60, 5)[2..4],
            [
                "Source  Destination  Path              Count▼   Success Rate",
                "web-1   voting-1     …ce/VoteDoughnut       1          0.00%",
            ]
        );
    }

    #[test]
    fn the_filter_is_shown_while_one_types() {
        let mut state = State::new("deploy/web".to_owned(), Summing { hide_sources: true, routes: false });
        state.typing = true;
        state.filter = "vote".to_owned();
        let lines = screen(&mut state, 80, 5);
        assert_eq!(lines[4], "filter: vote    Enter keeps it, Esc removes it");
        assert_eq!(lines[3], "No call matches the filter.");
        assert!(!lines[2].contains("Source"));
    }

    #[test]
    fn help_and_small_terminals_do_not_break_the_screen() {
        let mut state = State::new("deploy/web".to_owned(), Summing::default());
        state.help = true;
        state.offset = usize::MAX;
        assert!(screen(&mut state, 80, 24).iter().any(|line| line.contains("Keys")));
        for (width, height) in [(1, 1), (10, 3), (20, 2)] {
            screen(&mut state, width, height);
        }
    }
}
