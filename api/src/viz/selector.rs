//! Label selectors as kubectl writes them: `app=web,tier!=db,zone in (a,b),team,!old`.

use std::{collections::BTreeMap, fmt, str::FromStr};

/// Longer texts are refused, in bytes.
const MAX_SELECTOR: usize = 2000;

/// Which labels a resource has to have. The default lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    conditions: Vec<Condition>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    label: String,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    /// One of these values.
    In(Vec<String>),
    /// None of these values, or no such label.
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.conditions.iter().all(|Condition { label, wanted }| {
            let value = labels.get(label);
            match wanted {
                Wanted::In(values) => value.is_some_and(|value| values.contains(value)),
                Wanted::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
                Wanted::Exists => value.is_some(),
                Wanted::Absent => value.is_none(),
            }
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SELECTOR {
            return Err(format!("the label selector is longer than {MAX_SELECTOR} characters"));
        }
        let parts = split(text).into_iter().map(str::trim).filter(|part| !part.is_empty());
        let conditions = parts.map(condition).collect::<Result<Vec<_>, _>>()?;
        if conditions.is_empty() {
            return Err("write a label selector such as app=web".to_owned());
        }
        Ok(Self { conditions, text: text.to_owned() })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The parts between commas that are not in brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut begin, mut within) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' => within = true,
            ')' => within = false,
            ',' if !within => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

fn condition(part: &str) -> Result<Condition, String> {
    let mistake = || {
        format!(
            "{part:?} is no condition; write LABEL=VALUE, LABEL!=VALUE, LABEL in (A,B), LABEL notin (A,B), LABEL or \
             !LABEL"
        )
    };
    let one = |value: &str| vec![value.trim().to_owned()];
    let (label, wanted) = if let Some((label, value)) = part.split_once("!=") {
        (label, Wanted::NotIn(one(value)))
    } else if let Some((label, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (label, Wanted::In(one(value)))
    } else if let Some((label, list)) = part.split_once(" notin ") {
        (label, Wanted::NotIn(values(list).ok_or_else(mistake)?))
    } else if let Some((label, list)) = part.split_once(" in ") {
        (label, Wanted::In(values(list).ok_or_else(mistake)?))
    } else if let Some(label) = part.strip_prefix('!') {
        (label, Wanted::Absent)
    } else {
        (part, Wanted::Exists)
    };
    let label = label.trim();
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let has_names = match &wanted {
        Wanted::In(all) | Wanted::NotIn(all) => all.iter().all(|value| value.chars().all(name)),
        Wanted::Exists | Wanted::Absent => true,
    };
    if label.is_empty() || !label.chars().all(|c| name(c) || c == '/') || !has_names {
        return Err(mistake());
    }
    Ok(Condition { label: label.to_owned(), wanted })
}

/// The values in `(a, b)`.
fn values(list: &str) -> Option<Vec<String>> {
    let inner = list.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_those_of_kubectl() {
        let labels = [("app", "web"), ("tier", "front")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (text, matches) in [
            ("app=web", true),
            ("app==web,tier", true),
            ("app!=web", false),
            ("team!=a", true),
            ("!team", true),
            ("team", false),
            ("app=web,tier=db", false),
            ("app in (db, web),tier", true),
            ("app in (db)", false),
            ("app notin (db,web)", false),
            ("team notin (a)", true),
        ] {
            let selector = text.parse::<Selector>().unwrap();
            assert_eq!(selector.matches(&labels), matches, "{text}");
            assert_eq!(selector.to_string(), text);
        }
        assert!(!"app".parse::<Selector>().unwrap().matches(&BTreeMap::new()));
        assert!(Selector::default().matches(&BTreeMap::new()));
    }

    #[test]
    fn what_is_no_selector_says_how_to_write_one() {
        for text in ["a b=c", "app in web", "app in (web", "a=b c", "=x"] {
            assert!(text.parse::<Selector>().unwrap_err().contains("LABEL=VALUE"), "{text}");
        }
        assert!(",".parse::<Selector>().unwrap_err().contains("app=web"));
        assert!("a,".repeat(2000).parse::<Selector>().is_err());
    }
}
