//! Measures Sidecargo against what people use today, and prints a table.
//!
//! `benches/run` gets what it needs and calls it. Each figure and its baseline are measured in turn, in one run on one
//! machine; the table has the medians of several rounds, `target/tmp/speed/samples.json` what each round gave. An
//! answer of this server that fails ends the run, and so do, before a load, other bytes than the baseline's.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

mod chance;
mod client;
mod disk;
mod gitea;
mod load;
mod paths;
mod registry;
mod release;
mod run;
mod server;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};

use paths::{busy, clone, commit, download, forge, publish, sparse, start};
use table::{HEADING, Row, keep};

type Path = fn(&Bench) -> anyhow::Result<Vec<Row>>;

/// All that is measured, by name.
const PATHS: [(&str, Path); 12] = [
    ("publish-alone", publish::alone),
    ("publish-together", publish::together),
    ("commit", commit::commit),
    ("sparse", sparse::reads),
    ("sparse-publishing", busy::while_publishing),
    ("sparse-private", sparse::private),
    ("download", download::downloads),
    ("start", start::start),
    ("memory", start::memory),
    ("clone", clone::clone),
    ("forge-publishes", forge::publishes),
    ("forge-reads", forge::reads),
];

/// What each path is measured with.
pub struct Bench {
    /// How often each pair is measured.
    pub rounds: usize,
    /// A folder on the disk that is measured.
    pub work: PathBuf,
}

fn main() -> anyhow::Result<()> {
    // Cargo calls every benchmark with `--bench`.
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    words.retain(|word| word != "--bench");
    let mut rounds = 5;
    if let Some(at) = words.iter().position(|word| word == "--rounds") {
        let number = words.get(at + 1).context("`--rounds` needs a number")?;
        rounds = number.parse().context("`--rounds` needs a number")?;
        words.drain(at..at + 2);
    }
    let names = PATHS.map(|(name, _)| name).join(", ");
    for word in &words {
        let is_name = PATHS.iter().any(|(name, _)| name == word);
        ensure!(is_name, "`{word}` is none of {names}");
    }
    let work = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("speed");
    fs::create_dir_all(&work)?;
    let bench = Bench { rounds, work };
    let mut rows = Vec::new();
    println!("{HEADING}");
    for (name, path) in PATHS {
        if !words.is_empty() && !words.iter().any(|word| word == name) {
            continue;
        }
        eprintln!("measuring {name}");
        for row in path(&bench).with_context(|| format!("while measuring {name}"))? {
            println!("{row}");
            rows.push(row);
        }
        keep(&rows, &bench.work.join("samples.json"))?;
    }
    eprintln!(
        "all samples are in {}",
        bench.work.join("samples.json").display()
    );
    Ok(())
}
