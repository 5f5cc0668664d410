//! The wall clock of the machine: the one home of "what time is it". Everything else is handed a
//! [`Clock`], so that tests decide what time it is.

use sluice_actors::{domain::Timestamp, ports::Clock};

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(jiff::Timestamp::now().as_millisecond())
    }
}

/// The wall clock finer than [`Timestamp`] has it, for spans, which nothing decides by.
#[expect(clippy::disallowed_methods, reason = "the one home of the wall clock")]
pub fn fine() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_stands_after_the_year_it_was_written() {
        let written = Timestamp::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
        assert!(SystemClock.now() > written);
    }
}
