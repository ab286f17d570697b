//! Counts and fills the entries of eBPF maps with the bpf system call: it works for any map, whichever program created
//! it.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    sync::Once,
};

use anyhow::{Context, Result};

use super::btf;

const MAP_UPDATE_ELEM: i64 = 2;
const MAP_DELETE_ELEM: i64 = 3;
const MAP_GET_NEXT_KEY: i64 = 4;
const PROG_LOAD: i64 = 5;
const OBJ_GET: i64 = 7;
const MAP_GET_FD_BY_ID: i64 = 14;
const OBJ_GET_INFO_BY_FD: i64 = 15;
const LINK_CREATE: i64 = 28;
const ITER_CREATE: i64 = 33;

/// Types of maps (include/uapi/linux/bpf.h) with entries that are added and removed: hashes, prefix tree, socket hash.
const KEYED: [u32; 6] = [1, 5, 9, 10, 11, 18];
const SK_STORAGE: u32 = 24;

const PROG_TYPE_TRACING: u32 = 26;
const BPF_TRACE_ITER: u32 = 28;

/// The beginning of `union bpf_attr`, zeroed; the commands here set its words.
#[derive(Default)]
#[repr(C)]
struct Attr([u64; 20]);

pub(super) struct Map {
    descriptor: OwnedFd,
    pub(super) number: u32,
    pub(super) name: String,
    kind: u32,
    key_size: usize,
    value_size: usize,
}

impl Map {
    /// The map that is pinned at `path`.
    pub(super) fn pinned(path: &Path) -> Result<Self> {
        let c_path = CString::new(path.as_os_str().as_bytes())?;
        let mut attr = Attr::default();
        attr.0[0] = c_path.as_ptr() as u64;
        let opened = descriptor(OBJ_GET, &mut attr).and_then(Self::of);
        opened.with_context(|| path.display().to_string())
    }

    /// The map with this id.
    pub(super) fn by_id(number: u32) -> Result<Self> {
        let mut attr = Attr::default();
        attr.0[0] = u64::from(number);
        let opened = descriptor(MAP_GET_FD_BY_ID, &mut attr).and_then(Self::of);
        opened.with_context(|| format!("map {number}"))
    }

    fn of(descriptor: OwnedFd) -> io::Result<Self> {
        let info = info(&descriptor)?;
        let [kind, number, key_size, value_size] = [info[0], info[1], info[2], info[3]];
        let name: Vec<u8> = info[6..10].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let (key_size, value_size) = (key_size as usize, value_size as usize);
        Ok(Self { descriptor, number, name, kind, key_size, value_size })
    }

    /// The number of entries. `None` for arrays, which are always full, for queues, and where the kernel does not list
    /// them.
    pub(super) fn entries(&self) -> Result<Option<u64>> {
        if self.kind == SK_STORAGE {
            return sockets(&self.descriptor).context("listing a socket storage map");
        }
        Ok(KEYED.contains(&self.kind).then(|| keys(&self.descriptor, self.key_size)).transpose()?)
    }

    /// Fills all the room that is left; returns how many entries that took.
    pub(super) fn fill(&self) -> io::Result<u32> {
        let value = vec![0u8; self.value_size];
        for n in 0.. {
            match self.change(MAP_UPDATE_ELEM, n, Some(&value)) {
                Err(e) if e.raw_os_error() == Some(libc::E2BIG) => return Ok(n),
                result => result?,
            }
        }
        Ok(u32::MAX)
    }

    /// Removes the entries of [`Map::fill`].
    pub(super) fn clear(&self, filled: u32) -> io::Result<()> {
        (0..filled).try_for_each(|n| self.change(MAP_DELETE_ELEM, n, None))
    }

    fn change(&self, command: i64, n: u32, value: Option<&[u8]>) -> io::Result<()> {
        // No namespace, address or socket has such a key.
        let mut key = vec![0xee; self.key_size];
        for (byte, of) in key.iter_mut().zip(n.to_ne_bytes()) {
            *byte = of;
        }
        let mut attr = Attr::default();
        attr.0[0] = self.descriptor.as_raw_fd() as u64;
        attr.0[1] = key.as_ptr() as u64;
        attr.0[2] = value.map_or(0, |value| value.as_ptr() as u64);
        call(command, &mut attr).map(drop)
    }
}

fn info(map: &OwnedFd) -> io::Result<[u32; 20]> {
    // struct bpf_map_info begins with type, id, key_size, value_size, max_entries, map_flags, name.
    let mut info = [0u32; 20];
    let mut attr = Attr::default();
    attr.0[0] = pair(map.as_raw_fd() as u32, size_of_val(&info) as u32);
    attr.0[1] = info.as_mut_ptr() as u64;
    call(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// Iterates over the keys. If others write at the same time the iteration may restart, so it is bounded; a map that
/// nobody changes is counted exactly.
fn keys(map: &OwnedFd, size: usize) -> io::Result<u64> {
    const MAX: u64 = 1 << 20;
    let (mut last, mut next) = (vec![0u8; size], vec![0u8; size]);
    let mut count = 0;
    loop {
        let mut attr = Attr::default();
        attr.0[0] = map.as_raw_fd() as u64;
        attr.0[1] = if count == 0 { 0 } else { last.as_ptr() as u64 };
        attr.0[2] = next.as_mut_ptr() as u64;
        match call(MAP_GET_NEXT_KEY, &mut attr) {
            Ok(_) if count < MAX => count += 1,
            Err(e) if e.raw_os_error() != Some(libc::ENOENT) => return Err(e),
            _ => return Ok(count),
        }
        std::mem::swap(&mut last, &mut next);
    }
}

/// Counts the sockets that have an entry in a storage map: an iterator program (kernel 5.9) writes a byte for each,
/// also for sockets that are not visible any more because a reference was leaked. Some hardened kernels refuse it even
/// to root: then only visible sockets are counted, among the TCP sockets of every pod.
fn sockets(map: &OwnedFd) -> Result<Option<u64>> {
    static NOT_LISTED: Once = Once::new();
    let Some(program) = load_iterator()? else {
        NOT_LISTED
            .call_once(|| println!("this kernel does not list socket storage: its entries are not counted"));
        return Ok(None);
    };
    let target = map.as_raw_fd() as u32;
    let mut attr = Attr::default();
    attr.0[0] = pair(program.as_raw_fd() as u32, 0);
    attr.0[1] = pair(BPF_TRACE_ITER, 0);
    attr.0[2] = (&raw const target) as u64;
    attr.0[3] = size_of_val(&target) as u64;
    let link = descriptor(LINK_CREATE, &mut attr).context("attaching the iterator")?;
    let mut attr = Attr::default();
    attr.0[0] = link.as_raw_fd() as u64;
    let mut iterator = File::from(descriptor(ITER_CREATE, &mut attr).context("starting the iterator")?);
    let mut marks = Vec::new();
    iterator.read_to_end(&mut marks)?;
    Ok(Some(marks.len() as u64))
}

/// `if (ctx->sk) bpf_seq_write(ctx->meta->seq, "\1", 1); return 0;` for struct bpf_iter__bpf_sk_storage_map.
const ITERATOR: [u64; 11] = [
    instruction(0x79, 6, 1, 0, 0),   // r6 = ctx->meta
    instruction(0x79, 7, 1, 16, 0),  // r7 = ctx->sk
    instruction(0x15, 7, 0, 6, 0),   // if r7 == 0, skip the next six
    instruction(0x79, 1, 6, 0, 0),   // r1 = meta->seq
    instruction(0x72, 10, 0, -8, 1), // *(u8 *)(r10 - 8) = 1
    instruction(0xbf, 2, 10, 0, 0),  // r2 = r10
    instruction(0x07, 2, 0, 0, -8),  // r2 -= 8
    instruction(0xb7, 3, 0, 0, 1),   // r3 = 1
    instruction(0x85, 0, 0, 0, 127), // bpf_seq_write(r1, r2, r3)
    instruction(0xb7, 0, 0, 0, 0),   // r0 = 0
    instruction(0x95, 0, 0, 0, 0),   // exit
];

/// `None`: the kernel refuses this iterator.
fn load_iterator() -> Result<Option<OwnedFd>> {
    let hook = btf::function("bpf_iter_bpf_sk_storage_map")?;
    let (license, mut log) = (c"GPL", vec![0u8; 64 << 10]);
    let mut attr = Attr::default();
    attr.0[0] = pair(PROG_TYPE_TRACING, ITERATOR.len() as u32);
    attr.0[1] = ITERATOR.as_ptr() as u64;
    attr.0[2] = license.as_ptr() as u64;
    attr.0[3] = pair(1, log.len() as u32);
    attr.0[4] = log.as_mut_ptr() as u64;
    attr.0[8] = pair(0, BPF_TRACE_ITER);
    attr.0[13] = pair(0, hook);
    let loaded = match descriptor(PROG_LOAD, &mut attr) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        loaded => loaded.map(Some),
    };
    loaded.with_context(|| {
        let text = String::from_utf8_lossy(&log);
        format!("loading the iterator: {}", text.trim_end_matches('\0'))
    })
}

/// A struct bpf_insn (include/uapi/linux/bpf.h) on a little-endian machine.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64 | ((from << 4 | to) as u64) << 8 | (offset as u16 as u64) << 16 | (value as u32 as u64) << 32
}

const fn pair(low: u32, high: u32) -> u64 {
    low as u64 | (high as u64) << 32
}

fn descriptor(command: i64, attr: &mut Attr) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    // SAFETY: these commands return a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn call(command: i64, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes the words, whose size is passed; what they point to outlives the call and is
    // as large as the words beside the pointers say (callers).
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<Attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}
