//! Grants direct connections to the kernel and reads what it reports of them.

use std::io;

use aya::{
    Ebpf,
    maps::{HashMap, MapData, RingBuf},
};
use parking_lot::Mutex;
use tokio::io::{Interest, unix::AsyncFd};
use weft_common::{
    DirectEvent, DirectGrant, DirectKey, ListenerPort, OpenDirect, Outcome, PendingDirect, Tuple,
};

use super::{Capture, CaptureError, maps::absent_is_fine, maps::take};

/// The maps of direct connections, with locks of their own because connections that are being opened use them.
pub(super) struct DirectConnections {
    maps: Mutex<Maps>,
    // Iterating over it takes long.
    live: Mutex<HashMap<MapData, u64, OpenDirect>>,
    events: Mutex<Option<RingBuf<MapData>>>,
}

struct Maps {
    passes: HashMap<MapData, DirectKey, DirectGrant>,
    granted: HashMap<MapData, u64, u8>,
    learned: HashMap<MapData, ListenerPort, u8>,
    crowds: HashMap<MapData, u64, u64>,
    // Kept open until the programs are loaded.
    _flows: HashMap<MapData, Tuple, PendingDirect>,
}

impl DirectConnections {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, CaptureError> {
        let maps = Maps {
            passes: take(ebpf, "DIRECT_GRANTS")?,
            granted: take(ebpf, "VALID_GRANTS")?,
            learned: take(ebpf, "SERVER_FIRST_PORTS")?,
            crowds: take(ebpf, "DIRECT_COUNT_BY_NETNS")?,
            _flows: take(ebpf, "DIRECT_BY_TUPLE")?,
        };
        Ok(DirectConnections {
            maps: Mutex::new(maps),
            live: Mutex::new(take(ebpf, "OPEN_DIRECT_BY_COOKIE")?),
            events: Mutex::new(Some(take(ebpf, "DIRECT_EVENTS")?)),
        })
    }

    /// Removes a source's counters of pending and open connections.
    pub(super) fn forget(&self, netns: u64) -> Result<(), CaptureError> {
        absent_is_fine(self.maps.lock().crowds.remove(&netns))
            .map_err(CaptureError::map("DIRECT_COUNT_BY_NETNS"))
    }
}

impl Capture {
    /// Lets such connections go directly from now on.
    pub fn grant(&self, key: &DirectKey, pass: &DirectGrant) -> Result<(), CaptureError> {
        let mut maps = self.direct.maps.lock();
        maps.granted.insert(pass.id, 1, 0).map_err(CaptureError::map("VALID_GRANTS"))?;
        let granted = maps.passes.insert(key, pass, 0).map_err(CaptureError::map("DIRECT_GRANTS"));
        if granted.is_err() {
            absent_is_fine(maps.granted.remove(&pass.id)).map_err(CaptureError::map("VALID_GRANTS"))?;
        }
        granted
    }

    /// Withdraws the grants of other proxies, those that are not to `stay`: their SYNs are treated as any other's.
    pub fn revoke_others(&self, stay: impl Fn(u64) -> bool) -> Result<(), CaptureError> {
        let mut maps = self.direct.maps.lock();
        let others: Vec<u64> = maps.granted.keys().flatten().filter(|id| !stay(*id)).collect();
        others.iter().try_for_each(|id| {
            absent_is_fine(maps.granted.remove(id)).map_err(CaptureError::map("VALID_GRANTS"))
        })
    }

    /// Sends such connections through the proxy again; SYNs that used grant `id` are treated as any other's.
    pub fn revoke(&self, key: &DirectKey, id: u64) -> Result<(), CaptureError> {
        let mut maps = self.direct.maps.lock();
        absent_is_fine(maps.passes.remove(key)).map_err(CaptureError::map("DIRECT_GRANTS"))?;
        absent_is_fine(maps.granted.remove(&id)).map_err(CaptureError::map("VALID_GRANTS"))
    }

    /// Records that the application on a port speaks first, until it stops listening.
    pub fn add_server_first_port(&self, netns: u64, port: u16) -> Result<(), CaptureError> {
        let key = ListenerPort { netns, port: port.into(), pad: 0 };
        self.direct.maps.lock().learned.insert(key, 1, 0).map_err(CaptureError::map("SERVER_FIRST_PORTS"))
    }

    /// Removes what was recorded of a workload's ports.
    pub fn clear_server_first_ports(&self, netns: u64) -> Result<(), CaptureError> {
        let mut maps = self.direct.maps.lock();
        let keys: Vec<ListenerPort> =
            maps.learned.keys().flatten().filter(|key| key.netns == netns).collect();
        keys.iter().try_for_each(|key| {
            absent_is_fine(maps.learned.remove(key)).map_err(CaptureError::map("SERVER_FIRST_PORTS"))
        })
    }

    /// The ends of open direct connections, with their sockets' cookies.
    pub fn open_direct(&self) -> Vec<(u64, OpenDirect)> {
        self.direct.live.lock().iter().flatten().collect()
    }

    /// Whether the socket with this cookie is an end of an open direct connection.
    pub fn is_open_direct(&self, cookie: u64) -> bool {
        self.direct.live.lock().get(&cookie, 0).is_ok()
    }

    /// How many events were lost because the ring was full.
    pub fn lost_events(&self) -> u64 {
        self.maps.lock().outcome(Outcome::DirectLost)
    }

    /// The stream of events of direct connections; `None` if it was taken already. Call within a tokio runtime.
    pub fn direct_events(&self) -> io::Result<Option<DirectEvents>> {
        let Some(ring) = self.direct.events.lock().take() else { return Ok(None) };
        // SAFETY: the ring owns its descriptor and keeps it open and the same as long as it lives.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Some(DirectEvents(ring)))
    }
}

/// The kernel's ring of events.
pub struct DirectEvents(AsyncFd<RingBuf<MapData>>);

impl DirectEvents {
    /// Waits until there are some and hands each over.
    pub async fn each(&mut self, mut f: impl FnMut(&DirectEvent)) -> io::Result<()> {
        let mut ready = self.0.readable_mut().await?;
        let ring = ready.get_inner_mut();
        while let Some(item) = ring.next() {
            if let Some(event) = event(&item) {
                f(&event);
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

fn event(bytes: &[u8]) -> Option<DirectEvent> {
    // SAFETY: as many bytes as the type has, all of which are integers; no alignment is asked for.
    (bytes.len() == size_of::<DirectEvent>())
        .then(|| unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}
