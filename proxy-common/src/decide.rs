//! Decides whether a connection is redirected to the proxy, left alone or refused.
//!
//! Pure, so that the rules can be tested without a kernel. What costs a map lookup is asked for only when the
//! cheaper rules have not decided.

use crate::{Ip, Outcome, Workload};

/// What a program is to do, with what is counted for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Bring it to the proxy.
    Redirect(Outcome),
    /// Leave it alone.
    Bypass(Outcome),
    /// Refuse it, as if nothing listened.
    Refuse(Outcome),
}

/// An application of `workload` connects to `to`:`port` (host byte order).
#[inline(always)]
pub fn connect(
    workload: &Workload,
    to: &Ip,
    port: u32,
    skipped_subnet: impl FnOnce() -> bool,
    served: impl FnOnce() -> bool,
) -> Verdict {
    if !workload.is(Workload::CAPTURE_OUTBOUND) {
        return Verdict::Bypass(Outcome::ConnectNotCaptured);
    }
    if to.is_loopback() || to.is_unspecified() || to.is_v6_target() {
        return Verdict::Bypass(Outcome::ConnectLoopback);
    }
    if to.is_link_local() {
        return Verdict::Bypass(Outcome::ConnectLinkLocal);
    }
    if workload.owns(to) {
        return Verdict::Bypass(Outcome::ConnectOwnAddress);
    }
    if workload.skip_outbound.contains(port) {
        return Verdict::Bypass(Outcome::ConnectSkippedPort);
    }
    if workload.is(Workload::SKIP_SUBNETS) && skipped_subnet() {
        return Verdict::Bypass(Outcome::ConnectSkippedSubnet);
    }
    if served() {
        return Verdict::Redirect(Outcome::ConnectRedirected);
    }
    unserved(workload, Outcome::ConnectFailOpen, Outcome::ConnectFailClosed)
}

/// A stranger connects to `port` (host byte order) of `workload`; that it is not the pod itself has been seen
/// already. Whether the proxy can be reached shows when the socket is assigned: see
/// [`unserved`].
#[inline(always)]
pub fn inbound(
    workload: &Workload,
    port: u32,
    skipped_subnet: impl FnOnce() -> bool,
    listens: impl FnOnce() -> bool,
    served: impl FnOnce() -> bool,
) -> Verdict {
    if workload.skip_inbound.contains(port) {
        return Verdict::Bypass(Outcome::InboundSkippedPort);
    }
    if workload.is(Workload::SKIP_SUBNETS) && skipped_subnet() {
        return Verdict::Bypass(Outcome::InboundSkippedSubnet);
    }
    // Refused, not bypassed: if the map of listeners were incomplete, a bypass would let plaintext through.
    if !listens() {
        return Verdict::Refuse(Outcome::InboundNoListener);
    }
    if served() {
        return Verdict::Redirect(Outcome::InboundSteered);
    }
    unserved(workload, Outcome::InboundFailOpen, Outcome::InboundFailClosed)
}

/// No proxy serves the workload: its fail mode decides.
#[inline(always)]
pub fn unserved(workload: &Workload, open: Outcome, closed: Outcome) -> Verdict {
    if workload.is(Workload::FAIL_OPEN) { Verdict::Bypass(open) } else { Verdict::Refuse(closed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PortRange, PortRanges, RedirectTargets};

    const POD: Ip = Ip::v4(u32::from_ne_bytes([10, 0, 0, 1]));
    const OTHER: Ip = Ip::v4(u32::from_ne_bytes([10, 0, 0, 2]));

    fn workload(flags: u32) -> Workload {
        let range = |start, end| PortRanges::new(&[PortRange { start, end }]).unwrap();
        Workload {
            flags,
            outbound_v4: 15001,
            ip4: POD,
            skip_outbound: range(25, 27),
            skip_inbound: range(4567, 4568),
            ..Workload::default()
        }
    }

    fn connects(flags: u32, to: Ip, port: u32, served: bool) -> Verdict {
        connect(&workload(flags), &to, port, || true, || served)
    }

    #[test]
    fn connections_of_a_captured_workload() {
        use Outcome::*;
        let flags = Workload::CAPTURE_OUTBOUND;
        assert_eq!(connects(flags, OTHER, 80, true), Verdict::Redirect(ConnectRedirected));
        assert_eq!(connects(flags, OTHER, 80, false), Verdict::Refuse(ConnectFailClosed));
        assert_eq!(connects(flags | Workload::FAIL_OPEN, OTHER, 80, false), Verdict::Bypass(ConnectFailOpen));
        assert_eq!(connects(flags, POD, 80, true), Verdict::Bypass(ConnectOwnAddress));
        assert_eq!(connects(flags, Ip::LOCALHOST_V4, 80, true), Verdict::Bypass(ConnectLoopback));
        assert_eq!(connects(flags, Ip::ANY_V6, 80, true), Verdict::Bypass(ConnectLoopback));
        let target = RedirectTargets::new(&[1, 2], 3, &OTHER, 80).v6();
        assert_eq!(connects(flags, target, 80, true), Verdict::Bypass(ConnectLoopback));
        assert_eq!(connects(flags, OTHER, 26, false), Verdict::Bypass(ConnectSkippedPort));
        assert_eq!(connects(flags, OTHER, 28, true), Verdict::Redirect(ConnectRedirected));
        let skips = flags | Workload::SKIP_SUBNETS;
        assert_eq!(connects(skips, OTHER, 80, true), Verdict::Bypass(ConnectSkippedSubnet));
        assert_eq!(connects(0, OTHER, 80, true), Verdict::Bypass(ConnectNotCaptured));
    }

    #[test]
    fn connections_to_a_captured_workload() {
        use Outcome::*;
        let decide = |flags, port, listens, served| {
            inbound(&workload(Workload::CAPTURE_INBOUND | flags), port, || false, || listens, || served)
        };
        assert_eq!(decide(0, 80, true, true), Verdict::Redirect(InboundSteered));
        assert_eq!(decide(0, 80, false, true), Verdict::Refuse(InboundNoListener));
        assert_eq!(decide(Workload::FAIL_OPEN, 80, false, false), Verdict::Refuse(InboundNoListener));
        assert_eq!(decide(0, 80, true, false), Verdict::Refuse(InboundFailClosed));
        assert_eq!(decide(Workload::FAIL_OPEN, 80, true, false), Verdict::Bypass(InboundFailOpen));
        assert_eq!(decide(0, 4567, false, false), Verdict::Bypass(InboundSkippedPort));
    }

    #[test]
    fn port_ranges() {
        let list = [PortRange { start: 1, end: 1 }; PortRanges::MAX + 1];
        assert!(PortRanges::new(&list).is_none());
        let full = PortRanges::new(&list[..PortRanges::MAX]).unwrap();
        assert!(full.contains(1) && !full.contains(2));
        assert!(!PortRanges::default().contains(0));
    }
}
