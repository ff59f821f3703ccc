//! The same work for each of several things, on a few threads.
//!
//! In: the things, and how many at a time. Out: what became of each, in their order. Next to read: `matrix.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many threads do not slow each other down: one a processor.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Works on each item, on as many threads as there are `jobs`; the items are begun in their order. `None` stands for an item
/// whose thread panicked; the others are not disturbed.
pub fn each<T: Sync, R: Send>(items: &[T], jobs: usize, work: impl Fn(&T) -> R + Sync) -> Vec<Option<R>> {
    let done: Vec<Mutex<Option<R>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work_off = || {
            while let Some((item, done)) = take(&next, items, &done) {
                let result = work(item);
                *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
        };
        let crew: Vec<_> = (0..jobs.clamp(1, items.len().max(1))).map(|_| scope.spawn(work_off)).collect();
        for thread in crew {
            // A thread that was not joined here would make the scope panic too.
            let _ = thread.join();
        }
    });
    done.into_iter().map(|done| done.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

/// The next item that nobody has begun, and where its result goes.
fn take<'a, T, R>(next: &AtomicUsize, items: &'a [T], done: &'a [R]) -> Option<(&'a T, &'a R)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    items.get(index).zip(done.get(index))
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        for jobs in [0, 1, 3, 99] {
            let squares = each(&[3, 1, 4, 1, 5], jobs, |n| n * n);
            assert_eq!(squares, [9, 1, 16, 1, 25].map(Some), "{jobs} jobs");
            assert_eq!(each(&[], jobs, |n: &u8| *n), []);
        }
    }

    #[test]
    fn two_are_worked_on_at_a_time() {
        let both = Barrier::new(2);
        // Each waits for the other: with one thread this would never end.
        assert_eq!(
            each(&["a", "b"], 2, |_| both.wait().is_leader()).into_iter().flatten().filter(|one| *one).count(),
            1
        );
    }

    #[test]
    fn a_panic_costs_one_item() {
        let done = each(&[1, 0, 2, 3], 2, |n| 6 / n);
        assert_eq!(done, [Some(6), None, Some(3), Some(2)]);
        let alone = each(&[0, 1], 1, |n| 6 / n);
        assert_eq!(alone, [None, None], "the only thread is gone, and that is told too");
    }
}
