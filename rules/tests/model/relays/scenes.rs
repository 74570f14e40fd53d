//! The scenes with relays that are explored, and each rule broken by itself.

use super::{Budget, Faults, Scene};

const LITTLE: Budget = Budget {
    purges: 2,
    attaches: 2,
    moves: 0,
    cuts: 0,
    restarts: 0,
    backups: 0,
    restores: 0,
    control_backups: 0,
    control_restores: 0,
};

const NONE: Faults = Faults {
    relay_acknowledges_first: false,
    attachments_outlive_relay: false,
    links_outlive_connection: false,
    counted_at_relay_before: false,
    link_begins_late: false,
    received_counts: false,
    visible_at_once: false,
};

const PLAIN: Scene =
    Scene { name: "relays", relays: 1, edges: 2, budget: LITTLE, edges_die: false, faults: NONE };

/// Edges come to a relay, and one goes to control.
const MOVES: Scene =
    Scene { name: "edges that move", budget: Budget { purges: 1, moves: 1, ..LITTLE }, ..PLAIN };

/// An edge that moves to control and back, through two purges.
const BACK: Scene = Scene {
    name: "an edge that moves and comes back",
    edges: 1,
    budget: Budget { moves: 1, ..LITTLE },
    ..PLAIN
};

/// The relay loses control, or dies.
const CUTS: Scene = Scene {
    name: "relays that are cut off or die",
    edges: 1,
    budget: Budget { cuts: 1, restarts: 1, ..LITTLE },
    ..PLAIN
};

/// The relay starts from a backup, with two edges.
const RESTORED: Scene = Scene {
    name: "a relay from a backup",
    budget: Budget { purges: 1, backups: 1, restores: 1, ..LITTLE },
    ..PLAIN
};

/// The same with one edge, that comes back, and two purges.
const RESTORED_BACK: Scene = Scene {
    name: "a relay from a backup, to which its edge comes back",
    edges: 1,
    budget: Budget { backups: 1, restores: 1, ..LITTLE },
    ..PLAIN
};

/// An edge behind a relay starts from a backup, or the relay does.
const RESTORED_EDGE: Scene = Scene {
    name: "an edge from a backup",
    edges: 1,
    edges_die: true,
    budget: Budget { attaches: 1, backups: 1, restores: 1, ..LITTLE },
    ..PLAIN
};

/// Control starts from a backup under a relay and an edge.
const RESTORED_CONTROL: Scene = Scene {
    name: "relays, and control from a backup",
    edges: 1,
    budget: Budget { attaches: 1, control_backups: 1, control_restores: 1, ..LITTLE },
    ..PLAIN
};

/// Two relays, between which an edge moves.
const TWO_RELAYS: Scene = Scene {
    name: "two relays",
    relays: 2,
    edges: 1,
    budget: Budget { purges: 1, moves: 1, ..LITTLE },
    ..PLAIN
};

/// All that is explored each time.
pub(crate) const ALL: [Scene; 8] =
    [MOVES, BACK, CUTS, RESTORED, RESTORED_BACK, RESTORED_EDGE, RESTORED_CONTROL, TWO_RELAYS];

/// What is broken, and the scene in which the model must find a violation.
pub(crate) const FAULTS: [(&str, Scene, Faults); 7] = [
    (
        "a relay acknowledges before its edges do",
        MOVES,
        Faults { relay_acknowledges_first: true, ..NONE },
    ),
    (
        "an attachment outlives the restore of its relay",
        RESTORED,
        Faults { attachments_outlive_relay: true, ..NONE },
    ),
    (
        "a link outlives its relay's connection to control",
        RESTORED_CONTROL,
        Faults { links_outlive_connection: true, ..NONE },
    ),
    (
        "an edge counted through its relay of before",
        MOVES,
        Faults { counted_at_relay_before: true, ..NONE },
    ),
    ("a link begins after control was asked", MOVES, Faults { link_begins_late: true, ..NONE }),
    ("what was received counts as applied", MOVES, Faults { received_counts: true, ..NONE }),
    ("a backup is seen at once", RESTORED, Faults { visible_at_once: true, ..NONE }),
];
