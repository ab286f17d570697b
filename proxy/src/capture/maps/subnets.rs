//! The subnets that workloads skip.

use aya::maps::lpm_trie::Key as LpmKey;
use ipnet::IpNet;
use weft_common::{Ip, SubnetKey};

use super::{CaptureError, Maps, absent_is_fine};

impl Maps {
    pub(in crate::capture) fn set_subnets(
        &mut self,
        netns: u64,
        subnets: &[IpNet],
    ) -> Result<(), CaptureError> {
        let wanted: Vec<_> = subnets.iter().map(|subnet| subnet_key(netns, subnet)).collect();
        let old: Vec<_> =
            self.subnets.keys().flatten().filter(|key| key.data().netns == netns.to_ne_bytes()).collect();
        // Fewer left alone is the safe side, should there be no room for the new ones.
        for key in old {
            let kept = subnets.iter().any(|subnet| {
                let wanted = subnet_key(netns, subnet);
                wanted.data() == key.data() && wanted.prefix_len() == key.prefix_len()
            });
            if !kept {
                absent_is_fine(self.subnets.remove(&key)).map_err(CaptureError::map("SKIPPED_SUBNETS"))?;
            }
        }
        for key in wanted {
            self.subnets.insert(&key, 1, 0).map_err(CaptureError::map("SKIPPED_SUBNETS"))?;
        }
        Ok(())
    }
}

fn subnet_key(netns: u64, subnet: &IpNet) -> LpmKey<SubnetKey> {
    let prefix = match subnet {
        IpNet::V4(v4) => 96 + u32::from(v4.prefix_len()),
        IpNet::V6(v6) => u32::from(v6.prefix_len()),
    };
    LpmKey::new(64 + prefix, SubnetKey::new(netns, &Ip::from(subnet.network())))
}
