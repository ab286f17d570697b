//! Finds functions in the kernel's type information (BTF, Documentation/bpf/btf.rst).

use std::fs;

use anyhow::{Context, Result};

const FUNC: u32 = 12;

/// The BTF id of a function, by which programs attach to it.
pub(super) fn function(name: &str) -> Result<u32> {
    const FILE: &str = "/sys/kernel/btf/vmlinux";
    let btf = fs::read(FILE).with_context(|| format!("{FILE}: the kernel has no type information"))?;
    find(&btf, name).with_context(|| format!("the kernel has no {name}"))
}

fn find(btf: &[u8], wanted: &str) -> Option<u32> {
    let word = |at: usize| Some(u32::from_le_bytes(btf.get(at..at + 4)?.try_into().ok()?));
    let header = word(4)? as usize;
    let (types, names) = (header + word(8)? as usize, header + word(16)? as usize);
    let (mut at, mut id) = (types, 1);
    while at < types + word(12)? as usize {
        let (name, info) = (names + word(at)? as usize, word(at + 4)?);
        let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        if kind == FUNC && btf.get(name..)?.split(|byte| *byte == 0).next()? == wanted.as_bytes() {
            return Some(id);
        }
        at += 12 + trailer(kind, members);
        id += 1;
    }
    None
}

/// The length of what follows the header of a type.
fn trailer(kind: u32, members: usize) -> usize {
    match kind {
        // Integers, variables, tags of declarations.
        1 | 14 | 17 => 4,
        // Arrays.
        3 => 12,
        // Structures, unions, sections, 64-bit enumerations.
        4 | 5 | 15 | 19 => 12 * members,
        // Enumerations, parameters.
        6 | 13 => 8 * members,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_numbered_from_one() {
        let mut btf = Vec::new();
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>();
        let types = [
            words(&[1, 1 << 24, 4, 32]),          // int "a"
            words(&[3, 4 << 24 | 1, 8, 1, 1, 0]), // struct "b" with one member
            words(&[0, 13 << 24, 1]),             // a prototype without parameters
            words(&[5, FUNC << 24, 3]),           // function "f"
        ]
        .concat();
        btf.extend(words(&[0x0001_eb9f, 24, 0, types.len() as u32, types.len() as u32, 7]));
        btf.extend(types);
        btf.extend(b"\0a\0b\0f\0");
        assert_eq!(find(&btf, "f"), Some(4));
        assert_eq!(find(&btf, "b"), None);
        assert_eq!(find(&btf[..btf.len() - 30], "f"), None);
    }
}
