//! A body and its client, each at its own pace.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::failure::Abort;
use crate::place::PlaceReaders;
use std::future::poll_fn;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
/// A piece that is a part by itself.
const PIECE: usize = PART;

/// A body whose pieces a test sends.
struct Sent(mpsc::Receiver<Result<Piece, Abort>>, Option<Arc<PlaceReaders>>);

impl SourceBody for Sent {
    fn exact_length(&self) -> Option<u64> {
        None
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, Abort>>> {
        self.0.poll_recv(context)
    }

    fn reject(&self, _: &UpstreamError) {}

    fn place(&self) -> Option<Arc<PlaceReaders>> {
        self.1.clone()
    }
}

fn ahead(memory: u64, spool: Option<Arc<Spool>>) -> Arc<Ahead> {
    let whole = Arc::new(ByteBudget::new(1 << 30));
    let memory = Arc::new(ByteBudget::within(&whole, memory));
    Arc::new(Ahead { memory, spool, spare_time: Box::new([SpareTime::new()]) })
}

fn spool(name: &str, sensitive: bool) -> (PathBuf, Option<Arc<Spool>>) {
    let folder = std::env::temp_dir().join(format!("weir-ahead-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = Some(folder.clone());
    let (size, max_response) = (4 << 20, 4 << 20);
    let config = weir_config::Spool { path, size, max_response, sensitive };
    (folder, Spool::open(&config).unwrap())
}

fn rules(pieces: usize) -> AheadRules {
    AheadRules { memory: (pieces * PIECE) as u64, sensitive: false, counts_for: None, worker: 0 }
}

/// The pieces that were sent before the upstream had to wait.
async fn sent_until_full(sender: &mpsc::Sender<Result<Piece, Abort>>, most: usize) -> usize {
    for n in 0..most {
        let piece = numbered_piece(n);
        // One more waits in the channel, and one in the hands of the reading task.
        if timeout(Duration::from_millis(200), sender.send(piece)).await.is_err() {
            return n.saturating_sub(2);
        }
    }
    most
}

/// Sends so many pieces, each once there is room for it.
async fn sent_all(sender: &mpsc::Sender<Result<Piece, Abort>>, count: usize) {
    for n in 0..count {
        timeout(PATIENCE, sender.send(numbered_piece(n))).await.unwrap().unwrap();
    }
}

fn numbered_piece(n: usize) -> Result<Piece, Abort> {
    Ok(Piece::Data(vec![n as u8; PIECE].into()))
}

/// All that the client gets.
async fn rest(mut body: Box<dyn SourceBody>) -> (Vec<u8>, Result<(), Abort>) {
    let mut bytes = Vec::new();
    loop {
        match timeout(PATIENCE, poll_fn(|context| body.poll_next(context))).await.unwrap() {
            Some(Ok(Piece::Data(data))) => bytes.extend_from_slice(&data),
            Some(Ok(Piece::Trailers(_))) => {}
            Some(Err(abort)) => return (bytes, Err(abort)),
            None => return (bytes, Ok(())),
        }
    }
}

fn numbered(pieces: usize) -> Vec<u8> {
    (0..pieces).flat_map(|n| vec![n as u8; PIECE]).collect()
}

#[tokio::test]
async fn a_body_is_read_up_to_its_bound_whatever_its_client_does() {
    let ahead = ahead(1 << 20, None);
    let (sender, pieces) = mpsc::channel(1);
    let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules(5));
    // The first is the one that the client waits for.
    assert_eq!(sent_until_full(&sender, 100).await, 6);
    drop(sender);
    let (bytes, end) = rest(body).await;
    assert_eq!((bytes.len(), end), (8 * PIECE, Ok(())));
    assert_eq!(bytes, numbered(8));
    assert_eq!((ahead.memory.used(), ahead.memory.whole().used()), (0, 0));
}

#[tokio::test]
async fn all_bodies_together_are_bounded_and_each_goes_on() {
    let ahead = ahead(3 * PIECE as u64, None);
    let mut all = Vec::new();
    for expected in [4, 1, 1] {
        let (sender, pieces) = mpsc::channel(1);
        let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules(50));
        assert_eq!(sent_until_full(&sender, 100).await, expected);
        all.push((sender, body));
    }
    for (sender, body) in all {
        drop(sender);
        assert!(rest(body).await.1.is_ok());
    }
    assert_eq!((ahead.memory.used(), ahead.memory.whole().used()), (0, 0));
}

#[tokio::test]
async fn bodies_of_one_client_leave_room_to_those_of_others() {
    let ahead = ahead(16 * PIECE as u64, None);
    let client = |last| Some(Prefix::of([192, 0, 2, last].into()));
    let mut all = Vec::new();
    // 13 of 16 pieces are more than three quarters.
    for (last, most, expected) in [(1, 13, 14), (1, 50, 1), (2, 50, 4)] {
        let (sender, pieces) = mpsc::channel(1);
        let rules = AheadRules { counts_for: client(last), ..rules(most) };
        let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules);
        assert_eq!(sent_until_full(&sender, 100).await, expected);
        all.push((sender, body));
    }
    for (sender, body) in all {
        drop(sender);
        assert!(rest(body).await.1.is_ok());
    }
    assert_eq!((ahead.memory.used(), ahead.memory.whole().used()), (0, 0));
}

#[tokio::test]
async fn what_does_not_fit_into_memory_goes_to_a_file_and_comes_back_in_order() {
    let (folder, spool) = spool("file", false);
    let ahead = ahead(1 << 20, spool);
    let (sender, pieces) = mpsc::channel(1);
    let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules(2));
    sent_all(&sender, 100).await;
    sender.send(Ok(Piece::Trailers(HeaderMap::new()))).await.unwrap();
    drop(sender);
    assert!(ahead.spool.as_ref().unwrap().used() > 90 * PIECE as u64);
    assert_eq!(rest(body).await, (numbered(100), Ok(())));
    assert_eq!(ahead.spool.as_ref().unwrap().used(), 0);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn what_is_sensitive_stays_in_memory_unless_that_is_allowed() {
    for allowed in [false, true] {
        let (folder, spool) = spool(&format!("sensitive-{allowed}"), allowed);
        let ahead = ahead(1 << 20, spool);
        let (sender, pieces) = mpsc::channel(1);
        let rules = AheadRules { sensitive: true, ..rules(2) };
        let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules);
        match allowed {
            true => sent_all(&sender, 100).await,
            false => assert_eq!(sent_until_full(&sender, 100).await, 3),
        }
        drop(body);
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_goes_away_costs_nothing_but_the_files() {
    let (folder, spool) = spool("gone", false);
    std::fs::remove_dir_all(folder).unwrap();
    let ahead = ahead(1 << 20, spool);
    let (sender, pieces) = mpsc::channel(1);
    let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules(2));
    assert_eq!(sent_until_full(&sender, 100).await, 3);
    drop(sender);
    assert_eq!(rest(body).await, (numbered(5), Ok(())));
}

/// Pieces as they are read are often small parts of large buffers, or a byte each.
#[tokio::test]
async fn what_waits_takes_the_memory_that_it_is_counted_with() {
    let (folder, spool) = spool("sizes", false);
    let ahead = ahead(4 * PART as u64, spool);
    for size in [1, 100, PART - 1, PART + 1, 5 * PART + 7] {
        let (sender, pieces) = mpsc::channel(1);
        let mut body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules(2));
        let whole = numbered(20);
        let buffer = Bytes::from(whole.clone());
        for at in (0..whole.len()).step_by(size) {
            let piece = buffer.slice(at..whole.len().min(at + size));
            timeout(PATIENCE, sender.send(Ok(Piece::Data(piece)))).await.unwrap().unwrap();
        }
        drop(sender);
        // Read to its end, and all but the first part and the counted ones is in the file.
        let written = || ahead.spool.as_ref().unwrap().used();
        let most = (whole.len() - 3 * PART) as u64;
        timeout(PATIENCE, async {
            while written() < most {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(ahead.memory.used(), 2 * PART as u64, "{size}");
        let mut bytes = Vec::new();
        while let Some(piece) = body.next().await {
            let Ok(Piece::Data(data)) = piece else { panic!("no data") };
            assert!(data.len() <= PART, "{size}");
            assert!(!buffer.as_ptr_range().contains(&data.as_ptr()), "{size}: copied");
            bytes.extend_from_slice(&data);
        }
        assert_eq!(bytes, whole, "{size}");
        assert_eq!((ahead.memory.used(), written()), (0, 0));
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn nothing_follows_what_was_dropped_of_a_client_that_was_shed() {
    let (folder, spool) = spool("shed", false);
    let ahead = ahead(4 * PART as u64, spool);
    let shared = Arc::new(Shared::of(&ahead, rules(1)));
    let (mut one, mut file) = (Bytes::from(numbered(4)), BodyFile::None);
    shared.put(one.clone(), &mut file).await;
    PlaceReader::shed(&*shared);
    shared.put(one.clone(), &mut file).await;
    shared.push(Entry::Trailers(HeaderMap::new()));
    shared.put_in_memory(&mut one);
    assert!(shared.lock().entries.is_empty() && ahead.memory.used() == 0);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn little_is_at_hand_once_half_of_the_memory_is_taken() {
    let ahead = ahead(4 * PART as u64, None);
    let (sender, pieces) = mpsc::channel(1);
    let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules(3));
    assert_eq!(ahead.at_hand(), AT_HAND);
    sent_until_full(&sender, 100).await;
    assert_eq!(ahead.at_hand(), 1);
    drop(body);
    timeout(PATIENCE, sender.closed()).await.unwrap();
    assert_eq!(ahead.at_hand(), AT_HAND);
}

#[tokio::test]
async fn a_failure_comes_after_what_came_before_it() {
    let ahead = ahead(1 << 20, None);
    let (sender, pieces) = mpsc::channel(1);
    let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules(5));
    sender.send(Ok(Piece::Data(numbered(1).into()))).await.unwrap();
    sender.send(Err(Abort::Length)).await.unwrap();
    assert_eq!(rest(body).await, (numbered(1), Err(Abort::Length)));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_reading() {
    let ahead = ahead(1 << 20, None);
    let (sender, pieces) = mpsc::channel(1);
    let body = AheadBody::of(Box::new(Sent(pieces, None)), &ahead, || rules(5));
    sent_until_full(&sender, 100).await;
    drop(body);
    timeout(PATIENCE, sender.closed()).await.unwrap();
    assert_eq!((ahead.memory.used(), ahead.memory.whole().used()), (0, 0));
}

#[tokio::test]
async fn a_slow_client_is_shed_and_told_so_and_one_that_is_up_to_date_is_not() {
    let ahead = ahead(1 << 20, None);
    let readers = Arc::new(PlaceReaders::default());
    let start = || {
        let (sender, pieces) = mpsc::channel(1);
        let body = Sent(pieces, Some(Arc::clone(&readers)));
        (sender, AheadBody::of(Box::new(body), &ahead, || rules(5)))
    };
    let (slow, body) = start();
    let (_waits, mut other) = start();
    sent_until_full(&slow, 100).await;
    // The other client waits for its upstream.
    assert!(timeout(Duration::from_millis(50), other.next()).await.is_err());
    assert!(!readers.shed_slowest(8192, Instant::now()), "too early");
    let later = Instant::now() + Duration::from_secs(31);
    assert!(readers.shed_slowest(8192, later));
    // Its upstream is free whether or not the client ever reads.
    timeout(PATIENCE, slow.closed()).await.unwrap();
    assert_eq!(rest(body).await, (vec![], Err(Abort::TooSlow)));
    assert!(!readers.shed_slowest(8192, later + Duration::from_secs(1)));
}

/// A body that always has one more piece, and counts those that were read.
struct Endless(Arc<AtomicUsize>);

impl SourceBody for Endless {
    fn exact_length(&self) -> Option<u64> {
        None
    }

    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Piece, Abort>>> {
        Poll::Ready(Some(numbered_piece(self.0.fetch_add(1, Ordering::Relaxed))))
    }

    fn reject(&self, _: &UpstreamError) {}
}

#[tokio::test]
async fn what_clients_do_not_wait_for_is_read_a_piece_at_a_time() {
    const BODIES: usize = 50;
    let ahead = ahead(1 << 30, None);
    let read = Arc::new(AtomicUsize::new(0));
    let body = || AheadBody::of(Box::new(Endless(Arc::clone(&read))), &ahead, || rules(1000));
    let all: Vec<_> = (0..BODIES).map(|_| body()).collect();
    // At first each client gets something at hand.
    tokio::task::yield_now().await;
    let at_hand = read.load(Ordering::Relaxed);
    let each = AT_HAND as usize / PIECE;
    assert!((BODIES..=BODIES * (each + 2)).contains(&at_hand), "{at_hand} pieces");
    for _ in 0..200 {
        let before = read.load(Ordering::Relaxed);
        // What else the worker has to do is done between two of them.
        tokio::task::yield_now().await;
        let pieces = read.load(Ordering::Relaxed) - before;
        assert!(pieces <= 2, "{pieces} pieces");
    }
    assert!(read.load(Ordering::Relaxed) > at_hand + 100, "they have their turns");
    drop(all);
}
