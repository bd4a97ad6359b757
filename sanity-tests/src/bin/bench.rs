//! `make bench`: prints one table of what this driver needs for what, beside the limit and beside
//! the driver whose command is in `PEER_EBS_DRIVER`.
//!
//! Arguments: `--quick` leaves out the bursts of 1,000 under quotas, which take minutes;
//! `--only=TEXT` runs the groups whose title contains the text.
#![expect(clippy::print_stdout, reason = "the bench talks to the person who started it")]

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use sanity_tests::bench::{
    Burst, Contestant, EfsBurst, Figure, Group, LATENCY_MS, Times, class, controller_at_rest, head,
    node_at_rest, stage, stage_obstacle,
};
use sanity_tests::storage_class::StorageClass;

fn main() -> ExitCode {
    let outcome = tokio::runtime::Runtime::new().context("no runtime").and_then(|runtime| {
        runtime.block_on(async {
            tokio::select! {
                outcome = run() => outcome,
                _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing is left behind"),
            }
        })
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nbench: FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let mut bench = Bench::from_surroundings()?;
    bench.say_conditions();
    bench.at_rest().await?;
    bench.stages().await?;
    for (volumes, times, quotas) in [
        (200, Times::Fixed, false),
        (200, Times::Spread, false),
        (1_000, Times::Fixed, false),
        (1_000, Times::Spread, false),
        (200, Times::Fixed, true),
        (1_000, Times::Fixed, true),
    ] {
        bench.creations(Burst { volumes, times, quotas }).await?;
    }
    for (times, quotas) in [(Times::Fixed, false), (Times::Spread, false), (Times::Fixed, true)] {
        bench.attachments(Burst { volumes: 200, times, quotas }).await?;
    }
    for controllers in [1, 2] {
        bench.efs_creations(EfsBurst { volumes: 1_000, controllers }).await?;
    }
    bench.end()
}

/// What is run, and what came of it so far.
struct Bench {
    class: StorageClass,
    peer: Option<Contestant>,
    quick: bool,
    only: String,
    met: usize,
    missed: Vec<String>,
}

impl Bench {
    fn from_surroundings() -> Result<Self> {
        #[expect(clippy::disallowed_methods, reason = "the bench has no other settings")]
        let peer = std::env::var("PEER_EBS_DRIVER").ok().filter(|command| !command.is_empty());
        let mut bench = Self {
            class: class()?,
            peer: peer.map(Contestant::Peer),
            quick: false,
            only: String::new(),
            met: 0,
            missed: Vec::new(),
        };
        for argument in std::env::args().skip(1) {
            match argument.strip_prefix("--only=") {
                Some(text) => text.clone_into(&mut bench.only),
                None if argument == "--quick" => bench.quick = true,
                None => bail!("unknown argument {argument:?}: want --quick or --only=TEXT"),
            }
        }
        Ok(bench)
    }

    fn say_conditions(&self) {
        let processors = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let build =
            if cfg!(debug_assertions) { "DEBUG BUILD, figures mean little" } else { "release" };
        println!(
            "bench: {build}; {processors} processors, Linux {}, all on loopback and Unix sockets",
            kernel.trim()
        );
        println!(
            "bench: simulated EC2: creation 1.5 s, attach and detach 1.0 s (spread: log-normal, p99 \
             = 2.7 × median), {LATENCY_MS} ms a call, no read lag, signatures verified"
        );
        println!(
            "bench: load: 100 workers on one connection, deadlines 60 s (create) and 6 min (attach), \
             again after 1, 2, 4 … 30 s; gp3, 4,000 IOPS, 10 GiB; attachments over 8 instances"
        );
        println!(
            "bench: limit: EC2's own times in that run, its quotas and the 100 workers, nothing else; \
             M is MiB; ×ours is the peer's figure over ours"
        );
        match &self.peer {
            Some(Contestant::Peer(command)) => println!("bench: peer: {command}"),
            _ => println!("bench: no peer: set PEER_EBS_DRIVER to a command, {{endpoint}} in it"),
        }
        println!("\n{}", head());
    }

    fn wants(&self, title: &str) -> bool {
        title.contains(&self.only)
    }

    /// Runs a measurement for both. The peer's failure is printed and does not end the bench.
    async fn both<T>(
        &self,
        measure: impl AsyncFn(&Contestant) -> Result<T>,
    ) -> Result<(T, Option<T>)> {
        let ours = measure(&Contestant::Ours).await?;
        let peer = match &self.peer {
            None => None,
            Some(peer) => match measure(peer).await {
                Ok(figures) => Some(figures),
                Err(error) => {
                    println!("\nthe peer failed: {error:#}");
                    None
                }
            },
        };
        Ok((ours, peer))
    }

    fn print(&mut self, title: String, ours: Vec<Figure>, peer: Option<Vec<Figure>>) {
        let group = Group { title, ours, peer: peer.unwrap_or_default() };
        print!("{group}");
        for figure in &group.ours {
            match figure.is_met() {
                None => {}
                Some(true) => self.met += 1,
                Some(false) => self.missed.push(format!("{}: {}", group.title, figure.what())),
            }
        }
    }

    async fn at_rest(&mut self) -> Result<()> {
        let title =
            "At rest: 10 s after a CreateVolume over TLS (controller) or registration (node)";
        if !self.wants(title) {
            return Ok(());
        }
        let class = self.class.clone();
        let (mut ours, peer) =
            self.both(async |driver| controller_at_rest(driver, &class).await).await?;
        ours.extend(node_at_rest().await?);
        self.print(title.to_owned(), ours, peer);
        Ok(())
    }

    async fn stages(&mut self) -> Result<()> {
        for fs in ["ext4", "xfs"] {
            let title = format!("Stage and publish, {fs}, formatted and clean, loop device");
            if !self.wants(&title) {
                continue;
            }
            if let Some(why) = stage_obstacle() {
                println!("\n{title}\n  SKIPPED: {why}");
                continue;
            }
            let figures = stage(fs, &self.class).await?;
            self.print(title, figures, None);
        }
        Ok(())
    }

    async fn creations(&mut self, burst: Burst) -> Result<()> {
        let title = burst.title("CreateVolume");
        if !self.wants(&title) || (self.quick && burst.quotas && burst.volumes == 1_000) {
            return Ok(());
        }
        let class = self.class.clone();
        let (ours, peer) = self.both(async |driver| burst.creations(driver, &class).await).await?;
        self.print(title, ours, peer);
        Ok(())
    }

    async fn efs_creations(&mut self, burst: EfsBurst) -> Result<()> {
        let title = burst.title();
        if self.wants(&title) {
            let figures = burst.measure().await?;
            self.print(title, figures, None);
        }
        Ok(())
    }

    async fn attachments(&mut self, burst: Burst) -> Result<()> {
        let titles = ["ControllerPublish", "ControllerUnpublish"].map(|what| burst.title(what));
        if !titles.iter().any(|title| self.wants(title)) {
            return Ok(());
        }
        let class = self.class.clone();
        let (ours, peer) =
            self.both(async |driver| burst.attachments(driver, &class).await).await?;
        let peers = peer.map_or([None, None], |peer| peer.map(Some));
        for ((title, ours), peer) in titles.into_iter().zip(ours).zip(peers) {
            self.print(title, ours, peer);
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        ensure!(self.met + self.missed.len() > 0, "no group's title contains {:?}", self.only);
        println!("\nbench: {} goals met, {} missed", self.met, self.missed.len());
        for missed in &self.missed {
            println!("  MISSED {missed}");
        }
        Ok(())
    }
}
