//! Finds the offset of a structure's field in this kernel.
//!
//! BTF (Documentation/bpf/btf.rst of the kernel), version 1: as much of it as finds a member of a structure.

use std::{collections::HashMap, path::Path};

/// The kernel's type information, read through once.
pub(super) struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    /// Offset of each type's record, by its number.
    types: Vec<usize>,
    /// Structures by name.
    structs: HashMap<Vec<u8>, usize>,
}

/// Why a field's place is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum BtfError {
    #[error("{0}: {1}")]
    Read(String, std::io::Error),
    #[error("{0} is no BTF of a version that weft knows")]
    Format(String),
    #[error("struct {0} has no field {1}")]
    NoField(&'static str, &'static str),
}

const MAGIC: u16 = 0xeb9f;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;

impl Btf {
    pub(super) fn read(path: &Path) -> Result<Self, BtfError> {
        let name = || path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| BtfError::Read(name(), error))?;
        Self::parse(bytes).ok_or_else(|| BtfError::Format(name()))
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let magic = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        if magic != MAGIC || *bytes.get(2)? != 1 {
            return None;
        }
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?));
        let header = word(4)? as usize;
        let mut at = header.checked_add(word(8)? as usize)?;
        let end = at.checked_add(word(12)? as usize)?;
        let strings = header.checked_add(word(16)? as usize)?;
        // Type 0 is void and has no record.
        let mut types = vec![usize::MAX];
        let mut structs = HashMap::new();
        while at < end {
            let (name, info) = (word(at)?, word(at + 4)?);
            let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            if kind == STRUCT && name != 0 {
                let name = string(&bytes, strings, name)?.to_vec();
                structs.entry(name).or_insert(types.len());
            }
            types.push(at);
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    STRUCT | UNION | 15 | 19 => members * 12,
                    6 | 13 => members * 8,
                    2 | 7..=12 | 16 | 18 => 0,
                    _ => return None,
                };
        }
        Some(Btf { strings, types, structs, bytes })
    }

    /// The offset in bytes of `path` (fields with dots between them) from the beginning of `structure`.
    pub(super) fn offset(&self, structure: &'static str, path: &'static str) -> Result<u32, BtfError> {
        let found = || -> Option<u32> {
            let mut number = *self.structs.get(structure.as_bytes())?;
            let mut bits = 0;
            for field in path.split('.') {
                let (offset, of) = self.member(number, field.as_bytes())?;
                bits += offset;
                number = of;
            }
            bits.is_multiple_of(8).then_some(bits / 8)
        };
        found().ok_or(BtfError::NoField(structure, path))
    }

    /// A member's offset in bits and its type; those of members without a name are looked through.
    fn member(&self, number: usize, wanted: &[u8]) -> Option<(u32, usize)> {
        let mut at = *self.types.get(number)?;
        let mut info = self.word(at.checked_add(4)?)?;
        // No type has so many names; a wrong table could have a circle.
        for _ in 0..8 {
            if info >> 24 & 0x1f != TYPEDEF {
                break;
            }
            at = *self.types.get(self.word(at.checked_add(8)?)? as usize)?;
            info = self.word(at.checked_add(4)?)?;
        }
        if !matches!(info >> 24 & 0x1f, STRUCT | UNION) {
            return None;
        }
        let has_bitfields = info >> 31 != 0;
        (0..(info & 0xffff) as usize).find_map(|index| {
            let member = at + 12 + index * 12;
            let (name, of, offset) = (self.word(member)?, self.word(member + 4)?, self.word(member + 8)?);
            let offset = if has_bitfields { offset & 0xff_ffff } else { offset };
            if name == 0 {
                let (inner, of) = self.member(of as usize, wanted)?;
                return Some((offset + inner, of));
            }
            (string(&self.bytes, self.strings, name)? == wanted).then_some((offset, of as usize))
        })
    }

    fn word(&self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
    }
}

fn string(bytes: &[u8], strings: usize, at: u32) -> Option<&[u8]> {
    bytes.get(strings.checked_add(at as usize)?..)?.split(|byte| *byte == 0).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `typedef struct inner { int x; int y; } inner_t; struct outer { struct { int pad; inner_t in; }; }`
    fn example() -> Vec<u8> {
        let strings = b"\0int\0outer\0inner\0inner_t\0pad\0in\0x\0y\0";
        let at = |name: &str| {
            let name = format!("\0{name}\0");
            strings.windows(name.len()).position(|w| w == name.as_bytes()).unwrap() as u32 + 1
        };
        let kind = |kind: u32, members: u32| kind << 24 | members;
        let types: Vec<u32> = [
            vec![at("int"), kind(1, 0), 4, 0],
            vec![at("inner"), kind(4, 2), 8, at("x"), 1, 0, at("y"), 1, 32],
            vec![0, kind(4, 2), 12, at("pad"), 1, 0, at("in"), 5, 32],
            vec![at("outer"), kind(4, 1), 12, 0, 3, 0],
            vec![at("inner_t"), kind(8, 0), 2],
        ]
        .concat();
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        [bytes, types, strings.to_vec()].concat()
    }

    #[test]
    fn fields_are_found_through_members_without_a_name() {
        let btf = Btf::parse(example()).unwrap();
        assert_eq!(btf.offset("outer", "in.y").unwrap(), 8);
        assert_eq!(btf.offset("inner", "y").unwrap(), 4);
        assert!(btf.offset("outer", "z").is_err() && btf.offset("none", "x").is_err());
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let whole = example();
        for length in 0..whole.len() {
            // Never a panic; a shorter string table may still do.
            if let Some(btf) = Btf::parse(whole[..length].to_vec()) {
                let _ = btf.offset("outer", "in.y");
            }
        }
        assert!(Btf::parse(b"ELF".to_vec()).is_none());
    }
}
