//! Checks whether this kernel has what the programs need.
//!
//! The kernel itself is asked, by programs of two instructions that are loaded and dropped again: a version number
//! says little about kernels to which distributions have carried features back.

use std::{
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
};

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{BpfHelper, is_helper_supported, is_map_supported, is_program_supported},
};

use super::sys;

/// The oldest version that has everything.
const MINIMUM: &str = "6.1";

/// Something that weft cannot do without.
pub(super) struct Need {
    /// What it is, and where.
    pub(super) what: &'static str,
    /// The version that brought it.
    pub(super) since: &'static str,
    there: fn() -> Option<bool>,
}

/// All needs, the youngest first.
pub(super) const NEEDS: [Need; 5] = [
    Need {
        what: "bpf_set_retval in connect programs",
        since: "6.1",
        there: || helper(ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_set_retval),
    },
    Need {
        what: "bpf_get_netns_cookie in sock_ops programs",
        since: "5.15",
        there: || helper(ProgramType::SockOps, BpfHelper::BPF_FUNC_get_netns_cookie),
    },
    Need { what: "the socket option SO_NETNS_COOKIE", since: "5.14", there: socket_option },
    Need {
        what: "sk_lookup programs",
        since: "5.9",
        there: || is_program_supported(ProgramType::SkLookup).ok(),
    },
    Need { what: "BPF ring buffers", since: "5.8", there: || is_map_supported(MapType::RingBuf).ok() },
];

/// This kernel is not one that weft can run on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this kernel ({release}) lacks {lacking}; weft needs Linux {MINIMUM} or newer: boot such a kernel (Debian has one since 12, Ubuntu since 24.04), or mesh no pods of this node"
)]
pub struct Unsupported {
    release: String,
    lacking: String,
}

/// Checks every requirement. What cannot be checked (no right to load programs) shows when the programs are loaded.
pub(super) fn check() -> Result<(), Unsupported> {
    judge(&NEEDS)
}

fn judge(needs: &[Need]) -> Result<(), Unsupported> {
    let lacking: Vec<_> = needs.iter().filter(|need| need.is_there() == Some(false)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let lacking: Vec<_> =
        lacking.iter().map(|need| format!("{} (since {})", need.what, need.since)).collect();
    Err(Unsupported { release: release(), lacking: lacking.join(", ") })
}

impl Need {
    /// `None`: that cannot be checked.
    pub(super) fn is_there(&self) -> Option<bool> {
        (self.there)()
    }
}

/// The running kernel's version, as uname gives it.
pub(super) fn release() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease");
    text.map_or_else(|_| "version unknown".to_owned(), |text| text.trim().to_owned())
}

fn helper(program: ProgramType, helper: BpfHelper) -> Option<bool> {
    is_helper_supported(program, helper).ok()
}

/// Whether programs can find the multipath TCP socket of a subflow. Without CONFIG_MPTCP or type information the helper
/// is there, but a program that calls it is refused.
pub(super) fn has_mptcp(btf: &Path) -> bool {
    Path::new("/proc/sys/net/mptcp").exists()
        && btf.exists()
        && helper(ProgramType::CgroupSockAddr, BpfHelper::BPF_FUNC_skc_to_mptcp_sock) == Some(true)
}

fn socket_option() -> Option<bool> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    match sys::netns_cookie(&socket) {
        Ok(_) => Some(true),
        Err(error) => unknown_option(&error).then_some(false),
    }
}

fn unknown_option(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOPROTOOPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(what: &'static str, there: fn() -> Option<bool>) -> Need {
        Need { what, since: "6.1", there }
    }

    #[test]
    fn what_is_lacking_is_named_with_the_version_to_boot() {
        let needs = [
            need("one thing", || Some(false)),
            need("what is there", || Some(true)),
            need("what cannot be checked", || None),
            need("another", || Some(false)),
        ];
        let message = judge(&needs).unwrap_err().to_string();
        assert!(message.contains("lacks one thing (since 6.1), another (since 6.1); weft needs Linux 6.1"));
        assert!(!message.contains("what"));
        assert_eq!(judge(&needs[1..3]), Ok(()));
    }

    #[test]
    fn the_minimum_is_the_youngest_need() {
        let number = |version: &str| -> Vec<u32> { version.split('.').flat_map(str::parse).collect() };
        let youngest = NEEDS.iter().map(|need| number(need.since)).max();
        assert_eq!(youngest, Some(number(MINIMUM)));
    }
}
