//! The real library of Visual Studio Code's Container Tools, `@microsoft/vscode-container-client`: it makes the command
//! lines, and its parsers refuse an answer that lacks a field.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::devcontainers::docker;
use crate::image::{IMAGE, with_image};
use crate::require;
use crate::support::programs::ended;
use crate::support::{fixture, node_modules};

const LIBRARY: &str = "@microsoft/vscode-container-client";

#[test]
fn every_call_is_answered_or_refused_by_a_sentence() {
    require!(Subuid, Userns, Overlay, Program("busybox"), Program("node"), Node(LIBRARY));
    let test = with_image();
    test.file("note", "of the host\n");
    test.file("context/Dockerfile", format!("FROM {IMAGE}\nARG WHO\n"));
    let mut node = test.program("node");
    node.current_dir(test.project());
    node.arg(fixture("container-tools.js")).arg(node_modules().expect("packages").join(LIBRARY)).arg(docker(&test));
    let (status, said, errors) = ended(node, b"");
    assert_eq!(status, 0, "{said}{errors}");
    let outcomes: BTreeMap<String, Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .map(|outcome: Value| (outcome["call"].as_str().expect("a name").to_owned(), outcome))
        .collect();

    let refused = [
        ("removeContexts", "`docker context rm` is not supported"),
        ("createNetwork", "`docker network create` is not supported"),
        ("removeNetworks", "`docker network remove` is not supported"),
        ("pushImage", "`docker image push` is not supported"),
        ("login", "`docker login` is not supported"),
        ("logout", "`docker logout` is not supported"),
    ];
    for (call, outcome) in &outcomes {
        let error = outcome["error"].as_str();
        match refused.iter().find(|(name, _)| name == call) {
            None => assert_eq!(error, None, "{outcome}"),
            Some((_, sentence)) => {
                assert!(outcome["status"] == 125 && error.is_some_and(|text| text.contains(sentence)), "{outcome}");
            }
        }
    }
    let id = &outcomes["runContainer"]["value"];
    let here = test.project();
    for (call, place, expected) in [
        ("version", "/server", json!("1.41")),
        ("info", "/osType", json!("linux")),
        ("listContexts", "/0/current", json!(true)),
        ("inspectContexts", "/0/name", json!("default")),
        ("listImages of a label", "/0/image/image", json!("built")),
        ("inspectImages", "/0/labels/made", json!("by tools")),
        ("inspectImages", "/0/environmentVariables/GREETING", json!("hello")),
        ("listContainers", "/0/id", id.clone()),
        ("listContainers", "/0/name", json!("box")),
        ("listContainers", "/0/state", json!("running")),
        ("listContainers", "/0/labels/of", json!("tools")),
        ("listContainers", "/0/ports/0/containerPort", json!(81)),
        ("listContainers", "/0/networks", json!(["bridge"])),
        ("listContainers of another label", "", json!([])),
        ("listContainers of a volume", "/0/id", id.clone()),
        ("listContainers that ended", "", json!([])),
        ("inspectContainers", "/0/id", id.clone()),
        ("inspectContainers", "/0/status", json!("running")),
        ("inspectContainers", "/0/image/image", json!("built")),
        ("inspectContainers", "/0/environmentVariables/A", json!("b c")),
        ("inspectContainers", "/0/mounts/0/source", json!(here)),
        ("inspectContainers", "/0/mounts/0/readOnly", json!(true)),
        ("inspectContainers", "/0/mounts/1/type", json!("volume")),
        ("execContainer", "", json!("b c\nof the host\n")),
        ("stopContainers", "", json!(["box"])),
        ("startContainers", "", json!(["box"])),
        ("restartContainers", "", json!(["box"])),
        ("logsForContainer", "", json!("said\n")),
        ("listNetworks", "/0/name", json!("bridge")),
        ("listNetworks of a label", "", json!([])),
        ("inspectNetworks", "/0/driver", json!("bridge")),
        ("listVolumes", "/0/name", json!("data")),
        ("listVolumes", "/1/name", json!("other")),
        ("listVolumes that nobody has", "/0/name", json!("other")),
        ("inspectVolumes", "/0/name", json!("data")),
        ("removeVolumes", "", json!(["other"])),
        ("removeContainers", "", json!(["box"])),
    ] {
        let outcome = &outcomes[call];
        assert_eq!(outcome["value"].pointer(place), Some(&expected), "{outcome}");
    }
    let size = outcomes["listImages"]["value"][0]["size"].as_u64();
    assert!(size.is_some_and(|bytes| bytes > 100_000), "busybox is in it: {}", outcomes["listImages"]);
    let text = |call: &str| outcomes[call]["value"].to_string();
    assert!(text("checkInstall").contains("devbox"));
    assert!(text("readFile").contains("of the host"));
    let files = &outcomes["listFiles"]["value"];
    assert!(files.as_array().is_some_and(|files| files.iter().any(|file| file["name"] == "note")), "{files}");
    let events = outcomes["getEventStream"]["value"].as_array().expect("events");
    let of_box = events.iter().filter(|event| event["actor"]["id"] == *id);
    let actions: Vec<_> = of_box.filter_map(|event| event["action"].as_str()).collect();
    assert_eq!(actions, ["start", "stop", "start", "stop", "start", "stop", "destroy"]);
}
