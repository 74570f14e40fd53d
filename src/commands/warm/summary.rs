//! The results of a warm-up, from the lines of control's answer.

use crate::text::{Paint, columns, harmless};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Failures shown in words; JSON has all of them.
const SHOWN: usize = 20;

/// What came of all calls so far.
pub(super) struct Summary {
    urls: usize,
    /// URLs whose calls were begun, and what they came to: fetches, each a URL on a node.
    asked: u64,
    done: u64,
    failed: u64,
    /// How those came to be stored that did.
    stored: BTreeMap<String, u64>,
    failures: Vec<Value>,
    /// The counts that the call under way told last.
    call: Option<(u64, u64)>,
}

impl Summary {
    pub(super) fn new(urls: usize) -> Self {
        let (stored, failures) = (BTreeMap::new(), Vec::new());
        Self { urls, asked: 0, done: 0, failed: 0, stored, failures, call: None }
    }

    /// A call begins.
    pub(super) fn begin(&mut self) {
        self.call = None;
    }

    /// Takes a line of the call under way: its counts, first and last, or a URL on a node.
    pub(super) fn read(&mut self, line: &Value) {
        if let Some(asked) = line["asked"].as_u64() {
            if self.call.is_none() {
                self.asked += asked;
            }
            let come = ["done", "failed"].iter().filter_map(|name| line[name].as_u64()).sum();
            self.call = Some((asked, come));
            return;
        }
        match line["error"].is_string() {
            true => {
                self.failed += 1;
                self.failures.push(line.clone());
            }
            false => {
                self.done += 1;
                let how = line["cache"].as_str().unwrap_or("stored").to_owned();
                *self.stored.entry(how).or_default() += 1;
            }
        }
    }

    /// Whether the call has told of all that it was asked for.
    pub(super) fn is_whole(&self) -> bool {
        self.call.is_some_and(|(asked, come)| asked == come)
    }

    /// Whether nothing failed.
    pub(super) fn is_good(&self) -> bool {
        self.failed == 0
    }

    /// Fetches that all calls come to, going by those that were begun.
    pub(super) fn expected(&self) -> u64 {
        let nodes = self.call.map_or(1, |(asked, _)| {
            let in_call = (self.urls as u64).min(weir_control::MOST_WARM_URLS as u64);
            (asked / in_call.max(1)).max(1)
        });
        (self.urls as u64 * nodes).max(self.asked)
    }

    /// Fetches that have come.
    pub(super) fn come(&self) -> u64 {
        self.done + self.failed
    }

    /// All of it.
    pub(super) fn json(&self) -> Value {
        let Self { urls, asked, done, failed, stored, failures, .. } = self;
        json!({"urls": urls, "asked": asked, "done": done, "failed": failed, "cache": stored,
               "failures": failures})
    }

    /// In words.
    pub(super) fn told(&self, paint: Paint) -> String {
        let ways: Vec<String> =
            self.stored.iter().map(|(how, count)| format!("{count} {}", harmless(how))).collect();
        let ways = if ways.is_empty() { String::new() } else { format!(" ({})", ways.join(", ")) };
        let failed = match self.failed {
            0 => "0".to_owned(),
            failed => paint.bad(&failed.to_string()),
        };
        let urls = match self.urls {
            1 => "1 URL".to_owned(),
            urls => format!("{urls} URLs"),
        };
        let mut rows = vec![
            ("warm", urls),
            ("done", format!("{}{ways}", paint.good(&self.done.to_string()))),
            ("failed", failed),
        ];
        rows.extend(self.failures.iter().take(SHOWN).map(|line| ("", failure(line))));
        if let Some(more) = self.failures.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            rows.push(("", format!("and {more} more; --json lists all")));
        }
        columns(&rows)
    }
}

fn failure(line: &Value) -> String {
    let text = |name: &str| harmless(line[name].as_str().unwrap_or("?"));
    format!("{}  {}: {}", text("node"), text("url"), text("error"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(node: &str, what: Value) -> Value {
        let mut line = json!({"node": node, "url": "http://h/a", "ms": 1.0});
        line.as_object_mut().into_iter().for_each(|line| {
            line.extend(what.as_object().cloned().unwrap_or_default());
        });
        line
    }

    #[test]
    fn lines_are_counted_and_failures_told() {
        let mut summary = Summary::new(2);
        summary.begin();
        summary.read(&json!({"asked": 4, "done": 0, "failed": 0}));
        assert_eq!((summary.expected(), summary.come()), (4, 0));
        summary.read(&line("a", json!({"cache": "stored"})));
        summary.read(&line("b", json!({"cache": "hit"})));
        summary.read(&line("b", json!({"cache": "stored"})));
        summary.read(&line("b", json!({"status": 404, "error": "answered with 404"})));
        assert!(!summary.is_whole() && !summary.is_good());
        summary.read(&json!({"asked": 4, "done": 3, "failed": 1}));
        assert!(summary.is_whole());
        let told = "warm    2 URLs\ndone    3 (1 hit, 2 stored)\nfailed  1\n        \
                    b  http://h/a: answered with 404\n";
        assert_eq!(summary.told(Paint::plain()), told);
        let told = summary.json();
        assert_eq!((&told["asked"], &told["failures"][0]["node"]), (&json!(4), &json!("b")));
    }

    #[test]
    fn a_call_that_breaks_off_is_not_whole() {
        let mut summary = Summary::new(1);
        summary.begin();
        assert!(!summary.is_whole());
        summary.read(&json!({"asked": 1, "done": 0, "failed": 0}));
        summary.read(&line("a", json!({"cache": "stored"})));
        assert!(!summary.is_whole());
        summary.begin();
        assert!(!summary.is_whole() && summary.is_good());
    }
}
