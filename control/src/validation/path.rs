//! Paths to the fields of an object.

use std::fmt;

/// The path from a document's root to one of its fields, as in `spec.ports[0].port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct FieldPath(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    Key(String),
    Index(usize),
}

/// Makes a [`FieldPath`]: `field!("spec", "ports", 0, "port")`.
macro_rules! field {
    ($($segment:expr),* $(,)?) => {
        $crate::validation::FieldPath::of(vec![$($crate::validation::Segment::from($segment)),*])
    };
}
pub(crate) use field;

impl FieldPath {
    pub(crate) fn of(segments: Vec<Segment>) -> Self {
        Self(segments)
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// This path below `parent`.
    pub(crate) fn under(&self, parent: &FieldPath) -> FieldPath {
        Self(parent.0.iter().chain(&self.0).cloned().collect())
    }
}

impl From<&serde_path_to_error::Path> for FieldPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment as Step;
        Self(
            path.iter()
                .filter_map(|step| match step {
                    Step::Seq { index } => Some(Segment::Index(*index)),
                    Step::Map { key } => Some(Segment::Key(key.clone())),
                    Step::Enum { variant } => Some(Segment::Key(variant.clone())),
                    Step::Unknown => None,
                })
                .collect(),
        )
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if key.contains(['.', '/']) => write!(f, "[{key:?}]")?,
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

impl From<&str> for Segment {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Segment {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}
