//! One run: two controllers over one world, moves one after the other, every step checked.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use csi_controller::ebs::{EbsController, Settings};
use csi_sim::world::{Delay, Fault, InstanceSeed, Settings as Pace, SpentToken, World};
use csi_sim::{Sim, SimEbs};
use sanity_tests::random::Random;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::ask::{NODES, Request, ZONES};
use crate::data::Model;
use crate::figures::Figures;
use crate::moves::{Act, Move};
use crate::port::{PATIENCE, Severed, Wire};
use crate::trouble;
use crate::truth::Truth;
use crate::wire::perform;

/// Callers at the same time.
const CALLERS: usize = 8;
/// How long after its death a process's last calls may take effect at EC2.
const TAIL: Duration = Duration::from_secs(16);

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Moves that were made until then.
    pub(crate) moves: usize,
    pub(crate) why: String,
}

/// A controller process.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) number: u64,
    pub(crate) driver: EbsController<Severed>,
    pub(crate) wire: Wire,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.number)
    }
}

/// What callers share.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) model: Model,
    pub(crate) figures: Figures,
    violation: Option<String>,
    log: Option<Vec<String>>,
}

pub(crate) struct Run {
    pub(crate) sim: Sim,
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) processes: Vec<Process>,
    /// Dead processes whose calls may still be on their way.
    dying: Vec<(u64, Instant)>,
    random: Random,
    started: u64,
    callers: JoinSet<()>,
}

pub(crate) fn lock(book: &Mutex<Book>) -> MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes all moves in a world of that seed, lets everything come to rest, and removes everything.
pub(crate) async fn run(seed: u64, moves: &[Move], verbose: bool) -> Result<Figures, Violation> {
    let mut run = Run::new(seed, verbose);
    for (done, next) in moves.iter().enumerate() {
        sleep(Duration::from_millis(next.after_ms)).await;
        run.make(&next.act).await;
        run.verdict(done + 1)?;
    }
    run.come_to_rest().await;
    run.verdict(moves.len())?;
    Ok(run.figures())
}

/// Zones, and nodes without root volumes, so that an empty world is empty.
pub(crate) fn sow(sim: &Sim) {
    sim.with(|world, now| {
        for zone in ZONES {
            world.add_zone(zone);
        }
        for (node, zone) in NODES {
            let seed = InstanceSeed::new("m5.large", zone);
            let seed = InstanceSeed { id: Some(node.to_owned()), root: false, ..seed };
            world.set_instance(&seed, now).expect("the zone exists");
        }
    });
}

/// The pace of EC2, differently rough for each seed.
fn pace(random: &mut Random) -> Pace {
    let read_lag = match random.below(4) {
        0 => Delay::Zero,
        _ => Delay::UniformMs(0, 1_000),
    };
    let spent_token = if random.once_in(3) { SpentToken::Replay } else { SpentToken::Mismatch };
    let throttle = random.once_in(4);
    Pace { read_lag, spent_token, throttle, ..Pace::ec2() }
}

impl Run {
    fn new(seed: u64, verbose: bool) -> Self {
        let mut random = Random::new(seed);
        let sim = Sim::new(World::new(pace(&mut random), seed));
        sow(&sim);
        let log = verbose.then(Vec::new);
        let mut this = Self {
            sim,
            book: Arc::new(Mutex::new(Book { log, ..Book::default() })),
            processes: Vec::new(),
            dying: Vec::new(),
            random,
            started: 0,
            callers: JoinSet::new(),
        };
        this.processes = vec![this.start(), this.start()];
        this
    }

    fn start(&mut self) -> Process {
        self.started += 1;
        let port = Severed::new(SimEbs::new(self.sim.clone()), PATIENCE, self.random.bits());
        let wire = port.wire();
        let driver =
            EbsController::new(port, Settings { list_volumes: true, ..Settings::default() });
        Process { number: self.started, driver, wire }
    }

    fn verdict(&self, moves: usize) -> Result<(), Violation> {
        let book = lock(&self.book);
        match &book.violation {
            None => Ok(()),
            Some(why) => {
                let log = book.log.as_ref().map(|log| log.join("\n")).unwrap_or_default();
                Err(Violation { moves, why: format!("{why}\n{log}") })
            }
        }
    }

    async fn make(&mut self, act: &Act) {
        self.settle();
        match act {
            Act::Call { driver, op, patience_ms } => {
                while self.callers.len() >= CALLERS {
                    self.callers.join_next().await;
                }
                while self.callers.try_join_next().is_some() {}
                let request = op.resolve(&mut lock(&self.book).model);
                let patience = patience_ms.map(Duration::from_millis);
                let process = self.processes[*driver].clone();
                self.callers.spawn(ask(
                    self.sim.clone(),
                    Arc::clone(&self.book),
                    process,
                    request,
                    patience,
                ));
            }
            Act::Kill { driver } => self.kill(*driver),
            Act::Fault { action, when, fault } => {
                let fault = Fault { action: Some(*action), when: *when, fault: fault.clone() };
                self.sim.with(|world, _| world.add_fault(fault));
            }
            Act::Trouble(bad) => trouble::cause(&self.sim, *bad),
        }
    }

    fn kill(&mut self, driver: usize) {
        let next = self.start();
        let dead = std::mem::replace(&mut self.processes[driver], next);
        dead.wire.cut();
        self.dying.push((dead.number, Instant::now()));
        let mut book = lock(&self.book);
        book.figures.kills += 1;
        book.note(|| format!("killed process {}", dead.number));
    }

    /// Abandoned calls of processes that are idle, or long dead, have ended.
    pub(crate) fn settle(&mut self) {
        let mut book = lock(&self.book);
        for process in &self.processes {
            if process.driver.operations() == 0 {
                book.model.is_idle(process.number);
            }
        }
        self.dying.retain(|(number, since)| {
            let over = since.elapsed() > TAIL;
            if over {
                book.model.is_idle(*number);
            }
            !over
        });
        let truth = Truth::of(&self.sim);
        book.check(&truth);
    }

    /// Waits for all callers.
    pub(crate) async fn all_answered(&mut self) {
        while self.callers.join_next().await.is_some() {}
    }

    /// Before the script is forgotten.
    pub(crate) fn count_what_struck(&self) {
        let (faults, troubles) = self.sim.with(|world, _| {
            let faults: u64 = world.faults().iter().map(|report| report.struck).sum();
            let troubles: u64 = world.troubles().iter().map(|report| report.struck).sum();
            (faults, troubles)
        });
        let mut book = lock(&self.book);
        book.figures.faults_struck = faults;
        book.figures.troubles_struck = troubles;
    }

    fn figures(&self) -> Figures {
        let mut figures = lock(&self.book).figures.clone();
        self.sim.with(|world, now| {
            figures.aws_calls = world.counts().values().map(|count| count.calls).sum();
            figures.seconds = now / 1_000;
        });
        figures
    }
}

/// A caller: asks, waits, perhaps gives up, and tells the model what it learned.
pub(crate) async fn ask(
    sim: Sim,
    book: Arc<Mutex<Book>>,
    process: Process,
    request: Request,
    patience: Option<Duration>,
) {
    let call = {
        let mut book = lock(&book);
        let call = book.model.begin(&request, process.number);
        book.figures.calls += 1;
        book.note(|| format!("{call} begins at process {}: {request:?}", process.number));
        call
    };
    let began = Instant::now();
    let answer = async {
        let work = perform(&process.driver, request.clone());
        match patience {
            Some(patience) => timeout(patience, work).await.ok(),
            None => Some(work.await),
        }
    };
    let answer = tokio::select! {
        biased;
        () = process.wire.until_cut() => None,
        answer = answer => answer,
    };
    let truth = Truth::of(&sim);
    let mut book = lock(&book);
    let Some(answer) = answer else {
        book.figures.abandoned += 1;
        book.model.abandon(call);
        book.note(|| format!("{call} is abandoned"));
        return;
    };
    book.note(|| format!("{call} ends: {answer:?}"));
    let code = answer.as_ref().err().map_or_else(|| "OK".to_owned(), |e| format!("{:?}", e.code()));
    *book.figures.answers.entry((request.verb(), code)).or_default() += 1;
    let seen = process.wire.seen_since(began);
    let verdict = book.model.end(call, answer, &seen, &truth);
    book.fail(verdict);
    if process.driver.operations() == 0 {
        book.model.is_idle(process.number);
    }
    book.check(&truth);
}

impl Book {
    fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(line());
        }
    }

    pub(crate) fn fail(&mut self, verdict: Result<(), String>) {
        if let Err(why) = verdict
            && self.violation.is_none()
        {
            self.note(|| why.clone());
            self.violation = Some(why);
        }
    }

    pub(crate) fn check(&mut self, truth: &Truth) {
        self.figures.checks += 1;
        let verdict = self.model.check(truth);
        self.fail(verdict);
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.violation.is_some()
    }
}
