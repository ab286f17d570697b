//! Connections of a pod that are older than its enrollment, and so do not go through the proxy.
//!
//! Applications keep connections open for hours. As long as they do, what they send over them is neither encrypted nor
//! counted. So these connections are closed at a moment at which no request seems to be in flight: the application opens
//! a new one, which is captured. That disturbs it less than the restart by which a pod joins a mesh of sidecars.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::SocketAddr,
    time::Duration,
};

use super::{
    KernelConfig, Netns, destroy,
    diag::{self, Activity, Connection, TcpSocket},
    own_sockets,
};

/// A connection without bytes for this long may be between two requests.
const QUIET: Duration = Duration::from_millis(50);
/// Without bytes for this long it may be closed later, whoever has sent last.
const LONG_QUIET: Duration = Duration::from_millis(200);

/// How sure it must be that no request is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caution {
    /// The last bytes were those of an answer.
    Answered,
    /// Nothing has been sent for a moment.
    Quiet,
    /// No matter.
    None,
}

/// Which end of a connection the pod has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

/// The connections that a pod had when it was enrolled.
#[derive(Debug)]
pub struct EarlierConnections {
    netns: Netns,
    open: HashMap<u64, Role>,
}

impl EarlierConnections {
    /// Lists the connections that a new one would not be like: those that no setting leaves to the application. Not those
    /// that go through this proxy: a pod that left the mesh and joins again may have some of before.
    ///
    /// # Errors
    /// sock_diag fails, or the namespace cannot be entered.
    pub fn list(netns: &Netns, config: &KernelConfig) -> io::Result<Self> {
        let listening: HashSet<u16> = diag::listening(netns)?.iter().map(SocketAddr::port).collect();
        let role = |local: SocketAddr| {
            if listening.contains(&local.port()) { Role::Server } else { Role::Client }
        };
        let open =
            not_proxied(diag::connections(netns)?, own_sockets::inodes).into_iter().filter_map(|found| {
                let TcpSocket { local, remote, cookie } = found.socket;
                let role = role(local);
                is_captured(config, role, local, remote).then_some((cookie, role))
            });
        Ok(Self { netns: netns.clone(), open: open.collect() })
    }

    /// Closes those that `caution` allows. How many were closed; those that have ended by themselves are forgotten.
    ///
    /// # Errors
    /// As [`EarlierConnections::list`], or the kernel cannot close sockets.
    pub fn close(&mut self, caution: Caution) -> io::Result<usize> {
        let now = diag::connections(&self.netns)?;
        let still: HashSet<u64> = now.iter().map(|found| found.socket.cookie).collect();
        self.open.retain(|cookie, _| still.contains(cookie));
        let closable = now.iter().filter(|found| {
            self.open.get(&found.socket.cookie).is_some_and(|role| may_close(*role, found.activity, caution))
        });
        let closable: Vec<_> = closable.map(|found| found.socket).collect();
        let closed = destroy::destroy(&self.netns, &closable)?;
        for socket in closable {
            self.open.remove(&socket.cookie);
        }
        Ok(closed)
    }

    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

/// Without the proxy's own sockets, and the applications' whose other end is in the namespace too: it is the proxy's, or
/// the pod talks to itself. `own` gives the inodes of the proxy's sockets, and is only called if there is a connection.
fn not_proxied(connections: Vec<Connection>, own: impl FnOnce() -> HashSet<u32>) -> Vec<Connection> {
    let ends: HashSet<_> =
        connections.iter().map(|found| (found.socket.local, found.socket.remote)).collect();
    let mut rest = connections;
    rest.retain(|found| !ends.contains(&(found.socket.remote, found.socket.local)));
    if !rest.is_empty() {
        let own = own();
        rest.retain(|found| !own.contains(&found.inode));
    }
    rest
}

/// Whether a new connection like this one would come to the proxy.
fn is_captured(config: &KernelConfig, role: Role, local: SocketAddr, remote: SocketAddr) -> bool {
    let (ports, port) = match role {
        Role::Client => (&config.skip_outbound, remote.port()),
        Role::Server => (&config.skip_inbound, local.port()),
    };
    let skips_port = ports.iter().any(|range| (range.start..=range.end).contains(&port));
    let skips_subnet = config.skip_subnets.iter().any(|subnet| subnet.contains(&remote.ip()));
    !remote.ip().is_loopback() && !skips_port && !skips_subnet
}

fn may_close(role: Role, activity: Option<Activity>, caution: Caution) -> bool {
    let Some(Activity { since_sent, since_received, unacknowledged }) = activity else {
        // The handshake is not over: nothing has been asked yet.
        return true;
    };
    let quiet = since_sent.min(since_received);
    let is_answered = match role {
        Role::Client => since_received <= since_sent,
        Role::Server => since_sent <= since_received,
    };
    match caution {
        Caution::Answered => is_answered && quiet >= QUIET && unacknowledged == 0,
        Caution::Quiet => quiet >= LONG_QUIET && unacknowledged == 0,
        Caution::None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(since_sent: u64, since_received: u64) -> Option<Activity> {
        let (since_sent, since_received) =
            (Duration::from_millis(since_sent), Duration::from_millis(since_received));
        Some(Activity { since_sent, since_received, unacknowledged: 0 })
    }

    #[test]
    fn connections_through_the_proxy_are_no_earlier_ones() {
        const CLIENT: &str = "10.0.0.2:40000";
        const SERVER: &str = "10.0.0.1:80";
        let connection = |local: &str, remote: &str, inode: u32| Connection {
            socket: TcpSocket {
                local: local.parse().unwrap(),
                remote: remote.parse().unwrap(),
                cookie: inode.into(),
            },
            inode,
            activity: None,
        };
        let plaintext = connection("10.0.0.1:80", "10.0.0.3:50000", 1);
        // From another node, its proxy's TLS; then both ends of the proxy's connection to the application, which sees the
        // client's address; last, one that the proxy has opened for the application.
        let all = vec![
            plaintext,
            connection("10.0.0.1:4143", "10.0.0.2:45000", 2),
            connection(CLIENT, SERVER, 3),
            connection(SERVER, CLIENT, 4),
            connection("10.0.0.1:47000", "10.0.0.4:4143", 5),
        ];
        let rest = not_proxied(all, || HashSet::from([2, 3, 5]));
        assert_eq!(rest.iter().map(|found| found.inode).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_connection_is_closed_after_an_answer_and_not_after_a_request() {
        for (role, since_sent, since_received, closes) in [
            (Role::Client, 100, 90, true),
            (Role::Client, 90, 100, false),
            (Role::Server, 90, 100, true),
            (Role::Server, 100, 90, false),
            (Role::Client, 30, 20, false),
        ] {
            let activity = activity(since_sent, since_received);
            assert_eq!(may_close(role, activity, Caution::Answered), closes, "{role:?} {activity:?}");
        }
    }

    #[test]
    fn later_any_quiet_connection_is_closed_but_none_with_bytes_on_their_way() {
        assert!(may_close(Role::Client, activity(300, 400), Caution::Quiet));
        assert!(!may_close(Role::Client, activity(100, 400), Caution::Quiet));
        let on_their_way = activity(300, 400).map(|activity| Activity { unacknowledged: 1, ..activity });
        assert!(!may_close(Role::Client, on_their_way, Caution::Quiet));
        assert!(may_close(Role::Client, on_their_way, Caution::None));
    }

    #[test]
    fn a_connection_that_is_not_open_yet_is_closed() {
        assert!(may_close(Role::Client, None, Caution::Answered));
    }

    #[test]
    fn connections_that_settings_leave_alone_are_left_open() {
        let range = |port| weft_common::PortRange { start: port, end: port };
        let config = KernelConfig {
            ips: Vec::new(),
            fail_open: true,
            skip_outbound: vec![range(3306)],
            skip_inbound: vec![range(9090)],
            skip_subnets: vec!["192.0.2.0/24".parse().unwrap()],
            splice: Vec::new(),
        };
        let captured = |role, local: &str, remote: &str| {
            is_captured(&config, role, local.parse().unwrap(), remote.parse().unwrap())
        };
        assert!(captured(Role::Client, "10.0.0.1:40000", "10.0.0.2:80"));
        assert!(captured(Role::Client, "10.0.0.1:9090", "10.0.0.2:80"));
        assert!(!captured(Role::Client, "10.0.0.1:40000", "10.0.0.2:3306"));
        assert!(!captured(Role::Server, "10.0.0.1:9090", "10.0.0.2:40000"));
        assert!(!captured(Role::Client, "10.0.0.1:40000", "192.0.2.7:80"));
        assert!(!captured(Role::Client, "127.0.0.1:40000", "127.0.0.1:80"));
    }
}
