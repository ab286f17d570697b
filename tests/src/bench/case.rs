//! What is done by every variant?

/// A kind of work that all variants do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// As it is called in every output.
    pub name: &'static str,
    /// What it consists of.
    pub work: Work,
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
pub const CASES: [Case; 13] = [
    Case { name: "workloads-100", work: Work::Workloads { pods: 100, connections: 0 } },
    Case { name: "workloads-500", work: Work::Workloads { pods: 500, connections: 0 } },
    Case { name: "idle-9000", work: Work::Workloads { pods: 30, connections: 300 } },
    Case { name: "idle-1000", work: Work::Idle { connections: 1000 } },
    Case { name: "echo-20", work: Work::Echo { rate: Some(20), connections: 1 } },
    Case { name: "echo-200", work: Work::Echo { rate: Some(200), connections: 1 } },
    Case { name: "echo-2000", work: Work::Echo { rate: Some(2000), connections: 1 } },
    Case { name: "echo-max-1", work: Work::Echo { rate: None, connections: 1 } },
    Case { name: "echo-max-32", work: Work::Echo { rate: None, connections: 32 } },
    Case { name: "connect-100", work: Work::Connect { rate: Some(100) } },
    Case { name: "connect-max", work: Work::Connect { rate: None } },
    Case { name: "bulk-1", work: Work::Bulk { streams: 1 } },
    Case { name: "bulk-8", work: Work::Bulk { streams: 8 } },
];

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
