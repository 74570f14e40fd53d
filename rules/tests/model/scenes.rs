//! The scenes that are explored: each has little of most things and enough of one.

use crate::scene::Kind::{Hard, Other, Soft, Tag};
use crate::scene::{Budget, Scene};

const REQUESTS: Budget = Budget::REQUESTS;
const TWO: Budget = Budget { requests: 2, ..REQUESTS };
const PLAIN: Scene = Scene::PLAIN;
/// An edge without parents.
const ALONE: Scene = Scene { parent: false, ..PLAIN };

/// Fills race purges, on an edge alone.
pub(crate) const FILLS: Scene = Scene {
    name: "fills",
    orders: &[Hard, Soft, Hard],
    budget: Budget { requests: 4, expiries: 1, ..REQUESTS },
    ..ALONE
};

/// Fills side by side.
pub(crate) const SIDE_BY_SIDE: Scene =
    Scene { name: "fills side by side", orders: &[Other, Hard], alone: true, ..ALONE };

/// Entries and lookups cut into their steps.
pub(crate) const STEPS: Scene = Scene {
    name: "steps",
    steps: true,
    budget: Budget { requests: 4, sweeps: 1, ..REQUESTS },
    ..ALONE
};

/// The same with a parent, and with validators that never change.
pub(crate) const STEPS_OF_TIERS: Scene = Scene {
    name: "steps of tiers",
    orders: &[Hard],
    steps: true,
    constant_validator: true,
    budget: Budget { expiries: 1, ..REQUESTS },
    ..PLAIN
};

/// Two edges and a parent; any of them may be behind.
pub(crate) const TIERS: Scene = Scene {
    name: "tiers",
    edges: 2,
    orders: &[Hard],
    budget: Budget { losses: 1, ..REQUESTS },
    ..PLAIN
};

/// A parent and an edge, through two purges.
pub(crate) const TWO_PURGES: Scene =
    Scene { name: "two purges", budget: Budget { expiries: 1, ..REQUESTS }, ..PLAIN };

/// Control crashes between any two steps of an order.
pub(crate) const CRASHES: Scene = Scene {
    name: "crashes of control",
    orders: &[Hard, Hard, Other],
    order_steps: true,
    budget: Budget { crashes: 2, ..TWO },
    ..ALONE
};

/// Control is restored from a backup that is behind.
pub(crate) const RESTORE: Scene = Scene {
    name: "restored control",
    orders: &[Other, Hard],
    budget: Budget { backups: 1, restores: 1, ..TWO },
    ..PLAIN
};

/// Control comes back with nothing.
pub(crate) const WIPE: Scene = Scene {
    name: "wiped control",
    orders: &[Hard, Hard],
    ordered: 1,
    budget: Budget { wipes: 1, ..TWO },
    ..PLAIN
};

/// The parent is far ahead of the edge, or the edge of the parent, when control is wiped.
pub(crate) const AHEAD: Scene = Scene {
    name: "wiped control, nodes far apart",
    orders: &[Other, Other, Hard],
    ordered: 2,
    budget: Budget { wipes: 1, ..TWO },
    ..PLAIN
};

/// Nodes die and start again with nothing.
pub(crate) const RESTARTS: Scene = Scene {
    name: "restarts",
    orders: &[Hard, Hard],
    budget: Budget { restarts: 1, ..TWO },
    ..PLAIN
};

/// A node whose store outlives it, while control is restored.
pub(crate) const PERSISTENT: Scene = Scene {
    name: "persistent store",
    orders: &[Hard, Hard],
    persistent: true,
    budget: Budget { restarts: 1, sweeps: 1, backups: 1, restores: 1, ..TWO },
    ..ALONE
};

/// The same, after it rejoined meanwhile.
pub(crate) const PERSISTENT_FORGOTTEN: Scene = Scene {
    name: "persistent store, forgotten node",
    orders: &[Hard],
    persistent: true,
    budget: Budget { restarts: 2, sweeps: 1, cuts: 1, forgets: 1, compactions: 1, ..TWO },
    ..ALONE
};

/// Nodes that join late, are forgotten, or too late for what was compacted.
pub(crate) const MEMBERS: Scene = Scene {
    name: "members",
    orders: &[Hard, Other],
    joined: false,
    budget: Budget { cuts: 1, forgets: 1, compactions: 1, ..REQUESTS },
    ..ALONE
};

/// A parent and an edge that join late.
pub(crate) const JOINS: Scene = Scene {
    name: "joins",
    orders: &[Hard],
    joined: false,
    budget: Budget { compactions: 1, ..TWO },
    ..PLAIN
};

/// Two processes of one name, of which one at a time is connected.
pub(crate) const TWINS: Scene = Scene {
    name: "twins",
    orders: &[Hard],
    edges: 2,
    twins: true,
    joined: false,
    budget: Budget { cuts: 2, ..REQUESTS },
    ..ALONE
};

/// Indexes that forget what was checked, or for lack of room.
pub(crate) const FORGETTING: Scene = Scene {
    name: "forgetting indexes",
    orders: &[Hard, Other],
    budget: Budget { sweeps: 1, overflows: 1, ..REQUESTS },
    ..PLAIN
};

/// The same where floors are of a kind, and the resource has a tag.
pub(crate) const FORGETTING_TAGS: Scene = Scene {
    name: "forgetting tags",
    orders: &[Tag, Hard],
    tagged: true,
    budget: Budget { overflows: 1, ..REQUESTS },
    ..PLAIN
};

/// The same where it has none: tags take nothing of it, forgotten or not.
pub(crate) const FORGETTING_UNTAGGED: Scene =
    Scene { name: "forgetting others' tags", tagged: false, ..FORGETTING_TAGS };

/// The origin's validators never change: only the rules about purges keep old bodies away.
pub(crate) const VALIDATORS: Scene = Scene {
    name: "constant validators",
    constant_validator: true,
    budget: Budget { expiries: 1, heads: 1, ..TWO },
    ..PLAIN
};

/// An edge that validates once its lease is over: it comes back to a backlog, applies it slowly,
/// or is kept busy by a stream of purges.
pub(crate) const LEASES: Scene = Scene {
    name: "leases",
    orders: &[Other, Hard, Soft],
    lease: true,
    budget: Budget { requests: 2, cuts: 1, beats: 2, leases: 2, ..REQUESTS },
    ..ALONE
};

/// The same with a parent that has a lease too.
pub(crate) const LEASES_OF_TIERS: Scene = Scene {
    name: "leases of tiers",
    orders: &[Hard],
    lease: true,
    budget: Budget { cuts: 2, beats: 1, leases: 1, ..REQUESTS },
    ..PLAIN
};

/// All that is explored each time.
pub(crate) const ALL: [Scene; 22] = [
    FILLS,
    SIDE_BY_SIDE,
    STEPS,
    STEPS_OF_TIERS,
    TIERS,
    TWO_PURGES,
    CRASHES,
    RESTORE,
    WIPE,
    AHEAD,
    RESTARTS,
    PERSISTENT,
    PERSISTENT_FORGOTTEN,
    MEMBERS,
    JOINS,
    TWINS,
    FORGETTING,
    FORGETTING_TAGS,
    FORGETTING_UNTAGGED,
    VALIDATORS,
    LEASES,
    LEASES_OF_TIERS,
];

/// The same scene with more of everything: minutes instead of seconds.
pub(crate) fn deeper(scene: Scene) -> Scene {
    let Budget { requests, restarts, cuts, expiries, .. } = scene.budget;
    let more = |count: u8| count + u8::from(count > 0);
    let budget = Budget {
        requests: requests + 1,
        restarts: more(restarts),
        cuts: more(cuts),
        expiries: more(expiries),
        ..scene.budget
    };
    Scene { budget, ..scene }
}
