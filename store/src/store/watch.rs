//! A thread that never waits for a device: it sets directories aside that hang, and has those opened
//! anew that were set aside.

use super::device::Device;
use super::opening::open_empty;
use super::{SetAside, Status};
use std::io;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

/// Looks after the directories until nobody else has them.
pub(super) fn begin(
    devices: &Arc<[Arc<Device>]>,
    secret: [u8; 16],
    tick: Duration,
) -> io::Result<()> {
    let devices = Arc::downgrade(devices);
    let thread = thread::Builder::new().name("weir-disk-watch".into());
    thread.spawn(move || watch(&devices, secret, tick)).map(drop)
}

fn watch(devices: &Weak<[Arc<Device>]>, secret: [u8; 16], tick: Duration) {
    while let Some(devices) = devices.upgrade() {
        devices.iter().for_each(|device| look_at(device, secret));
        drop(devices);
        thread::sleep(tick);
    }
}

fn look_at(device: &Arc<Device>, secret: [u8; 16]) {
    let (number, hang) = (device.lives(), device.options().hang);
    match device.status() {
        Status::Working => {
            let Some(life) = device.life() else { return };
            match life.failure() {
                Some(why) => device.set_aside(life.number(), why),
                None if life.longest() >= hang => {
                    device.set_aside(life.number(), SetAside::Hangs);
                }
                None => {}
            }
        }
        Status::Opening if device.since().elapsed() >= hang => {
            device.set_aside(number, SetAside::Hangs);
        }
        Status::SetAside(_) => {
            if let Some(attempt) = device.begin_opening() {
                open_empty(device, attempt, secret);
            }
        }
        Status::Opening | Status::Closed => {}
    }
}
