//! Each rule broken by itself, and where that must be found. Where two rules guard the same door,
//! both are broken; that either of them would do is held to as well.

use crate::scene::{Faults, Scene};
use crate::scenes::*;

const NONE: Faults = Faults::NONE;

/// What is broken, the scene in which the model must find a violation.
pub(crate) const FAULTS: [(&str, Scene, Faults); 38] = [
    ("a fetch stamped at its end", FILLS, Faults { stamp_at_end: true, ..NONE }),
    ("a parent's seq believed however high", AHEAD, Faults { stamp_uncut: true, ..NONE }),
    ("an edge's seq in a parent's store", AHEAD, Faults { lent_stamp: true, ..NONE }),
    ("HEAD raises a stamp", VALIDATORS, Faults { head_raises: true, ..NONE }),
    ("a higher stamp replaced by a lower", SIDE_BY_SIDE, Faults { insert_lower: true, ..NONE }),
    ("published before the index is raised", STEPS, Faults { publish_first: true, ..NONE }),
    ("acknowledged before published", STEPS, Faults { acknowledge_first: true, ..NONE }),
    ("applied seq read after the index", STEPS, Faults { read_applied_last: true, ..NONE }),
    ("claimed before the index is raised", STEPS_OF_TIERS, Faults { claim_ahead: true, ..NONE }),
    ("validated unjudged", STEPS_OF_TIERS, Faults { base_unjudged: true, ..NONE }),
    ("joined unchecked", FILLS, Faults { join_unchecked: true, ..NONE }),
    ("what was hard-purged is validated", VALIDATORS, Faults { validate_purged: true, ..NONE }),
    ("purges forgotten without a floor", FORGETTING, Faults { no_floor: true, ..NONE }),
    (
        "tags forgotten under a floor of another kind",
        FORGETTING_TAGS,
        Faults { floor_of_other_kind: true, ..NONE },
    ),
    ("no floor at a new log", WIPE, Faults { no_floor: true, ..NONE }),
    ("no floor at the first log", MEMBERS, Faults { no_first_floor: true, ..NONE }),
    (
        "a parent behind answers, and the edge does not check",
        TWO_PURGES,
        Faults { parent_answers_behind: true, edge_unchecking: true, ..NONE },
    ),
    ("a claim without mark", RESTORE, Faults { claim_without_mark: true, ..NONE }),
    ("a parent of another log answers", WIPE, Faults { answer_other_log: true, ..NONE }),
    ("a parent asked before catching up", RESTARTS, Faults { ask_too_early: true, ..NONE }),
    ("resumed in another log", WIPE, Faults { resume_any_log: true, ..NONE }),
    ("resumed whatever the mark", RESTORE, Faults { resume_any_mark: true, ..NONE }),
    ("resumed beyond the head", RESTORE, Faults { resume_any_head: true, ..NONE }),
    ("resumed by who was forgotten", MEMBERS, Faults { resume_any_member: true, ..NONE }),
    ("visible before the replay", PERSISTENT, Faults { visible_at_once: true, ..NONE }),
    ("only the checked mark kept", PERSISTENT, Faults { only_checked_mark: true, ..NONE }),
    ("no floor at a restart", PERSISTENT_FORGOTTEN, Faults { no_floor_at_restart: true, ..NONE }),
    ("completed without the absent", MEMBERS, Faults { complete_without_absent: true, ..NONE }),
    ("members not durable", CRASHES, Faults { forgetful_members: true, ..NONE }),
    ("membership by name", TWINS, Faults { member_by_name: true, ..NONE }),
    ("a lease renewed before the backlog", LEASES, Faults { renew_at_once: true, ..NONE }),
    ("a parent's lease likewise", LEASES_OF_TIERS, Faults { renew_at_once: true, ..NONE }),
    ("a lease renewed by an entry", LEASES, Faults { renew_by_entry: true, ..NONE }),
    ("renewed as of when it is reached", LEASES, Faults { renew_when_reached: true, ..NONE }),
    ("a head that is not the log's", LEASES, Faults { name_what_was_sent: true, ..NONE }),
    ("a stream that costs the lease", LEASES, Faults { last_head_only: true, ..NONE }),
    ("references not looked up", CRASHES, Faults { no_references: true, ..NONE }),
    ("answered before fsync", CRASHES, Faults { answer_before_fsync: true, ..NONE }),
];

/// Rules that another one backs up: broken by themselves they do no harm.
pub(crate) const GUARDED_TWICE: [(&str, Scene, Faults); 2] = [
    ("a parent behind answers", TIERS, Faults { parent_answers_behind: true, ..NONE }),
    ("an edge does not check", TIERS, Faults { edge_unchecking: true, ..NONE }),
];
