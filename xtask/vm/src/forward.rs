//! Makes a service of the cluster reachable from this machine, as `kubectl port-forward` does.
//!
//! The cluster's networks are in namespaces of their own. A listener on loopback passes each connection on to an
//! endpoint of the service, from the network of another node: to the mesh it is a client without an identity.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::netns;

/// The first choice, so that the address stays the same from run to run.
const PREFERRED_PORT: u16 = 8080;
/// Further connections are closed at once.
const MAX_CONNECTIONS: usize = 256;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    namespace: String,
    name: String,
    port: u16,
}

/// Passes connections on until it is dropped. Those that are open then end with their clients.
#[derive(Debug)]
pub struct Forward {
    address: SocketAddr,
    service: Service,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forward {
    /// Listens on loopback, on port 8080 if that is free. `on_error` gets the reason when a connection cannot be passed
    /// on; its client sees it end.
    pub fn start(
        cluster: Arc<Cluster>,
        service: Service,
        on_error: impl Fn(Error) + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, PREFERRED_PORT))
            .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .map_err(Error::io("listen on", "127.0.0.1"))?;
        let address = listener.local_addr().map_err(Error::io("listen on", "127.0.0.1"))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let on_error: OnError = Arc::new(on_error);
        let (stop, target) = (stopped.clone(), service.clone());
        let thread = thread::Builder::new()
            .name("forward".to_owned())
            .spawn(move || accept(&listener, &cluster, &target, &on_error, &stop))
            .map_err(Error::io("start a thread for", "forwarding"))?;
        Ok(Self { address, service, stopped, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it leads.
    pub fn service(&self) -> &Service {
        &self.service
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the thread. If it fails, the thread has ended.
        let woken = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| woken) {
            // The thread has printed its panic itself.
            let _ = thread.join();
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.name, self.port)
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let parts = text
            .split_once('/')
            .and_then(|(namespace, rest)| rest.rsplit_once(':').map(|(name, port)| (namespace, name, port)))
            .and_then(|(namespace, name, port)| Some((namespace, name, port.parse().ok()?)));
        match parts {
            Some((namespace, name, port)) if !namespace.is_empty() && !name.is_empty() && port > 0 => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), port })
            }
            _ => Err("write NAMESPACE/SERVICE:PORT, such as emojivoto/web-svc:80".to_owned()),
        }
    }
}

type OnError = Arc<dyn Fn(Error) + Send + Sync>;

fn accept(
    listener: &TcpListener,
    cluster: &Arc<Cluster>,
    service: &Service,
    on_error: &OnError,
    stop: &AtomicBool,
) {
    let open = Arc::new(AtomicUsize::new(0));
    for client in listener.incoming() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else {
            // For example no free descriptors, which is temporary.
            thread::sleep(Duration::from_millis(100));
            continue;
        };
        if open.fetch_add(1, Ordering::Relaxed) >= MAX_CONNECTIONS {
            open.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let (cluster, service, on_error, counter) =
            (cluster.clone(), service.clone(), on_error.clone(), open.clone());
        let pass_on = move || {
            match dial(&cluster, &service) {
                Ok(server) => {
                    drop(cluster);
                    // An error of either side: the other one sees its connection end.
                    let _ = copy_both_ways(&client, &server);
                }
                Err(error) => on_error(error),
            }
            counter.fetch_sub(1, Ordering::Relaxed);
        };
        if thread::Builder::new().name("forwarded".to_owned()).spawn(pass_on).is_err() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Connects to the first endpoint that accepts.
fn dial(cluster: &Cluster, service: &Service) -> Result<TcpStream> {
    let endpoints = cluster.endpoints(&format!("{}/{}", service.namespace, service.name), service.port);
    let mut last = Error::Manifests(format!("the service {service} has no endpoints"));
    for endpoint in endpoints {
        let namespace = cluster.netns_of_another_node(endpoint.ip())?;
        let connected = netns::run(&namespace, || TcpStream::connect_timeout(&endpoint, CONNECT_TIMEOUT))?;
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Error::io("connect to", endpoint.to_string())(error),
        }
    }
    Err(last)
}

/// Copies until both directions have ended.
fn copy_both_ways(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    thread::scope(|scope| {
        let back = scope.spawn(|| copy(server, client));
        copy(client, server);
        // `copy` does not panic.
        let _ = back.join();
    });
    Ok(())
}

fn copy(mut from: &TcpStream, mut to: &TcpStream) {
    match io::copy(&mut from, &mut to) {
        // Ended in this direction; the other one goes on. An error of shutdown means that it has ended too.
        Ok(_) => drop(to.shutdown(Shutdown::Write)),
        Err(_) => {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn services_are_read() {
        let service: Service = "emojivoto/web-svc:80".parse().unwrap();
        assert_eq!(service.to_string(), "emojivoto/web-svc:80");
        for bad in ["", "web-svc:80", "emojivoto/web-svc", "emojivoto/web-svc:0", "emojivoto/:80", "/web:80"]
        {
            assert!(bad.parse::<Service>().unwrap_err().contains("NAMESPACE/SERVICE:PORT"), "{bad}");
        }
    }

    #[test]
    fn bytes_are_copied_both_ways_until_both_ended() {
        let pair = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            (one, listener.accept().unwrap().0)
        };
        let ((mut client, inside), (outside, mut server)) = (pair(), pair());
        let copying = thread::spawn(move || copy_both_ways(&inside, &outside).unwrap());
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).unwrap();
        assert_eq!(text, "question");
        server.write_all(b"answer").unwrap();
        drop(server);
        text.clear();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
        copying.join().unwrap();
    }
}
