//! Protobuf messages that are mutated field by field, so that most of them can still be decoded.

use std::fmt::Debug;

use proptest::{collection::vec, prelude::*, sample::Index};
use prost::{
    Message,
    encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint},
};

/// Numbers at the borders of what conversions accept.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 5, 7, 80, 65_535, 65_536, u32::MAX as u64, 1 << 31, i64::MAX as u64, u64::MAX];
const TEXTS: [&str; 14] = [
    "",
    "a",
    "10.0.0.1",
    "fd00::1",
    "::ffff:10.0.0.1",
    "10.0.0.0/8",
    "10.0.0.0/33",
    "::/0",
    "a/b",
    "é",
    "a.b.c.",
    "web.demo.serviceaccount.identity.linkerd.cluster.local",
    "spiffe://mesh.test/x",
    "\u{0}",
];

#[derive(Clone, Debug)]
struct Edit {
    /// Where; one step per level of nesting.
    path: [Index; 4],
    change: Change,
}

#[derive(Clone, Debug)]
enum Change {
    Number(u64),
    Bytes(Vec<u8>),
    Remove,
    Repeat(usize),
    Tag(u32),
}

/// A field as it is on the wire.
#[derive(Clone)]
struct Field {
    tag: u32,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

/// Messages that begin as one of the `seeds`.
pub(crate) fn messages<M: Message + Default + Clone + Debug>(seeds: Vec<M>) -> impl Strategy<Value = M> {
    let seeds: Vec<Vec<u8>> = seeds.iter().map(Message::encode_to_vec).collect();
    let number = prop_oneof![3 => prop::sample::select(&NUMBERS[..]), 1 => any::<u64>()];
    let text = prop::sample::select(&TEXTS[..]).prop_map(|text| text.as_bytes().to_vec());
    let change = prop_oneof![
        4 => number.prop_map(Change::Number),
        4 => text.prop_map(Change::Bytes),
        1 => vec(any::<u8>(), 0..20).prop_map(Change::Bytes),
        2 => Just(Change::Remove),
        2 => (1..40_usize).prop_map(Change::Repeat),
        1 => (1..30_u32).prop_map(Change::Tag),
    ];
    let edit = (any::<[Index; 4]>(), change).prop_map(|(path, change)| Edit { path, change });
    (prop::sample::select(seeds), vec(edit, 0..6)).prop_filter_map("not a message", |(seed, edits)| {
        let mut bytes = seed;
        for Edit { path, change } in edits {
            bytes = edited(&bytes, &path, &change)?;
        }
        M::decode(&bytes[..]).ok()
    })
}

fn edited(bytes: &[u8], path: &[Index], change: &Change) -> Option<Vec<u8>> {
    let mut fields = parse(bytes)?;
    let Some((first, deeper)) = path.split_first().filter(|_| !fields.is_empty()) else {
        return Some(bytes.to_vec());
    };
    let at = first.index(fields.len());
    let nested = match &fields[at].value {
        Value::Bytes(inner) if parse(inner).is_some_and(|inner| !inner.is_empty()) => {
            edited(inner, deeper, change).filter(|changed| changed != inner)
        }
        _ => None,
    };
    match (nested, change) {
        (Some(inner), _) => fields[at].value = Value::Bytes(inner),
        (None, Change::Number(number)) => {
            if let Value::Number(value) = &mut fields[at].value {
                *value = *number;
            }
        }
        (None, Change::Bytes(new)) => {
            if let Value::Bytes(value) = &mut fields[at].value {
                *value = new.clone();
            }
        }
        (None, Change::Remove) => drop(fields.remove(at)),
        (None, Change::Repeat(times)) => {
            let field = fields[at].clone();
            fields.extend(std::iter::repeat_n(field, *times));
        }
        (None, Change::Tag(tag)) => fields[at].tag = *tag,
    }
    Some(written(&fields))
}

fn parse(mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (tag, wire) = decode_key(&mut bytes).ok()?;
        let value = match wire {
            WireType::Varint => Value::Number(decode_varint(&mut bytes).ok()?),
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Value::Bytes(value.to_vec())
            }
            _ => return None,
        };
        fields.push(Field { tag, value });
    }
    Some(fields)
}

fn written(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for Field { tag, value } in fields {
        match value {
            Value::Number(number) => {
                encode_key(*tag, WireType::Varint, &mut out);
                encode_varint(*number, &mut out);
            }
            Value::Bytes(bytes) => {
                encode_key(*tag, WireType::LengthDelimited, &mut out);
                encode_varint(bytes.len() as u64, &mut out);
                out.extend(bytes);
            }
        }
    }
    out
}
