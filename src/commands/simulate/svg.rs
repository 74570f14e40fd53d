//! The hit ratio over the size of memory, with a curve for each disk, as SVG.

use std::fmt::Write;
use weir_config::units::format_size;
use weir_simulation::topology::Outcome;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 160.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 56.0;
/// Colours that are told apart with any sight, in turn.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The curves of the outcomes, in which those of a disk follow each other, the smallest memory first.
pub(super) fn curves(outcomes: &[Outcome]) -> String {
    let sizes: Vec<_> = outcomes.iter().map(|outcome| outcome.stores.memory as f64).collect();
    let least = sizes.iter().copied().fold(f64::INFINITY, f64::min).log2();
    let most = sizes.iter().copied().fold(0.0, f64::max).log2();
    // A single size is in the middle.
    let (least, most) = if most > least { (least, most) } else { (least - 1.0, most + 1.0) };
    let x = |memory: f64| LEFT + (memory.log2() - least) / (most - least) * (WIDTH - LEFT - RIGHT);
    let y = |ratio: f64| HEIGHT - BOTTOM - ratio * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Hit ratio by size of memory</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    // Writing to a String cannot fail.
    for tenth in (0..=10).step_by(2) {
        let (ratio, at) = (f64::from(tenth) / 10.0, y(f64::from(tenth) / 10.0));
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            at + 4.0,
            ratio * 100.0
        );
    }
    let mut shown: Vec<u64> = outcomes.iter().map(|outcome| outcome.stores.memory).collect();
    shown.sort_unstable();
    shown.dedup();
    for memory in shown {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(memory as f64),
            HEIGHT - BOTTOM + 20.0,
            format_size(memory)
        );
    }
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">memory of each node</text>",
        (LEFT + WIDTH - RIGHT) / 2.0,
        HEIGHT - 12.0
    );
    let by_disk = outcomes.chunk_by(|a, b| a.stores.disk == b.stores.disk);
    for (number, (of_disk, colour)) in by_disk.zip(COLOURS.iter().cycle()).enumerate() {
        let mut points = String::new();
        for outcome in of_disk {
            let (x, ratio) = (x(outcome.stores.memory as f64), outcome.hit_ratio);
            let _ = write!(points, "{x:.1},{:.1} ", y(ratio.value));
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                y(ratio.value)
            );
            if ratio.error > 0.0 {
                let _ = writeln!(
                    svg,
                    "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
                    y((ratio.value - ratio.error).max(0.0)),
                    y((ratio.value + ratio.error).min(1.0))
                );
            }
        }
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.trim_end()
        );
        let disk = of_disk[0].stores.disk;
        let name = disk.map_or("no disk".to_owned(), |disk| format!("disk {}", format_size(disk)));
        let at = TOP + 16.0 * number as f64;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\">{name}</text>",
            WIDTH - RIGHT + 16.0
        );
    }
    svg.push_str("</svg>\n");
    svg
}
