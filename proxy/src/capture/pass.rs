//! How are passes for direct connections given to the kernel, and what does it tell of them?

use std::io;

use aya::{
    Ebpf,
    maps::{HashMap, MapData, RingBuf},
};
use parking_lot::Mutex;
use tokio::io::{Interest, unix::AsyncFd};
use weft_common::{DirectEvent, DirectFlow, DirectLive, Outcome, Pass, PassKey, PortKey, Tuple};

use super::{Capture, CaptureError, maps::absent_is_fine, maps::take};

/// The maps of direct connections; used by connections that are being opened, so under a lock of their own.
pub(super) struct Passes {
    maps: Mutex<Maps>,
    events: Mutex<Option<RingBuf<MapData>>>,
}

struct Maps {
    passes: HashMap<MapData, PassKey, Pass>,
    learned: HashMap<MapData, PortKey, u8>,
    flows: HashMap<MapData, Tuple, DirectFlow>,
    live: HashMap<MapData, u64, DirectLive>,
    // Kept open until the programs are loaded.
    crowds: HashMap<MapData, u64, u64>,
}

impl Passes {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, CaptureError> {
        let maps = Maps {
            passes: take(ebpf, "PASSES")?,
            learned: take(ebpf, "LEARNED")?,
            flows: take(ebpf, "FLOWS")?,
            live: take(ebpf, "LIVE")?,
            crowds: take(ebpf, "CROWDS")?,
        };
        Ok(Passes { maps: Mutex::new(maps), events: Mutex::new(Some(take(ebpf, "EVENTS")?)) })
    }

    /// Forgets a source's number of flows.
    pub(super) fn forget(&self, netns: u64) -> Result<(), CaptureError> {
        absent_is_fine(self.maps.lock().crowds.remove(&netns)).map_err(CaptureError::map("CROWDS"))
    }
}

impl Maps {
    fn withdraw_flows(&mut self, ids: &[u64]) -> Result<(), CaptureError> {
        const BPF_EXIST: u64 = 2;
        let flows: Vec<_> =
            self.flows.iter().flatten().filter(|(_, flow)| ids.contains(&flow.pass)).collect();
        flows.into_iter().try_for_each(|(key, flow)| {
            let withdrawn = DirectFlow { pass: 0, ..flow };
            absent_is_fine(self.flows.insert(key, withdrawn, BPF_EXIST)).map_err(CaptureError::map("FLOWS"))
        })
    }
}

impl Capture {
    /// From now on such connections go directly.
    pub fn grant(&self, key: &PassKey, pass: &Pass) -> Result<(), CaptureError> {
        self.passes.maps.lock().passes.insert(key, pass, 0).map_err(CaptureError::map("PASSES"))
    }

    /// From now on such connections take the proxy again, those of pass `id` that are being opened included.
    pub fn withdraw(&self, key: &PassKey, id: u64) -> Result<(), CaptureError> {
        let mut maps = self.passes.maps.lock();
        absent_is_fine(maps.passes.remove(key)).map_err(CaptureError::map("PASSES"))?;
        maps.withdraw_flows(&[id])
    }

    /// Connections of these passes that are being opened are to be treated as strangers'.
    pub fn withdraw_flows(&self, ids: &[u64]) -> Result<(), CaptureError> {
        self.passes.maps.lock().withdraw_flows(ids)
    }

    /// The application behind a port speaks first. Holds until it stops listening.
    pub fn learn(&self, netns: u64, port: u16) -> Result<(), CaptureError> {
        let key = PortKey { netns, port: port.into(), pad: 0 };
        self.passes.maps.lock().learned.insert(key, 1, 0).map_err(CaptureError::map("LEARNED"))
    }

    /// Whether the application behind a port is known to speak first.
    pub fn is_learned(&self, netns: u64, port: u16) -> bool {
        let key = PortKey { netns, port: port.into(), pad: 0 };
        self.passes.maps.lock().learned.get(&key, 0).is_ok()
    }

    /// What was learned of a workload's ports, or of all, is forgotten.
    pub fn unlearn(&self, netns: u64) -> Result<(), CaptureError> {
        let mut maps = self.passes.maps.lock();
        let keys: Vec<PortKey> = maps.learned.keys().flatten().filter(|key| key.netns == netns).collect();
        keys.iter().try_for_each(|key| {
            absent_is_fine(maps.learned.remove(key)).map_err(CaptureError::map("LEARNED"))
        })
    }

    /// The ends of direct connections that are open, with their sockets' cookies.
    pub fn live(&self) -> Vec<(u64, DirectLive)> {
        self.passes.maps.lock().live.iter().flatten().collect()
    }

    /// Whether the socket with this cookie is an end of an open direct connection.
    pub fn is_live(&self, cookie: u64) -> bool {
        self.passes.maps.lock().live.get(&cookie, 0).is_ok()
    }

    /// How many events of direct connections found no room.
    pub fn lost_events(&self) -> u64 {
        self.maps.lock().outcome(Outcome::DirectLost)
    }

    /// What happens to direct connections from now on; `None` if somebody has it already. To be called within a
    /// tokio runtime.
    pub fn direct_events(&self) -> io::Result<Option<DirectEvents>> {
        let Some(ring) = self.passes.events.lock().take() else { return Ok(None) };
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
