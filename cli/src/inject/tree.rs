//! A YAML or JSON text as a tree of nodes that know their places in the text.

use std::ops::Range;

use anyhow::{Result, anyhow, bail};
use granit_parser::{Event, Parser, ScalarStyle, Span, StructureStyle};

/// Deeper texts are refused.
const MAX_DEPTH: usize = 128;

/// A document of the text.
pub(super) struct Document {
    /// Empty if the document is.
    pub(super) root: Option<Node>,
}

pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) at: Range<usize>,
    /// The column of the first character, counted from 0.
    pub(super) column: usize,
}

pub(super) enum Kind {
    Scalar { value: String, plain: bool, block: bool },
    Sequence { items: Vec<Node> },
    Mapping { entries: Vec<(Node, Node)>, flow: bool },
    Alias,
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The entry of a mapping.
    pub(super) fn entry(&self, key: &str) -> Option<&(Node, Node)> {
        match &self.kind {
            Kind::Mapping { entries, .. } => entries.iter().find(|(name, _)| name.text() == Some(key)),
            _ => None,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, value)| value)
    }

    /// The text at a path of keys.
    pub(super) fn string(&self, path: &[&str]) -> Option<&str> {
        path.iter().try_fold(self, |node, key| node.get(key)).and_then(Node::text)
    }

    pub(super) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Sequence { items } => items,
            _ => &[],
        }
    }

    /// Nothing, `null` or `~`.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { value, plain: true, .. } if matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }
}

/// The documents of a text.
pub(super) fn parse(text: &str) -> Result<Vec<Document>> {
    let mut events = Vec::new();
    for next in Parser::new_from_str(text) {
        let (event, span) = next.map_err(|error| anyhow!("{error}"))?;
        if !matches!(event, Event::Comment(..)) {
            events.push((event, span));
        }
    }
    let mut events = events.into_iter();
    let mut documents = Vec::new();
    while let Some((event, _)) = events.next() {
        if let Event::DocumentStart(..) = event {
            let root = match events.next() {
                Some((Event::DocumentEnd, _)) | None => None,
                Some((event, span)) => Some(node(event, span, &mut events, 0)?),
            };
            documents.push(Document { root: root.filter(|root| !root.is_null()) });
        }
    }
    Ok(documents)
}

fn node<'a>(
    event: Event<'a>,
    span: Span,
    events: &mut impl Iterator<Item = (Event<'a>, Span)>,
    depth: usize,
) -> Result<Node> {
    if depth > MAX_DEPTH {
        bail!("line {}: more than {MAX_DEPTH} levels", span.start.line());
    }
    let mut at = span.byte_range().ok_or_else(|| anyhow!("line {}: cannot be located", span.start.line()))?;
    let column = span.start.col();
    let kind = match event {
        Event::Scalar(value, style, ..) => Kind::Scalar {
            value: value.into_owned(),
            plain: style == ScalarStyle::Plain,
            block: matches!(style, ScalarStyle::Literal | ScalarStyle::Folded),
        },
        Event::Alias(_) => Kind::Alias,
        Event::SequenceStart(..) => {
            let mut items = Vec::new();
            loop {
                match events.next() {
                    Some((Event::SequenceEnd, end)) => {
                        at.end = end.byte_range().map_or(at.end, |range| range.end);
                        break Kind::Sequence { items };
                    }
                    Some((event, span)) => items.push(node(event, span, events, depth + 1)?),
                    None => bail!("the text ends inside a list"),
                }
            }
        }
        Event::MappingStart(style, ..) => {
            let mut entries = Vec::new();
            loop {
                match events.next() {
                    Some((Event::MappingEnd, end)) => {
                        at.end = end.byte_range().map_or(at.end, |range| range.end);
                        break Kind::Mapping { entries, flow: style == StructureStyle::Flow };
                    }
                    Some((event, span)) => {
                        let key = node(event, span, events, depth + 1)?;
                        let Some((event, span)) = events.next() else {
                            bail!("the text ends inside a mapping")
                        };
                        entries.push((key, node(event, span, events, depth + 1)?));
                    }
                    None => bail!("the text ends inside a mapping"),
                }
            }
        }
        event => bail!("line {}: unexpected {event:?}", span.start.line()),
    };
    Ok(Node { kind, at, column })
}
