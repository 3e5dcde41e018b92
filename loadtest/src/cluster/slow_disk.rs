//! Simulated slow disk: delays the entry of every fsync that one thread of another process makes.
//!
//! It uses ptrace, which any user may apply to the processes that it has started, and works for every kind of disk.
//! The kernel detaches a traced thread when its tracer thread ends. The end of the tracer therefore restores full
//! speed, even if the harness dies, and the node continues unharmed.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Delays the fsyncs of one thread until it is dropped.
#[derive(Debug)]
pub(crate) struct SlowDisk {
    /// Never sent on: the tracer stops when this sender is dropped.
    over: Sender<Infallible>,
    tracer: JoinHandle<()>,
    held: Arc<AtomicU64>,
}

/// Reason for which a thread cannot be traced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the harness cannot trace system calls on this architecture")]
    Elsewhere,
    #[error("tracing the node is not allowed here: {0}")]
    Refused(Errno),
    #[error("process {0} has no thread {1:?}")]
    NoThread(u32, &'static str),
    #[error("the tracing thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Poll interval for a running thread, and so the approximate length of its pause at every system call.
const LOOK: Duration = Duration::from_micros(200);
/// Poll interval for a process that is stopped by a signal.
const STOPPED: Duration = Duration::from_millis(5);
/// `true` if [`entered`] can read system calls on this platform.
const KNOWN: bool = cfg!(all(
    target_env = "gnu",
    any(target_arch = "x86_64", target_arch = "aarch64")
));

/// Reason for the end of one tracing period.
enum TraceEnd {
    /// The slow disk was lifted, or the thread has exited.
    Over,
    /// The whole process was stopped by a signal, and stays stopped.
    Stopped,
}

// === impl SlowDisk ===

impl SlowDisk {
    /// Delays each fsync of the named thread of process `pid` by `longer`. Returns once the thread is traced.
    pub(crate) fn pull(pid: u32, thread: &'static str, longer: Duration) -> Result<SlowDisk, Error> {
        if !KNOWN {
            return Err(Error::Elsewhere);
        }
        let task = task(pid, thread).ok_or(Error::NoThread(pid, thread))?;
        let held = Arc::new(AtomicU64::new(0));
        let (over, lifted) = mpsc::channel();
        let (begun, begins) = mpsc::channel();
        let counted = held.clone();
        // ptrace binds one tracer thread to the tracee, so each slow disk needs a thread of its own.
        let tracer = std::thread::Builder::new()
            .name("brake".to_owned())
            .spawn(move || {
                let seized = seize(task);
                let goes_on = seized.is_ok();
                // Cannot fail: the caller blocks in `recv` below until this report arrives.
                let _ = begun.send(seized);
                if goes_on {
                    // Any error means that the traced thread has exited, which ends the tracing as well.
                    let _ = hold_back(task, longer, &lifted, &counted);
                }
            })?;
        match begins.recv() {
            Ok(Ok(())) => Ok(SlowDisk { over, tracer, held }),
            Ok(Err(errno)) => Err(Error::Refused(errno)),
            // The tracer ended without a report: treated like a thread that has exited.
            Err(_) => Err(Error::Refused(Errno::ESRCH)),
        }
    }

    /// Returns the number of fsyncs that were delayed.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Removes the delay, and returns once the thread is detached.
    pub(crate) async fn lift(self) {
        drop(self.over);
        // Polling instead of a join: a join would block the runtime's only thread.
        while !self.tracer.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// Returns the id of the first thread with this name.
fn task(pid: u32, name: &str) -> Option<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let named = tasks.filter_map(Result::ok).find(|task| {
        let called = std::fs::read_to_string(task.path().join("comm"));
        called.is_ok_and(|called| called.trim_end() == name)
    })?;
    Some(Pid::from_raw(named.file_name().to_str()?.parse().ok()?))
}

fn seize(task: Pid) -> nix::Result<()> {
    // PTRACE_SEIZE does not stop the thread. The interrupt brings it to a first stop, from which `follow` resumes it.
    ptrace::seize(task, Options::PTRACE_O_TRACESYSGOOD)?;
    ptrace::interrupt(task)
}

/// Delays the fsyncs of a seized thread until the slow disk is lifted.
fn hold_back(
    task: Pid,
    longer: Duration,
    lifted: &Receiver<Infallible>,
    held: &AtomicU64,
) -> nix::Result<()> {
    while let TraceEnd::Stopped = follow(task, longer, lifted, held)? {
        // ptrace reports no SIGCONT for a detached thread, so its state is polled.
        while is_stopped(task) {
            if !goes_on(lifted, STOPPED) {
                return Ok(());
            }
        }
        seize(task)?;
    }
    Ok(())
}

/// Resumes the thread from one system call to the next, and delays it at the entry of a sync.
fn follow(
    task: Pid,
    longer: Duration,
    lifted: &Receiver<Infallible>,
    held: &AtomicU64,
) -> nix::Result<TraceEnd> {
    loop {
        // WNOHANG: a blocking wait would not notice that the slow disk was lifted.
        let signal = match waitpid(task, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {
                if !goes_on(lifted, LOOK) {
                    return Ok(TraceEnd::Over);
                }
                continue;
            }
            WaitStatus::PtraceSyscall(_) => {
                if entered(task)?.is_some_and(is_sync) {
                    held.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(lifted, longer) {
                        return Ok(TraceEnd::Over);
                    }
                }
                None
            }
            // Signals are passed on: a swallowed one would change the behavior of the node.
            WaitStatus::Stopped(_, signal) => Some(signal), // it is for the thread
            // Any signal but SIGTRAP is a group stop. `ptrace::syscall` would resume the thread in spite of it.
            WaitStatus::PtraceEvent(_, signal, _) if signal != nix::sys::signal::SIGTRAP => {
                ptrace::detach(task, None)?;
                return Ok(TraceEnd::Stopped);
            }
            WaitStatus::PtraceEvent(..) | WaitStatus::Continued(_) => None,
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(TraceEnd::Over),
        };
        ptrace::syscall(task, signal)?;
    }
}

/// Sleeps for `time`. Returns `false` as soon as the slow disk is lifted.
fn goes_on(lifted: &Receiver<Infallible>, time: Duration) -> bool {
    matches!(lifted.recv_timeout(time), Err(RecvTimeoutError::Timeout))
}

fn is_sync(call: libc::c_long) -> bool {
    [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_sync_file_range].contains(&call)
}

/// Returns the system call that the thread is about to enter; `None` at the exit of a call.
#[cfg(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
fn entered(task: Pid) -> nix::Result<Option<libc::c_long>> {
    if ptrace::syscall_info(task)?.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(None);
    }
    let registers = ptrace::getregs(task)?;
    #[cfg(target_arch = "x86_64")]
    let call = registers.orig_rax;
    #[cfg(target_arch = "aarch64")]
    let call = registers.regs[8];
    Ok(Some(call as libc::c_long))
}

#[cfg(not(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn entered(_: Pid) -> nix::Result<Option<libc::c_long>> {
    Ok(None)
}

/// Returns `true` if the thread is stopped by a signal to its process.
fn is_stopped(task: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{task}/stat")).unwrap_or_default();
    // The name in parentheses may contain anything, so the state is searched behind the last parenthesis.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::process::ExitStatusExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use nix::sys::signal::{Signal, kill};

    use super::*;
    use crate::server_internals::STORAGE_WRITER_THREAD;

    /// Environment variable with the path of the child's file.
    const FILE: &str = "ROOKERY_BRAKE_FILE";
    const LONGER: Duration = Duration::from_millis(100);

    /// Child process that syncs in a loop, and its file, which grows by one byte per sync.
    struct Syncing {
        child: Child,
        file: PathBuf,
    }

    impl Syncing {
        fn start(name: &str) -> Syncing {
            let file = std::env::temp_dir().join(format!("rookery-brake-{name}-{}", std::process::id()));
            File::create(&file).unwrap();
            let child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "cluster::slow_disk::tests::syncs_until_it_is_killed",
                    "--ignored",
                ])
                .env(FILE, &file)
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let syncing = Syncing { child, file };
            syncing.sync_again(3);
            syncing
        }

        fn synced(&self) -> u64 {
            std::fs::metadata(&self.file).unwrap().len()
        }

        fn sync_again(&self, times: u64) {
            let before = self.synced();
            until(|| self.synced() >= before + times);
        }

        fn delay(&self) -> SlowDisk {
            SlowDisk::pull(self.child.id(), STORAGE_WRITER_THREAD, LONGER).unwrap()
        }
    }

    impl Drop for Syncing {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
            let _ = std::fs::remove_file(&self.file);
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this thread runs a test and nothing else"
    )]
    fn until(mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test)
    }

    #[test]
    #[ignore = "the other process of these tests"]
    fn syncs_until_it_is_killed() {
        let Some(file) = std::env::var_os(FILE) else {
            return;
        };
        let writes = move || {
            let mut file = File::options().append(true).open(Path::new(&file)).unwrap();
            while file.write_all(b"x").is_ok() && file.sync_data().is_ok() {}
        };
        let writer = std::thread::Builder::new()
            .name(STORAGE_WRITER_THREAD.to_owned())
            .spawn(writes);
        writer.unwrap().join().unwrap();
    }

    #[test]
    fn every_sync_is_delayed_while_the_disk_is_slow() {
        let syncing = Syncing::start("on");
        let slow_disk = syncing.delay();
        until(|| slow_disk.held() >= 1);
        let (began, first, before) = (Instant::now(), slow_disk.held(), syncing.synced());
        until(|| slow_disk.held() >= first + 5);
        assert!(began.elapsed() >= LONGER * 4, "each waits for the one before");
        let synced = syncing.synced() - before;
        assert!(synced <= slow_disk.held() - first + 1, "{synced} of them");
        let held = slow_disk.held.clone();
        run(slow_disk.lift());
        let before = held.load(Ordering::Relaxed);
        syncing.sync_again(50);
        assert_eq!(held.load(Ordering::Relaxed), before, "none is held back");
    }

    #[test]
    fn killing_a_slowed_process_ends_the_delay() {
        let mut syncing = Syncing::start("killed");
        let slow_disk = syncing.delay();
        until(|| slow_disk.held() >= 1);
        syncing.child.kill().unwrap();
        assert_eq!(syncing.child.wait().unwrap().signal(), Some(9));
        until(|| slow_disk.tracer.is_finished());
    }

    #[test]
    fn a_slowed_process_stays_stopped_until_it_is_continued() {
        let syncing = Syncing::start("stopped");
        let slow_disk = syncing.delay();
        until(|| slow_disk.held() >= 1);
        let pid = Pid::from_raw(syncing.child.id() as i32);
        kill(pid, Signal::SIGSTOP).unwrap();
        until(|| is_stopped(pid) && is_stopped(task(syncing.child.id(), STORAGE_WRITER_THREAD).unwrap()));
        let held = slow_disk.held();
        kill(pid, Signal::SIGCONT).unwrap();
        until(|| slow_disk.held() >= held + 2);
    }

    #[test]
    fn slow_disk_delays_several_processes_and_needs_the_thread() {
        let (one, other) = (Syncing::start("one"), Syncing::start("other"));
        let slow_disks = [one.delay(), other.delay()];
        until(|| slow_disks.iter().all(|slow_disk| slow_disk.held() >= 2));
        let twice = SlowDisk::pull(one.child.id(), STORAGE_WRITER_THREAD, LONGER);
        assert!(matches!(twice, Err(Error::Refused(Errno::EPERM))), "{twice:?}");
        let none = SlowDisk::pull(one.child.id(), "no such thread", LONGER);
        assert!(matches!(none, Err(Error::NoThread(..))), "{none:?}");
        drop(slow_disks);
        one.sync_again(20);
        other.sync_again(20);
    }
}
