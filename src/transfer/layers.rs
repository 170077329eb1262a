//! Several layers at the same time: threads that work, and the caller's, which reports.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::image::descriptor::Descriptor;
use crate::progress::{Part, Progress, Step};

/// Layers that are worked on at the same time.
const AT_ONCE: usize = 3;
/// Between two reports of progress.
const TICK: Duration = Duration::from_millis(100);

/// How far one layer is; told by the thread that works on it.
pub(super) struct Meter<'a> {
    number: usize,
    done: &'a AtomicU64,
    has_failed: &'a AtomicBool,
    begun: Sender<(usize, u64)>,
}

impl Meter<'_> {
    /// Its bytes begin to move; an earlier try has kept so many.
    pub fn begin(&self, kept: u64) {
        self.begun.send((self.number, kept)).unwrap_or_default();
    }

    /// So many more bytes have moved.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes have moved, counted from the beginning.
    pub fn set(&self, bytes: u64) {
        self.done.store(bytes, Ordering::Relaxed);
    }

    /// Another layer failed: the work is for nothing.
    pub fn is_in_vain(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

/// Does `work` for the number of each of `layers`, and returns what it gave in their order, or the first failure.
/// `what` is done as a whole; `word` says how a layer ended, see [`Step::Ended`].
pub(super) fn each_layer<T: Send, E: Send>(
    what: &str,
    layers: &[&Descriptor],
    progress: &dyn Progress,
    word: impl Fn(&T) -> &'static str,
    work: impl Fn(usize, &Meter<'_>) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let part = |(number, layer): (usize, &&Descriptor)| {
        let name = format!("layer {}/{} {}", number + 1, layers.len(), layer.digest.short());
        Part { name, size_bytes: layer.size }
    };
    let parts: Vec<Part> = layers.iter().enumerate().map(part).collect();
    let done: Vec<AtomicU64> = layers.iter().map(|_| AtomicU64::new(0)).collect();
    let (next, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut results: Vec<Option<T>> = layers.iter().map(|_| None).collect();
    let mut failure = None;
    progress.begin(what, Some(layers.iter().map(|layer| layer.size).sum()));
    std::thread::scope(|scope| {
        let (begun_in, begun) = channel();
        let (finished_in, finished) = channel();
        for _ in 0..AT_ONCE.min(layers.len()) {
            let (begun_in, finished_in) = (begun_in.clone(), finished_in.clone());
            let (next, has_failed, done, work) = (&next, &has_failed, &done, &work);
            scope.spawn(move || {
                while !has_failed.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(done) = done.get(number) else { return };
                    let result = work(number, &Meter { number, done, has_failed, begun: begun_in.clone() });
                    if result.is_err() {
                        has_failed.store(true, Ordering::Relaxed);
                    }
                    finished_in.send((number, result)).unwrap_or_default();
                }
            });
        }
        drop((begun_in, finished_in));
        loop {
            let event = finished.recv_timeout(TICK);
            // Looked at after the end of a layer was seen, so that its beginning is said first.
            for (number, kept) in begun.try_iter() {
                progress.part(&parts[number], Step::Begun(kept));
            }
            match event {
                Ok((number, Ok(result))) => {
                    progress.part(&parts[number], Step::Ended(word(&result)));
                    done[number].store(layers[number].size, Ordering::Relaxed);
                    results[number] = Some(result);
                }
                // What comes after the first failure is its consequence.
                Ok((number, Err(error))) => {
                    progress.part(&parts[number], Step::Ended("stopped"));
                    failure = failure.take().or(Some(error));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            progress.advance(done.iter().map(|done| done.load(Ordering::Relaxed)).sum());
            for (part, done) in parts.iter().zip(&done) {
                progress.part(part, Step::At(done.load(Ordering::Relaxed)));
            }
        }
    });
    progress.end();
    match failure {
        Some(failure) => Err(failure),
        None => Ok(results.into_iter().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::image::media_type::LAYER;

    #[derive(Default)]
    struct Heard(RefCell<Vec<String>>);

    impl Progress for Heard {
        fn begin(&self, what: &str, total: Option<u64>) {
            self.0.borrow_mut().push(format!("{what} {}", total.unwrap_or_default()));
        }
        fn advance(&self, _done: u64) {}
        fn end(&self) {
            self.0.borrow_mut().push("end".to_owned());
        }
        fn note(&self, _text: &str) {}
        fn part(&self, part: &Part, step: Step) {
            if !matches!(step, Step::At(_)) {
                self.0.borrow_mut().push(format!("{} {step:?}", &part.name[..9]));
            }
        }
    }

    #[test]
    fn all_of_it_or_the_first_failure() {
        let layers: Vec<Descriptor> = (0..7u8).map(|byte| Descriptor::of_bytes(LAYER, &[byte; 10])).collect();
        let layers: Vec<&Descriptor> = layers.iter().collect();
        let heard = Heard::default();
        let tens = each_layer(
            "moving",
            &layers,
            &heard,
            |_| "done",
            |number, meter| {
                if number != 3 {
                    meter.begin(number as u64);
                }
                Ok::<_, String>(number * 10)
            },
        );
        assert_eq!(tens, Ok((0..7).map(|number| number * 10).collect()));
        let heard = heard.0.into_inner();
        assert_eq!((heard[0].as_str(), heard.last().map(String::as_str)), ("moving 70", Some("end")));
        assert_eq!(heard.len(), 2 + 6 * 2 + 1, "{heard:?}");
        let at = |text: &str| heard.iter().position(|line| line == text);
        assert_eq!(at("layer 4/7 Begun(3)"), None);
        for number in [1, 2, 3, 5, 6, 7] {
            let (begun, ended) =
                (format!("layer {number}/7 Begun({})", number - 1), format!("layer {number}/7 Ended(\"done\")"));
            assert!(at(&begun).is_some() && at(&begun) < at(&ended), "{heard:?}");
        }

        let calls = AtomicUsize::new(0);
        let failed: Result<Vec<()>, usize> = each_layer(
            "moving",
            &layers,
            &Heard::default(),
            |_| "done",
            |number, _| {
                calls.fetch_add(1, Ordering::Relaxed);
                Err(number)
            },
        );
        assert!(failed.is_err());
        assert!(calls.into_inner() <= AT_ONCE, "nothing begins after a failure");
    }
}
