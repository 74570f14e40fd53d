//! Readers of one fill at different places, once only a window of it is kept.

use super::*;
use std::task::Context;

const WINDOW: usize = 64 * 1024;
const PIECE: usize = 1024;

/// A fill that keeps a window, and two readers at its beginning.
fn with_two_readers() -> (Arc<Fill>, Reader, Reader) {
    let fill = Fill::new(Purpose::default(), WINDOW);
    let readers = (fill.join().expect("a place"), fill.join().expect("a place"));
    fill.let_go();
    (fill, readers.0, readers.1)
}

fn push(fill: &Fill) {
    fill.push(Bytes::from(vec![0; PIECE]), true);
}

/// Pushes while there is room.
fn fill_up(fill: &Fill) {
    let mut context = Context::from_waker(Waker::noop());
    while Box::pin(fill.room(64 * 1024)).as_mut().poll(&mut context).is_ready() {
        push(fill);
    }
}

/// Reads what is there; how it went.
fn read_up(reader: &mut Reader) -> Result<(), Fault> {
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(read)) = reader.poll_read(&mut context, None) {
        read?;
    }
    Ok(())
}

#[test]
fn the_writer_leaves_room_for_a_reader_that_is_a_little_slower() {
    let (fill, mut ahead, mut behind) = with_two_readers();
    for _ in 0..WINDOW / PIECE / 2 {
        push(&fill);
    }
    assert_eq!(read_up(&mut ahead), Ok(()));
    fill_up(&fill);
    assert_eq!(read_up(&mut behind), Ok(()), "half a window behind is within it");
}

#[test]
fn a_reader_beyond_the_window_falls_out_and_holds_nobody_up() {
    let (fill, mut ahead, mut behind) = with_two_readers();
    for _ in 0..3 * WINDOW / PIECE {
        push(&fill);
        assert_eq!(read_up(&mut ahead), Ok(()));
    }
    assert_eq!(read_up(&mut behind), Err(Fault::FellOut));
}

#[test]
fn a_sole_reader_holds_the_writer_up_and_never_falls_out() {
    let (fill, ahead, mut sole) = with_two_readers();
    drop(ahead);
    for _ in 0..5 {
        let read = fill.arrived();
        fill_up(&fill);
        assert!(fill.arrived() - read <= WINDOW as u64);
        assert_eq!(read_up(&mut sole), Ok(()));
    }
    assert!(fill.arrived() > WINDOW as u64, "it went on as it was read");
}

#[test]
fn tiny_pieces_are_settled_in_time_that_is_linear_in_their_number() {
    let fill = Fill::new(Purpose::default(), WINDOW);
    let start = std::time::Instant::now();
    for _ in 0..2 * SLICE + 3 {
        fill.push(Bytes::from_static(b"a"), true);
    }
    // A scan of the pieces at each push takes minutes.
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    let lengths: Vec<_> = fill.slices().iter().map(|slice| slice.bytes.len()).collect();
    assert_eq!(lengths, [SLICE, SLICE, 3]);
}

#[test]
fn a_body_that_is_let_go_keeps_its_count_of_pieces() {
    let (fill, mut first, second) = with_two_readers();
    drop(second);
    for _ in 0..3 {
        push(&fill);
        assert_eq!(read_up(&mut first), Ok(()));
    }
    push(&fill);
    assert_eq!(fill.slices().iter().map(|slice| slice.bytes.len()).sum::<usize>(), PIECE);
}
