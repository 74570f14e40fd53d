//! What the memory store evicts, and in which order; it knows keys and weights, not values.
//!
//! What is new is in a window. What leaves that stays if it was requested more often than all that it would displace
//! (W-TinyLFU, Einziger et al., 2017, and its form by bytes, 2021), and is in the main part then. Either is a queue in
//! which what was requested since its last turn is passed over (CLOCK): a hit sets a mark at most, and moves nothing.
//!
//! INVARIANT: after each [`Queues::settle`], what is held weighs no more than there is room for.

use super::Digest;

/// Hundredths of the room for what is new. Less finds less where popularity shifts, more finds less of what is
/// requested steadily: the table in ARCHITECTURE.md.
const WINDOW: u64 = 42;

/// What takes more than this part of the window is judged at once: it would displace too much that is new.
const LARGE: u64 = 4;

/// How many are passed over at a time, in either queue: nobody waits until a long one was gone through.
const PASSED: u32 = 16;

/// Nodes that are allocated at a time.
const CHUNK: usize = 1_024;

/// Where a key is in the order.
pub(super) type Place = u32;

/// No place.
const NONE: Place = Place::MAX;

/// What is known of requests.
pub(super) trait Requests {
    /// Whether there was one for this key since that was asked last.
    fn take_requested(&self, digest: Digest) -> bool;

    /// How many there were lately.
    fn frequency(&self, digest: Digest) -> u32;
}

/// See the module.
#[derive(Default)]
pub(super) struct Queues {
    nodes: Nodes,
    window: Queue,
    main: Queue,
}

#[derive(Clone, Copy)]
struct Node {
    digest: Digest,
    bytes: u64,
    before: Place,
    after: Place,
    is_new: bool,
}

/// Keys by their turn, in a list through the nodes.
struct Queue {
    first: Place,
    last: Place,
    bytes: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Self { first: NONE, last: NONE, bytes: 0 }
    }
}

impl Queues {
    /// Bytes of all.
    pub(super) fn bytes(&self) -> u64 {
        self.window.bytes + self.main.bytes
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.used
    }

    /// A key that is not there yet, of so many bytes, where there is so much room. Its place, unless it is judged at
    /// once, and refused. What is `gone` makes way for it.
    pub(super) fn enter(
        &mut self,
        digest: Digest,
        bytes: u64,
        room: u64,
        requests: &impl Requests,
        gone: &mut Vec<Digest>,
    ) -> Option<Place> {
        let place = self.nodes.add(Node { digest, bytes, before: NONE, after: NONE, is_new: true });
        if bytes <= window_of(room) / LARGE {
            self.window.push(place, &mut self.nodes);
            return Some(place);
        }
        let mut passes = PASSED;
        let of_main = room.saturating_sub(self.window.bytes);
        if self.judge(place, of_main, requests, &mut passes, gone) {
            return Some(place);
        }
        self.nodes.free(place);
        None
    }

    /// A key that is there takes so many bytes now.
    pub(super) fn weigh(&mut self, place: Place, bytes: u64) {
        let node = self.nodes.at(place);
        let before = std::mem::replace(&mut node.bytes, bytes);
        let queue = if node.is_new { &mut self.window } else { &mut self.main };
        queue.bytes = queue.bytes - before + bytes;
    }

    /// Removes a key.
    pub(super) fn remove(&mut self, place: Place) {
        let is_new = self.nodes.at(place).is_new;
        let queue = if is_new { &mut self.window } else { &mut self.main };
        queue.unlink(place, &mut self.nodes);
        self.nodes.free(place);
    }

    /// Evicts what there is no room for; adds it to what is `gone`.
    pub(super) fn settle(&mut self, room: u64, requests: &impl Requests, gone: &mut Vec<Digest>) {
        let (mut of_window, mut of_main) = (PASSED, PASSED);
        loop {
            if self.window.bytes > window_of(room) {
                let Some(place) = self.window.next(&mut self.nodes, requests, &mut of_window)
                else {
                    return;
                };
                let room = room - window_of(room);
                if !self.judge(place, room, requests, &mut of_main, gone) {
                    gone.push(self.nodes.free(place));
                }
            } else if self.bytes() > room {
                let Some(place) = self.main.next(&mut self.nodes, requests, &mut of_main) else {
                    return;
                };
                gone.push(self.nodes.free(place));
            } else {
                return;
            }
        }
    }

    /// Judges a key that is in no queue. It comes into the main part, which has so much room, if what has to make
    /// way for it was requested less, all together; whether it does.
    fn judge(
        &mut self,
        place: Place,
        room: u64,
        requests: &impl Requests,
        passes: &mut u32,
        gone: &mut Vec<Digest>,
    ) -> bool {
        let Node { digest, bytes, .. } = *self.nodes.at(place);
        let wanted = (self.main.bytes + bytes).saturating_sub(room);
        let frequency = requests.frequency(digest);
        let (mut freed, mut requested, mut victims) = (0, 0, Vec::new());
        let mut is_kept = bytes <= room;
        while is_kept && freed < wanted {
            let Some(victim) = self.main.next(&mut self.nodes, requests, passes) else {
                is_kept = false;
                break;
            };
            let Node { digest: of_victim, bytes, .. } = *self.nodes.at(victim);
            victims.push(victim);
            freed += bytes;
            requested += requests.frequency(of_victim);
            is_kept = requested < frequency;
        }
        for victim in victims.into_iter().rev() {
            match is_kept {
                true => gone.push(self.nodes.free(victim)),
                false => self.main.push_first(victim, &mut self.nodes),
            }
        }
        if is_kept {
            self.nodes.at(place).is_new = false;
            self.main.push(place, &mut self.nodes);
        }
        is_kept
    }
}

/// The room of the window.
fn window_of(room: u64) -> u64 {
    // Divided first: sizes may be near the largest number.
    room / 100 * WINDOW
}

impl Queue {
    /// Takes out whose turn it is. Those that were requested are passed over, as long as there are `passes`.
    fn next(
        &mut self,
        nodes: &mut Nodes,
        requests: &impl Requests,
        passes: &mut u32,
    ) -> Option<Place> {
        loop {
            let place = Some(self.first).filter(|place| *place != NONE)?;
            self.unlink(place, nodes);
            if *passes == 0 || !requests.take_requested(nodes.at(place).digest) {
                return Some(place);
            }
            *passes -= 1;
            self.push(place, nodes);
        }
    }

    /// As the last one.
    fn push(&mut self, place: Place, nodes: &mut Nodes) {
        let node = nodes.at(place);
        (node.before, node.after) = (self.last, NONE);
        self.bytes += node.bytes;
        match self.last {
            NONE => self.first = place,
            last => nodes.at(last).after = place,
        }
        self.last = place;
    }

    /// As the first one.
    fn push_first(&mut self, place: Place, nodes: &mut Nodes) {
        let node = nodes.at(place);
        (node.before, node.after) = (NONE, self.first);
        self.bytes += node.bytes;
        match self.first {
            NONE => self.last = place,
            first => nodes.at(first).before = place,
        }
        self.first = place;
    }

    fn unlink(&mut self, place: Place, nodes: &mut Nodes) {
        let Node { before, after, bytes, .. } = *nodes.at(place);
        self.bytes -= bytes;
        match before {
            NONE => self.first = after,
            before => nodes.at(before).after = after,
        }
        match after {
            NONE => self.last = before,
            after => nodes.at(after).before = before,
        }
    }
}

/// Nodes by place. They come in chunks, so that no long list is ever moved.
struct Nodes {
    chunks: Vec<Box<[Node]>>,
    /// The first of the places that are free; each names the next one.
    free: Place,
    used: usize,
}

impl Default for Nodes {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: NONE, used: 0 }
    }
}

impl Nodes {
    fn at(&mut self, place: Place) -> &mut Node {
        let place = place as usize;
        &mut self.chunks[place / CHUNK][place % CHUNK]
    }

    fn add(&mut self, node: Node) -> Place {
        if self.free == NONE {
            let begin = (self.chunks.len() * CHUNK) as Place;
            self.chunks.push(vec![node; CHUNK].into());
            (begin..begin + CHUNK as Place).rev().for_each(|place| self.link_free(place));
        }
        let place = self.free;
        self.free = self.at(place).after;
        *self.at(place) = node;
        self.used += 1;
        place
    }

    /// Frees a place; the key that was there.
    fn free(&mut self, place: Place) -> Digest {
        self.used -= 1;
        self.link_free(place);
        self.at(place).digest
    }

    fn link_free(&mut self, place: Place) {
        self.at(place).after = self.free;
        self.free = place;
    }
}

#[cfg(test)]
mod tests;
