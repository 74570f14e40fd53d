//! Requests of many URLs through nodes with stores of several sizes.

use weir_simulation::node::Stores;
use weir_simulation::sample::Sample;
use weir_simulation::survey::Survey;
use weir_simulation::topology::{Layout, Lengths, Outcome, Topology};
use weir_simulation::{Line, Request};

const MIB: u64 = 1 << 20;
const ALONE: Layout = Layout { edges: 1, parents: 0 };

/// A number whose bits all depend on all bits of this one.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^ (mixed >> 27)
}

/// Requests for so many URLs, of which those with small numbers come most often (Zipf's law, exponent 1), of
/// up to 16 KiB, one each second.
fn requests(count: u64, urls: u64) -> Vec<Request> {
    let request = |at: u64| {
        let share = mixed(at) as f64 / 2f64.powi(64);
        let url = ((urls as f64).powf(share) as u64).min(urls);
        let bytes = 1_000 + mixed(url ^ 0xb0d1) % 16_000;
        Request { url: mixed(url << 20), client: mixed(!at) % 10, at: Some(at), bytes }
    };
    (0..count).map(request).collect()
}

/// What the requests come to, with this sample of the URLs.
fn simulated(
    requests: &[Request],
    (layout, stores): (Layout, Stores),
    ttl: Option<u64>,
    sample: Sample,
) -> Outcome {
    let mut topology = Topology::new(layout, stores, ttl, sample).expect("the stores are large");
    let (mut survey, mut lengths) = (Survey::default(), Lengths::default());
    for request in requests {
        survey.add(Line::Request(*request));
        if sample.has(request.url) {
            topology.request(request, lengths.of(request));
        }
    }
    topology.outcome(&survey, sample)
}

fn of(memory: u64, disk: Option<u64>) -> Stores {
    Stores { memory: memory * MIB, disk: disk.map(|disk| disk * MIB) }
}

#[test]
fn more_memory_and_a_disk_have_more_hits_and_a_ttl_has_fewer() {
    let requests = requests(30_000, 10_000);
    let ratio =
        |stores, ttl| simulated(&requests, (ALONE, stores), ttl, Sample::ALL).hit_ratio.value;
    let (small, large) = (ratio(of(4, None), None), ratio(of(64, None), None));
    let with_disk = ratio(of(4, Some(128)), None);
    let short = ratio(of(64, None), Some(1_000));
    assert!(small + 0.1 < large, "{small} {large}");
    // All URLs fit on the disk, but the first request of each is not written.
    assert!(small + 0.1 < with_disk && with_disk < large, "{small} {with_disk} {large}");
    assert!(short + 0.1 < large, "{short} {large}");
}

#[test]
fn parents_spare_the_origin_what_one_edge_fetched() {
    let requests = requests(20_000, 5_000);
    let simulate = |edges, parents| {
        simulated(&requests, (Layout { edges, parents }, of(256, None)), None, Sample::ALL)
    };
    let (one, alone, tiers) = (simulate(1, 0), simulate(5, 0), simulate(5, 2));
    assert!(alone.origin_requests.value > 1.5 * one.origin_requests.value);
    assert_eq!(tiers.origin_requests.value, one.origin_requests.value);
    assert_eq!(tiers.parent_requests.value, alone.origin_requests.value);
    assert_eq!(tiers.edge_hit_ratio, alone.hit_ratio);
}

#[test]
fn a_sample_is_hardly_further_off_than_it_says() {
    let requests = requests(80_000, 50_000);
    let sample = Sample::of_rate(0.25);
    let (mut within, mut all) = (0, 0);
    for stores in [of(16, None), of(64, None), of(200, None), of(16, Some(200))] {
        let full = simulated(&requests, (ALONE, stores), None, Sample::ALL);
        let part = simulated(&requests, (ALONE, stores), None, sample);
        assert_eq!(full.hit_ratio.error, 0.0);
        for (full, part) in
            [(full.hit_ratio, part.hit_ratio), (full.byte_hit_ratio, part.byte_hit_ratio)]
        {
            let off = (full.value - part.value).abs();
            assert!(part.error > 0.0 && part.error < 0.03, "{stores:?}: {part:?}");
            assert!(off < 2.0 * part.error + 0.01, "{stores:?}: {full:?} and {part:?}");
            within += u32::from(off <= part.error);
            all += 1;
        }
    }
    assert!(within * 4 >= all * 3, "{within} of {all} within the error");
}
