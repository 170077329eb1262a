//! Features as layers of an image: one build on what the devcontainer file names, three steps for each.

use std::path::PathBuf;

use super::definition::{self, Definition};
use super::error::{At, FeatureError};
use super::fetch::Origin;
use super::metadata::{Carried, LABEL, config, with_metadata};
use super::order::{Node, order, without_version};
use crate::base::{self, BaseSpec};
use crate::build::events::Listener;
use crate::build::request::{ContextSource, Request};
use crate::build::{BuildError, build};
use crate::image::descriptor::Descriptor;
use crate::image::platform::Platform;
use crate::image::reference::Reference;
use crate::paths::Paths;
use crate::profile::LoadedProfile;
use crate::profile::devcontainer::Feature;
use crate::profile::devcontainer::hooks::quote;
use crate::progress::Progress;
use crate::registry::Client;
use crate::userns::mapper::Offer;

/// More Features than anybody installs.
const MOST: usize = 100;
/// What is added to them.
const OWN_SCRIPT: &str = "devcontainer-features-install.sh";
/// Where their files lie while they are installed, and stay.
const PLACE: &str = "/tmp/dev-container-features";

/// A Feature that is to be installed.
#[derive(Debug)]
struct Step {
    wanted: Feature,
    folder: PathBuf,
    definition: Definition,
}

/// Builds the image with the Features of the profile, if it has any: at once where nothing has changed. What they stand on has
/// been built. The caller must be single-threaded.
pub fn prepare(
    paths: &Paths,
    loaded: &LoadedProfile,
    listener: &mut dyn Listener,
    progress: &dyn Progress,
) -> Result<(), FeatureError> {
    match (loaded.devcontainer.as_ref().map(|own| &own.below), &loaded.profile.base) {
        (Some(Some(_)), BaseSpec::Image(name)) => {
            image(paths, loaded, std::slice::from_ref(name), listener, progress).map(drop)
        }
        _ => Ok(()),
    }
}

/// Builds the image of a devcontainer file, with its Features and the label of what it says, and gives it `names`; `None` if
/// there is no such file. What it stands on has been built. The caller must be single-threaded.
pub fn image(
    paths: &Paths,
    loaded: &LoadedProfile,
    names: &[Reference],
    listener: &mut dyn Listener,
    progress: &dyn Progress,
) -> Result<Option<Descriptor>, FeatureError> {
    let Some(own) = &loaded.devcontainer else { return Ok(None) };
    let below = own.below.as_ref().unwrap_or(&loaded.profile.base);
    let BaseSpec::Image(below_name) = below else { return Ok(None) };
    base::prepare(paths, &Offer::probe().map(0), below, loaded.driver, &loaded.registries, progress)?;
    let carried = config(paths, below_name)?.map(|config| Carried::of(&config)).unwrap_or_default();
    let image_user = carried
        .plain_user()
        .ok_or_else(|| FeatureError::User { image: below_name.familiar(), user: carried.user.clone() })?;
    let user = with_metadata(paths, loaded.clone(), below)?.profile.user;

    let client = Client::new(loaded.registries.clone(), paths).with_notice(progress.notice());
    let file = loaded
        .sources
        .iter()
        .filter_map(|source| source.file())
        .find(|file| file.ends_with("devcontainer.json") || file.ends_with(".devcontainer.json"));
    let folder = file.and_then(std::path::Path::parent).unwrap_or(&loaded.project);
    let origin = Origin { paths, client: &client, project: &loaded.project, folder };
    let steps = collect(&own.features, &own.feature_order, &|reference| {
        let folder = origin.fetch(reference)?;
        Ok((definition::load(&folder, reference)?, folder))
    })?;

    let context = tempfile::tempdir().at("create", "a temporary directory")?;
    let file = context.path().join("Containerfile");
    std::fs::write(&file, containerfile(&below_name.to_string(), &steps, image_user)).at("write", &file)?;
    for (number, step) in steps.iter().enumerate() {
        let own = context.path().join(format!("{number}.sh"));
        std::fs::write(&own, script(step, &place_of(step, number), &user, image_user)).at("write", &own)?;
    }
    let mut entries: Vec<String> = steps.iter().map(|step| step.definition.metadata.clone()).collect();
    entries.push(own.metadata.clone());
    let contexts = steps
        .iter()
        .enumerate()
        .map(|(number, step)| (context_name(number), step.folder.to_string_lossy().into_owned()));
    let source = ContextSource::Directory(context.path().to_owned());
    let request = Request {
        file: Some(file),
        contexts: contexts.collect(),
        labels: vec![(LABEL.to_owned(), carried.label_with(&entries))],
        network: Some(loaded.profile.network.clone()),
        ..Request::new(source, loaded.driver.unwrap_or_default(), Platform::host())
    };
    let built = build(paths, &loaded.registries, &request, names, listener).map_err(|error| named(error, &steps))?;
    Ok(Some(built))
}

/// Says which Feature it was: the Containerfile is one that nobody wrote.
fn named(error: BuildError, steps: &[Step]) -> FeatureError {
    if let BuildError::Step { diagnostic, phase: None, .. } = &error {
        let (line, _) = diagnostic.position();
        let text = diagnostic.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let is_its = |(number, step): &(usize, &Step)| text.contains(&format!("{}/", place_of(step, *number)));
        if let Some((_, step)) = steps.iter().enumerate().find(is_its) {
            let reason = diagnostic.message.clone();
            return FeatureError::Install { reference: step.wanted.reference.clone(), reason };
        }
    }
    error.into()
}

/// Brings a Feature here, by its reference.
type Fetch<'a> = dyn Fn(&str) -> Result<(Definition, PathBuf), FeatureError> + 'a;

/// The Features in the order in which they are installed, with those that they need.
fn collect(wanted: &[Feature], preferred: &[String], fetch: &Fetch<'_>) -> Result<Vec<Step>, FeatureError> {
    let mut steps: Vec<Step> = Vec::new();
    let mut nodes: Vec<Node> = Vec::new();
    let mut waiting: Vec<(Option<usize>, Feature)> =
        wanted.iter().rev().map(|feature| (None, feature.clone())).collect();
    while let Some((dependent, feature)) = waiting.pop() {
        let known = steps.iter().position(|step| step.wanted == feature);
        let index = match known {
            Some(index) => index,
            None if steps.len() == MOST => return Err(FeatureError::TooMany { most: MOST }),
            None => {
                let (definition, folder) = fetch(&feature.reference)?;
                let index = steps.len();
                waiting.extend(definition.depends_on.iter().rev().map(|needed| (Some(index), needed.clone())));
                nodes.push(Node {
                    name: without_version(&feature.reference).to_owned(),
                    depends_on: Vec::new(),
                    installs_after: definition
                        .installs_after
                        .iter()
                        .map(|name| without_version(name).to_owned())
                        .collect(),
                });
                steps.push(Step { wanted: feature, folder, definition });
                index
            }
        };
        if let Some(dependent) = dependent {
            nodes[dependent].depends_on.push(index);
        }
    }
    let preferred: Vec<String> = preferred.iter().map(|name| without_version(name).to_owned()).collect();
    let sequence = order(&nodes, &preferred).map_err(|stuck| FeatureError::Cycle {
        names: stuck.iter().map(|index| nodes[*index].name.clone()).collect(),
    })?;
    let mut all: Vec<Option<Step>> = steps.into_iter().map(Some).collect();
    Ok(sequence.into_iter().filter_map(|index| all[index].take()).collect())
}

fn context_name(number: usize) -> String {
    format!("devbox-feature-{number}")
}

/// The build that installs `steps` on an image whose commands run as `image_user`. Its context has the scripts by their numbers.
fn containerfile(below: &str, steps: &[Step], image_user: &str) -> String {
    let mut text = format!("FROM {below}\n");
    if image_user != "root" {
        text += "USER root\n";
    }
    for (number, step) in steps.iter().enumerate() {
        let place = place_of(step, number);
        text += &format!("COPY --from={} / {place}/\n", context_name(number));
        for (name, value) in &step.definition.variables {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
            text += &format!("ENV {name}=\"{value}\"\n");
        }
        text += &format!("COPY {number}.sh {place}/{OWN_SCRIPT}\nRUN [\"/bin/sh\", \"{place}/{OWN_SCRIPT}\"]\n");
    }
    if image_user != "root" {
        text += &format!("USER {image_user}\n");
    }
    text
}

/// Where the files of a Feature lie while it is installed.
fn place_of(step: &Step, number: usize) -> String {
    format!("{PLACE}/{}_{number}", step.definition.id)
}

/// What runs the Feature's own script, with its options as variables.
fn script(step: &Step, place: &str, user: &str, image_user: &str) -> String {
    let mut script = format!("cd {}\n", quote(place));
    for (name, who) in [("_REMOTE_USER", user), ("_CONTAINER_USER", image_user)] {
        let who = quote(who);
        script += &format!(
            "{name}={who}\n\
             {name}_HOME=$( (command -v getent >/dev/null 2>&1 && getent passwd {who} || grep -E \"^${name}:\" /etc/passwd || true) \
             | cut -d: -f6)\nexport {name} {name}_HOME\n"
        );
    }
    for (name, value) in options(step) {
        script += &format!("export {name}={}\n", quote(&value));
    }
    script + "chmod +x ./install.sh\n./install.sh"
}

/// The options by the names of their variables: what was given, else the defaults.
fn options(step: &Step) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    for (name, value) in step.definition.options.iter().chain(&step.wanted.options) {
        let name = variable(name);
        match options.iter_mut().find(|(known, _)| *known == name) {
            Some(option) => option.1.clone_from(value),
            None => options.push((name, value.clone())),
        }
    }
    options
}

/// The variable of an option: `node-version` is `NODE_VERSION`, `2x` is `_X`.
fn variable(option: &str) -> String {
    let plain: String =
        option.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    let rest = plain.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    if rest.len() == plain.len() && !plain.is_empty() { plain } else { format!("_{rest}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(reference: &str) -> Feature {
        Feature { reference: reference.to_owned(), options: Vec::new() }
    }

    /// Features by their names, each with what it needs.
    fn names(wanted: &[&str], known: &[(&str, &[&str])]) -> Result<String, String> {
        let fetch = |reference: &str| {
            let needs = known.iter().find(|(name, _)| *name == reference).map_or(&[][..], |(_, needs)| needs);
            let depends_on = needs.iter().map(|name| feature(name)).collect();
            Ok((Definition { id: reference.to_owned(), depends_on, ..Definition::default() }, PathBuf::new()))
        };
        let wanted: Vec<Feature> = wanted.iter().map(|name| feature(name)).collect();
        let steps = collect(&wanted, &[], &fetch).map_err(|error| error.to_string())?;
        Ok(steps.iter().map(|step| step.wanted.reference.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn what_is_needed_is_installed_before_and_once() {
        assert_eq!(names(&["b", "a"], &[]).unwrap(), "a b");
        assert_eq!(names(&["a", "b"], &[("a", &["z", "y"]), ("b", &["z"]), ("y", &["z"])]).unwrap(), "z b y a");
        let circle = names(&["a"], &[("a", &["b"]), ("b", &["a"])]).unwrap_err();
        assert_eq!(circle, "the Features a, b need each other");
        // Each needs the next.
        let many: Vec<String> = (0..200).map(|number| format!("f{number}")).collect();
        let needs: Vec<[&str; 1]> = many.iter().skip(1).map(|name| [name.as_str()]).collect();
        let known: Vec<(&str, &[&str])> =
            many.iter().zip(&needs).map(|(name, needs)| (name.as_str(), &needs[..])).collect();
        assert!(names(&["f0"], &known).unwrap_err().contains("more than 100"));
    }

    #[test]
    fn options_are_variables() {
        for (option, name) in
            [("version", "VERSION"), ("node-version", "NODE_VERSION"), ("2x", "_X"), ("_a", "_A"), ("ü", "_")]
        {
            assert_eq!(variable(option), name);
        }
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let step = Step {
            wanted: Feature { reference: "x".into(), options: vec![pair("version", "2"), pair("more", "it's")] },
            folder: PathBuf::new(),
            definition: Definition {
                id: "go".into(),
                options: vec![pair("version", "latest"), pair("tools", "true")],
                variables: vec![pair("PATH", "/go:${PATH}"), pair("Q", "a\"b\\")],
                ..Definition::default()
            },
        };
        assert_eq!(options(&step), [pair("VERSION", "2"), pair("TOOLS", "true"), pair("MORE", "it's")]);
        let script = script(&step, "/x", "node", "dev");
        assert!(script.contains("export VERSION=2\nexport TOOLS=true\nexport MORE='it'\\''s'\n"), "{script}");
        let text = containerfile("debian:12", &[step], "dev");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["FROM debian:12", "USER root"]);
        assert_eq!(lines[2], "COPY --from=devbox-feature-0 / /tmp/dev-container-features/go_0/");
        assert_eq!(lines[3..5], ["ENV PATH=\"/go:${PATH}\"", "ENV Q=\"a\\\"b\\\\\""]);
        assert_eq!(lines[5], "COPY 0.sh /tmp/dev-container-features/go_0/devcontainer-features-install.sh");
        assert_eq!(lines[7..], ["USER dev"]);
    }
}
