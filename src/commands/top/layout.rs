//! What is where on the screen: one pane where it is small, two at 80x24, all four where there is
//! room.

use super::listing::Listing;
use super::panes::Pane;
use super::state::State;
use ratatui::layout::Rect;

/// From here on the nodes have another pane below them, and all panes are shown.
const ROWS_FOR_TWO: u16 = 17;
const ROWS_FOR_ALL: u16 = 38;

/// From here on what is popular and what is missed stand side by side.
const COLUMNS_FOR_TWO: u16 = 160;

/// Fewest rows of a pane that is not looked at: title, head, and some.
const FEWEST: u16 = 6;

/// What is where.
#[derive(Debug)]
pub(super) struct Areas {
    pub(super) header: Rect,
    pub(super) panes: Vec<(Pane, Rect)>,
    pub(super) footer: Rect,
}

impl Areas {
    pub(super) fn of(state: &State, screen: Rect) -> Self {
        let header = match screen.height {
            0..=3 => 0,
            4..=7 => 1,
            8..ROWS_FOR_TWO => 2,
            _ => 4,
        };
        let footer = u16::from(screen.height > 4);
        let (header, rest) = below(screen, header);
        let (body, footer) = below(rest, rest.height.saturating_sub(footer));
        Self { header, panes: panes(state, body, screen.height), footer }
    }
}

/// Rows of a listing in a pane of this height, below its title, its summary and its head.
pub(super) fn page(listing: &Listing, height: u16) -> usize {
    usize::from(height).saturating_sub(2 + usize::from(listing.summary.is_some()))
}

fn panes(state: &State, body: Rect, rows: u16) -> Vec<(Pane, Rect)> {
    if rows < ROWS_FOR_TWO {
        return vec![(state.focus, body)];
    }
    let nodes = state.listing(Pane::Nodes).map_or(0, |listing| listing.rows.len());
    let nodes = u16::try_from(nodes.max(1) + 2).unwrap_or(u16::MAX);
    if rows < ROWS_FOR_ALL {
        let most = match state.focus {
            Pane::Nodes => body.height.saturating_sub(FEWEST),
            _ => body.height / 2,
        };
        let (above, beneath) = below(body, nodes.min(most));
        return vec![(Pane::Nodes, above), (state.beside, beneath)];
    }
    let (above, rest) = below(body, nodes.min(body.height * 2 / 5));
    let mut panes = vec![(Pane::Nodes, above)];
    // Certificates change so seldom that they have a place only when they are looked at.
    let last = if state.beside == Pane::Certificates { Pane::Certificates } else { Pane::Purges };
    if body.width >= COLUMNS_FOR_TWO {
        let (two, purges) = below(rest, rest.height * 3 / 5);
        let (urls, misses) = beside(two);
        panes.extend([(Pane::Urls, urls), (Pane::Misses, misses), (last, purges)]);
    } else {
        let (urls, rest) = below(rest, rest.height / 3);
        let (misses, purges) = below(rest, rest.height / 2);
        panes.extend([(Pane::Urls, urls), (Pane::Misses, misses), (last, purges)]);
    }
    panes
}

/// The first `rows` of an area, and those below them.
fn below(area: Rect, rows: u16) -> (Rect, Rect) {
    let rows = rows.min(area.height);
    let rest = Rect { y: area.y + rows, height: area.height - rows, ..area };
    (Rect { height: rows, ..area }, rest)
}

/// Two halves with a gap between them.
fn beside(area: Rect) -> (Rect, Rect) {
    let half = area.width / 2;
    let right = Rect { x: area.x + half + 1, width: area.width - half - 1, ..area };
    (Rect { width: half - 1, ..area }, right)
}
