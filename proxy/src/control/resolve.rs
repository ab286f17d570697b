//! Finds the replicas of the control plane by name, and runs a session with each.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use rand::seq::SliceRandom;
use tokio::{net::lookup_host, task::JoinSet, time::sleep};

use super::{
    connect::TlsSettings,
    replicas::{Replica, Replicas},
    url::ControlUrl,
};

/// A new replica gets a session after this time, plus what DNS caches. Once a session has ended, names are looked up
/// sooner.
const INTERVAL: Duration = Duration::from_secs(10);
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Replicas to which there are sessions at the same time.
const MAX_REPLICAS: usize = 16;

/// Keeps a session with every replica until dropped. `session` runs one; it ends when the replica is not listed any
/// more.
///
/// # Panics
/// When a session has panicked.
pub async fn follow<F>(
    urls: Vec<ControlUrl>,
    settings: TlsSettings,
    replicas: Arc<Replicas>,
    session: impl Fn(Replica) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let mut sessions = JoinSet::new();
    loop {
        // An empty answer is a failed lookup: nobody runs a mesh without a control plane.
        if let Some(addresses) = look_up(&urls, &replicas).await {
            let mut new = replicas.list(&addresses);
            // Otherwise all proxies would choose the first one.
            new.shuffle(&mut rand::rng());
            for address in new {
                match Replica::new(address, replicas.clone(), settings.clone()) {
                    Ok(replica) => _ = sessions.spawn(session(replica)),
                    Err(error) => tracing::error!(%address, %error, "cannot connect to the control plane"),
                }
            }
        }
        sleep(MIN_INTERVAL.mul_f64(rand::random_range(0.75..1.25))).await;
        let pause = sleep((INTERVAL - MIN_INTERVAL).mul_f64(rand::random_range(0.75..1.25)));
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => break,
                () = replicas.lost.notified() => break,
                Some(ended) = sessions.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
            }
        }
    }
}

/// All addresses of all hosts; `None` if a host cannot be looked up.
///
/// By the system's resolver, which knows /etc/hosts, reads a changed resolv.conf, and keeps no cache.
async fn look_up(urls: &[ControlUrl], replicas: &Replicas) -> Option<Vec<SocketAddr>> {
    let mut all = BTreeSet::new();
    let mut is_complete = true;
    for url in urls {
        let problem = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup_host(url.target())).await {
            Ok(Ok(found)) => {
                let before = all.len();
                all.extend(found.map(|address| SocketAddr::new(address.ip().to_canonical(), address.port())));
                match all.len() > before {
                    true => continue,
                    false => "it has no address".to_owned(),
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {LOOKUP_TIMEOUT:?}"),
        };
        is_complete = false;
        replicas.lookup_failed();
        tracing::warn!(%url, problem, "failed to look up the control plane; known addresses stay in use");
    }
    if all.len() > MAX_REPLICAS {
        tracing::warn!(
            addresses = all.len(),
            "the control plane has too many addresses; {MAX_REPLICAS} of them are used"
        );
    }
    let all: Vec<_> = all.into_iter().take(MAX_REPLICAS).collect();
    (is_complete || !all.is_empty()).then_some(all).filter(|all| !all.is_empty())
}
