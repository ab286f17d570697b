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
    /// HTTP requests, each answered with 1 KB.
    Http {
        protocol: Protocol,
        /// Per second, due at fixed times. `None`: on each stream, each one as soon as the last is answered.
        rate: Option<u32>,
        connections: usize,
        /// Of each connection, where there is no rate. HTTP/1.1 has one.
        streams: usize,
    },
    /// HTTP/1.1 connections that have been used once and are kept alive.
    HttpIdle { connections: usize },
    /// So many HTTP/1.1 requests, as fast as possible; a tenth in a quick run.
    HttpMany { requests: u64, connections: usize },
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
pub enum Protocol {
    /// GET, answered with a content-length.
    Http1,
    /// GET.
    Http2,
    /// POST of a message, answered with a message and trailers.
    Grpc,
}

/// What a port does with the bytes that it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends them back.
    Echo,
    /// Counts them.
    Sink,
    /// Answers HTTP/1.1 requests without bodies.
    Http1,
    /// Answers HTTP/2 requests and gRPC calls.
    Http2,
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

/// HTTP/1.1 at a rate: more than are needed at once, as in the pool of a client.
const POOL: usize = 8;

/// 9 000 connections are about what 20 000 descriptors allow, and more than one workload may have. Memory comes first:
/// a proxy keeps memory that it has once needed. Only weft's are restarted; the other pairs need least for kept-alive
/// connections, so those come before other idle ones.
pub const CASES: [Case; 31] = [
    case("workloads-100", Work::Workloads { pods: 100, connections: 0 }),
    case("workloads-500", Work::Workloads { pods: 500, connections: 0 }),
    case("idle-9000", Work::Workloads { pods: 30, connections: 300 }),
    case("http1-idle-1000", Work::HttpIdle { connections: 1000 }),
    case("idle-1000", Work::Idle { connections: 1000 }),
    case("h1-many", Work::HttpMany { requests: 1_000_000, connections: 32 }),
    case("echo-20", Work::Echo { rate: Some(20), connections: 1 }),
    case("echo-200", Work::Echo { rate: Some(200), connections: 1 }),
    case("echo-2000", Work::Echo { rate: Some(2000), connections: 1 }),
    Case { is_shared: true, ..case("echo-2000-shared", Work::Echo { rate: Some(2000), connections: 1 }) },
    case("echo-max-1", Work::Echo { rate: None, connections: 1 }),
    case("echo-max-32", Work::Echo { rate: None, connections: 32 }),
    at_rate("h1-20", Protocol::Http1, 20),
    at_rate("h1-200", Protocol::Http1, 200),
    at_rate("h1-2000", Protocol::Http1, 2000),
    maximum("h1-max-32", Protocol::Http1, 32, 1),
    maximum("h1-max-128", Protocol::Http1, 128, 1),
    at_rate("h2-20", Protocol::Http2, 20),
    at_rate("h2-200", Protocol::Http2, 200),
    at_rate("h2-2000", Protocol::Http2, 2000),
    maximum("h2-max-8x16", Protocol::Http2, 8, 16),
    maximum("h2-max-1x128", Protocol::Http2, 1, 128),
    at_rate("grpc-20", Protocol::Grpc, 20),
    at_rate("grpc-200", Protocol::Grpc, 200),
    at_rate("grpc-2000", Protocol::Grpc, 2000),
    maximum("grpc-max-8x16", Protocol::Grpc, 8, 16),
    maximum("grpc-max-1x128", Protocol::Grpc, 1, 128),
    case("connect-100", Work::Connect { rate: Some(100) }),
    case("connect-max", Work::Connect { rate: None }),
    case("bulk-1", Work::Bulk { streams: 1 }),
    case("bulk-8", Work::Bulk { streams: 8 }),
];

const fn case(name: &'static str, work: Work) -> Case {
    Case { name, work, is_shared: false }
}

const fn at_rate(name: &'static str, protocol: Protocol, rate: u32) -> Case {
    let connections = if matches!(protocol, Protocol::Http1) { POOL } else { 1 };
    case(name, Work::Http { protocol, rate: Some(rate), connections, streams: 1 })
}

const fn maximum(name: &'static str, protocol: Protocol, connections: usize, streams: usize) -> Case {
    case(name, Work::Http { protocol, rate: None, connections, streams })
}

impl Work {
    /// What the growth of memory is divided by.
    pub fn units(&self) -> usize {
        match *self {
            Work::Workloads { pods, connections: 0 } => pods,
            Work::Workloads { pods, connections } => pods * connections,
            Work::Idle { connections }
            | Work::Echo { connections, .. }
            | Work::Http { connections, .. }
            | Work::HttpIdle { connections }
            | Work::HttpMany { connections, .. } => connections,
            Work::Bulk { streams } => streams,
            Work::Connect { .. } => 1,
        }
    }

    /// The server that it needs.
    pub fn kind(&self) -> Kind {
        match self {
            Work::Bulk { .. } => Kind::Sink,
            Work::Http { protocol: Protocol::Http2 | Protocol::Grpc, .. } => Kind::Http2,
            Work::Http { .. } | Work::HttpIdle { .. } | Work::HttpMany { .. } => Kind::Http1,
            Work::Echo { .. } | Work::Connect { .. } | Work::Idle { .. } | Work::Workloads { .. } => {
                Kind::Echo
            }
        }
    }

    pub fn is_http(&self) -> bool {
        matches!(self.kind(), Kind::Http1 | Kind::Http2)
    }
}

impl Case {
    pub fn measures(&self) -> Measures {
        match self.work {
            Work::Echo { rate, .. } | Work::Connect { rate } | Work::Http { rate, .. } => match rate {
                Some(_) => Measures::Latency,
                None => Measures::Throughput,
            },
            Work::Bulk { .. } => Measures::Throughput,
            Work::Idle { .. } | Work::Workloads { .. } | Work::HttpIdle { .. } | Work::HttpMany { .. } => {
                Measures::Memory
            }
        }
    }

    /// Whether single operations are timed.
    pub fn is_timed(&self) -> bool {
        matches!(self.work, Work::Echo { .. } | Work::Connect { .. } | Work::Http { .. })
    }

    /// The throughput in the unit of the case.
    pub fn throughput(&self, operations_per_second: f64) -> (f64, &'static str) {
        match self.work {
            Work::Bulk { .. } => (operations_per_second * BULK_OPERATION as f64 / 1e6, "MB/s"),
            _ => (operations_per_second, "1/s"),
        }
    }
}
