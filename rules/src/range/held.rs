//! Which bytes of a representation are stored (RFC 9111 §3.3, §3.4).

use super::Span;

/// The most separate spans one stored response may hold.
pub const MAX_HELD: usize = 1024;

/// The spans held of a partial representation: sorted, never touching each other, at most
/// [`MAX_HELD`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldRanges {
    spans: Vec<Span>,
}

impl HeldRanges {
    /// Adds a span, merged with what it overlaps or touches. `false`, and nothing added, when it
    /// would be one span too many.
    pub fn insert(&mut self, span: Span) -> bool {
        if span.start >= span.end {
            return true;
        }
        let first = self.spans.partition_point(|held| held.end < span.start);
        let last = self.spans.partition_point(|held| held.start <= span.end);
        if first == last {
            if self.spans.len() >= MAX_HELD {
                return false;
            }
            self.spans.insert(first, span);
            return true;
        }
        let merged = Span {
            start: span.start.min(self.spans[first].start),
            end: span.end.max(self.spans[last - 1].end),
        };
        self.spans.splice(first..last, [merged]);
        true
    }

    /// Whether every byte of the span is held.
    pub fn covers(&self, span: Span) -> bool {
        let at = self.spans.partition_point(|held| held.end < span.end);
        span.start >= span.end || self.spans.get(at).is_some_and(|held| held.start <= span.start)
    }

    /// The parts of the span that are not held, in order.
    pub fn missing(&self, span: Span) -> Vec<Span> {
        let mut missing = Vec::new();
        let mut at = span.start;
        let from = self.spans.partition_point(|held| held.end <= span.start);
        for held in self.spans[from..].iter().take_while(|held| held.start < span.end) {
            missing.extend(Span::new(at, held.start));
            at = held.end;
        }
        missing.extend(Span::new(at, span.end));
        missing
    }

    /// The spans held, sorted.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Number of bytes held.
    pub fn length(&self) -> u64 {
        self.spans.iter().map(|span| span.length()).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u64, end: u64) -> Span {
        Span { start, end }
    }

    #[test]
    fn spans_that_touch_become_one() {
        let mut held = HeldRanges::default();
        for (start, end) in [(10, 20), (30, 40), (0, 5), (20, 30)] {
            assert!(held.insert(span(start, end)));
        }
        assert_eq!(held.spans(), [span(0, 5), span(10, 40)]);
        assert_eq!(held.length(), 35);
        assert!(held.covers(span(10, 40)) && !held.covers(span(4, 11)));
        assert_eq!(held.missing(span(3, 50)), [span(5, 10), span(40, 50)]);
    }

    #[test]
    fn the_number_of_spans_is_bounded() {
        let mut held = HeldRanges::default();
        for i in 0..MAX_HELD as u64 {
            assert!(held.insert(span(i * 2, i * 2 + 1)));
        }
        let beyond = MAX_HELD as u64 * 2 + 10;
        assert!(!held.insert(span(beyond, beyond + 1)));
        assert!(!held.covers(span(beyond, beyond + 1)));
        assert!(held.insert(span(1, 2)), "one that closes a gap fits");
        assert_eq!(held.spans().len(), MAX_HELD - 1);
    }

    #[test]
    fn the_ends_of_the_number_range_are_safe() {
        let mut held = HeldRanges::default();
        assert!(held.insert(span(u64::MAX - 1, u64::MAX)));
        assert!(held.insert(span(0, u64::MAX)));
        assert_eq!(held.spans(), [span(0, u64::MAX)]);
        assert_eq!(held.missing(span(5, u64::MAX)), []);
    }
}
