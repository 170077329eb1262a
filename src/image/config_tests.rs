use super::*;

const FULL: &str = r#"{
    "created": "2026-01-02T03:04:05.678901234Z", "author": "someone", "architecture": "arm64", "variant": "v8",
    "os": "linux", "os.features": ["x"], "container": "c0ffee", "docker_version": "20.10", "moby.buildkit.x": "y",
    "config": {
        "User": "app:app", "ExposedPorts": {"80/tcp": {}}, "Env": ["PATH=/bin"], "Entrypoint": ["/e"], "Cmd": ["c", "d"],
        "Volumes": {"/data": {}}, "WorkingDir": "/w", "Labels": {"a": "b"}, "StopSignal": "SIGINT", "Shell": ["/bin/sh", "-c"],
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 30000000000, "Retries": 3, "Other": 1}, "OnBuild": ["RUN x"],
        "ArgsEscaped": true, "Hostname": "h", "AttachStdin": false
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},
    "history": [{"created_by": "/bin/sh -c x", "empty_layer": true, "new": [1]}, {"comment": "y"}]
}"#;

#[test]
fn nothing_is_lost() {
    let config = ImageConfig::parse(FULL.as_bytes()).unwrap();
    let before: Value = serde_json::from_str(FULL).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap(), before);
    assert_eq!(config.config.healthcheck.as_ref().unwrap().retries, Some(3));
    assert_eq!(config.platform().to_string(), "linux/arm64");
    assert!(config.require_layers(1).is_ok());
    assert_eq!(config.require_layers(2).unwrap_err().to_string(), "the manifest has 2 layers and its configuration 1");
}

#[test]
fn numbers_stay_the_same() {
    let config = ImageConfig::parse(format!("{{\"tSed\":{}}}", "1".repeat(111)).as_bytes()).unwrap();
    assert_eq!(ImageConfig::parse(&serde_json::to_vec(&config).unwrap()).unwrap(), config);
}

#[test]
fn null_is_nothing() {
    let text = r#"{"config": {"Env": null, "Labels": null, "Volumes": null, "OnBuild": null, "Entrypoint": null, "User": null,
        "WorkingDir": null, "ExposedPorts": null}, "rootfs": {"type": "layers", "diff_ids": null}, "history": null}"#;
    assert_eq!(ImageConfig::parse(text.as_bytes()).unwrap(), ImageConfig::default());
    assert_eq!(ImageConfig::parse(br#"{"config": null}"#).unwrap(), ImageConfig::default());
}

#[test]
fn others_are_refused() {
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    let blown = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_CONFIG_BYTES));
    // Each step of a history takes a hundred bytes and more.
    let history = format!("{{\"history\":[{}{{}}]}}", "{},".repeat(1_000_000));
    let unknown = format!("{{\"x\":[{}0]}}", "0,".repeat(2_000_000));
    for text in [&history, &unknown] {
        let ConfigError::Json { source } = ImageConfig::parse(text.as_bytes()).unwrap_err() else { panic!() };
        assert_eq!(source.to_string(), "it has more than 200000 values");
    }
    for (text, expected) in [
        ("", "cannot be read"),
        ("[]", "cannot be read"),
        (r#"{"rootfs": {"type": "other"}}"#, "type `other`"),
        (r#"{"rootfs": {"type": "layers", "diff_ids": ["sha256:../../x"]}}"#, "cannot be read"),
        (r#"{"config": {"Env": "PATH"}}"#, "cannot be read"),
        (&deep, "cannot be read"),
        (&blown, "more than"),
    ] {
        let error = ImageConfig::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
