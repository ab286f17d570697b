//! The storage of sockets, which the data path uses without a lock.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use weft_common::SocketState;

use crate::capture::{CaptureError, sys};

/// The map of sockets' storage, for the data path.
pub(in crate::capture) struct Sockets {
    // Kept as they are: programs that are still to be loaded refer to their descriptors by number.
    map: MapData,
    _directs: MapData,
}

impl Sockets {
    pub(in crate::capture) fn take(ebpf: &mut Ebpf) -> Result<Self, CaptureError> {
        let mut storage = |name| match ebpf.take_map(name) {
            Some(Map::SkStorage(map)) => Ok(map),
            _ => Err(CaptureError::Missing(name)),
        };
        Ok(Sockets { map: storage("STATE_BY_SOCKET")?, _directs: storage("DIRECT_BY_SOCKET")? })
    }

    pub(in crate::capture) fn get(&self, socket: BorrowedFd<'_>) -> Option<SocketState> {
        sys::storage_get(self.map.fd().as_fd(), socket).ok()
    }

    pub(in crate::capture) fn set(
        &self,
        socket: BorrowedFd<'_>,
        state: SocketState,
    ) -> Result<(), CaptureError> {
        sys::storage_set(self.map.fd().as_fd(), socket, &state).map_err(|source: io::Error| {
            CaptureError::Path { what: "write map", path: "STATE_BY_SOCKET".into(), source }
        })
    }
}
