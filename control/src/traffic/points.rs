//! The course of some rates, a point every step.

use super::rates::{Rates, rounded};
use crate::timestamp::rfc3339;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

/// Points kept.
pub(super) const POINTS: usize = 300;

/// Points, oldest first. Steps at which nothing was told have none.
#[derive(Debug, Default)]
pub(super) struct Points(VecDeque<Point>);

/// Rates at a step, small: there are many of them.
#[derive(Clone, Copy, Debug)]
struct Point {
    number: u32,
    requests: f32,
    hits: f32,
    errors: f32,
    bytes: f32,
    upstream: f32,
    /// Half, and 99 of a hundred, of the requests took at most so many milliseconds.
    latency: Option<(f32, f32)>,
}

impl Points {
    /// The rates up to the step of this number.
    pub(super) fn push(&mut self, number: u32, rates: &Rates) {
        if self.0.len() == POINTS {
            self.0.pop_front();
        }
        let latency = rates.quantile(0.5).zip(rates.quantile(0.99));
        self.0.push_back(Point {
            number,
            requests: rates.requests() as f32,
            hits: rates.hits() as f32,
            errors: rates.errors() as f32,
            bytes: rates.bytes() as f32,
            upstream: rates.upstream() as f32,
            latency: latency.map(|(p50, p99)| (p50 as f32, p99 as f32)),
        });
    }

    /// As JSON, where step 0 was at `begun`.
    pub(super) fn told(&self, begun: SystemTime, step: Duration) -> Vec<Value> {
        let number = |number: f32| rounded(number.into());
        let told = |point: &Point| {
            json!({
                "at": rfc3339(begun + step * point.number),
                "requests_per_second": number(point.requests),
                "hits_per_second": number(point.hits),
                "errors_per_second": number(point.errors),
                "bytes_per_second": number(point.bytes),
                "upstream_per_second": number(point.upstream),
                "p50_ms": point.latency.map(|(p50, _)| number(p50)),
                "p99_ms": point.latency.map(|(_, p99)| number(p99)),
            })
        };
        self.0.iter().map(told).collect()
    }
}
