//! What `weft viz top` shows: order, filter, pause, and what keys do to them.

use std::cmp::Ordering;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::calls::{Calls, Key, Summing, Sums};

/// The columns that rows can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Source,
    Destination,
    Method,
    Path,
    Count,
    Best,
    Worst,
    Last,
    Success,
}

impl Column {
    pub(super) const ALL: [Self; 9] = [
        Self::Source,
        Self::Destination,
        Self::Method,
        Self::Path,
        Self::Count,
        Self::Best,
        Self::Worst,
        Self::Last,
        Self::Success,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Source => "Source",
            Self::Destination => "Destination",
            Self::Method => "Method",
            Self::Path => "Path",
            Self::Count => "Count",
            Self::Best => "Best",
            Self::Worst => "Worst",
            Self::Last => "Last",
            Self::Success => "Success Rate",
        }
    }

    /// Figures are shown with the largest first. The worst success rate is the smallest.
    fn begins_descending(self) -> bool {
        matches!(self, Self::Count | Self::Best | Self::Worst | Self::Last)
    }

    fn compare(self, (a, x): &(Key, Sums), (b, y): &(Key, Sums)) -> Ordering {
        match self {
            Self::Source => a.source.cmp(&b.source),
            Self::Destination => a.destination.cmp(&b.destination),
            Self::Method => a.method.cmp(&b.method),
            Self::Path => a.path.cmp(&b.path),
            Self::Count => x.count.cmp(&y.count),
            Self::Best => x.best.total_cmp(&y.best),
            Self::Worst => x.worst.total_cmp(&y.worst),
            Self::Last => x.last.total_cmp(&y.last),
            Self::Success => x.success_rate().total_cmp(&y.success_rate()),
        }
    }
}

pub(super) struct State {
    /// What is tapped, for the title.
    pub(super) title: String,
    pub(super) by: Summing,
    pub(super) sort: Column,
    pub(super) descending: bool,
    pub(super) filter: String,
    /// Keys go into the filter.
    pub(super) typing: bool,
    /// The rows when it was paused.
    pub(super) paused: Option<Vec<(Key, Sums)>>,
    pub(super) help: bool,
    /// The first row that is shown.
    pub(super) offset: usize,
    pub(super) dropped: u64,
    /// What happened last, for the bottom line.
    pub(super) note: String,
    pub(super) calls: Calls,
}

/// What a key means for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Continue,
    Quit,
}

impl State {
    pub(super) fn new(title: String, by: Summing) -> Self {
        Self {
            title,
            by,
            sort: Column::Count,
            descending: true,
            filter: String::new(),
            typing: false,
            paused: None,
            help: false,
            offset: 0,
            dropped: 0,
            note: String::new(),
            calls: Calls::new(by),
        }
    }

    pub(super) fn columns(&self) -> Vec<Column> {
        let mut columns = Column::ALL.to_vec();
        columns.retain(|column| match column {
            Column::Source => !self.by.hide_sources,
            Column::Method => !self.by.routes,
            _ => true,
        });
        columns
    }

    pub(super) fn title_of(&self, column: Column) -> &'static str {
        match column {
            Column::Path if self.by.routes => "Route",
            column => column.title(),
        }
    }

    /// The rows that the filter leaves, in order.
    pub(super) fn rows(&self) -> Vec<(Key, Sums)> {
        let mut rows = self.paused.clone().unwrap_or_else(|| self.calls.rows());
        let words: Vec<_> = self.filter.to_lowercase().split_whitespace().map(str::to_owned).collect();
        rows.retain(|(key, _)| {
            let text =
                format!("{} {} {} {}", key.source, key.destination, key.method, key.path).to_lowercase();
            words.iter().all(|word| text.contains(word))
        });
        rows.sort_by(|a, b| {
            let order = self.sort.compare(a, b);
            // Rows that are equal keep their places.
            (if self.descending { order.reverse() } else { order }).then_with(|| a.0.cmp(&b.0))
        });
        rows
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Action {
        if key.modifiers.contains(KeyModifiers::CONTROL) && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Action::Quit;
        }
        if self.typing {
            self.type_key(key.code);
            return Action::Continue;
        }
        if self.help {
            self.help = false;
            return if key.code == KeyCode::Char('q') { Action::Quit } else { Action::Continue };
        }
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('?' | 'h') => self.help = true,
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => {
                self.filter.clear();
                self.offset = 0;
            }
            KeyCode::Char(' ' | 'p') => {
                self.paused = match self.paused.take() {
                    Some(_) => None,
                    None => Some(self.calls.rows()),
                };
            }
            KeyCode::Char('c') => {
                self.calls.clear();
                self.paused = None;
                self.dropped = 0;
                self.offset = 0;
            }
            KeyCode::Char('r') => self.descending = !self.descending,
            KeyCode::Left => self.sort_next(-1),
            KeyCode::Right => self.sort_next(1),
            KeyCode::Char(digit @ '1'..='9') => {
                let at = digit as usize - '1' as usize;
                if let Some(column) = self.columns().get(at).copied() {
                    self.sort_by(column);
                }
            }
            KeyCode::Up | KeyCode::Char('k') => self.offset = self.offset.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.offset = self.offset.saturating_add(1),
            KeyCode::PageUp => self.offset = self.offset.saturating_sub(20),
            KeyCode::PageDown => self.offset = self.offset.saturating_add(20),
            KeyCode::Home | KeyCode::Char('g') => self.offset = 0,
            KeyCode::End | KeyCode::Char('G') => self.offset = usize::MAX,
            _ => {}
        }
        Action::Continue
    }

    fn type_key(&mut self, code: KeyCode) {
        const LONGEST: usize = 200;
        self.offset = 0;
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.len() < LONGEST => self.filter.push(c),
            _ => {}
        }
    }

    /// By the column to the left or right of the present one.
    fn sort_next(&mut self, step: isize) {
        let columns = self.columns();
        let at = columns.iter().position(|column| *column == self.sort).unwrap_or(0);
        let next = at.checked_add_signed(step).and_then(|next| columns.get(next));
        if let Some(column) = next.copied() {
            self.sort_by(column);
        }
    }

    fn sort_by(&mut self, column: Column) {
        if self.sort == column {
            self.descending = !self.descending;
        } else {
            self.sort = column;
            self.descending = column.begins_descending();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::viz::{tap::tests::events, top::tests::call};

    fn state() -> State {
        let mut state = State::new("deploy/web".to_owned(), Summing::default());
        for (path, count, ms) in [("/api/list", 3, 2.0), ("/api/vote", 1, 9.0)] {
            for at in 0..count {
                call(&mut state.calls, &format!("{path}{at}"), path, ms);
            }
        }
        state
    }

    fn press(state: &mut State, keys: &str) {
        for c in keys.chars() {
            let code = match c {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                '→' => KeyCode::Right,
                '←' => KeyCode::Left,
                c => KeyCode::Char(c),
            };
            assert_eq!(state.key(KeyEvent::new(code, KeyModifiers::NONE)), Action::Continue);
        }
    }

    fn paths(state: &State) -> Vec<String> {
        state.rows().into_iter().map(|(key, _)| key.path).collect()
    }

    #[test]
    fn the_most_frequent_calls_come_first_and_keys_change_that() {
        let mut state = state();
        assert_eq!(paths(&state), ["/api/list", "/api/vote"]);
        press(&mut state, "r");
        assert_eq!(paths(&state), ["/api/vote", "/api/list"]);
        press(&mut state, "7");
        assert_eq!((state.sort, state.descending), (Column::Worst, true));
        assert_eq!(paths(&state), ["/api/vote", "/api/list"]);
        press(&mut state, "→→");
        assert_eq!((state.sort, state.descending), (Column::Success, false));
        press(&mut state, "→");
        assert_eq!(state.sort, Column::Success, "there is no column to the right");
    }

    #[test]
    fn what_is_typed_after_a_slash_filters() {
        let mut state = state();
        press(&mut state, "/VOTE get\n");
        assert_eq!(paths(&state), ["/api/vote"]);
        press(&mut state, "\u{1b}");
        assert_eq!(paths(&state).len(), 2);
        press(&mut state, "/q");
        assert!(state.typing && state.filter == "q", "q is a letter while one types");
    }

    #[test]
    fn a_pause_keeps_the_rows_and_ends_with_the_same_key() {
        let mut state = state();
        press(&mut state, " ");
        for event in events() {
            state.calls.add(&event);
        }
        assert_eq!(paths(&state).len(), 2);
        press(&mut state, " ");
        assert_eq!(paths(&state).len(), 3);
    }

    #[test]
    fn control_c_quits_even_while_one_types() {
        let mut state = state();
        press(&mut state, "/");
        assert_eq!(state.key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Action::Quit);
    }
}
