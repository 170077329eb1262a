//! One process for each stage.
//!
//! A stage works in namespaces that only a process with one thread can make, so stages that are built side by side are
//! processes. They are forked at once; each asks for the stages that it needs when it needs them.
//!
//! ```text
//! coordinator                     worker (a fork, one for each stage)
//!                          <----  Event ..., Need(stage)
//!   Built                  ---->
//!                          <----  Event ..., Finished
//! ```
//!
//! What commands write goes through a pipe that is the worker's standard output and error. A worker dies with the
//! coordinator; what it made and nobody refers to is swept by the next build.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::error::BuildError;
use super::events::{Event, Listener, StepId};
use crate::sandbox::channel::Channel;
use crate::sys::clone::{Forked, exit_now, fork};
use crate::sys::fs::pipe;
use crate::sys::signal::Signals;
use crate::sys::{Context, process, terminal};

/// Bytes taken from a worker's output at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// How often listeners may move something on the screen.
const TICK: Duration = Duration::from_millis(100);
/// How long workers have to end by themselves after an interruption.
const GRACE: Duration = Duration::from_secs(10);

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
enum Said<T, E> {
    Event(Event),
    Need(usize),
    Finished(Result<T, E>),
}

/// A worker's side of the conversation.
#[derive(Debug)]
pub struct Coordinator {
    channel: Channel,
}

impl Coordinator {
    /// Tells the listener. Nobody listening any more is no reason to stop: the worker dies with the coordinator.
    pub fn tell<T: Serialize, E: Serialize>(&self, event: Event) {
        self.channel.send(&Said::<T, E>::Event(event), &[]).unwrap_or_default();
    }

    /// Waits until the stage `index` is built. `None`: it never will be.
    pub fn need<T: Serialize + DeserializeOwned, E: Serialize>(&self, index: usize) -> Option<T> {
        self.channel.send(&Said::<T, E>::Need(index), &[]).ok()?;
        self.channel.receive::<T>().ok()?.map(|(built, _)| built)
    }
}

/// How the stages ended.
#[derive(Debug)]
pub enum Ending<T, E> {
    /// The one that was wanted is there.
    Built(T),
    /// One failed, the first of them.
    Failed(E),
    /// A signal asked for the end.
    Interrupted {
        /// Its number.
        signal: i32,
    },
}

struct Worker {
    pid: Pid,
    channel: Channel,
    output: OwnedFd,
    /// What its output belongs to.
    step: Option<StepId>,
    /// It has said everything and is gone, or was given up.
    is_over: bool,
}

/// Builds the stages `wanted`, each by `work` in a process of its own, and returns what the last one came to. The caller
/// must be single-threaded.
pub fn run<T, E>(
    wanted: &[usize],
    work: impl Fn(usize, &Coordinator) -> Result<T, E>,
    listener: &mut dyn Listener,
) -> Result<Ending<T, E>, BuildError>
where
    T: Serialize + DeserializeOwned + Clone,
    E: Serialize + DeserializeOwned,
{
    let signals = Signals::receive(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let mut workers = BTreeMap::new();
    for &stage in wanted {
        workers.insert(stage, start(stage, &work)?);
    }
    let mut crew = Crew { workers, built: BTreeMap::new(), waiting: Vec::new(), listener };
    let ending = crew.follow(&signals, wanted.last().copied().unwrap_or(0));
    crew.dismiss()?;
    ending
}

fn start<T, E>(stage: usize, work: &impl Fn(usize, &Coordinator) -> Result<T, E>) -> Result<Worker, BuildError>
where
    T: Serialize,
    E: Serialize,
{
    let (ours, theirs) = UnixStream::pair().call(|| "socketpair".to_owned())?;
    let (read, write) = pipe()?;
    match fork()? {
        Forked::Child => {
            drop((ours, read));
            let prepared = prepare(write);
            let coordinator = Coordinator { channel: Channel::new(theirs) };
            let status = match prepared {
                Ok(()) => {
                    let result = work(stage, &coordinator);
                    i32::from(coordinator.channel.send(&Said::Finished(result), &[]).is_err())
                }
                Err(_) => 1,
            };
            exit_now(status)
        }
        Forked::Parent { pid, .. } => {
            drop((theirs, write));
            rustix::fs::fcntl_setfl(&read, rustix::fs::OFlags::NONBLOCK).call(|| "fcntl `pipe`".to_owned())?;
            Ok(Worker { pid, channel: Channel::new(ours), output: read, step: None, is_over: false })
        }
    }
}

/// The worker's standard streams, and signals as they were before the coordinator blocked some.
fn prepare(output: OwnedFd) -> crate::sys::SysResult<()> {
    process::die_with_parent()?;
    crate::sys::signal::unblock_all()?;
    terminal::silence(0..1)?;
    terminal::install_as_standard(output.as_fd(), 1)?;
    terminal::install_as_standard(output.as_fd(), 2)
}

struct Crew<'a, T> {
    workers: BTreeMap<usize, Worker>,
    built: BTreeMap<usize, T>,
    /// Who waits for which stage.
    waiting: Vec<(usize, usize)>,
    listener: &'a mut dyn Listener,
}

impl<T: Serialize + DeserializeOwned + Clone> Crew<'_, T> {
    fn follow<E: Serialize + DeserializeOwned>(
        &mut self,
        signals: &Signals,
        last: usize,
    ) -> Result<Ending<T, E>, BuildError> {
        loop {
            let (ready, signalled) = self.wait(signals)?;
            if signalled && let Some((signal, _)) = signals.next()? {
                return Ok(Ending::Interrupted { signal });
            }
            for stage in ready {
                if let Some(failure) = self.hear::<E>(stage)? {
                    return Ok(Ending::Failed(failure));
                }
            }
            if let Some(built) = self.built.remove(&last) {
                return Ok(Ending::Built(built));
            }
            self.listener.tick();
        }
    }

    /// The workers that have something to say.
    fn wait(&self, signals: &Signals) -> Result<(Vec<usize>, bool), BuildError> {
        let mut set = vec![PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
        let listening: Vec<_> = self.workers.iter().filter(|(_, worker)| !worker.is_over).collect();
        for (_, worker) in &listening {
            set.push(PollFd::new(worker.channel.stream(), PollFlags::IN));
            set.push(PollFd::new(&worker.output, PollFlags::IN));
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: i64::try_from(TICK.as_nanos()).unwrap_or(i64::MAX) };
        match poll(&mut set, Some(&pause)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno).call(|| "poll".to_owned()).map_err(BuildError::from),
        }
        let happened = |index: usize| !set[index].revents().is_empty();
        let ready = listening.iter().enumerate();
        let ready = ready.filter(|(index, _)| happened(2 * index + 1) || happened(2 * index + 2));
        Ok((ready.map(|(_, (stage, _))| **stage).collect(), happened(0)))
    }

    /// Takes what a worker has to say. What its command wrote came first.
    fn hear<E: Serialize + DeserializeOwned>(&mut self, stage: usize) -> Result<Option<E>, BuildError> {
        let Some(worker) = self.workers.get_mut(&stage) else { return Ok(None) };
        let mut set = [PollFd::new(worker.channel.stream(), PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut set, Some(&now)).call(|| "poll".to_owned())?;
        let speaks = !set[0].revents().is_empty();
        drain(worker, self.listener);
        if !speaks {
            return Ok(None);
        }
        let received = worker.channel.receive::<Said<T, E>>();
        match received {
            Ok(Some((Said::Event(event), _))) => {
                match &event {
                    Event::Started { step, .. } => worker.step = Some(step.clone()),
                    Event::Ended { .. } => worker.step = None,
                    _ => {}
                }
                self.listener.hear(&event);
            }
            Ok(Some((Said::Need(other), _))) => {
                self.waiting.push((stage, other));
                self.answer()?;
            }
            Ok(Some((Said::Finished(Ok(built)), _))) => {
                worker.is_over = true;
                self.built.insert(stage, built);
                self.answer()?;
            }
            Ok(Some((Said::Finished(Err(failure)), _))) => return Ok(Some(failure)),
            Ok(None) | Err(_) => {
                worker.is_over = true;
                let ended = process::wait(worker.pid)?;
                return Err(BuildError::WorkerDied { ended });
            }
        }
        Ok(None)
    }

    /// Hands built stages to those who wait for them.
    fn answer(&mut self) -> Result<(), BuildError> {
        let built = &self.built;
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, wanted)| built.contains_key(wanted));
        self.waiting = waiting;
        for (who, wanted) in ready {
            if let (Some(worker), Some(built)) = (self.workers.get(&who), self.built.get(&wanted)) {
                worker.channel.send(built, &[]).call(|| "sendmsg".to_owned())?;
            }
        }
        Ok(())
    }

    /// Ends the workers that are left: they get the time to end their commands and to remove what they were making.
    fn dismiss(&mut self) -> Result<(), BuildError> {
        for worker in self.workers.values().filter(|worker| !worker.is_over) {
            // A worker passes it on to the command that it runs, or dies of it.
            kill(worker.pid, Signal::SIGTERM).ok();
        }
        let deadline = Instant::now() + GRACE;
        for worker in self.workers.values_mut() {
            while !worker.is_over && Instant::now() < deadline {
                drain(worker, self.listener);
                let mut set = [PollFd::new(worker.channel.stream(), PollFlags::IN)];
                let pause = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                if poll(&mut set, Some(&pause)).is_ok_and(|count| count > 0)
                    && worker.channel.receive::<serde_json::Value>().map_or(true, |said| said.is_none())
                {
                    break;
                }
            }
            if Instant::now() >= deadline {
                kill(worker.pid, Signal::SIGKILL).ok();
            }
            if process::wait(worker.pid).is_ok() {
                worker.is_over = true;
            }
        }
        Ok(())
    }
}

/// Passes on what the worker's command wrote so far.
fn drain(worker: &Worker, listener: &mut dyn Listener) {
    let mut buffer = vec![0; CHUNK_BYTES];
    while let Ok(size @ 1..) = rustix::io::read(&worker.output, &mut buffer) {
        if let Some(step) = &worker.step {
            listener.hear(&Event::Output { step: step.clone(), bytes: buffer[..size].to_vec() });
        }
    }
}
