//! Finds secrets in texts: the values of what is named like one.

use std::sync::LazyLock;

use regex::Regex;

pub(super) const HIDDEN: &str = "(hidden)";
/// Parts of names, whatever their case.
const NAMES: &str = "passw|passphrase|token|secret|key|credential|authorization";

#[expect(clippy::unwrap_used, reason = "the patterns are constant, and tests use them")]
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap()
}

static NAME: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i){NAMES}")));

/// A name, what is between the two, and a value, which may be quoted. A flag may also be followed by its value. Values of
/// `Authorization` have two words.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    let name = format!("(?:{NAMES})[\\w./-]*");
    let value = r#"(?:"[^"]*(?:"|$)|'[^']*(?:'|$)|[^\s"'])+"#;
    pattern(&format!(
        r#"(?i)(?P<before>[\w./-]*{name}["']?\s*[=:]\s*|(?:^|\s)--?[\w.]*[\w.-]*?{name}\s+)(?:(?:bearer|basic)\s+)?{value}"#
    ))
});

/// The password in a URL.
static IN_URL: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?P<before>://[^/\s:@]*:)[^/\s@]+@"));

/// Whether a name is that of a secret.
pub(super) fn is_secret(name: &str) -> bool {
    NAME.is_match(name)
}

/// A text without the values of secrets.
pub(super) fn text(text: &str) -> String {
    let text = NAMED.replace_all(text, format!("${{before}}{HIDDEN}"));
    IN_URL.replace_all(&text, format!("${{before}}{HIDDEN}@")).into_owned()
}

/// One word of a command. `NAME=VALUE` has nothing after its value, whatever is in it.
pub(super) fn word(word: &str) -> String {
    match word.split_once('=') {
        Some((name, _)) if !name.contains(char::is_whitespace) && is_secret(name) => {
            format!("{name}={HIDDEN}")
        }
        _ => text(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_with_its_quotes_or_at_a_space() {
        for (before, after) in [
            ("a_key=b c", "a_key=(hidden) c"),
            ("x --token 'a b' c", "x --token (hidden) c"),
            ("password: \"a b\" c", "password: (hidden) c"),
            ("password: \"a b", "password: (hidden)"),
            ("Authorization: Bearer abc", "Authorization: (hidden)"),
            ("https://a:b@c/d", "https://a:(hidden)@c/d"),
            ("https://a:80/d?e=f", "https://a:80/d?e=f"),
            ("run --port 80", "run --port 80"),
        ] {
            assert_eq!(text(before), after, "{before}");
        }
        assert_eq!(word("--password=a b; c"), "--password=(hidden)");
    }
}
