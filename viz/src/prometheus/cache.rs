//! Joins identical questions: within a few seconds, they are asked once.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use weft_api::viz::Failure;

/// Longer than the time for which all ask the same.
const AGE: Duration = Duration::from_secs(6);
/// Of failures, which may be over.
const FAILURE_AGE: Duration = Duration::from_secs(1);
/// The oldest of more answers are forgotten.
const MAX_ENTRIES: usize = 500;

/// Answers of the last seconds, and of questions that are being asked.
#[derive(Debug)]
pub(crate) struct Cache<T> {
    entries: Mutex<HashMap<String, Arc<Entry<T>>>>,
    age: Duration,
}

#[derive(Debug)]
struct Entry<T> {
    asked: Instant,
    cell: OnceCell<Result<Arc<T>, Failure>>,
}

impl<T> Cache<T> {
    /// A cache whose answers are used for so long.
    pub(crate) fn with_age(age: Duration) -> Self {
        Self { entries: Mutex::default(), age }
    }

    /// The answer to `key`. Only one of those who ask at the same time runs `ask`; if it gives up, another one does.
    pub(crate) async fn get(
        &self,
        key: String,
        ask: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Arc<T>, Failure> {
        let entry = {
            let mut entries = self.entries.lock();
            // What somebody still waits for stays, so that it is not asked a second time.
            entries.retain(|_, entry| {
                let has_failed = entry.cell.get().is_some_and(Result::is_err);
                let age = if has_failed { self.age.min(FAILURE_AGE) } else { self.age };
                entry.asked.elapsed() < age || Arc::strong_count(entry) > 1
            });
            if entries.len() >= MAX_ENTRIES && !entries.contains_key(&key) {
                let oldest = entries.iter().min_by_key(|(_, entry)| entry.asked);
                if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                    entries.remove(&oldest);
                }
            }
            let entry = entries
                .entry(key)
                .or_insert_with(|| Arc::new(Entry { asked: Instant::now(), cell: OnceCell::new() }));
            entry.clone()
        };
        entry.cell.get_or_init(|| async { ask.await.map(Arc::new) }).await.clone()
    }
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self::with_age(AGE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use weft_api::viz::ErrorCode;

    use super::*;

    #[tokio::test]
    async fn ten_who_ask_at_once_cost_one_question() {
        let (cache, asked) = (Cache::default(), AtomicUsize::new(0));
        let ask = |key: &str| {
            cache.get(key.to_owned(), async {
                tokio::task::yield_now().await;
                Ok(asked.fetch_add(1, Ordering::Relaxed))
            })
        };
        let answers = futures::future::join_all((0..10).map(|_| ask("a"))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| **answer == 0)));
        ask("b").await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn if_the_one_who_asks_gives_up_another_does() {
        let cache = Cache::<u8>::default();
        let given_up = cache.get("a".into(), std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(1), given_up).await.is_err());
        assert_eq!(*cache.get("a".into(), async { Ok(7) }).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn failures_are_shared_too() {
        let cache = Cache::<u8>::default();
        let failure = Failure::new(ErrorCode::PrometheusUnavailable, "no");
        assert_eq!(cache.get("a".into(), async { Err(failure.clone()) }).await, Err(failure.clone()));
        assert_eq!(cache.get("a".into(), async { Ok(7) }).await, Err(failure));
    }

    #[tokio::test]
    async fn the_oldest_answer_makes_room_for_a_new_one() {
        let cache = Cache::<usize>::default();
        for number in 0..MAX_ENTRIES + 10 {
            cache.get(number.to_string(), async { Ok(number) }).await.unwrap();
        }
        assert!(cache.entries.lock().len() <= MAX_ENTRIES);
        assert!(cache.entries.lock().contains_key(&(MAX_ENTRIES + 9).to_string()));
    }
}
