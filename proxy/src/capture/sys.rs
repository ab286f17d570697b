//! System calls that no library wraps.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
    time::Duration,
};

const BPF_MAP_LOOKUP_ELEM: u32 = 1;
const BPF_MAP_UPDATE_ELEM: u32 = 2;
const BPF_OBJ_GET: u32 = 7;
const BPF_LINK_UPDATE: u32 = 29;
const BPF_LINK_DETACH: u32 = 34;
const SO_NETNS_COOKIE: i32 = 71;
const SO_COOKIE: i32 = 57;
const SO_MEMINFO: i32 = 55;

/// The head of `union bpf_attr` (include/uapi/linux/bpf.h) as the commands here lay it out; the rest is zero.
#[repr(C)]
#[derive(Default)]
struct Attr {
    words: [u64; 16],
}

fn bpf(command: u32, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: the kernel reads `size_of::<Attr>()` bytes; the pointers in it outlive the call (callers).
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<Attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn fds(low: BorrowedFd<'_>, high: i32) -> u64 {
    u64::from(low.as_raw_fd() as u32) | u64::from(high as u32) << 32
}

/// Opens a pinned object.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut attr = Attr::default();
    attr.words[0] = path.as_ptr() as u64;
    let fd = bpf(BPF_OBJ_GET, &mut attr)?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets an attached link run another program, without a gap (kernel 5.7).
pub(super) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = Attr::default();
    attr.words[0] = fds(link, program.as_raw_fd());
    bpf(BPF_LINK_UPDATE, &mut attr).map(drop)
}

/// Detaches a link at once; unpinning it alone would do so some time later (kernel 5.9).
pub(super) fn detach_link(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = Attr::default();
    attr.words[0] = fds(link, 0);
    bpf(BPF_LINK_DETACH, &mut attr).map(drop)
}

/// Reads what a socket storage map keeps with `socket`.
pub(super) fn storage_get<T: aya::Pod + Default>(
    map: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
) -> io::Result<T> {
    let key = socket.as_raw_fd();
    let mut value = T::default();
    let mut attr = Attr::default();
    attr.words[0] = fds(map, 0);
    attr.words[1] = std::ptr::from_ref(&key) as u64;
    attr.words[2] = std::ptr::from_mut(&mut value) as u64;
    bpf(BPF_MAP_LOOKUP_ELEM, &mut attr)?;
    Ok(value)
}

/// Writes what a socket storage map keeps with `socket`.
pub(super) fn storage_set<T: aya::Pod>(
    map: BorrowedFd<'_>,
    socket: BorrowedFd<'_>,
    value: &T,
) -> io::Result<()> {
    let key = socket.as_raw_fd();
    let mut attr = Attr::default();
    attr.words[0] = fds(map, 0);
    attr.words[1] = std::ptr::from_ref(&key) as u64;
    attr.words[2] = std::ptr::from_ref(value) as u64;
    bpf(BPF_MAP_UPDATE_ELEM, &mut attr).map(drop)
}

/// The cookie of the network namespace that `socket` belongs to (kernel 5.14).
pub(super) fn netns_cookie(socket: &impl AsFd) -> io::Result<u64> {
    socket_option(socket, SO_NETNS_COOKIE)
}

/// By what the kernel knows `socket`, and no other socket ever.
pub fn socket_cookie(socket: &impl AsFd) -> io::Result<u64> {
    socket_option(socket, SO_COOKIE)
}

/// How many bytes wait in the socket's receive queue, with overhead (kernel 4.12).
pub(super) fn receive_queue(socket: &impl AsFd) -> io::Result<u32> {
    // SK_MEMINFO_RMEM_ALLOC is the first of the words; fewer are given if there is room for fewer.
    socket_option(socket, SO_MEMINFO)
}

fn socket_option<T: aya::Pod + Default>(socket: &impl AsFd, name: i32) -> io::Result<T> {
    let mut value = T::default();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `value`, which is plain data.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            std::ptr::from_mut(&mut value).cast(),
            &mut len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Lets the loopback interface of the calling thread's network namespace run.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: ifreq is plain data, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = *byte as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel reads one ifreq.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// CLOCK_MONOTONIC, which bpf_ktime_get_ns() reads too.
pub(super) fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec; the clock exists since Linux 2.6.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// What the kernel knows of a connection: smoothed round-trip time and retransmitted segments. `None` if the
/// socket is not TCP.
pub fn tcp_info(socket: &impl AsFd) -> Option<(Duration, u32)> {
    let info = read_tcp_info(socket)?;
    Some((Duration::from_micros(info.tcpi_rtt.into()), info.tcpi_total_retrans))
}

/// How long ago the other side acknowledged anything, if it has not for several times: data that was sent again, or
/// probes (of a closed window, or of keepalive). What a reader that pauses has had no room for is not counted as sent
/// again (tcp_retransmit_timer(), Linux 6.1), and of the probes that follow each other soon it answers only some
/// (tcp_invalid_ratelimit).
pub fn unacknowledged_for(socket: &impl AsFd) -> Option<Duration> {
    const SEVERAL: u8 = 3;
    let info = read_tcp_info(socket)?;
    let is_unanswered = info.tcpi_retransmits.max(info.tcpi_probes) >= SEVERAL;
    is_unanswered.then(|| Duration::from_millis(info.tcpi_last_ack_recv.into()))
}

fn read_tcp_info(socket: &impl AsFd) -> Option<libc::tcp_info> {
    // SAFETY: tcp_info is plain integers, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            std::ptr::from_mut(&mut info).cast(),
            &mut len,
        )
    };
    (result == 0).then_some(info)
}

/// Takes ownership of a descriptor that the kernel has just made for this process, where a library gives it as
/// a number.
pub fn owned_fd(fresh: std::os::fd::RawFd) -> OwnedFd {
    // SAFETY: the caller has it from accept() or SCM_RIGHTS and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fresh) }
}
