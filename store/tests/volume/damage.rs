//! Bits that flip, files that are cut off, blocks and segments that change places: a wrong byte is
//! never shown, what was removed stays removed, and the store always opens. `WEIR_HISTORIES=10` does ten
//! times as much.

use super::world::{Random, SEGMENT, World, number};

/// Damages a file; what was done.
fn damage(random: &mut Random, bytes: &mut Vec<u8>) -> String {
    let length = bytes.len() as u64;
    if length == 0 {
        return "nothing".into();
    }
    let block = [1, 16, 512, 4096, u64::from(SEGMENT)][random.below(5) as usize].min(length);
    let any = |random: &mut Random| (random.below(length / block) * block) as usize;
    let (from, to, block) = (any(random), any(random), block as usize);
    match random.below(5) {
        0 | 1 => {
            let bit = random.below(length * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
            format!("bit {bit} flipped")
        }
        2 => {
            bytes.truncate(from);
            format!("cut off at {from}")
        }
        3 => {
            let (one, other) = (bytes[from..from + block].to_vec(), bytes[to..to + block].to_vec());
            bytes[from..from + block].copy_from_slice(&other);
            bytes[to..to + block].copy_from_slice(&one);
            format!("{block} bytes at {from} and {to} swapped")
        }
        _ => {
            let copied = bytes[from..from + block].to_vec();
            bytes[to..to + block].copy_from_slice(&copied);
            format!("{block} bytes of {from} copied to {to}")
        }
    }
}

#[test]
fn damage_anywhere_costs_hits_and_nothing_else() {
    let (mut found, mut damages, mut emptied) = (0, 0, 0);
    for seed in 0..34 * number("WEIR_HISTORIES").unwrap_or(1) {
        let mut world = World::new(seed);
        (0..500).for_each(|_| world.step());
        world.volume.settle().unwrap();
        let mut random = Random::new(seed);
        for place in 0..30 {
            let disk = world.disk.copy();
            let name = ["segments", "segments", "segments", "journal", "witness"]
                [random.below(5) as usize];
            let mut what = String::new();
            disk.damage(name, |bytes| what = damage(&mut random, bytes));
            println!("seed {seed}, {place}: {name}: {what}");
            let mut damaged = world.on(disk);
            damaged.check_all();
            // It works as ever, also after the next start.
            (0..20).for_each(|_| damaged.step());
            damaged.crash(true);
            damaged.check_all();
            assert!(damaged.emptied <= 1, "what was emptied is whole");
            found += damaged.found;
            emptied += damaged.emptied;
            damages += 1;
        }
    }
    println!("{damages} damages, {found} responses found, {emptied} stores emptied");
    assert!(damages >= 1000);
    assert!(found > damages && emptied > 0);
}
