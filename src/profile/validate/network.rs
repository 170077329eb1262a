//! `[network]`, checked.

use super::{Checked, Origin};
use crate::profile::bandwidth::{self, Bandwidth};
use crate::profile::diagnostic::Diagnostic;
use crate::profile::egress::{self, Rule};
use crate::profile::ports::{self, HostPort, Published};
use crate::profile::schema::{At, RawBandwidth, RawHostPort, RawNetwork};
use crate::profile::{ForwardMode, NetworkMode};

/// What one file says of the network, but for its mode.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkLayer {
    /// Ports of the box on the host.
    pub ports: Vec<Published>,
    /// Whether what listens is forwarded.
    pub forward: Option<ForwardMode>,
    /// Ports of the host's loopback in the box.
    pub host_ports: Vec<HostPort>,
    /// How fast the box sends and receives.
    pub bandwidth: Option<Bandwidth>,
    /// The box whose network it is.
    pub join: Option<String>,
    /// What the box reaches.
    pub egress: Option<Vec<Rule>>,
}

impl Origin<'_> {
    pub(super) fn network(&self, raw: RawNetwork) -> Checked<NetworkLayer> {
        if raw.mode.as_ref().is_some_and(|mode| mode.value == NetworkMode::None) {
            self.nothing_to_reach(&raw)?;
        }
        if let (Some(NetworkMode::Host), Some(bandwidth)) = (raw.mode.as_ref().map(|mode| mode.value), &raw.bandwidth) {
            return Err(self
                .wrong(bandwidth, "`bandwidth` needs a network of the box's own")
                .label("the mode is `host`")
                .into());
        }
        if let Some(join) = &raw.join {
            let others = [
                ("mode", raw.mode.is_some()),
                ("ports", !raw.ports.is_empty()),
                ("forward", raw.forward.is_some()),
                ("host_ports", !raw.host_ports.is_empty()),
                ("bandwidth", raw.bandwidth.is_some()),
                ("egress", raw.egress.is_some()),
            ];
            if let Some((key, _)) = others.iter().find(|(_, is_there)| *is_there) {
                return Err(self
                    .wrong(join, format!("`join` and `{key}` exclude each other"))
                    .label("the network is that of the other box, as its profile says")
                    .into());
            }
        }
        if let (Some(NetworkMode::Host), Some(_)) = (raw.mode.as_ref().map(|mode| mode.value), &raw.egress)
            && let Some(mode) = &raw.mode
        {
            return Err(self
                .wrong(mode, "`egress` and `mode = \"host\"` exclude each other")
                .label("the host's network is not the box's to restrict")
                .into());
        }
        let mut ports: Vec<Published> = Vec::new();
        for entry in raw.ports {
            for port in self.published(&entry)? {
                let same_place = |other: &Published| {
                    (other.address, other.host_port, other.protocol) == (port.address, port.host_port, port.protocol)
                };
                if port.host_port.is_some() && ports.iter().any(same_place) {
                    return Err(self.wrong(&entry, "this port of the host is named twice").into());
                }
                ports.push(port);
            }
        }
        Ok(NetworkLayer {
            ports,
            forward: raw.forward.map(|forward| forward.value),
            join: raw.join.map(|join| self.name(join)).transpose()?,
            bandwidth: raw.bandwidth.map(|bandwidth| self.bandwidth(&bandwidth)).transpose()?,
            host_ports: raw.host_ports.into_iter().map(|port| self.host_port(&port)).collect::<Checked<_>>()?,
            egress: raw
                .egress
                .map(|list| list.iter().map(|entry| self.egress(entry)).collect::<Checked<_>>())
                .transpose()?,
        })
    }

    fn egress(&self, entry: &At<String>) -> Checked<Rule> {
        egress::parse(&entry.value).map_err(|fault| {
            // Behind the quote, unless something in the entry is escaped.
            let start = entry.span.start + 1 + fault.bytes.start();
            let exact = self.text.get(entry.span.start + 1..entry.span.end.saturating_sub(1)) == Some(&*entry.value);
            let span = if exact { start..entry.span.start + 2 + fault.bytes.end() } else { entry.span.clone() };
            self.wrong(&At { value: (), span }, "this is nothing that a box could reach")
                .label(fault.label)
                .help("write `[udp/]NAME-OR-ADDRESS[:PORTS]`, for example `packages.example:443` or `*.github.com`")
                .into()
        })
    }

    fn nothing_to_reach(&self, raw: &RawNetwork) -> Checked<()> {
        let fault = |at: Diagnostic| at.label("a box without a network has no ports").into();
        match (raw.ports.first(), raw.host_ports.first()) {
            (Some(port), _) => Err(fault(self.wrong(port, "`ports` and `mode = \"none\"` exclude each other"))),
            (_, Some(port)) => Err(fault(self.wrong(port, "`host_ports` and `mode = \"none\"` exclude each other"))),
            (None, None) => Ok(()),
        }
    }

    fn published(&self, entry: &At<String>) -> Checked<Vec<Published>> {
        ports::parse_published(&entry.value).map_err(|fault| {
            self.wrong(entry, "this is no port to publish")
                .label(fault)
                .help("write `[ADDRESS:][HOST-PORT:]BOX-PORT[/udp]`, for example `8080:80`")
                .into()
        })
    }

    fn bandwidth(&self, entry: &At<RawBandwidth>) -> Checked<Bandwidth> {
        let rate = |text: &String| -> Checked<u64> {
            bandwidth::parse_rate(text).map_err(|fault| self.wrong(entry, "this is no rate").label(fault).into())
        };
        let (up, down) = match &entry.value {
            RawBandwidth::Both(both) => (Some(both), Some(both)),
            RawBandwidth::Each { up, down } => (up.as_ref(), down.as_ref()),
        };
        Ok(Bandwidth { up: up.map(rate).transpose()?, down: down.map(rate).transpose()? })
    }

    fn host_port(&self, entry: &At<RawHostPort>) -> Checked<HostPort> {
        let text = match &entry.value {
            RawHostPort::Number(number) => number.to_string(),
            RawHostPort::Text(text) => text.clone(),
        };
        ports::parse_host_port(&text)
            .map_err(|fault| self.wrong(entry, "this is no port of the host").label(fault).into())
    }
}
