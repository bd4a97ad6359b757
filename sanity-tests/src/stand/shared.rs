//! One stand for all tests of a program: a guest's boot costs more than most tests.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use super::{Settings, Stand};

/// All connections of a stand live in the runtime in which they were made.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// It ends with the process: a bed's processes and files do not outlive that.
static STAND: Mutex<Option<Stand>> = Mutex::const_new(None);

/// Runs one test at a time on the program's stand, and checks that it leaves nothing behind. After
/// a test that failed the next one gets a new stand. All tests must want the same settings.
pub fn on_shared_stand(
    settings: fn() -> Settings,
    test: impl AsyncFnOnce(&mut Stand) -> Result<()>,
) -> Result<()> {
    runtime().block_on(async {
        let mut shared = STAND.lock().await;
        let outcome = run(&mut shared, settings, test).await;
        drop(shared);
        outcome
    })
}

/// The runtime of a program whose tests share a stand.
#[must_use]
pub fn runtime() -> &'static Runtime {
    RUNTIME.get_or_init(|| match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => unreachable!("a test program can start threads: {error}"),
    })
}

async fn run(
    shared: &mut Option<Stand>,
    settings: fn() -> Settings,
    test: impl AsyncFnOnce(&mut Stand) -> Result<()>,
) -> Result<()> {
    let mut stand = match shared.take() {
        Some(stand) => stand,
        None => Stand::start(settings()).await?,
    };
    let outcome = match test(&mut stand).await {
        Ok(()) => stand.check_nothing_is_left().await,
        failed => failed,
    };
    outcome.with_context(|| stand.last_words())?;
    *shared = Some(stand);
    Ok(())
}
