//! Sends netlink requests and hands over what the kernel answers.

use std::{io, ops::ControlFlow};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr};

/// A socket of the calling thread's network namespace.
pub(super) fn socket(protocol: isize) -> io::Result<Socket> {
    let socket = Socket::new(protocol)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Asks in the calling thread's network namespace and calls `each` for every answer, until it breaks or there are no
/// more. `flags`: `NLM_F_DUMP` for many answers, `NLM_F_ACK` for none but whether it was done.
///
/// # Errors
/// The kernel's refusal, or that the socket could not be used.
pub(super) fn request<M>(
    protocol: isize,
    message: M,
    flags: u16,
    each: impl FnMut(M) -> ControlFlow<()>,
) -> io::Result<()>
where
    M: NetlinkSerializable + NetlinkDeserializable,
{
    ask(&socket(protocol)?, message, flags, each)
}

/// [`request`] on a socket that is used again: `each` must not break.
///
/// # Errors
/// As those of [`request`].
pub(super) fn ask<M>(
    socket: &Socket,
    message: M,
    flags: u16,
    mut each: impl FnMut(M) -> ControlFlow<()>,
) -> io::Result<()>
where
    M: NetlinkSerializable + NetlinkDeserializable,
{
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut buffer = vec![0; 32 * 1024];
    loop {
        let size = socket.recv(&mut &mut buffer[..], 0)?;
        let mut rest = buffer.get(..size).unwrap_or_default();
        while !rest.is_empty() {
            let message = NetlinkMessage::<M>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(()),
                // An error without a code is the acknowledgement.
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(answer) => match each(answer) {
                    ControlFlow::Break(()) => return Ok(()),
                    ControlFlow::Continue(()) => {}
                },
                _ => {}
            }
            // Without a dump there is one answer.
            if flags & NLM_F_DUMP == 0 {
                return Ok(());
            }
            // Messages are aligned to 4 bytes (NLMSG_ALIGN).
            let length = (message.header.length as usize).next_multiple_of(4);
            match rest.get(length..) {
                Some(next) if length > 0 => rest = next,
                _ => break,
            }
        }
    }
}
