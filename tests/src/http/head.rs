//! The head of a message: its first line and its fields, exactly as they were on the wire.

use std::io::Read;

use anyhow::{Context, Result, bail, ensure};

use super::Wire;

/// Name and value. Bytes above 127 are the characters of the same number.
pub type Field = (String, String);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub line: String,
    pub fields: Vec<Field>,
}

impl Head {
    /// Reads a head. Everything that RFC 9112 calls invalid is an error, also where it allows leniency.
    pub fn read<S: Read>(wire: &mut Wire<S>) -> Result<Self> {
        let line = text(&wire.line().context("the first line")?);
        let head = Self { line, fields: fields(wire).context("the fields")? };
        head.check_first_line().with_context(|| format!("the first line {:?}", head.line))?;
        Ok(head)
    }

    /// The values of a field, in their order.
    pub fn values<'a>(&'a self, name: &str) -> Vec<&'a str> {
        let named = self.fields.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    pub fn is_request(&self) -> bool {
        !self.line.starts_with("HTTP/")
    }

    /// Whether the sender speaks HTTP/1.0.
    pub fn is_old(&self) -> bool {
        if self.is_request() { self.line.ends_with(" HTTP/1.0") } else { self.line.starts_with("HTTP/1.0 ") }
    }

    /// A request's method.
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or_default()
    }

    /// A request's target.
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// A response's status; 0 for a request.
    pub fn status(&self) -> u16 {
        let code = self.line.split(' ').nth(1).filter(|_| !self.is_request());
        code.and_then(|code| code.parse().ok()).unwrap_or_default()
    }

    /// The fields in an order that does not depend on how different names were mixed: fields of one name keep theirs.
    /// The spelling of names is kept.
    pub fn sorted(&self) -> Vec<Field> {
        let mut fields = self.fields.clone();
        fields.sort_by_key(|(name, _)| name.to_ascii_lowercase());
        fields
    }

    fn check_first_line(&self) -> Result<()> {
        let mut words = self.line.splitn(3, ' ');
        let [first, second, third] =
            [words.next(), words.next(), words.next()].map(Option::unwrap_or_default);
        let version = |word: &str| matches!(word, "HTTP/1.0" | "HTTP/1.1");
        if self.is_request() {
            ensure!(is_token(first), "the method is no token");
            ensure!(
                !second.is_empty() && second.chars().all(|c| c > ' ' && c != '\u{7f}'),
                "an invalid target"
            );
            ensure!(version(third), "an unknown version");
            let hosts = self.values("host").len();
            ensure!(hosts == 1 || (hosts == 0 && self.is_old()), "{hosts} Host fields");
        } else {
            ensure!(version(first), "an unknown version");
            ensure!(second.len() == 3 && second.bytes().all(|b| b.is_ascii_digit()), "an invalid status");
        }
        Ok(())
    }
}

/// Fields up to the empty line: of a head, or the trailers of a body.
pub(super) fn fields<S: Read>(wire: &mut Wire<S>) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    loop {
        let line = text(&wire.line()?);
        if line.is_empty() {
            return Ok(fields);
        }
        let Some((name, value)) = line.split_once(':') else { bail!("no colon in {line:?}") };
        ensure!(is_token(name), "the name in {line:?} is no token");
        let value = value.trim_matches([' ', '\t']);
        let valid = |c: char| c == '\t' || !(c < ' ' || c == '\u{7f}');
        ensure!(value.chars().all(valid), "an invalid character in {line:?}");
        fields.push((name.to_owned(), value.to_owned()));
    }
}

fn is_token(word: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !word.is_empty() && word.chars().all(valid)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
