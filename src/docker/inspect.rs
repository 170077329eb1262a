//! Containers as JSON: what `inspect` and `ps` print. Pure but for the state that is read.

use serde_json::{Map, Value, json};

use super::container::{Container, State, Status};
use super::time::rfc3339;
use crate::profile::ports::parse_published;

/// As `inspect` prints it.
#[must_use]
pub fn describe(container: &Container, status: Status, state: &State) -> Value {
    let running = status == Status::Running;
    let exit_code = if running { 0 } else { state.exit_code };
    let path = container.arguments();
    let (first, rest) = path.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    json!({
        "Id": container.id,
        "Created": rfc3339(Some(container.created)),
        "Path": first,
        "Args": rest,
        "State": {
            "Status": status.name(),
            "Running": running,
            "Paused": false,
            "Restarting": false,
            "OOMKilled": false,
            "Dead": false,
            "Pid": if running { state.monitor.unwrap_or(0) } else { 0 },
            "ExitCode": exit_code,
            "Error": state.error,
            "StartedAt": rfc3339(state.started),
            "FinishedAt": rfc3339(state.finished),
        },
        "Image": container.image_id,
        "Name": format!("/{}", container.name),
        "RestartCount": 0,
        "Driver": "overlayfs",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": {
            "Binds": null,
            "NetworkMode": container.network,
            "AutoRemove": container.remove,
            "Privileged": false,
            "ReadonlyRootfs": container.read_only,
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "PortBindings": ports(container),
        },
        "Mounts": mounts(container),
        "Config": {
            "Hostname": container.name,
            "User": container.user,
            "Tty": container.terminal,
            "OpenStdin": container.open_input,
            "Env": container.environment,
            "Cmd": container.command,
            "Image": container.image,
            "WorkingDir": container.working_dir,
            "Entrypoint": container.entrypoint,
            "Labels": container.labels,
            "StopSignal": container.stop_signal,
        },
        "NetworkSettings": {
            "Ports": if running { ports(container) } else { json!({}) },
            "IPAddress": "",
            "Networks": {container.network.clone(): {
                "IPAddress": "", "Gateway": "", "NetworkID": "", "EndpointID": "", "MacAddress": "", "IPPrefixLen": 0,
            }},
        },
    })
}

fn mounts(container: &Container) -> Vec<Value> {
    let describe = |mount: &super::mounts::MountPoint| {
        let mode = if mount.read_only { "ro" } else { "" };
        match &mount.volume {
            None => json!({
                "Type": "bind", "Source": mount.source, "Destination": mount.target, "Mode": mode,
                "RW": !mount.read_only, "Propagation": "rprivate",
            }),
            Some(name) => json!({
                "Type": "volume", "Name": name, "Source": "", "Destination": mount.target, "Driver": "local",
                "Mode": mode, "RW": !mount.read_only, "Propagation": "",
            }),
        }
    };
    let memory = container.tmpfs.iter().map(|tmpfs| {
        json!({
            "Type": "tmpfs", "Source": "", "Destination": tmpfs.target, "Mode": "", "RW": true, "Propagation": "",
        })
    });
    container.mounts.iter().map(describe).chain(memory).collect()
}

/// `{"80/tcp": [{"HostIp", "HostPort"}]}`
fn ports(container: &Container) -> Value {
    let mut ports = Map::new();
    for published in container.ports.iter().filter_map(|text| parse_published(text).ok()).flatten() {
        let address = published.address.map_or("127.0.0.1".to_owned(), |address| address.to_string());
        let outside = published.host_port.map_or(String::new(), |port| port.to_string());
        let entry = ports.entry(format!("{}/{}", published.box_port, published.protocol)).or_insert_with(|| json!([]));
        if let Value::Array(list) = entry {
            list.push(json!({"HostIp": address, "HostPort": outside}));
        }
    }
    Value::Object(ports)
}

/// `127.0.0.1:8080->80/tcp, ..`
#[must_use]
pub fn ports_text(container: &Container) -> String {
    let Value::Object(ports) = ports(container) else { return String::new() };
    let text = |(inside, hosts): (&String, &Value)| {
        let shown = |host: &Value| {
            let field = |name: &str| host[name].as_str().unwrap_or_default().to_owned();
            format!("{}:{}->{inside}", field("HostIp"), field("HostPort"))
        };
        hosts.as_array().into_iter().flatten().map(shown).collect::<Vec<_>>().join(", ")
    };
    ports.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::container::tests::container;
    use super::super::mounts::MountPoint;
    use super::*;

    #[test]
    fn what_clients_read() {
        let mut shop = container(&"a".repeat(64), "shop");
        shop.ports = vec!["8080:80".to_owned(), "0.0.0.0:53:53/udp".to_owned()];
        let mount = |volume: Option<&str>| MountPoint {
            volume: volume.map(str::to_owned),
            source: "/a".into(),
            target: "/b".into(),
            read_only: false,
        };
        shop.mounts = vec![mount(None), mount(Some("data"))];
        let started = jiff::Timestamp::from_second(1_700_000_001).unwrap();
        let state = State { started: Some(started), exit_code: 7, ..State::default() };
        let running = describe(&shop, Status::Running, &state);
        for (pointer, expected) in [
            ("/Id", json!("a".repeat(64))),
            ("/Created", json!("2023-11-14T22:13:20.000000000Z")),
            ("/State/Status", json!("running")),
            ("/State/Running", json!(true)),
            ("/State/ExitCode", json!(0)),
            ("/State/StartedAt", json!("2023-11-14T22:13:21.000000000Z")),
            ("/State/FinishedAt", json!("0001-01-01T00:00:00Z")),
            ("/Config/Env", json!(["PATH=/bin"])),
            ("/Config/Labels", json!({"a": "b=c"})),
            ("/Config/User", json!("")),
            ("/NetworkSettings/Ports/80~1tcp", json!([{"HostIp": "127.0.0.1", "HostPort": "8080"}])),
            ("/Mounts/0/Type", json!("bind")),
            ("/Mounts/1/Name", json!("data")),
            ("/Path", json!("sh")),
        ] {
            assert_eq!(running.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert_eq!(ports_text(&shop), "0.0.0.0:53->53/udp, 127.0.0.1:8080->80/tcp");
        assert_eq!(describe(&shop, Status::Exited, &state)["State"]["ExitCode"], 7);
    }
}
