//! A scene: which part of the world is explored, how much may happen in it, and which rules are
//! broken.

/// What an order purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Hard,
    Soft,
    /// A tag, hard: it takes the resource where that has a tag.
    Tag,
    /// Something else: the resource of the model stays as it is.
    Other,
}

impl Kind {
    /// What it does to the resource.
    pub(crate) fn done(self, scene: &Scene) -> Kind {
        match self {
            Self::Tag if scene.tagged => Self::Hard,
            Self::Tag => Self::Other,
            kind => kind,
        }
    }
}

/// How often each thing may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// Client requests, over all edges.
    pub(crate) requests: u8,
    /// Crashes of control.
    pub(crate) crashes: u8,
    pub(crate) backups: u8,
    /// Starts of control from the backup.
    pub(crate) restores: u8,
    /// Starts of control with nothing.
    pub(crate) wipes: u8,
    pub(crate) compactions: u8,
    /// Sessions that break.
    pub(crate) cuts: u8,
    /// Nodes that control forgets.
    pub(crate) forgets: u8,
    /// Crashes of nodes, each with its restart.
    pub(crate) restarts: u8,
    /// Lifetimes that end.
    pub(crate) expiries: u8,
    /// Walks over a store, after which the index forgets.
    pub(crate) sweeps: u8,
    /// Indexes that are full.
    pub(crate) overflows: u8,
    /// HEAD requests.
    pub(crate) heads: u8,
    /// Messages lost between nodes.
    pub(crate) losses: u8,
    /// Heartbeats of control, over all nodes.
    pub(crate) beats: u8,
    /// Leases that pass.
    pub(crate) leases: u8,
}

impl Budget {
    /// Some requests, and nothing else.
    pub(crate) const REQUESTS: Self = Self {
        requests: 3,
        crashes: 0,
        backups: 0,
        restores: 0,
        wipes: 0,
        compactions: 0,
        cuts: 0,
        forgets: 0,
        restarts: 0,
        expiries: 0,
        sweeps: 0,
        overflows: 0,
        heads: 0,
        losses: 0,
        beats: 0,
        leases: 0,
    };
}

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    /// What may be ordered, in this order.
    pub(crate) orders: &'static [Kind],
    /// So many of them were published before it begins.
    pub(crate) ordered: u8,
    pub(crate) budget: Budget,
    pub(crate) parent: bool,
    pub(crate) edges: usize,
    /// All nodes are there from the beginning.
    pub(crate) joined: bool,
    /// An order is placed, appended, made durable and published in steps, between which anything
    /// may happen.
    pub(crate) order_steps: bool,
    /// Entries and lookups go in steps, between which anything may happen.
    pub(crate) steps: bool,
    /// The stores outlive their processes.
    pub(crate) persistent: bool,
    /// The origin's validators never change, whatever its content does.
    pub(crate) constant_validator: bool,
    /// Requests may also decline to join a running fill.
    pub(crate) alone: bool,
    /// Both edges are processes of one name.
    pub(crate) twins: bool,
    /// The resource has a tag.
    pub(crate) tagged: bool,
    /// Nodes have a lease, and validate what is stored once it is over.
    pub(crate) lease: bool,
    pub(crate) faults: Faults,
}

impl Scene {
    /// A parent and an edge that are there from the beginning, and whole steps.
    pub(crate) const PLAIN: Self = Self {
        name: "plain",
        orders: &[Kind::Hard, Kind::Soft],
        ordered: 0,
        budget: Budget::REQUESTS,
        parent: true,
        edges: 1,
        joined: true,
        order_steps: false,
        steps: false,
        persistent: false,
        constant_validator: false,
        alone: false,
        twins: false,
        tagged: false,
        lease: false,
        faults: Faults::NONE,
    };

    /// The name, as a number, that control knows a node by.
    pub(crate) fn name_of(&self, node: usize) -> usize {
        if self.twins && node == 2 { 1 } else { node }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = usize> + use<> {
        usize::from(!self.parent)..=self.edges
    }

    pub(crate) fn edges(&self) -> impl Iterator<Item = usize> + use<> {
        1..=self.edges
    }
}

/// The rules that are broken; none by default.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// I2: a fetch gets the seq that was applied when it ended.
    pub(crate) stamp_at_end: bool,
    /// I2: an edge believes a parent's seq, however high.
    pub(crate) stamp_uncut: bool,
    /// I2: what a parent fetches for an edge that is ahead gets the edge's seq in its own store.
    pub(crate) lent_stamp: bool,
    /// I2: HEAD raises the stamp of what is stored.
    pub(crate) head_raises: bool,
    /// I2: a response takes the place of one with a higher stamp.
    pub(crate) insert_lower: bool,
    /// The applied seq is published before the index is raised.
    pub(crate) publish_first: bool,
    /// A node acknowledges before it publishes.
    pub(crate) acknowledge_first: bool,
    /// A lookup reads the applied seq after it asked the index.
    pub(crate) read_applied_last: bool,
    /// A request joins a running fill and gets what it brings, unchecked.
    pub(crate) join_unchecked: bool,
    /// What was hard-purged is validated.
    pub(crate) validate_purged: bool,
    /// The index forgets without a floor.
    pub(crate) no_floor: bool,
    /// The index forgets tags under a floor over what has none.
    pub(crate) floor_of_other_kind: bool,
    /// The first welcome lets stand what was fetched before.
    pub(crate) no_first_floor: bool,
    /// I3: a parent that is behind answers from its store.
    pub(crate) parent_answers_behind: bool,
    /// I3: an edge takes a parent's response without any check.
    pub(crate) edge_unchecking: bool,
    /// I3: claims are compared by log id and seq alone.
    pub(crate) claim_without_mark: bool,
    /// I3: a parent of another log answers.
    pub(crate) answer_other_log: bool,
    /// I3: an edge claims what its index does not hold yet.
    pub(crate) claim_ahead: bool,
    /// What is validated was judged before the stamp was taken.
    pub(crate) base_unjudged: bool,
    /// A node that has not caught up asks parents.
    pub(crate) ask_too_early: bool,
    /// I4: another log is taken for the same.
    pub(crate) resume_any_log: bool,
    /// I4: marks are not compared.
    pub(crate) resume_any_mark: bool,
    /// I4: a log that is shorter than what was applied is not noticed.
    pub(crate) resume_any_head: bool,
    /// I5: a forgotten node keeps what it has.
    pub(crate) resume_any_member: bool,
    /// I4: what was stored is visible right after a restart.
    pub(crate) visible_at_once: bool,
    /// I4: only the checked mark outlives a restart, not what was applied.
    pub(crate) only_checked_mark: bool,
    /// I4: a restart does not raise the floor to the log's base.
    pub(crate) no_floor_at_restart: bool,
    /// I5: a purge is completed without the nodes that are away.
    pub(crate) complete_without_absent: bool,
    /// I5: control's list of nodes is not durable.
    pub(crate) forgetful_members: bool,
    /// I5: a membership belongs to the name, not to the process.
    pub(crate) member_by_name: bool,
    /// I5: a welcome or heartbeat renews the lease, whatever is applied.
    pub(crate) renew_at_once: bool,
    /// I5: an entry renews the lease.
    pub(crate) renew_by_entry: bool,
    /// I5: the lease is renewed as of when a head was reached, not of when it was named.
    pub(crate) renew_when_reached: bool,
    /// I5: control names the last entry that the node has, not the log's head.
    pub(crate) name_what_was_sent: bool,
    /// I5: only the last head that was named counts.
    pub(crate) last_head_only: bool,
    /// I6: published and answered before fsync.
    pub(crate) answer_before_fsync: bool,
    /// I6: references are not looked up.
    pub(crate) no_references: bool,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        stamp_at_end: false,
        stamp_uncut: false,
        lent_stamp: false,
        head_raises: false,
        insert_lower: false,
        publish_first: false,
        acknowledge_first: false,
        read_applied_last: false,
        join_unchecked: false,
        validate_purged: false,
        no_floor: false,
        floor_of_other_kind: false,
        no_first_floor: false,
        parent_answers_behind: false,
        edge_unchecking: false,
        claim_without_mark: false,
        answer_other_log: false,
        claim_ahead: false,
        base_unjudged: false,
        ask_too_early: false,
        resume_any_log: false,
        resume_any_mark: false,
        resume_any_head: false,
        resume_any_member: false,
        visible_at_once: false,
        only_checked_mark: false,
        no_floor_at_restart: false,
        complete_without_absent: false,
        forgetful_members: false,
        member_by_name: false,
        renew_at_once: false,
        renew_by_entry: false,
        renew_when_reached: false,
        name_what_was_sent: false,
        last_head_only: false,
        answer_before_fsync: false,
        no_references: false,
    };
}
