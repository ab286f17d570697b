//! What a suite says of its failed tests, to be repeated at the end: in between come the lines of thousands of others.

/// More of a failed test is in the suite's own output.
const MAX_LINES: usize = 30;
const MAX_CHARS: usize = 400;

/// Reads the part of libtest's output that begins with `failures:` and consists of `---- NAME ----` and its message.
#[derive(Default)]
pub(super) struct Failures {
    lines: Vec<String>,
    is_in_messages: bool,
    of_this_test: usize,
}

impl Failures {
    pub(super) fn read(&mut self, line: &str) {
        let bare = line.trim();
        if bare == "failures:" {
            // The second one is a list of names.
            self.is_in_messages = !self.is_in_messages && self.lines.is_empty();
        } else if line.contains("test result: ") {
            self.is_in_messages = false;
        } else if self.is_in_messages && !bare.is_empty() {
            self.message(line, bare);
        }
    }

    fn message(&mut self, line: &str, bare: &str) {
        if bare.starts_with("---- ") && bare.ends_with("----") {
            self.of_this_test = 0;
        }
        self.of_this_test += 1;
        if self.of_this_test == MAX_LINES + 1 {
            self.lines.push("…".to_owned());
        } else if self.of_this_test <= MAX_LINES {
            self.add(line.chars().take(MAX_CHARS).collect());
        }
    }

    pub(super) fn add(&mut self, line: String) {
        self.lines.push(line);
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(output: &str) -> Vec<String> {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.read(line));
        failures.lines().to_vec()
    }

    #[test]
    fn messages_are_kept_and_names_are_not_repeated() {
        let output = "test a ... FAILED\n\nfailures:\n\n---- a ----\nno answer\n\nCaused by:\n    refused\n\n\n\
                      failures:\n    a\n\ntest result: FAILED. 0 passed; 1 failed; 0 ignored";
        assert_eq!(read(output), ["---- a ----", "no answer", "Caused by:", "    refused"]);
        assert!(read("test a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored").is_empty());
    }

    #[test]
    fn a_long_message_is_cut_and_the_next_is_whole() {
        let log = "line of a log\n".repeat(100);
        let output =
            format!("failures:\n---- a ----\n{log}\n---- b ----\nno answer\n\nfailures:\n    a\n    b\n");
        let lines = read(&output);
        assert_eq!(lines.len(), MAX_LINES + 1 + 2);
        assert_eq!(lines[MAX_LINES..], ["…", "---- b ----", "no answer"]);
    }
}
