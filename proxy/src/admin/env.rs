//! The process's environment, with secrets redacted.

use std::collections::BTreeMap;

/// The environment, without the values of variables that look like secrets. `wanted` are the names to show, all if
/// `None`.
pub(super) fn visible(
    variables: impl IntoIterator<Item = (String, String)>,
    wanted: Option<&str>,
) -> BTreeMap<String, String> {
    variables
        .into_iter()
        .filter(|(name, _)| wanted.is_none_or(|wanted| wanted.split('&').any(|wanted| wanted == name)))
        .map(|(name, value)| if looks_secret(&name) { (name, REDACTED.to_owned()) } else { (name, value) })
        .collect()
}

fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

const REDACTED: &str = "[redacted]";

/// Parts of names that look like secrets: better too many than too few.
const SECRETS: [&str; 10] =
    ["secret", "token", "passw", "pwd", "key", "credential", "auth", "private", "cookie", "dsn"];

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Vec<(String, String)> {
        [
            ("WEFT_PROXY_NODE", "n1"),
            ("DB_PASSWORD", "x"),
            ("AWS_SECRET_ACCESS_KEY", "y"),
            ("GithubToken", "z"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = visible(variables(), None);
        assert_eq!(shown["WEFT_PROXY_NODE"], "n1");
        assert!(
            ["DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "GithubToken"]
                .iter()
                .all(|name| shown[*name] == REDACTED)
        );
    }

    #[test]
    fn only_requested_names_are_shown() {
        let shown = visible(variables(), Some("WEFT_PROXY_NODE&DB_PASSWORD&MISSING"));
        assert_eq!(shown.into_keys().collect::<Vec<_>>(), ["DB_PASSWORD", "WEFT_PROXY_NODE"]);
    }
}
