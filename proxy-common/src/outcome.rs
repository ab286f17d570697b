//! The outcomes that the programs count.

/// Every way that a program can decide, each with a counter. The discriminant is the index of the counter.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// connect: brought to the proxy.
    ConnectRedirected,
    /// connect: the caller is the proxy itself.
    ConnectProxy,
    /// connect: not a TCP socket.
    ConnectNotTcp,
    /// connect: the workload is joining or leaving.
    ConnectNotCaptured,
    /// connect: to loopback.
    ConnectLoopback,
    /// connect: to a link-local address, which no other socket could reach in its stead.
    ConnectLinkLocal,
    /// connect: to the pod's own address.
    ConnectOwnAddress,
    /// connect: the port is skipped.
    ConnectSkippedPort,
    /// connect: the subnet is skipped.
    ConnectSkippedSubnet,
    /// connect: no proxy, went directly.
    ConnectFailOpen,
    /// connect: no proxy, refused.
    ConnectFailClosed,
    /// connect: no memory for the socket's storage, refused.
    ConnectNoStorage,
    /// sockops: the original destination was handed to the accepted socket.
    PeerInfoHandedOver,
    /// sockops: the map of original destinations is full; the connection is refused.
    PeerInfoFull,
    /// sockops: the workload has as many handshakes under way as one may have; the connection is refused.
    HandshakeQuota,
    /// sockops: no memory for the accepted socket's storage; the proxy will refuse the connection.
    PeerInfoNoStorage,
    /// sockops: an application began to listen.
    ListenerOpened,
    /// sockops: an application stopped listening.
    ListenerClosed,
    /// sockops: the map of listeners is full; the listener is found by the next look from user space.
    ListenerFull,
    /// sockops: the workload listens on as many addresses as one may; this one is not reached.
    ListenerQuota,
    /// sockops: the map of the node's own connections is full; probes of a fail-closed pod fail while no proxy serves it.
    HostFull,
    /// sk_lookup: brought to the proxy.
    InboundSteered,
    /// sk_lookup: not one of the pod's addresses (link-local, a second network), refused.
    InboundUnknown,
    /// sk_lookup: the workload is joining or leaving.
    InboundNotCaptured,
    /// sk_lookup: from the pod itself.
    InboundOwnAddress,
    /// sk_lookup: from the node itself, while no proxy serves a pod that is fail-closed otherwise.
    InboundHost,
    /// sk_lookup: the port is skipped.
    InboundSkippedPort,
    /// sk_lookup: the subnet is skipped.
    InboundSkippedSubnet,
    /// sk_lookup: no application listens there, refused.
    InboundNoListener,
    /// sk_lookup: no proxy, went directly.
    InboundFailOpen,
    /// sk_lookup: no proxy, refused.
    InboundFailClosed,
    /// connect: goes directly to a backend on this node; the proxy has granted it.
    ConnectDirect,
    /// connect: could have gone directly, but the source has too many such connections half open; redirected.
    DirectQuota,
    /// sockops: an accepted socket is the other end of a connection that goes directly.
    DirectAccepted,
    /// sockops: a different peer completed a direct connection's handshake; the accepted socket was closed.
    DirectForged,
    /// sockops: the map of flows is full; the connection goes through the proxy's checks.
    DirectFull,
    /// sockops: the map of open direct connections is full; this one cannot be ended when policy changes.
    OpenDirectFull,
    /// sockops: no memory for a direct connection's storage; it is not counted.
    DirectNoStorage,
    /// sockops: the ring of events is full; the connection's figures are lost.
    DirectLost,
    /// sk_lookup: this very connection goes directly.
    InboundDirect,
    /// sockops: a socket of an opted-in port became a member, its messages are looked at.
    SpliceJoined,
    /// sockops: a map of splicing is full or there is no memory; the connection is relayed.
    SpliceFull,
    /// sk_msg: put into the target's queue.
    SpliceMoved,
    /// sk_msg: something sent before is still on its way; relayed behind it.
    SpliceOrder,
    /// sk_msg: the target's queue is long enough; relayed, which makes the sender wait.
    SpliceQueued,
    /// sk_msg: the target may be in a read that waits for what comes by TCP; relayed.
    SpliceReading,
    /// sk_msg: the target is closed or closing; relayed.
    SpliceGone,
}

impl Outcome {
    /// Every outcome with the hook and the name that its metric has.
    pub const ALL: &[(Outcome, &str, &str)] = &[
        (Outcome::ConnectRedirected, "connect", "redirected"),
        (Outcome::ConnectProxy, "connect", "bypassed_proxy"),
        (Outcome::ConnectNotTcp, "connect", "bypassed_not_tcp"),
        (Outcome::ConnectNotCaptured, "connect", "bypassed_not_captured"),
        (Outcome::ConnectLoopback, "connect", "bypassed_loopback"),
        (Outcome::ConnectLinkLocal, "connect", "bypassed_link_local"),
        (Outcome::ConnectOwnAddress, "connect", "bypassed_own_address"),
        (Outcome::ConnectSkippedPort, "connect", "bypassed_skipped_port"),
        (Outcome::ConnectSkippedSubnet, "connect", "bypassed_skipped_subnet"),
        (Outcome::ConnectFailOpen, "connect", "bypassed_fail_open"),
        (Outcome::ConnectFailClosed, "connect", "refused_fail_closed"),
        (Outcome::ConnectNoStorage, "connect", "refused_no_storage"),
        (Outcome::PeerInfoHandedOver, "sockops", "handed_over"),
        (Outcome::PeerInfoFull, "sockops", "map_full_rendezvous"),
        (Outcome::HandshakeQuota, "sockops", "quota_rendezvous"),
        (Outcome::PeerInfoNoStorage, "sockops", "failed_no_storage"),
        (Outcome::ListenerOpened, "sockops", "listener_opened"),
        (Outcome::ListenerClosed, "sockops", "listener_closed"),
        (Outcome::ListenerFull, "sockops", "map_full_listeners"),
        (Outcome::ListenerQuota, "sockops", "quota_listeners"),
        (Outcome::HostFull, "sockops", "map_full_host"),
        (Outcome::InboundSteered, "sk_lookup", "redirected"),
        (Outcome::InboundUnknown, "sk_lookup", "refused_unknown_address"),
        (Outcome::InboundNotCaptured, "sk_lookup", "bypassed_not_captured"),
        (Outcome::InboundOwnAddress, "sk_lookup", "bypassed_own_address"),
        (Outcome::InboundHost, "sk_lookup", "bypassed_host"),
        (Outcome::InboundSkippedPort, "sk_lookup", "bypassed_skipped_port"),
        (Outcome::InboundSkippedSubnet, "sk_lookup", "bypassed_skipped_subnet"),
        (Outcome::InboundNoListener, "sk_lookup", "refused_no_listener"),
        (Outcome::InboundFailOpen, "sk_lookup", "bypassed_fail_open"),
        (Outcome::InboundFailClosed, "sk_lookup", "refused_fail_closed"),
        (Outcome::ConnectDirect, "connect", "direct"),
        (Outcome::DirectQuota, "connect", "direct_crowded"),
        (Outcome::DirectAccepted, "sockops", "direct_accepted"),
        (Outcome::DirectForged, "sockops", "direct_forged"),
        (Outcome::DirectFull, "sockops", "map_full_flows"),
        (Outcome::OpenDirectFull, "sockops", "map_full_live"),
        (Outcome::DirectNoStorage, "sockops", "direct_no_storage"),
        (Outcome::DirectLost, "sockops", "ring_full_events"),
        (Outcome::InboundDirect, "sk_lookup", "direct"),
        (Outcome::SpliceJoined, "sockops", "splice_joined"),
        (Outcome::SpliceFull, "sockops", "map_full_splice"),
        (Outcome::SpliceMoved, "sk_msg", "spliced"),
        (Outcome::SpliceOrder, "sk_msg", "relayed_order"),
        (Outcome::SpliceQueued, "sk_msg", "relayed_queue_full"),
        (Outcome::SpliceReading, "sk_msg", "relayed_reader_waits"),
        (Outcome::SpliceGone, "sk_msg", "relayed_target_gone"),
    ];

    /// Those that tell of a limit that was reached: each is a connection or listener that was not served.
    pub const ALARMING: &[Outcome] = &[
        Outcome::ConnectNoStorage,
        Outcome::PeerInfoFull,
        Outcome::HandshakeQuota,
        Outcome::PeerInfoNoStorage,
        Outcome::ListenerFull,
        Outcome::ListenerQuota,
        Outcome::HostFull,
        Outcome::DirectForged,
        Outcome::DirectQuota,
        Outcome::DirectFull,
        Outcome::OpenDirectFull,
        Outcome::DirectNoStorage,
        Outcome::DirectLost,
        Outcome::SpliceFull,
    ];

    /// How many there are.
    pub const COUNT: u32 = Self::ALL.len() as u32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_counters() {
        for (index, (outcome, ..)) in Outcome::ALL.iter().enumerate() {
            assert_eq!(*outcome as usize, index);
        }
        assert_eq!(Outcome::SpliceGone as u32 + 1, Outcome::COUNT);
    }
}
