//! The screen, from what is known and its size alone.

use super::chart;
use super::figures::{Rates, Stats, Totals};
use super::layout::{Areas, page};
use super::listing::Tone;
use super::panes::Pane;
use super::state::State;
use super::words::{UNKNOWN, bytes, millis, rate, share};
use crate::text::harmless;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use std::time::Instant;
use weir_config::units::format_duration;

/// Draws the whole screen, with or without colours.
pub(super) fn draw(state: &State, now: Instant, coloured: bool, buffer: &mut Buffer) {
    let screen = buffer.area;
    let areas = Areas::of(state, screen);
    let mut page = Page { buffer, coloured };
    header(state, now, areas.header, &mut page);
    if state.help {
        let body = Rect {
            y: areas.header.bottom(),
            height: areas.footer.top().saturating_sub(areas.header.bottom()),
            ..screen
        };
        help(body, &mut page);
    } else {
        for (pane, area) in &areas.panes {
            draw_pane(state, *pane, *area, &mut page);
        }
    }
    footer(state, areas.footer, &mut page);
}

/// Traffic in one line.
pub(super) fn traffic(rates: &Rates) -> String {
    let shown = |figure: Option<f64>, words: fn(f64) -> String| {
        figure.map_or_else(|| UNKNOWN.to_owned(), words)
    };
    format!(
        "{} req/s  {} hits  p50 {} ms  p99 {} ms  {} up/s  {} err/s  {}/s",
        shown(rates.requests_per_second, rate),
        shown(rates.hit_ratio, share),
        shown(rates.p50_ms, millis),
        shown(rates.p99_ms, millis),
        shown(rates.upstream_per_second, rate),
        shown(rates.errors_per_second, rate),
        shown(rates.bytes_per_second, bytes),
    )
}

/// All nodes in a few words.
pub(super) fn nodes(stats: &Stats) -> String {
    let connected = stats.by_node.iter().filter(|node| node.state == "connected").count();
    format!("{connected} of {} nodes connected, seq {}", stats.by_node.len(), stats.log.head)
}

/// The only writer to the buffer: all texts lose their control characters here.
struct Page<'a> {
    buffer: &'a mut Buffer,
    coloured: bool,
}

impl Page<'_> {
    /// Writes into the first row of `area`; returns what is left of that row.
    fn put(&mut self, area: Rect, text: &str, style: Style) -> Rect {
        if area.is_empty() {
            return area;
        }
        let width = usize::from(area.width);
        let (end, _) = self.buffer.set_stringn(area.x, area.y, harmless(text), width, style);
        Rect { x: end, width: area.right().saturating_sub(end), ..area }
    }

    fn style(&self, tone: Tone) -> Style {
        let colour = |colour: Color| match self.coloured {
            true => Style::new().fg(colour),
            false => Style::new(),
        };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => Style::new().add_modifier(Modifier::BOLD),
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
            Tone::Good => colour(Color::Green),
            Tone::Warn => colour(Color::Yellow),
            Tone::Bad => colour(Color::Red).add_modifier(Modifier::BOLD),
        }
    }
}

fn row(area: Rect, at: u16) -> Rect {
    match area.height.checked_sub(at + 1) {
        Some(_) => Rect { y: area.y + at, height: 1, ..area },
        None => Rect { height: 0, ..area },
    }
}

fn header(state: &State, now: Instant, area: Rect, page: &mut Page<'_>) {
    let stats = state.figures.stats.told();
    let (words, tone) = match state.paused {
        true => ("PAUSED".to_owned(), Tone::Warn),
        false => (format!("every {}", format_duration(state.every)), Tone::Faint),
    };
    let right = u16::try_from(words.len() + 1).unwrap_or(u16::MAX);
    let first = row(area, 0);
    let left = Rect { width: first.width.saturating_sub(right), ..first };
    let rest = page.put(left, "weir ", page.style(Tone::Strong));
    let rest = page.put(rest, &state.control, page.style(Tone::Plain));
    if let Some(stats) = stats {
        page.put(rest, &format!("  {}", nodes(stats)), page.style(Tone::Faint));
    }
    let at =
        Rect { x: left.right() + 1, width: first.width.saturating_sub(left.width + 1), ..first };
    page.put(at, &words, page.style(tone));

    let trouble = state.trouble(now);
    // With a row for both, traffic stays in sight.
    let (second, third, fourth) = (row(area, 1), row(area, 2), row(area, 3));
    if let Some(stats) = stats {
        page.put(second, &traffic(&stats.traffic), page.style(Tone::Plain));
    }
    totals(state, third, page);
    match trouble {
        Some(trouble) => {
            let at = [fourth, second, first].into_iter().find(|row| !row.is_empty());
            let Some(at) = at else { return };
            page.put(at, &" ".repeat(usize::from(at.width)), Style::reset());
            page.put(at, &trouble, page.style(Tone::Bad));
        }
        None => course(state, fourth, page),
    }
}

/// What the range came to, as far as there is room, and the key that changes the range.
fn totals(state: &State, area: Rect, page: &mut Page<'_>) {
    if area.is_empty() {
        return;
    }
    let rest = page.put(area, &format!("r {} ", state.range.name()), page.style(Tone::Faint));
    let Some(traffic) = state.figures.traffic.told() else {
        page.put(rest, " asking control\u{2026}", page.style(Tone::Faint));
        return;
    };
    let mut line = String::new();
    for word in traffic.totals.iter().flat_map(Totals::words) {
        if line.chars().count() + 1 + word.chars().count() > usize::from(rest.width) {
            break;
        }
        line.push_str(&format!(" {word} "));
    }
    page.put(rest, &line, page.style(Tone::Plain));
}

/// The course of the traffic in one row.
fn course(state: &State, area: Rect, page: &mut Page<'_>) {
    const LABELS: usize = 20;
    let Some(traffic) = state.figures.traffic.told().filter(|_| !area.is_empty()) else { return };
    let width = usize::from(area.width).saturating_sub(LABELS);
    let (bars, most) = chart::requests(traffic, width);
    if bars.is_empty() {
        return;
    }
    let colour = if page.coloured { Style::new().fg(Color::Cyan) } else { Style::new() };
    let rest = page.put(area, "req/s ", page.style(Tone::Faint));
    let rest = page.put(rest, &bars, colour);
    page.put(rest, &format!(" peak {}", rate(most)), page.style(Tone::Faint));
}

fn draw_pane(state: &State, pane: Pane, area: Rect, page: &mut Page<'_>) {
    let focused = state.focus == pane;
    let listing = state.listing(pane);
    let rows = listing.as_ref().map_or(0, |listing| listing.rows.len());
    let shown = listing.as_ref().map_or(0, |listing| self::page(listing, area.height));
    let top = state.top(pane).min(rows.saturating_sub(shown));
    let title = listing.as_ref().map_or("", |listing| listing.title.as_str());
    title_of(pane, title, (top, shown.min(rows - top), rows), focused, row(area, 0), page);
    let Some(listing) = listing else {
        page.put(row(area, 1), "asking control\u{2026}", page.style(Tone::Faint));
        return;
    };
    let mut at = 1;
    if let Some(summary) = &listing.summary {
        let summary = summary.fitted(usize::from(area.width));
        page.put(row(area, at), &summary, page.style(Tone::Plain));
        at += 1;
    }
    if listing.rows.is_empty() {
        page.put(row(area, at), listing.empty, page.style(Tone::Faint));
        return;
    }
    let (head, lines) = listing.lines(usize::from(area.width), top..rows.min(top + shown));
    page.put(row(area, at), &head, page.style(Tone::Faint));
    for line in lines {
        at += 1;
        let mut rest = row(area, at);
        for (text, tone) in line {
            rest = page.put(rest, &text, page.style(tone));
        }
    }
}

/// `2 URLs ─ popular stored responses, by hits ─ 1-8 of 50 ─`, the focused one striking.
fn title_of(
    pane: Pane,
    title: &str,
    (top, shown, rows): (usize, usize, usize),
    focused: bool,
    area: Rect,
    page: &mut Page<'_>,
) {
    let name = format!("{} {}", pane.number() + 1, pane.name());
    let striking = match (focused, page.coloured) {
        (true, true) => Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD),
        (true, false) => Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
        (false, _) => Style::new().add_modifier(Modifier::BOLD),
    };
    let faint = page.style(Tone::Faint);
    page.put(area, &"\u{2500}".repeat(usize::from(area.width)), faint);
    let range = match shown < rows {
        true => format!(" {}-{} of {rows} ", top + 1, top + shown),
        false => String::new(),
    };
    let right = u16::try_from(range.len() + 1).unwrap_or(u16::MAX);
    let left = Rect { width: area.width.saturating_sub(right), ..area };
    let rest = page.put(left, &format!("{name} "), striking);
    if !title.is_empty() {
        page.put(rest, &format!("{title} "), faint);
    }
    page.put(Rect { x: left.right(), width: area.width - left.width, ..area }, &range, faint);
}

fn footer(state: &State, area: Rect, page: &mut Page<'_>) {
    let gap = if area.width < 90 { " " } else { "  " };
    let mut rest = area;
    for pane in Pane::ALL {
        let tone = if pane == state.focus && !state.help { Tone::Strong } else { Tone::Faint };
        let words = format!("{} {}{gap}", pane.number() + 1, pane.name());
        rest = page.put(rest, &words, page.style(tone));
    }
    let pause = if state.paused { "p resume" } else { "p pause" };
    let keys = ["? help", "q quit", "s sort", pause, "\u{2191}\u{2193} scroll"].join(gap);
    page.put(rest, &keys, page.style(Tone::Faint));
}

fn help(area: Rect, page: &mut Page<'_>) {
    const LINES: [(&str, &str); 19] = [
        ("1-5, Tab", "select nodes, URLs, misses, purges, certificates (TLS)"),
        ("s", "change the sort order of the selected pane"),
        ("\u{2191} \u{2193} PgUp PgDn", "scroll the selected pane (also k, j, Home, End)"),
        ("r, R", "change the range of the totals and of the course: 10 min to 30 d"),
        ("p", "pause or resume the updates"),
        ("?", "show or hide this help"),
        ("q, Esc, Ctrl-C", "quit"),
        ("REQ/S  HITS", "requests per second, and the share answered from the store"),
        ("P50  P99", "response time of half, and of 99 in 100, of the requests (ms)"),
        ("UP/S", "requests per second sent to parents or origins"),
        ("ERR/S", "5xx responses per second"),
        ("MEM", "how full the memory store is; a full store evicts"),
        ("DISK", "how full the disk store is, or how many of its directories are set aside"),
        ("LAG", "purges that the node has not applied yet"),
        ("TTL", "remaining TTL; negative if stale"),
        ("ON", "the node that stores it, or the number of such nodes"),
        ("NODES", "nodes that applied the purge, of those expected"),
        ("TOOK", "time until all nodes applied it, or until now"),
        ("", "Rates are averages over the last ten seconds."),
    ];
    for (at, (key, words)) in (0..).zip(LINES) {
        let line = row(area, at);
        let rest = page.put(line, &format!("{key:<16}"), page.style(Tone::Strong));
        page.put(rest, words, page.style(Tone::Plain));
    }
}
