//! The host side of a box's network: it holds what the box may have of the host's, and answers the agent and the
//! user's commands. Part of the supervisor; nothing here may wait for the agent.

pub mod bind;
pub mod forwards;
pub mod owners;
pub mod servers;

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::forwards::{Entry, Forward, Forwards, Origin};
use self::owners::Owners;
use self::servers::Servers;
use super::agent;
use super::agent::link::{Link, Received};
use super::agent::message::{Order, Report};
use super::plan::NetPlan;
use super::reached::{Line, Traffic};
use super::{NetError, NetTarget, traffic};
use crate::profile::bandwidth::Bandwidth;
use crate::profile::ports::{HostPort, Published};
use crate::sandbox::channel::{Failure, Phase};
use crate::sandbox::companion::Companion;
use crate::sandbox::control::{Answer, Request};
use crate::sandbox::init::EventLog;
use crate::sandbox::journal::Journal;
use crate::sys::socket::MAX_DESCRIPTORS;
use crate::sys::{SysResult, net};

/// How many messages of the agent are read before others get their turn.
const TURN: usize = 64;

/// The host side of one box.
#[derive(Debug)]
pub struct HostSide<'a> {
    plan: &'a NetPlan,
    /// The box's namespaces, if they are its own: init's are out of reach by now.
    namespaces: Option<NetTarget>,
    log: &'a EventLog,
    /// A directory without entries.
    empty: &'a Path,
    agent: Option<(Companion, Link)>,
    forwards: Forwards,
    /// What the agent, which is not started yet, will be told.
    orders: Vec<(Order, Vec<OwnedFd>)>,
    servers: Servers,
    journal: Option<Journal>,
    owners: Option<Owners>,
    /// How often a port's coming and going may still be written to the log: a box must not fill it.
    lines_left: u32,
}

/// How long an agent may take to tell what it knows when its box has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How often a port's coming and going is written to the log.
const MAX_PORT_LINES: u32 = 1000;

impl<'a> HostSide<'a> {
    /// Takes what the plan names, of the host: a port that is taken is an error.
    /// `empty` is a directory without entries.
    pub fn new(
        plan: &'a NetPlan,
        namespaces: Option<NetTarget>,
        log: &'a EventLog,
        empty: &'a Path,
    ) -> Result<Self, NetError> {
        let mut host_side = Self {
            plan,
            log,
            empty,
            agent: None,
            forwards: Forwards::new(plan.tasks.attributes.clone()),
            orders: Vec::new(),
            servers: Servers::new(Path::new("/etc/resolv.conf")),
            journal: plan.journal.as_deref().map(Journal::new),
            owners: namespaces.as_ref().and_then(Owners::of),
            namespaces,
            lines_left: MAX_PORT_LINES,
        };
        if host_side.namespaces.is_some() {
            for published in &plan.tasks.published {
                host_side.publish(published, Origin::Profile)?;
            }
        }
        Ok(host_side)
    }

    /// Makes a port of the box reachable.
    fn publish(&mut self, published: &Published, origin: Origin) -> Result<Forward, NetError> {
        let entry = self
            .forwards
            .publish(published, origin)
            .map_err(|source| NetError::Publish { port: *published, source })?;
        let (order, sockets, forward) = (order(entry), entry.share()?, entry.forward.clone());
        self.order(order, sockets)?;
        Ok(forward)
    }

    fn order(&mut self, order: Order, sockets: Vec<OwnedFd>) -> SysResult<()> {
        match &mut self.agent {
            Some((_, link)) => link.send(&order, sockets),
            None => {
                self.orders.push((order, sockets));
                Ok(())
            }
        }
    }

    /// Limits what the box sends and receives, which has its interface by now.
    pub fn shape(&self) -> Result<(), NetError> {
        match &self.namespaces {
            Some(namespaces) if self.plan.bandwidth != Bandwidth::default() => {
                traffic::shape(namespaces, &self.plan.bandwidth).map_err(NetError::Bandwidth)
            }
            _ => Ok(()),
        }
    }

    /// Whether the box may run before its agent does.
    #[must_use]
    pub fn agent_comes_first(&self) -> bool {
        self.plan.tasks.come_first()
    }

    /// Starts the agent, if there is something to do for it and it does not run.
    pub fn start_agent(&mut self) -> SysResult<()> {
        if self.plan.tasks.is_empty() { Ok(()) } else { self.run_agent() }
    }

    fn run_agent(&mut self) -> SysResult<()> {
        if let (None, Some(namespaces)) = (&self.agent, &self.namespaces) {
            let (agent, mut link) = agent::start(&self.plan.tasks, namespaces, self.empty)?;
            let sent = self.orders.drain(..).try_for_each(|(order, sockets)| link.send(&order, sockets));
            self.agent = Some((agent, link));
            sent?;
        }
        Ok(())
    }

    /// Waits for the agent's first message.
    pub fn wait_until_ready(&mut self, timeout: Duration) -> Result<(), NetError> {
        let Some((_, link)) = &mut self.agent else { return Ok(()) };
        let deadline = Instant::now() + timeout;
        loop {
            match link.receive::<Report>() {
                Ok(Received::Message(Report::Ready, _)) => return Ok(()),
                Ok(Received::Message(Report::Failed { causes }, _)) => return Err(NetError::Agent { causes }),
                Ok(Received::Nothing) => {}
                Ok(Received::Message(..) | Received::Closed) | Err(_) => return Err(NetError::AgentEnded),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut set = [PollFd::new(&*link, PollFlags::IN)];
            match poll(&mut set, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => return Err(NetError::AgentEnded),
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Err(NetError::AgentEnded),
            }
        }
    }

    /// What to wait for, on behalf of the agent.
    #[must_use]
    pub fn poll_fd(&self) -> Option<PollFd<'_>> {
        let (_, link) = self.agent.as_ref()?;
        let flags = if link.is_waiting() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        Some(PollFd::new(link, flags))
    }

    /// Reads what the agent has to say, and sends what waits for it. An agent that ended, or does not behave, is
    /// given up: the box goes on without.
    pub fn serve(&mut self) {
        for _ in 0..TURN {
            let Some((_, link)) = &mut self.agent else { return };
            let received = link.flush().and_then(|()| link.receive::<Report>());
            let heard = match received {
                Ok(Received::Nothing) => return,
                Ok(Received::Message(report, _)) => self.hear(report),
                Ok(Received::Closed) => Err("it ended".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(reason) = heard {
                self.give_up(&reason);
            }
        }
    }

    /// One message. The error is why the agent cannot be trusted with more.
    fn hear(&mut self, report: Report) -> Result<(), String> {
        let beyond = || Err("it asked for more than the profile allows".to_owned());
        let tasks = &self.plan.tasks;
        let obeyed = match report {
            Report::Ready => Ok(()),
            Report::Failed { causes } => return Err(causes.join(": ")),
            Report::Listening { .. } | Report::Silent { .. } if !tasks.forward => return beyond(),
            Report::Listening { port, address } => self.forward(port, address),
            Report::Silent { port } => {
                self.withdraw(|forward| forward.origin == Origin::Found && forward.box_port == port).map(drop)
            }
            Report::Connect { ticket, protocol, port } => {
                let port = HostPort { port, protocol };
                if !tasks.host_ports.contains(&port) {
                    return beyond();
                }
                bind::connect_to(port)
                    .and_then(|socket| self.order(Order::Connected { ticket, protocol }, socket.into_iter().collect()))
            }
            Report::Client { ticket, id, socket } => match self.forwards.datagrams(id, socket).map(bind::client_of) {
                // It was withdrawn meanwhile.
                None => Ok(()),
                Some(client) => {
                    // A host without a descriptor to spare has none for this client.
                    let (address, socket) = client.ok().flatten().unzip();
                    self.order(Order::Client { ticket, address }, socket.into_iter().collect())
                }
            },
            Report::Resolve { .. } if !tasks.resolver => return beyond(),
            Report::Resolve { ticket, protocol, attempt } => {
                self.servers.connect(protocol, attempt).and_then(|socket| {
                    let host = if tasks.filter.is_some() { net::own_addresses() } else { Vec::new() };
                    self.order(Order::Resolver { ticket, host }, socket.into_iter().collect())
                })
            }
            Report::Traffic { .. } | Report::Held { .. } | Report::MoreTraffic { .. } if tasks.filter.is_none() => {
                return beyond();
            }
            Report::Traffic { traffic } => {
                self.write_down(Some(traffic), None);
                Ok(())
            }
            Report::Held { traffic } => {
                self.write_down(Some(traffic), None);
                self.order(Order::Written, Vec::new())
            }
            Report::Flushed => Ok(()),
            Report::MoreTraffic { count } => {
                self.write_down(None, Some(count));
                Ok(())
            }
        };
        obeyed.map_err(|error| error.to_string())
    }

    fn write_down(&mut self, traffic: Option<Traffic>, more: Option<u64>) {
        if let Some(journal) = &mut self.journal {
            let socket = traffic.as_ref().and_then(|traffic| traffic.socket);
            let process = socket.zip(self.owners.as_mut()).and_then(|(socket, owners)| owners.find(socket));
            journal.append(&Line { time: jiff::Timestamp::now().to_string(), traffic, process, more });
        }
    }

    /// A program in the box listens.
    fn forward(&mut self, port: u16, address: IpAddr) -> SysResult<()> {
        match self.forwards.found(port, address) {
            Ok(None) => Ok(()),
            Ok(Some(entry)) => {
                let (order, sockets, forward) = (order(entry), entry.share()?, entry.forward.clone());
                self.tell("port_opened", &forward);
                self.order(order, sockets)
            }
            // The host has no port or no descriptor left: that of the others.
            Err(error) => {
                self.log.append("failed", &[("error", &error.to_string())]);
                Ok(())
            }
        }
    }

    fn withdraw(&mut self, unwanted: impl Fn(&Forward) -> bool) -> SysResult<Vec<Forward>> {
        let mut removed = Vec::new();
        for entry in self.forwards.remove(unwanted) {
            let mut waiting = entry.close();
            self.tell("port_closed", &entry.forward);
            while !waiting.is_empty() {
                let clients = waiting.drain(..waiting.len().min(MAX_DESCRIPTORS)).collect();
                self.order(Order::Serve { targets: entry.targets.clone() }, clients)?;
            }
            self.order(Order::Withdraw { id: entry.id }, Vec::new())?;
            removed.push(entry.forward);
        }
        Ok(removed)
    }

    fn tell(&mut self, event: &str, forward: &Forward) {
        let Some(left) = self.lines_left.checked_sub(1) else { return };
        self.lines_left = left;
        let places: Vec<String> = forward.addresses.iter().map(ToString::to_string).collect();
        let port = format!("{}/{}", forward.box_port, forward.protocol);
        self.log.append(event, &[("port", &port), ("host", &places.join(" "))]);
    }

    /// Answers a command of the user's.
    pub fn answer(&mut self, request: Request) -> (Answer, Vec<OwnedFd>) {
        let answered = match request {
            Request::Namespaces => self.share_namespaces(),
            Request::Tree => Err("this box cannot be looked into".to_owned()),
            Request::Group => Err("this box is not watched".to_owned()),
            Request::Ports => Ok((Answer::Ports(self.forwards.list().cloned().collect()), Vec::new())),
            Request::AddPort(port) => self.add_port(&port),
            Request::RemovePort(port) => self.remove_port(&port),
        };
        answered.unwrap_or_else(|reason| (Answer::Refused { reason }, Vec::new()))
    }

    fn add_port(&mut self, port: &Published) -> Result<(Answer, Vec<OwnedFd>), String> {
        if self.namespaces.is_none() {
            return Err("its network is the host's: every port of it is".to_owned());
        }
        let forward = self
            .publish(port, Origin::Command)
            .map_err(|error| Failure::new(Phase::Network, &error).causes.join(": "))?;
        self.tell("port_opened", &forward);
        // The first port of a box that had nothing to do for an agent, or lost its agent.
        self.run_agent().map_err(|error| error.to_string())?;
        Ok((Answer::Ports(vec![forward]), Vec::new()))
    }

    fn remove_port(&mut self, port: &Published) -> Result<(Answer, Vec<OwnedFd>), String> {
        let is_meant = |forward: &Forward| {
            let at = |ip: IpAddr| forward.addresses.iter().any(|address| address.ip() == ip);
            let on = |port: u16| forward.addresses.iter().any(|address| address.port() == port);
            (forward.box_port, forward.protocol) == (port.box_port, port.protocol)
                && port.address.is_none_or(at)
                && port.host_port.is_none_or(on)
        };
        let removed = self.withdraw(is_meant).map_err(|error| error.to_string())?;
        if removed.is_empty() {
            Err("it is not reachable".to_owned())
        } else {
            Ok((Answer::Ports(removed), Vec::new()))
        }
    }

    fn share_namespaces(&self) -> Result<(Answer, Vec<OwnedFd>), String> {
        let namespaces = self.namespaces.as_ref().ok_or("its network is the host's")?;
        let NetTarget { net, user } = namespaces.try_clone().map_err(|error| error.to_string())?;
        Ok((Answer::Namespaces, std::iter::once(net).chain(user).collect()))
    }

    fn give_up(&mut self, reason: &str) {
        // Who waits has nobody who would serve.
        self.forwards.remove(|_| true).iter().map(Entry::close).for_each(drop);
        // Nobody can be told more than the log has.
        self.stop().ok();
        self.log.append("failed", &[("error", &format!("the box's network agent is gone: {reason}"))]);
    }

    /// Ends the agent once it has told what it knows of the box's traffic.
    pub fn finish(&mut self) -> SysResult<()> {
        if self.plan.tasks.filter.is_some() && self.order(Order::Flush, Vec::new()).is_ok() {
            let deadline = Instant::now() + LAST_WORDS;
            while let Some((_, link)) = &self.agent {
                match link.receive::<Report>() {
                    Ok(Received::Message(Report::Flushed, _)) | Ok(Received::Closed) | Err(_) => break,
                    Ok(Received::Message(report, _)) => self.hear(report).unwrap_or_default(),
                    Ok(Received::Nothing) => {
                        let left = deadline.saturating_duration_since(Instant::now());
                        let mut set = [PollFd::new(link, PollFlags::IN)];
                        if matches!(poll(&mut set, Timespec::try_from(left).ok().as_ref()), Ok(0)) {
                            break;
                        }
                    }
                }
            }
        }
        self.stop()
    }

    /// Ends the agent, and with it everything that it serves.
    pub fn stop(&mut self) -> SysResult<()> {
        self.agent.take().map_or(Ok(()), |(mut agent, _)| agent.stop())
    }
}

fn order(entry: &Entry) -> Order {
    Order::Publish { id: entry.id, protocol: entry.forward.protocol, targets: entry.targets.clone() }
}
