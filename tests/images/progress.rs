//! How pull and push show themselves: bars on a terminal, a line for each event elsewhere.

use std::time::Duration;

use super::pull::{BLOBS, push_large};
use crate::require;
use crate::support::devbox::Devbox;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::registry::Registry;

/// The lines of `said` that are about layer `number`, without its digest, sizes' fractions and times.
fn events(said: &str, number: usize) -> Vec<String> {
    let lines = said.lines().filter_map(|line| line.split_once(&format!(": layer {number}/3 ")));
    lines.map(|(what, rest)| format!("{what}:{}", &rest[13..].split(" in ").next().unwrap_or_default())).collect()
}

#[test]
fn without_a_terminal_each_event_is_a_line() {
    require!(Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let (registry, test) = (Registry::start(), Devbox::new());
    push_large(&test, &registry);
    let image = format!("{}/app:1", registry.name());
    let said = test.args(["image", "pull", &image]).any_stdout().any_stderr().run().stderr;
    let fetching = format!("devbox: fetching {image}");
    assert_eq!(said.lines().count(), 6, "{said}");
    let large = [format!("{fetching}: begun, 8.00 MiB"), format!("{fetching}: done, 8.00 MiB")];
    assert_eq!(events(&said, 3), large, "{said}");
    let seconds = said.lines().filter(|line| line.contains("done")).all(|line| line.ends_with(" s"));
    assert!(seconds, "{said}");

    // Nothing new: nothing to say. Nor for a push of what is there.
    test.args(["image", "pull", &image]).any_stdout().run();
    let said = test.args(["image", "push", &image]).any_stdout().any_stderr().run().stderr;
    assert_eq!(events(&said, 3), [format!("devbox: pushing {image}: exists, 8.00 MiB")], "{said}");
    let other = format!("{}/other:1", registry.name());
    let said = test.args(["image", "push", &image, &other]).any_stdout().any_stderr().run().stderr;
    assert_eq!(events(&said, 3), [format!("devbox: pushing {other}: mounted, 8.00 MiB")], "{said}");
}

#[test]
fn who_waits_says_so() {
    require!(Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let (registry, test) = (Registry::start(), Devbox::new());
    push_large(&test, &registry);
    let proxy = FaultProxy::start(registry.port());
    let busy = Fault::Answer("503 Service Unavailable", vec!["Retry-After: 2".to_owned()], String::new());
    proxy.add(BLOBS, busy, 1);
    let image = format!("{}/app:1", proxy.name());
    let said = test.args(["image", "pull", &image]).any_stdout().any_stderr().run().stderr;
    let waiting = format!("devbox: `{}` is busy or away: trying again in 2 s\n", proxy.name());
    assert!(said.contains(&waiting), "{said}");
}

#[test]
fn on_a_terminal_each_layer_has_a_bar() {
    require!(Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let (registry, source) = (Registry::start(), Devbox::new());
    push_large(&source, &registry);
    for (columns, color) in [(100, true), (100, false), (60, true), (30, true)] {
        let proxy = FaultProxy::start(registry.port());
        proxy.add(BLOBS, Fault::Slow(256 << 10, Duration::from_millis(25)), 10);
        let image = format!("{}/app:1", proxy.name());
        let mut test = Devbox::new();
        if !color {
            test.env("NO_COLOR", "1");
        }
        let mut terminal = test.terminal(["image", "pull", &image], 24, columns);
        let bars = |screen: &vt100::Screen| {
            let rows: Vec<String> = screen.rows(0, columns).collect();
            let first = rows.iter().position(|row| row.starts_with("fetching "))?;
            let layer = rows.iter().position(|row| row.starts_with("  layer 3/3 "))?;
            Some((first, layer, rows))
        };
        let has_begun = |row: &str| row.contains(if columns < 80 { "%" } else { "iB/s " });
        terminal.wait_for(|screen| bars(screen).is_some_and(|(_, layer, rows)| has_begun(&rows[layer])));
        let (first, layer, rows) = bars(terminal.screen()).expect("bars");
        // No row is wrapped: one for the whole, one for each layer at work.
        let used = rows.iter().filter(|row| !row.trim().is_empty()).count();
        assert!(first == 0 && layer < used && used <= 4, "{rows:#?}");
        let row = &rows[layer];
        if columns >= 80 {
            assert!(row.contains("/8.00 MiB ") && row.contains("iB/s ") && row.contains("[="), "{rows:#?}");
            let colored = (0..columns).filter_map(|column| terminal.screen().cell(cell(layer), column));
            let colored =
                colored.filter(|cell| cell.contents() == "=" && cell.fgcolor() != vt100::Color::Default).count();
            assert_eq!(colored > 0, color, "{rows:#?}");
        }
        assert_eq!(row.contains('%'), columns < 80, "{rows:#?}");

        assert!(terminal.wait_exit().success());
        let left = terminal.screen().contents().replace('\n', "");
        assert!(left.starts_with(&format!("{}/app@sha256:", proxy.name())), "{left}");
        assert_eq!(left.len(), format!("{}/app@sha256:", proxy.name()).len() + 64, "{left}");
    }
}

#[test]
fn a_box_that_needs_an_image_shows_its_layers_too() {
    require!(Program("docker-registry"), Program("umoci"), Program("skopeo"), Program("busybox"));
    let (registry, test) = (Registry::start(), Devbox::new());
    push_large(&test, &registry);
    let proxy = FaultProxy::start(registry.port());
    proxy.add(BLOBS, Fault::Slow(256 << 10, Duration::from_millis(25)), 10);
    test.profile(&format!("image = \"{}/app:1\"\n[network]\nmode = \"none\"\n", proxy.name()));
    let mut terminal = test.terminal(["run", "--rm", "--", "/busybox", "echo", "it runs"], 24, 100);
    terminal.wait_for_text("  layer 3/3 ");
    assert!(terminal.wait_exit().success());
    let left = terminal.screen().contents();
    assert!(left.contains("it runs") && !left.contains("layer"), "{left}");
}

fn cell(row: usize) -> u16 {
    u16::try_from(row).expect("a small screen")
}
