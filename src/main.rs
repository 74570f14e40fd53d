//! The `weir` program: see `commands` for what it does.

mod allocator;
mod client;
mod commands;
mod logging;
mod name_lookup;
mod program;
mod settings;
mod sockets;
mod supervisor;
mod takeover;
mod text;
mod tokens;
mod version;

use clap::Parser;
use std::process::ExitCode;

/// A content delivery network that you run yourself.
#[derive(Debug, Parser)]
#[command(name = "weir", version, long_version = version::LONG)]
#[command(
    after_help = "Exit status: 0 done, 1 failed, 2 usage error, 3 accepted but not complete in time"
)]
struct Weir {
    #[command(subcommand)]
    command: commands::Command,
}

fn main() -> ExitCode {
    allocator::use_small_pages();
    name_lookup::use_hosts_and_dns();
    weir_edge::release_memory_with(allocator::release_memory);
    match Weir::try_parse() {
        Ok(weir) => weir.command.run(),
        Err(instead) => commands::printed_instead(&instead),
    }
    .into()
}
