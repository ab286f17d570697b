//! What is done by every variant?

/// A kind of work that all variants do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// As it is called in every output.
    pub name: &'static str,
    /// What it consists of.
    pub work: Work,
    /// Client and server have one processor together: none has to be woken for the other's message, and what is left
    /// is how much there is to do.
    pub is_shared: bool,
}

/// A message, in bytes, there and back.
pub const MESSAGE: usize = 128;

/// What counts as one operation of a bulk transfer, in bytes.
pub const BULK_OPERATION: u64 = 64 << 10;

/// What is done over and over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// A message and its echo, on connections that stay.
    Echo {
        /// So many in a second, due at fixed times; none: the next one as soon as the last is answered.
        rate: Option<u32>,
        /// How many connections.
        connections: usize,
    },
    /// Connect, a message and its echo, close.
    Connect {
        /// So many in a second, due at fixed times; none: as many as go.
        rate: Option<u32>,
    },
    /// Bytes in one direction, as many as go.
    Bulk {
        /// How many connections.
        streams: usize,
    },
    /// Connections that have been used once and stay open.
    Idle {
        /// How many.
        connections: usize,
    },
    /// Enrolled workloads of one node, each with connections to one of another node, used once, if any.
    Workloads {
        /// How many.
        pods: usize,
        /// How many each has.
        connections: usize,
    },
}

/// What a case is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measures {
    /// How long one operation takes.
    Latency,
    /// How many operations go.
    Throughput,
    /// What the proxies keep in memory.
    Memory,
}

/// All of them. 9 000 connections are about what 20 000 descriptors allow; one workload may not have them all. Memory comes first: a proxy that has worked keeps what it has once needed.
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
    /// Of how many things a case about memory consists.
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
    /// What it is about.
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

    /// The throughput of so many operations in a second, and its unit.
    pub fn throughput(&self, operations_per_second: f64) -> (f64, &'static str) {
        match self.work {
            Work::Bulk { .. } => (operations_per_second * BULK_OPERATION as f64 / 1e6, "MB/s"),
            _ => (operations_per_second, "1/s"),
        }
    }
}
