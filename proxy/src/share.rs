//! Who may open one more connection, so that nobody takes what others need?
//!
//! Descriptors are what runs out first, and all pods of the node share the process's. A workload may have as many
//! connections as it leaves to others: alone it gets half of what the node can carry, two greedy ones get a third
//! each, and whoever comes next always finds room (the dynamic threshold of shared switch buffers, Choudhury and
//! Hahne 1998, with a factor of 1). The same holds for the clients of one workload among each other.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

/// A proxied connection: the one accepted, the one opened.
const PER_CONNECTION: usize = 2;
/// Of a workload: listeners (the keeper's and the accept loops'), its namespace.
const PER_WORKLOAD: usize = 16;
/// One in so many of the descriptors that no connection has may be a socket in stock.
const FREE_PER_STOCKED: usize = 8;
/// Of the process: programs and maps, control plane, admin server, runtime.
const OF_PROCESS: usize = 256;

/// What a node's connections may take together.
#[derive(Debug)]
pub struct Budget {
    descriptors: usize,
    most: usize,
    workloads: AtomicUsize,
    open: AtomicUsize,
    stocked: AtomicUsize,
    stocks: Mutex<Vec<Weak<dyn Spare>>>,
}

/// Holds descriptors that connections may need more than it does.
pub trait Spare: fmt::Debug + Send + Sync {
    /// Closes them all.
    fn give_back(&self);
}

/// A socket made in advance takes a descriptor, too; dropped when it is used or closed.
#[derive(Debug)]
pub struct Stocked(Arc<Budget>);

/// A workload's share of it.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    open: usize,
    /// No more entries than connections.
    clients: HashMap<IpAddr, usize>,
}

/// The right to have one connection open; dropped when it ends.
#[derive(Debug)]
pub struct Slot {
    share: Arc<Share>,
    client: Option<IpAddr>,
}

/// Whose bound is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The workload has as many as one may have at all.
    Workload,
    /// The workload has as many as it leaves to the other workloads of the node.
    Node,
    /// The client has as many to this workload as it leaves to other clients.
    Client,
}

impl Full {
    /// For the metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Full::Workload => "loadshed",
            Full::Node => "loadshed node",
            Full::Client => "loadshed client",
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Full::Workload => "the workload has as many connections open as one may have",
            Full::Node => "the workload has as many connections open as it leaves to the node's others",
            Full::Client => "the client has as many connections open as it leaves to other clients",
        })
    }
}

impl Budget {
    /// For a process that may have so many descriptors; at most `most` connections (0: what these allow).
    pub fn new(descriptors: usize, most: usize) -> Arc<Self> {
        let most = if most == 0 { usize::MAX } else { most };
        Arc::new(Self {
            descriptors,
            most,
            workloads: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            stocked: AtomicUsize::new(0),
            stocks: Mutex::default(),
        })
    }

    /// A share for one more workload, of at most `most` connections.
    pub fn share(self: &Arc<Self>, most: usize) -> Arc<Share> {
        self.workloads.fetch_add(1, Ordering::Relaxed);
        Arc::new(Share { budget: self.clone(), most, held: Mutex::default() })
    }

    /// How many connections all workloads may have together.
    pub fn total(&self) -> usize {
        (self.left() / PER_CONNECTION).min(self.most)
    }

    /// Descriptors for connections and for what is in stock for them.
    fn left(&self) -> usize {
        let others = OF_PROCESS + PER_WORKLOAD * self.workloads.load(Ordering::Relaxed);
        self.descriptors.saturating_sub(others)
    }

    /// How many of `wanted` sockets may be made in advance.
    pub fn in_advance(&self, wanted: usize) -> usize {
        let free = self.left().saturating_sub(PER_CONNECTION * self.open());
        wanted.min((free / FREE_PER_STOCKED).saturating_sub(self.stocked.load(Ordering::Relaxed)))
    }

    /// One socket more is in stock.
    pub fn stock(self: &Arc<Self>) -> Stocked {
        self.stocked.fetch_add(1, Ordering::Relaxed);
        Stocked(self.clone())
    }

    /// Descriptors that `spare` holds in advance are asked back when connections have no others left.
    pub fn borrower(&self, spare: Weak<dyn Spare>) {
        let mut stocks = self.stocks.lock();
        stocks.retain(|stock| stock.strong_count() > 0);
        stocks.push(spare);
    }

    /// Nobody is refused for the sake of what is in stock.
    fn make_room(&self) {
        if PER_CONNECTION * self.open() + self.stocked.load(Ordering::Relaxed) <= self.left() {
            return;
        }
        let stocks: Vec<_> = self.stocks.lock().iter().filter_map(Weak::upgrade).collect();
        for stock in stocks {
            stock.give_back();
        }
    }

    /// How many they have.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Share {
    /// One more connection; from `client`, where that is not the workload itself.
    ///
    /// # Errors
    /// Whose bound is reached.
    pub fn take(self: &Arc<Self>, client: Option<IpAddr>) -> Result<Slot, Full> {
        let mut held = self.held.lock();
        let free = self.budget.total().saturating_sub(self.budget.open());
        if held.open >= self.most {
            return Err(Full::Workload);
        }
        if held.open >= free {
            return Err(Full::Node);
        }
        if let Some(client) = client {
            let room = free.min(self.most) - held.open;
            let of_client = held.clients.get(&client).copied().unwrap_or(0);
            if of_client >= room {
                return Err(Full::Client);
            }
            held.clients.insert(client, of_client + 1);
        }
        held.open += 1;
        self.budget.open.fetch_add(1, Ordering::Relaxed);
        drop(held);
        self.budget.make_room();
        Ok(Slot { share: self.clone(), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.workloads.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Stocked {
    fn drop(&mut self) {
        self.0.stocked.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut held = self.share.held.lock();
        held.open -= 1;
        if let Some(client) = self.client
            && let Some(of_client) = held.clients.get_mut(&client)
        {
            *of_client -= 1;
            if *of_client == 0 {
                held.clients.remove(&client);
            }
        }
        self.share.budget.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells of a budget when metrics are scraped.
#[derive(Debug)]
pub struct BudgetCollector(pub Arc<Budget>);

impl Collector for BudgetCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("weft_connections_open", "Connections of workloads that are open", self.0.open()),
            ("weft_connections_limit", "Connections that all workloads may have together", self.0.total()),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn budget(connections: usize) -> Arc<Budget> {
        Budget::new(1 << 20, connections)
    }

    fn fill(share: &Arc<Share>, client: Option<IpAddr>) -> (Vec<Slot>, Full) {
        let mut slots = Vec::new();
        loop {
            match share.take(client) {
                Ok(slot) => slots.push(slot),
                Err(full) => return (slots, full),
            }
        }
    }

    #[test]
    fn a_greedy_workload_leaves_as_much_as_it_takes() {
        let budget = budget(120);
        let (greedy, second, late) = (budget.share(1000), budget.share(1000), budget.share(1000));
        let (first, full) = fill(&greedy, None);
        assert_eq!((first.len(), full), (60, Full::Node));
        let (more, _) = fill(&second, None);
        assert_eq!(more.len(), 30);
        // Whoever comes last finds room, and nobody ever finds none.
        assert_eq!(fill(&late, None).0.len(), 15);
        drop((first, more));
        assert_eq!(budget.open(), 0);
        assert_eq!(fill(&late, None).0.len(), 60);
    }

    #[test]
    fn a_workloads_own_bound_holds_too() {
        let share = budget(1000).share(7);
        let (slots, full) = fill(&share, None);
        assert_eq!((slots.len(), full), (7, Full::Workload));
    }

    #[test]
    fn a_greedy_client_leaves_room_for_others() {
        let share = budget(1000).share(100);
        let (greedy, full) = fill(&share, Some(ONE));
        assert_eq!((greedy.len(), full), (50, Full::Client));
        let (other, full) = fill(&share, Some(OTHER));
        assert_eq!((other.len(), full), (25, Full::Client));
        drop((greedy, other));
        assert!(share.held.lock().clients.is_empty(), "clients without connections are forgotten");
    }

    #[test]
    fn descriptors_bound_the_whole() {
        let budget = Budget::new(20_000, 0);
        let shares: Vec<_> = (0..100).map(|_| budget.share(usize::MAX)).collect();
        assert_eq!(budget.total(), (20_000 - 256 - 1600) / 2);
        drop(shares);
        assert_eq!(budget.total(), (20_000 - 256) / 2);
        assert_eq!(fill(&Budget::new(100, 0).share(10), None).1, Full::Node);
    }

    #[test]
    fn the_stock_counts_and_leaves_room() {
        let budget = Budget::new(20_000, 0);
        let share = budget.share(usize::MAX);
        assert_eq!(budget.in_advance(128), 128);
        let mut stock = Vec::new();
        // As many busy workloads as there may be, all wanting as much as they can get.
        while budget.in_advance(128) > 0 {
            stock.extend((0..budget.in_advance(128)).map(|_| budget.stock()));
        }
        let left = 20_000 - 256 - 16;
        assert_eq!(stock.len(), left / 8);
        assert_eq!(budget.total(), left / 2, "connections come first");
        drop(stock);
        let (slots, _) = fill(&share, None);
        assert_eq!(budget.in_advance(10_000), (left - 2 * slots.len()) / 8);
    }

    #[test]
    fn the_stock_is_given_back_when_connections_need_it() {
        #[derive(Debug, Default)]
        struct Stock(Mutex<Vec<Stocked>>);
        impl Spare for Stock {
            fn give_back(&self) {
                self.0.lock().clear();
            }
        }
        let budget = Budget::new(256 + 1000 + 3 * 16, 0);
        let (gone, kept) = (Arc::new(Stock::default()), Arc::new(Stock::default()));
        for stock in [&gone, &kept] {
            let stock: Arc<dyn Spare> = stock.clone();
            budget.borrower(Arc::downgrade(&stock));
        }
        drop(gone);
        kept.0.lock().extend((0..budget.in_advance(1000)).map(|_| budget.stock()));
        let stocked = kept.0.lock().len();
        assert_eq!(stocked, (1000 + 3 * 16) / 8);
        let shares: Vec<_> = (0..3).map(|_| budget.share(usize::MAX)).collect();
        let (first, _) = fill(&shares[0], None);
        let (second, _) = fill(&shares[1], None);
        assert_eq!((first.len(), second.len()), (250, 125));
        assert_eq!(kept.0.lock().len(), stocked, "there is room for both");
        let (third, _) = fill(&shares[2], None);
        assert_eq!(third.len(), 63);
        assert!(kept.0.lock().is_empty());
    }
}
