//! The messages that carry sockets from process to process, by SCM_RIGHTS (unix(7)).
//!
//! A message is the netns cookie (8 bytes, native order) and one byte for each socket: bit 0 set means inbound, bit 1
//! IPv6.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsRawFd, OwnedFd, RawFd},
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

use crate::{
    capture::{Listener, Listeners, owned_fd},
    net::Direction,
};

const INBOUND: u8 = 1;
const V6: u8 = 2;
/// More than the four listeners that a pod has.
const MAX_SOCKETS: usize = 16;

pub(super) fn send(to: &OwnedFd, cookie: u64, listeners: &Listeners) -> io::Result<()> {
    let mut bytes = cookie.to_ne_bytes().to_vec();
    bytes.extend(listeners.0.iter().map(|listener| {
        let inbound = if listener.direction == Direction::Inbound { INBOUND } else { 0 };
        inbound | if listener.v6 { V6 } else { 0 }
    }));
    let fds: Vec<RawFd> = listeners.0.iter().map(|listener| listener.socket.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<UnixAddr>(to.as_raw_fd(), &[IoSlice::new(&bytes)], &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Sends an empty message, which ends the handover.
pub(super) fn end(to: &OwnedFd) -> io::Result<()> {
    sendmsg::<UnixAddr>(to.as_raw_fd(), &[IoSlice::new(&[0; 8])], &[], MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

pub(super) fn receive(from: &OwnedFd) -> io::Result<Option<(u64, Listeners)>> {
    let mut bytes = [0; 8 + MAX_SOCKETS];
    let mut space = nix::cmsg_space!([RawFd; MAX_SOCKETS]);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let message =
        recvmsg::<UnixAddr>(from.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let length = message.bytes;
    let mut sockets: Vec<OwnedFd> = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            sockets.extend(fds.into_iter().map(owned));
        }
    }
    let unexpected = || io::Error::new(io::ErrorKind::InvalidData, "the other proxy is of another version");
    let (cookie, kinds) =
        bytes.get(..length).and_then(|bytes| bytes.split_first_chunk::<8>()).ok_or_else(unexpected)?;
    if kinds.len() != sockets.len() {
        return Err(unexpected());
    }
    if kinds.is_empty() {
        return Ok(None);
    }
    let listeners = kinds.iter().zip(sockets).map(|(kind, socket)| Listener {
        direction: if kind & INBOUND != 0 { Direction::Inbound } else { Direction::Outbound },
        v6: kind & V6 != 0,
        socket,
    });
    Ok(Some((u64::from_ne_bytes(*cookie), Listeners(listeners.collect()))))
}

/// Takes ownership of a descriptor that the kernel has just created for this process.
pub(super) fn owned(fd: RawFd) -> OwnedFd {
    owned_fd(fd)
}
