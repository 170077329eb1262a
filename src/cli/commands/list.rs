//! `devbox list`.

use serde::Serialize;

use crate::boxes::list;
use crate::cli::args::Format;
use crate::cli::{Outcome, print, print_json};
use crate::paths::Paths;
use crate::text::sanitize;
use crate::ui;

#[derive(Serialize)]
struct Row {
    name: String,
    id: String,
    state: &'static str,
    project: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Lists every box, broken ones as well.
pub fn run(format: Format) -> Outcome {
    let paths = Paths::from_environment()?;
    let rows: Vec<Row> = list::list(&paths)?
        .iter()
        .map(|listed| match &listed.record {
            Ok(record) => Row {
                name: record.name.clone(),
                id: listed.id.as_str().to_owned(),
                state: if listed.is_running(&paths) {
                    "running"
                } else if listed.has_project() {
                    "stopped"
                } else {
                    "orphaned"
                },
                project: record.project.to_string_lossy().into_owned(),
                created: record.created.clone(),
                problem: None,
            },
            Err(error) => Row {
                name: listed.id.as_str().to_owned(),
                id: listed.id.as_str().to_owned(),
                state: "broken",
                project: String::new(),
                created: String::new(),
                problem: Some(error.to_string()),
            },
        })
        .collect();
    if format == Format::Json {
        return print_json(&rows);
    }
    if rows.is_empty() {
        return print("no boxes\n");
    }
    let mut table = vec![["NAME", "STATE", "CREATED", "PROJECT"].map(str::to_owned).to_vec()];
    for row in rows {
        let place = row.problem.unwrap_or(row.project);
        let created = row.created.split('T').next().unwrap_or_default().to_owned();
        table.push(vec![
            sanitize(&row.name).into_owned(),
            row.state.to_owned(),
            created,
            sanitize(&place).into_owned(),
        ]);
    }
    print(&ui::table(&table))
}
