//! A soak: a mixed load with faults on control, a parent and an edge as processes of their own, for
//! minutes. Whether every body is right, whether nothing fails but what a fault explains, and whether
//! the processes end with the memory, descriptors and threads that they had once they were warm.

mod figures;
mod load;
mod relay;

use crate::Error;
use crate::check::Checks;
use crate::client;
use crate::origin::OriginSim;
use crate::program::{Control, Folder, Programs, Weir};
use clap::Args;
use figures::Figures;
use load::{Counts, Load};
use relay::Relay;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// The least time that shows anything, at whatever scale.
const LEAST: Duration = Duration::from_secs(40);
/// How often the processes are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How often the nodes lose their connections to control.
const CUT: Duration = Duration::from_secs(3);
/// How long the nodes may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// A kept connection to the origin is closed after at most so long without a request.
const IDLE: Duration = Duration::from_millis(20);

#[derive(Args, Debug)]
pub(crate) struct Soak {
    /// How long, at full scale
    #[arg(long, default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    match minutes > 0.0 && minutes <= 10_000.0 {
        true => Ok(minutes),
        false => Err("not above 0 and at most 10000".into()),
    }
}

impl Soak {
    pub(crate) async fn run(
        &self,
        programs: &Programs,
        scale: f64,
        checks: &mut Checks,
    ) -> Result<(), Error> {
        let time = Duration::from_secs_f64(self.minutes * 60.0 * scale).max(LEAST);
        println!(
            "soak: {:.0} s of load with faults on control, a parent and an edge",
            time.as_secs_f64()
        );
        let origin = OriginSim::scripted(programs, &load::script()).await?;
        // Fetches go over connections that are closed at random while nothing is asked on them.
        let to_origin = Relay::to(origin.at, Some(IDLE)).await?;
        let folder = Folder::new("soak")?;
        let text = format!(
            "[control]\ndata = {:?}\nrate = 100000\nretention = 1000\n[log]\nlevel = \"error\"\n",
            folder.path().join("log")
        );
        let control = Control::configured(programs, &folder.file("control.toml", &text)?)?;
        let to_control = Relay::to(control.at, None).await?;
        let node = |name: &str, keys: &str| {
            let spool = folder.path().join(format!("{name}-spool"));
            let text = format!(
                "[node]\nname = \"{name}\"\n{keys}\n[control]\nurl = \"http://{}\"\n\
                 [memory]\nsize = \"32MiB\"\n[limits]\nread_ahead = \"64KiB\"\n\
                 [spool]\npath = {spool:?}\nsize = \"1GiB\"\n[log]\nlevel = \"error\"\n\
                 [[site]]\nid = \"site\"\norigins = [\"http://{}\"]\n",
                to_control.at, to_origin.at
            );
            Weir::configured(programs, &folder.file(&format!("{name}.toml"), &text)?)
        };
        let parent = node("parent", "tier = \"parent\"")?;
        let edge = node("edge", &format!("[parents]\nurls = [\"http://{}\"]", parent.listen))?;
        for weir in [&parent, &edge] {
            until_ready(weir).await?;
        }

        let mut figures =
            Figures::of([("control", control.id()), ("parent", parent.id()), ("edge", edge.id())]);
        let counts = Arc::<Counts>::default();
        let load = Load::begin(edge.listen, control.at, origin.at, &counts);
        let begin = Instant::now();
        let mut cut = begin + CUT;
        while begin.elapsed() < time {
            tokio::time::sleep(LOOK).await;
            figures.look(begin.elapsed())?;
            if Instant::now() >= cut {
                to_control.cut();
                cut += CUT;
            }
        }
        drop(load);
        self::judge(&counts, to_origin.closed(), to_control.closed(), checks);
        figures.judge(time, checks);
        Ok(())
    }
}

async fn until_ready(weir: &Weir) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    loop {
        match client::once(weir.admin, "GET", "/readyz").await {
            Ok(answer) if answer.status == 200 => return Ok(()),
            _ if Instant::now() > end => return Err("a node does not become ready".into()),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// Whether all went as it should, and whether there was what it is about.
fn judge(counts: &Counts, closed: u64, cut: u64, checks: &mut Checks) {
    let of = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let why = counts.why();
    let mut none = |name: &str, count: u64, among: String| {
        let why = why.get(name).map(|why| format!(", the first: {why}")).unwrap_or_default();
        checks.check(
            &format!("soak: {name}"),
            count == 0,
            format!("{count} of {among}{why}"),
            "none",
        );
    };
    let answers = of(&counts.answers);
    none(load::WRONG, of(&counts.wrong), format!("{} bodies", of(&counts.bodies)));
    none(load::UNEXPLAINED, of(&counts.unexplained), format!("{answers} answers"));
    none(load::PURGES, of(&counts.purges_failed), format!("{} purges", of(&counts.purges)));
    let broken = of(&counts.broken);
    let faults = of(&counts.faults);
    checks.note("soak: answers that a fault broke", format!("{broken}, of {faults} faults"));
    for (name, count) in [
        ("answers", answers),
        ("faults of the origin", faults),
        ("purges", of(&counts.purges)),
        ("responses that slow clients have read to their end", of(&counts.slow)),
        ("responses that slow clients have left", of(&counts.left)),
        ("kept connections to the origin that were closed", closed),
        ("connections to control that were cut", cut),
    ] {
        checks.check(&format!("soak: {name}"), count > 0, count, "some");
    }
}
