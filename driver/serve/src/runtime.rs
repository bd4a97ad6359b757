//! The tokio runtime of a plugin, which is small because a plugin mostly waits.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// A plugin computes next to nothing; a second thread keeps it answering beside a slow poll.
const WORKERS: usize = 2;
/// Threads for system calls that block, such as mounts. Each of them may hang on a dead device.
const BLOCKING: usize = 64;
/// A system call needs next to no stack.
const STACK: usize = 256 * 1024;

/// The runtime.
///
/// # Errors
/// If the system gives no threads or no epoll.
pub fn runtime() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_name("csi")
        .enable_all()
        .build()
}

/// Runs a plugin's main future and returns without waiting for system calls that still block: a
/// mount that hangs must not keep the process from ending.
///
/// # Errors
/// If there is no runtime to be had.
pub fn run<T>(main: impl Future<Output = T>) -> io::Result<T> {
    let runtime = runtime()?;
    let result = runtime.block_on(main);
    runtime.shutdown_background();
    Ok(result)
}

/// Runs system calls that may hang in a thread of their own: a pool of threads would fill up with
/// those that hang. If the future is dropped, they go on, and their result is dropped there.
///
/// # Errors
/// If the system gives no thread, or the work panicked.
pub async fn apart<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    let span = tracing::Span::current();
    // The receiver is gone if nobody waits any more.
    let run = move || drop(done.send(span.in_scope(work)));
    std::thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run)?;
    result.await.map_err(|_panicked| io::Error::other("the thread panicked"))
}
