//! What the box may reach: the packet filter, the addresses of names in it, and the log.
//!
//! The filter stands before a process of the box runs, and is the box's own network namespace's: root in the box has no
//! `CAP_NET_ADMIN` there, and nobody gets it from a namespace made within. The resolver asks [`Gate::rules_for`] before
//! it asks anybody else, and shows every answer to [`Gate::accept`] before the box gets it.

pub mod packets;
pub mod refusals;
pub mod sets;
pub mod sockets;

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use self::packets::{Packet, Packets};
use self::refusals::Refusals;
use self::sets::Sets;
use self::sockets::Sockets;
use super::Shared;
use super::dialer::Voice;
use super::dns::message::Answer;
use super::message::Report;
use super::reactor::{Key, Part};
use crate::process::Program;
use crate::profile::egress::Rule;
use crate::registry::address::Reach;
use crate::sandbox::net::filter::{Egress, HELD_GROUP, LOG_GROUP, ruleset};
use crate::sandbox::net::reached::{Reason, Traffic, TrafficProtocol, Verdict};
use crate::sys::{Context, SysError, SysResult};

/// An address is reachable for at least so long: programs ask once and connect a little later.
const SHORTEST: Duration = Duration::from_secs(60);
/// And at most so long before it has to be asked for again.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// So many lines are written down in a second; the rest is counted.
const LINES: u32 = 100;
/// When it is to be learned what a program needs, each is wanted.
const LINES_TO_LEARN: u32 = 10_000;
const SECOND: Duration = Duration::from_secs(1);
/// So many names and addresses are remembered.
const MAX_REMEMBERED: usize = 8192;
/// So many names of one address are.
const MAX_SHARED: usize = 32;

/// The keys of the sockets that packets are told over.
const PACKETS: Key = Key::new(Part::Egress, 0);
const HELD: Key = Key::new(Part::Egress, 1);

/// The part of the agent.
#[derive(Debug)]
pub struct Gate {
    /// `None`: everything is allowed, and logged.
    rules: Option<Vec<Rule>>,
    sets: Sets,
    packets: Packets,
    /// Connections that wait for their refusal.
    held: Packets,
    refusals: Refusals,
    sockets: Sockets,
    /// Whether the sockets are registered.
    registered: bool,
    /// The addresses of the machine, as they were when a name was last asked for.
    host: Vec<IpAddr>,
    /// By which names the box knows an address, the one that it asked for last behind the others.
    names: HashMap<IpAddr, Vec<String>>,
    /// Names that a permitted name is an alias of, the rules of that, and until when.
    aliases: HashMap<String, (Vec<usize>, Instant)>,
    budget: Budget,
}

/// Lines that may be written, and those that were not.
#[derive(Debug)]
struct Budget {
    each_second: u32,
    left: u32,
    more: u64,
    until: Instant,
}

impl Gate {
    /// Sets the filter up in the caller's network namespace, by the program `nft`. The caller is its root. `voice` is what the
    /// dialer knows the first of its sockets by.
    pub fn new(egress: &Egress, nft: &Path, voice: Voice) -> SysResult<Self> {
        run_nft(nft, &ruleset(egress))?;
        let lines = if *egress == Egress::Learn { LINES_TO_LEARN } else { LINES };
        Ok(Self {
            rules: match egress {
                Egress::Only(rules) => Some(rules.clone()),
                Egress::Learn => None,
            },
            sets: Sets::new()?,
            packets: Packets::new(LOG_GROUP)?,
            held: Packets::new(HELD_GROUP)?,
            refusals: Refusals::new(voice)?,
            sockets: Sockets::new()?,
            registered: false,
            host: Vec::new(),
            names: HashMap::new(),
            aliases: HashMap::new(),
            budget: Budget { each_second: lines, left: lines, more: 0, until: Instant::now() + SECOND },
        })
    }

    /// The rules that name `name`, by their number; `None`: it must not be asked.
    #[must_use]
    pub fn rules_for(&self, name: &str) -> Option<Vec<usize>> {
        let Some(rules) = &self.rules else { return Some(Vec::new()) };
        let mut found: Vec<usize> =
            rules.iter().enumerate().filter(|(_, rule)| rule.target.names(name)).map(|(index, _)| index).collect();
        if let Some((rules, until)) = self.aliases.get(name)
            && *until > Instant::now()
        {
            found.extend(rules);
            found.sort_unstable();
            found.dedup();
        }
        (!found.is_empty()).then_some(found)
    }

    /// Takes down which addresses the machine has.
    pub fn know_host(&mut self, addresses: Vec<IpAddr>) {
        self.host = addresses;
    }

    /// Looks at an answer to a question that `rules` permit. Its addresses are reachable when this returns; an error of the second kind tells
    /// why the box must not see the answer.
    pub fn accept(&mut self, answer: &Answer, rules: &[usize]) -> SysResult<Result<(), Reason>> {
        let addresses = answer.addresses();
        let lasts = |ttl: u32| Duration::from_secs(ttl.into()).clamp(SHORTEST, LONGEST);
        if let Some(list) = &self.rules {
            // Nobody but the user says which local addresses the box reaches: a name's owner could say anything.
            let is_public =
                |address: &IpAddr| Reach::of(*address) == Reach::Public && !self.host.contains(&address.to_canonical());
            let (public, local): (Vec<_>, Vec<_>) = addresses.iter().partition(|(address, _)| is_public(address));
            let listed = |address: IpAddr| list.iter().any(|rule| rule.target.contains(address.to_canonical()));
            if !local.into_iter().all(|(address, _)| listed(address)) {
                return Ok(Err(Reason::LocalAddress));
            }
            let public: Vec<_> = public.into_iter().map(|(address, ttl)| (address, lasts(ttl))).collect();
            self.sets.allow(rules, &public)?;
        }
        let now = Instant::now();
        if self.names.len() > MAX_REMEMBERED {
            self.names.clear();
        }
        for (address, _) in &addresses {
            let names = self.names.entry(*address).or_default();
            names.retain(|known| *known != answer.question.name);
            names.push(answer.question.name.clone());
            if names.len() > MAX_SHARED {
                names.remove(0);
            }
        }
        if self.aliases.len() > MAX_REMEMBERED {
            self.aliases.retain(|_, (_, until)| *until > now);
        }
        if self.aliases.len() <= MAX_REMEMBERED {
            for (alias, ttl) in answer.chain().into_iter().skip(1) {
                self.aliases.insert(alias.to_owned(), (rules.to_vec(), now + lasts(ttl)));
            }
        }
        Ok(Ok(()))
    }

    /// Writes down that the resolver said no.
    pub fn refused(&mut self, name: &str, reason: Reason, shared: &mut Shared) -> SysResult<()> {
        self.write(question(name, Verdict::Denied, Some(reason)), shared)
    }

    /// Writes down what the box asked for while everything is allowed.
    pub fn learned(&mut self, name: &str, shared: &mut Shared) -> SysResult<()> {
        match self.rules {
            Some(_) => Ok(()),
            None => self.write(question(name, Verdict::Allowed, None), shared),
        }
    }

    /// When [`Self::on_time`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match (self.registered, self.budget.more) {
            (false, _) => Some(Instant::now()),
            (true, 0) => None,
            (true, _) => Some(self.budget.until),
        }
    }

    /// Does what is due.
    pub fn on_time(&mut self, shared: &mut Shared) -> SysResult<()> {
        let now = Instant::now();
        if self.budget.until <= now {
            let more = std::mem::take(&mut self.budget.more);
            self.budget.left = self.budget.each_second;
            self.budget.until = now + SECOND;
            if more > 0 {
                shared.link.send(&Report::MoreTraffic { count: more }, Vec::new())?;
            }
        }
        if !self.registered {
            self.registered = true;
            shared.reactor.add(&self.packets, PACKETS, EventFlags::IN)?;
            shared.reactor.add(&self.held, HELD, EventFlags::IN)?;
        }
        Ok(())
    }

    /// Tells everything that is known, the number of what there was no room for last.
    pub fn flush(&mut self, shared: &mut Shared) -> SysResult<()> {
        for key in [HELD, PACKETS] {
            while self.read(key.id, shared)? {}
        }
        match std::mem::take(&mut self.budget.more) {
            0 => Ok(()),
            count => shared.link.send(&Report::MoreTraffic { count }, Vec::new()),
        }
    }

    /// Packets were told of.
    pub fn on_ready(&mut self, id: u32, shared: &mut Shared) -> SysResult<()> {
        self.read(id, shared).map(drop)
    }

    /// The sockets that speak for it.
    pub fn voices(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.refusals.voices()
    }

    /// The first of the connections that were held is written down.
    pub fn written(&mut self, shared: &Shared) -> SysResult<()> {
        self.refusals.written(&shared.dialer)
    }

    /// Returns whether there may be more.
    fn read(&mut self, id: u32, shared: &mut Shared) -> SysResult<bool> {
        let waits = id == HELD.id;
        let mut told = Vec::new();
        let packets = if waits { &mut self.held } else { &mut self.packets };
        let Some(lost) = packets.read(&mut told)? else { return Ok(false) };
        self.budget.more += lost;
        for packet in told {
            let traffic = self.traffic(&packet);
            if waits {
                self.refuse(packet, traffic, shared)?;
                continue;
            }
            // Nobody can tell which of its names was meant: a list without the others would not be enough.
            let others = if self.rules.is_none() { self.other_names(packet.address) } else { Vec::new() };
            for name in others {
                self.write(Traffic { name: Some(name), ..traffic.clone() }, shared)?;
            }
            self.write(traffic, shared)?;
        }
        Ok(true)
    }

    /// Refuses a connection; where its process can be found, that is done before.
    fn refuse(&mut self, packet: Packet, traffic: Traffic, shared: &mut Shared) -> SysResult<()> {
        if traffic.socket.is_some() && self.take_line(shared)? {
            self.refusals.hold(packet);
            return shared.link.send(&Report::Held { traffic }, Vec::new());
        }
        self.refusals.refuse(&packet, &shared.dialer)?;
        self.write(traffic, shared)
    }

    /// All names of an address but the last one.
    fn other_names(&self, address: IpAddr) -> Vec<String> {
        let names = self.names.get(&address).map_or(&[][..], Vec::as_slice);
        names.split_last().map_or_else(Vec::new, |(_, others)| others.to_vec())
    }

    fn traffic(&mut self, packet: &Packet) -> Traffic {
        let protocol = match packet.protocol {
            TrafficProtocol::Tcp => Some(libc::IPPROTO_TCP),
            TrafficProtocol::Udp => Some(libc::IPPROTO_UDP),
            TrafficProtocol::Icmp | TrafficProtocol::Dns | TrafficProtocol::Other => None,
        };
        // What is not written down need not be known.
        let wanted = protocol.zip(packet.ports).filter(|_| self.budget.left > 0);
        let socket = wanted.and_then(|(protocol, (from, to))| {
            let (from, to) = (SocketAddr::new(packet.from, from), SocketAddr::new(packet.address, to));
            self.sockets.number(protocol, from, to)
        });
        Traffic {
            verdict: packet.verdict,
            protocol: packet.protocol,
            name: self.names.get(&packet.address).and_then(|names| names.last()).cloned(),
            address: Some(packet.address),
            port: packet.ports.map(|(_, to)| to),
            uid: packet.uid,
            socket,
            reason: None,
        }
    }

    fn write(&mut self, traffic: Traffic, shared: &mut Shared) -> SysResult<()> {
        if self.take_line(shared)? {
            shared.link.send(&Report::Traffic { traffic }, Vec::new())
        } else {
            self.budget.more += 1;
            Ok(())
        }
    }

    /// Whether one more line may be written in this second.
    fn take_line(&mut self, shared: &mut Shared) -> SysResult<bool> {
        if self.budget.until <= Instant::now() {
            self.on_time(shared)?;
        }
        let left = self.budget.left.checked_sub(1);
        self.budget.left = left.unwrap_or(0);
        Ok(left.is_some())
    }
}

/// A question for `name`.
fn question(name: &str, verdict: Verdict, reason: Option<Reason>) -> Traffic {
    Traffic {
        verdict,
        protocol: TrafficProtocol::Dns,
        name: Some(name.to_owned()),
        address: None,
        port: None,
        uid: None,
        socket: None,
        reason,
    }
}

fn run_nft(nft: &Path, ruleset: &str) -> SysResult<()> {
    let call = || "hand over the packet filter".to_owned();
    let memory = rustix::fs::memfd_create("ruleset", rustix::fs::MemfdFlags::CLOEXEC).call(call)?;
    let mut file = File::from(memory);
    file.write_all(ruleset.as_bytes()).and_then(|()| file.rewind()).call(call)?;
    Program::new(nft).args(["-f", "-"]).stdin(file).run().map_err(|error| {
        // The file system is still there: the kernel's own reason is in what the program said.
        SysError::new(
            format!("set up the packet filter of `egress`; does the kernel have nf_tables, nft_ct, nft_limit, nft_log and nft_reject? {error}"),
            Errno::OPNOTSUPP,
        )
    })
}
