//! Finds the line and column of a field in a YAML text.
//!
//! The YAML parser keeps positions only for errors. So the text is parsed again with a visitor that fails on purpose
//! as soon as it reaches the field, and the position of that error is the result. This takes time only when there is a
//! mistake to report.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::validation::{FieldPath, Segment};

/// Line and column (from 1) of `field` in the only document of `text`, or of its nearest parent that exists.
pub(super) fn locate(text: &str, field: &FieldPath) -> (usize, usize) {
    let Some(document) = serde_yaml_ng::Deserializer::from_str(text).next() else { return (1, 1) };
    match (Seek { path: field.segments() }).deserialize(document) {
        Err(error) => error.location().map_or((1, 1), |at| (at.line(), at.column())),
        Ok(()) => (1, 1),
    }
}

struct Seek<'a> {
    path: &'a [Segment],
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the field to locate")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Some((Segment::Key(wanted), rest)) = self.path.split_first() {
            while let Some(key) = map.next_key::<String>()? {
                if key == *wanted {
                    return map.next_value_seed(Seek { path: rest });
                }
                map.next_value::<IgnoredAny>()?;
            }
        }
        Err(A::Error::custom("found"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Some((Segment::Index(wanted), rest)) = self.path.split_first() {
            for _ in 0..*wanted {
                if list.next_element::<IgnoredAny>()?.is_none() {
                    return Err(A::Error::custom("found"));
                }
            }
            if list.next_element_seed(Seek { path: rest })?.is_some() {
                return Ok(());
            }
        }
        Err(A::Error::custom("found"))
    }
    // Scalars end in the visitor's default "invalid type" errors, which carry the position.
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::field;

    const TEXT: &str = "# note\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    a.b/c: \"1\"\nspec:\n  ports:\n  - port: 1\n  - port: x\n";

    #[test]
    fn finds_scalars_in_mappings_and_lists() {
        assert_eq!(locate(TEXT, &field!("kind")), (2, 7));
        assert_eq!(locate(TEXT, &field!("metadata", "name")), (4, 9));
        assert_eq!(locate(TEXT, &field!("metadata", "annotations", "a.b/c")), (6, 12));
        assert_eq!(locate(TEXT, &field!("spec", "ports", 1, "port")), (10, 11));
    }

    #[test]
    fn an_absent_field_is_where_its_parent_is() {
        assert_eq!(locate(TEXT, &field!("metadata", "namespace")).0, 4);
        assert_eq!(locate(TEXT, &field!("spec", "ports", 7, "port")).0, 9);
        assert_eq!(locate(TEXT, &field!()).0, 2);
    }
}
