//! The addresses of pods, and the proxy's listeners that serve them.

use std::{net::IpAddr, os::fd::AsRawFd};

use weft_common::{Ip, listener_key};

use super::{CaptureError, Maps, absent_is_fine};
use crate::{capture::Listeners, net::Direction};

impl Maps {
    pub(in crate::capture) fn set_listeners(
        &mut self,
        netns: u64,
        ips: &[IpAddr],
        listeners: &Listeners,
    ) -> Result<(), CaptureError> {
        for v6 in [false, true] {
            if let Some(socket) = listeners.get(Direction::Outbound, v6) {
                self.outbound
                    .insert(listener_key(netns, v6), socket.as_raw_fd(), 0)
                    .map_err(CaptureError::map("OUTBOUND_LISTENERS"))?;
            }
        }
        for ip in ips {
            if let Some(socket) = listeners.get(Direction::Inbound, ip.is_ipv6()) {
                self.inbound
                    .insert(Ip::from(*ip), socket.as_raw_fd(), 0)
                    .map_err(CaptureError::map("INBOUND_LISTENERS"))?;
            }
        }
        Ok(())
    }

    pub(in crate::capture) fn set_addresses(
        &mut self,
        netns: u64,
        ips: &[IpAddr],
    ) -> Result<(), CaptureError> {
        for ip in ips {
            self.addresses.insert(Ip::from(*ip), netns, 0).map_err(CaptureError::map("NETNS_BY_IP"))?;
        }
        Ok(())
    }

    /// Removes addresses that are (still) the workload's.
    pub(in crate::capture) fn forget_addresses(
        &mut self,
        netns: u64,
        ips: &[IpAddr],
    ) -> Result<(), CaptureError> {
        for ip in ips {
            let ip = Ip::from(*ip);
            // Another pod may have been given the address already.
            if self.addresses.get(&ip, 0).is_ok_and(|owner| owner == netns) {
                absent_is_fine(self.addresses.remove(&ip)).map_err(CaptureError::map("NETNS_BY_IP"))?;
                absent_is_fine(self.inbound.remove(&ip)).map_err(CaptureError::map("INBOUND_LISTENERS"))?;
            }
        }
        Ok(())
    }

    /// The addresses kept for `netns`.
    pub(in crate::capture) fn addresses_of(&self, netns: u64) -> Vec<IpAddr> {
        self.addresses
            .iter()
            .flatten()
            .filter(|(_, owner)| *owner == netns)
            .map(|(ip, _)| ip.into())
            .collect()
    }

    pub(super) fn forget_outbound_listeners(&mut self, netns: u64) -> Result<(), CaptureError> {
        for v6 in [false, true] {
            absent_is_fine(self.outbound.remove(&listener_key(netns, v6)))
                .map_err(CaptureError::map("OUTBOUND_LISTENERS"))?;
        }
        Ok(())
    }
}
