//! Which processors run what.

use crate::Error;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;

/// Two of the processors that this program may use.
///
/// # Errors
/// It may use one only.
pub(crate) fn two() -> Result<[usize; 2], Error> {
    let ours = sched_getaffinity(None)?;
    let mut ours = (0..CpuSet::MAX_CPU).filter(|number| ours.is_set(*number));
    match (ours.next(), ours.next()) {
        (Some(first), Some(second)) => Ok([first, second]),
        _ => Err("this needs two processors".into()),
    }
}

/// Has all threads that a process has now run on one processor.
pub(crate) fn pin(process: u32, processor: usize) -> Result<(), Error> {
    let mut only = CpuSet::new();
    only.set(processor);
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let task: i32 = task?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Pid::from_raw(task), &only)?;
    }
    Ok(())
}
