//! Two connected TCP sockets, of which each gets what the other one says.
//!
//! Data goes through a pipe by `splice` and is never copied into this process. A pipe is borrowed while a flow has
//! something in it: an idle connection needs no more than its two sockets. The end of one direction is passed on as the
//! end of that direction alone; a reset as a reset.

use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::sandbox::net::agent::reactor::{Key, Reactor};
use crate::sys::SysResult;

/// What a pipe is asked to hold, in bytes; it holds less when the user has many.
const PIPE_BYTES: usize = 512 << 10;
/// How often a flow may be filled before other connections get their turn.
const ROUNDS: usize = 16;
/// How many unused pipes are kept.
const SPARE_PIPES: usize = 8;

/// A pipe.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// Pipes that are in nobody's use.
#[derive(Debug, Default)]
pub struct Pipes(Vec<Pipe>);

impl Pipes {
    fn take(&mut self) -> Result<Pipe, Errno> {
        if let Some(pipe) = self.0.pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // It works with any size.
        fcntl_setpipe_size(&write, PIPE_BYTES).unwrap_or_default();
        Ok(Pipe { read, write })
    }

    fn give_back(&mut self, pipe: Option<Pipe>) {
        self.0.extend(pipe.filter(|_| self.0.len() < SPARE_PIPES));
    }
}

/// One direction.
#[derive(Debug, Default)]
struct Flow {
    pipe: Option<Pipe>,
    /// How much is in the pipe, in bytes.
    pending: usize,
    /// The source has nothing more to say.
    ended: bool,
    /// The destination was told so.
    done: bool,
}

/// The two sockets. Flow `n` goes from end `n` to the other one.
#[derive(Debug)]
pub struct Stream {
    ends: [TcpStream; 2],
    keys: [Key; 2],
    interests: [EventFlags; 2],
    flows: [Flow; 2],
}

/// What becomes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Open,
    /// Both directions have ended, or one was reset.
    Over,
}

impl Stream {
    /// Connects `ends`, which do not block and are not registered yet.
    #[must_use]
    pub fn new(ends: [TcpStream; 2], keys: [Key; 2]) -> Self {
        for end in &ends {
            // A courtesy to small messages: nothing depends on it.
            end.set_nodelay(true).unwrap_or_default();
        }
        Self { ends, keys, interests: [EventFlags::empty(); 2], flows: Default::default() }
    }

    /// Moves what can be moved, and registers what to wait for.
    pub fn advance(&mut self, pipes: &mut Pipes, reactor: &Reactor) -> SysResult<Fate> {
        for number in [0, 1] {
            if self.pump(number, pipes).is_err() {
                for flow in &mut self.flows {
                    // What is left in a pipe belongs to this connection: such a pipe is not used again.
                    pipes.give_back(flow.pipe.take().filter(|_| flow.pending == 0));
                }
                self.ends.iter().for_each(reset);
                return Ok(Fate::Over);
            }
        }
        if self.flows.iter().all(|flow| flow.done) {
            return Ok(Fate::Over);
        }
        for number in [0, 1] {
            let (from, to) = (&self.flows[number], &self.flows[1 - number]);
            let mut wanted = EventFlags::empty();
            wanted.set(EventFlags::IN, from.pending == 0 && !from.ended);
            wanted.set(EventFlags::OUT, to.pending > 0);
            reactor.change(&self.ends[number], self.keys[number], self.interests[number], wanted)?;
            self.interests[number] = wanted;
        }
        Ok(Fate::Open)
    }

    fn pump(&mut self, number: usize, pipes: &mut Pipes) -> Result<(), Errno> {
        let (from, to) = (&self.ends[number], &self.ends[1 - number]);
        let flow = &mut self.flows[number];
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        for _ in 0..ROUNDS {
            if flow.done {
                return Ok(());
            }
            if flow.pending == 0 && flow.ended {
                pipes.give_back(flow.pipe.take());
                // A connection that is gone already is told nothing.
                to.shutdown(Shutdown::Write).unwrap_or_default();
                flow.done = true;
                return Ok(());
            }
            let pipe = match flow.pipe.take() {
                Some(pipe) => pipe,
                None => pipes.take()?,
            };
            let pipe = flow.pipe.insert(pipe);
            if flow.pending == 0 {
                match splice(from, None, &pipe.write, None, PIPE_BYTES, flags) {
                    Ok(0) => flow.ended = true,
                    Ok(size) => flow.pending = size,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => {
                        pipes.give_back(flow.pipe.take());
                        return Ok(());
                    }
                    Err(errno) => return Err(errno),
                }
            }
            if flow.pending > 0 {
                match splice(&pipe.read, None, to, None, flow.pending, flags) {
                    Ok(size) => flow.pending -= size,
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(()),
                    Err(errno) => return Err(errno),
                }
            }
        }
        Ok(())
    }
}

/// Makes the end of `socket` a reset instead of an orderly end.
pub fn reset(socket: &TcpStream) {
    // It is about to be closed: if this fails, in an orderly way.
    rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap_or_default();
}
