//! The cases: the work that every variant does.

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    pub name: &'static str,
    pub work: Work,
    /// Client and server run on one processor: no processor has to be woken for a message, so that latency shows the
    /// work alone.
    pub is_shared: bool,
}

/// The size of a message, in bytes, each way.
pub const MESSAGE: usize = 128;

/// One operation of a bulk transfer, in bytes.
pub const BULK_OPERATION: u64 = 64 << 10;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// A message and its echo, on connections that stay open.
    Echo {
        /// Per second, due at fixed times. `None`: each one as soon as the last is answered.
        rate: Option<u32>,
        connections: usize,
    },
    /// Connect, a message and its echo, close.
    Connect {
        /// Per second, due at fixed times. `None`: as many as possible.
        rate: Option<u32>,
    },
    /// Bytes in one direction, as many as possible.
    Bulk { streams: usize },
    /// Connections that have been used once and stay open.
    Idle { connections: usize },
    /// Enrolled workloads of one node, each with connections to a workload of the other node, used once.
    Workloads {
        pods: usize,
        /// Of each.
        connections: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measures {
    /// How long an operation takes.
    Latency,
    /// How many operations are possible.
    Throughput,
    /// How much memory the proxies use.
    Memory,
}

/// 9 000 connections are about what 20 000 descriptors allow, and more than one workload may have. Memory comes first:
/// a proxy keeps memory that it has once needed.
pub const CASES: [Case; 14] = [
    case("workloads-100", Work::Workloads { pods: 100, connections: 0 }),
    case("workloads-500", Work::Workloads { pods: 500, connections: 0 }),
    case("idle-9000", Work::Workloads { pods: 30, connections: 300 }),
    case("idle-1000", Work::Idle { connections: 1000 }),
    case("echo-20", Work::Echo { rate: Some(20), connections: 1 }),
    case("echo-200", Work::Echo { rate: Some(200), connections: 1 }),
    case("echo-2000", Work::Echo { rate: Some(2000), connections: 1 }),
    Case { is_shared: true, ..case("echo-2000-shared", Work::Echo { rate: Some(2000), connections: 1 }) },
    case("echo-max-1", Work::Echo { rate: None, connections: 1 }),
    case("echo-max-32", Work::Echo { rate: None, connections: 32 }),
    case("connect-100", Work::Connect { rate: Some(100) }),
    case("connect-max", Work::Connect { rate: None }),
    case("bulk-1", Work::Bulk { streams: 1 }),
    case("bulk-8", Work::Bulk { streams: 8 }),
];

const fn case(name: &'static str, work: Work) -> Case {
    Case { name, work, is_shared: false }
}

impl Work {
    /// What the growth of memory is divided by.
    pub fn units(&self) -> usize {
        match *self {
            Work::Workloads { pods, connections: 0 } => pods,
            Work::Workloads { pods, connections } => pods * connections,
            Work::Idle { connections } | Work::Echo { connections, .. } => connections,
            Work::Bulk { streams } => streams,
            Work::Connect { .. } => 1,
        }
    }
}

impl Case {
    pub fn measures(&self) -> Measures {
        match self.work {
            Work::Echo { rate: Some(_), .. } | Work::Connect { rate: Some(_) } => Measures::Latency,
            Work::Echo { rate: None, .. } | Work::Connect { rate: None } | Work::Bulk { .. } => {
                Measures::Throughput
            }
            Work::Idle { .. } | Work::Workloads { .. } => Measures::Memory,
        }
    }

    /// Whether single operations are timed.
    pub fn is_timed(&self) -> bool {
        matches!(self.work, Work::Echo { .. } | Work::Connect { .. })
    }

    /// The throughput in the unit of the case.
    pub fn throughput(&self, operations_per_second: f64) -> (f64, &'static str) {
        match self.work {
            Work::Bulk { .. } => (operations_per_second * BULK_OPERATION as f64 / 1e6, "MB/s"),
            _ => (operations_per_second, "1/s"),
        }
    }
}
