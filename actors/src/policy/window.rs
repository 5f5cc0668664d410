//! Calls and failures over a moving window.

use std::time::Duration;

use tokio::time::Instant;

/// How finely the window moves.
const SLICES: usize = 10;

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    number: u64,
    calls: u32,
    failures: u32,
}

/// Counts over the last window, moving in tenths of it: its size does not grow with the traffic.
#[derive(Debug)]
pub(super) struct Window {
    slice: Duration,
    began: Instant,
    slices: [Slice; SLICES],
}

impl Window {
    pub(super) fn new(length: Duration, now: Instant) -> Self {
        let slice = (length / SLICES as u32).max(Duration::from_millis(1));
        Self { slice, began: now, slices: [Slice::default(); SLICES] }
    }

    pub(super) fn record(&mut self, now: Instant, failed: bool) {
        let number = self.number(now);
        let slice = &mut self.slices[number as usize % SLICES];
        if slice.number != number {
            *slice = Slice { number, ..Slice::default() };
        }
        slice.calls += 1;
        slice.failures += u32::from(failed);
    }

    /// Calls and failures in the window that ends now.
    pub(super) fn counts(&self, now: Instant) -> (u32, u32) {
        let number = self.number(now);
        let recent = self.slices.iter().filter(|slice| slice.number + SLICES as u64 > number);
        recent.fold((0, 0), |(calls, failures), slice| (calls + slice.calls, failures + slice.failures))
    }

    fn number(&self, now: Instant) -> u64 {
        // From SLICES on, so that the slices that were never used are not recent.
        (now.duration_since(self.began).as_nanos() / self.slice.as_nanos()) as u64 + SLICES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_is_forgotten() {
        let now = Instant::now();
        let at = |secs| now + Duration::from_secs(secs);
        let mut window = Window::new(Duration::from_mins(1), now);
        window.record(at(0), true);
        window.record(at(30), false);
        assert_eq!(window.counts(at(59)), (2, 1));
        assert_eq!(window.counts(at(61)), (1, 0));
        assert_eq!(window.counts(at(91)), (0, 0));
        window.record(at(600), true);
        assert_eq!(window.counts(at(600)), (1, 1));
    }
}
