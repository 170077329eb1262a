//! `COPY` and `ADD`.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::{Build, StageBuilder, State};
use crate::base::RootLayers;
use crate::boxes::view::View;
use crate::build::cache::files::KnownFiles;
use crate::build::config;
use crate::build::context::fate_of;
use crate::build::copy::digest::{FileDigests, Reading, of_selected};
use crate::build::copy::mode::ModeChange;
use crate::build::copy::select::{Mounted, SelectError, Selected, select};
use crate::build::copy::walk::Fate;
use crate::build::copy::whole::copy_whole;
use crate::build::copy::write::{self, Destination, Options, Owner};
use crate::build::error::{At, BuildError};
use crate::build::events::{Input, Outcome};
use crate::build::fetch::{self, Fetched, Remote};
use crate::build::language::{self, FileSource, Files, IgnorePatterns, Step, Word};
use crate::build::layer::StepLayer;
use crate::build::trees::{Tree, Trees};
use crate::profile::lock::BuildInputs;
use crate::sandbox::etc::{Base, resolve};
use crate::sandbox::passwd::{Account, parse_group};
use crate::userns::idmap::IdMode;

/// Sources that lie in one tree.
struct Part {
    tree: Tree,
    origin: Origin,
    patterns: Vec<String>,
    /// Archives among the files are unpacked (`ADD`).
    unpack: bool,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The build context: its ignore file holds.
    Context,
    /// A named context.
    Named,
    /// A directory that was made for this step.
    Made,
    /// A stage or an image; this names its content.
    Layers(String),
}

/// `--exclude`: patterns for paths below what was selected, of a file for its name.
#[derive(Debug, Default)]
pub(super) struct Exclude(IgnorePatterns);

impl Exclude {
    fn fate(&self, one: &Selected, path: &Path) -> Fate {
        let name = one.path.file_name().map(Path::new).unwrap_or(Path::new(""));
        fate_of(self.0.verdict(if path.as_os_str().is_empty() { name } else { path }))
    }
}

/// A `COPY` or `ADD` with everything expanded.
struct Plan {
    parts: Vec<Part>,
    destination: Destination,
    options: Options,
    exclude: Exclude,
    link: bool,
}

impl StageBuilder<'_> {
    pub(super) fn copy(&mut self, step: &Step, copy: &language::Copy) -> Result<Outcome, BuildError> {
        let from = copy.from.as_ref().map(|from| from.text.as_str());
        let (tree, origin) = self.tree(from)?;
        let (paths, inline) = self.sources(step, &copy.files)?;
        let is_layers = matches!(origin, Origin::Layers(_));
        let mut parts = vec![Part { tree, origin, patterns: paths, unpack: false }];
        parts.extend(self.inline(inline)?);
        // Owners of files of the context mean nothing in the image; those of a stage or an image do.
        let owner = if is_layers { Owner::Kept } else { Owner::Set(0, 0) };
        let plan = self.plan(step, &copy.files, parts, owner, copy.parents)?;
        self.execute(step, plan, "COPY")
    }

    pub(super) fn add(&mut self, step: &Step, add: &language::Add) -> Result<Outcome, BuildError> {
        let (paths, inline) = self.sources(step, &add.files)?;
        let checksum = add.checksum.as_ref().map(|word| self.scope.word(step, word)).transpose()?;
        let (remote, local): (Vec<String>, Vec<String>) =
            paths.into_iter().partition(|source| Remote::parse(source).is_some());
        let (tree, origin) = self.tree(None)?;
        let unpack = add.unpack.unwrap_or(true);
        let mut parts = vec![Part { tree, origin, patterns: local, unpack }];
        for source in remote {
            let Some(remote) = Remote::parse(&source) else { continue };
            let fetched = self.fetch(remote, checksum.as_deref(), add.keep_git_dir.unwrap_or(false))?;
            let unpack = add.unpack.unwrap_or(false) && !fetched.is_directory;
            let tree = Tree::Directory(fetched.root);
            parts.push(Part { tree, origin: Origin::Made, patterns: vec![fetched.name], unpack });
        }
        parts.extend(self.inline(inline)?);
        let plan = self.plan(step, &add.files, parts, Owner::Set(0, 0), false)?;
        self.execute(step, plan, "ADD")
    }

    /// Fetches a source of an `ADD`: in the state that is locked, unless the instruction says which.
    fn fetch(&self, remote: Remote, checksum: Option<&str>, keep_git_dir: bool) -> Result<Fetched, BuildError> {
        let Build { paths, request, .. } = self.build;
        let place = self.temporary()?;
        let options = fetch::Options { checksum, keep_git_dir, agent: request.agent() };
        if checksum.is_some() || remote.is_fixed() {
            return fetch::fetch(paths, &remote, &options, &place);
        }
        let (input, name) = remote.input();
        let fetched = match pin(&request.pins, input, &name) {
            Some(pin) => {
                let options = fetch::Options { checksum: Some(&pin), ..options };
                fetch::fetch(paths, &remote.at(&pin), &options, &place).map_err(|error| match error {
                    BuildError::WrongChecksum { .. } | BuildError::Git(_) => {
                        BuildError::Moved { name: name.clone(), source: Box::new(error) }
                    }
                    error => error,
                })?
            }
            None if request.only_pinned => return Err(BuildError::NotPinned { name }),
            None => fetch::fetch(paths, &remote, &options, &place)?,
        };
        self.resolved(input, &name, fetched.pin.clone());
        Ok(fetched)
    }

    /// The sources, expanded: paths, and the files that stand in the Containerfile itself.
    #[expect(clippy::type_complexity, reason = "two lists")]
    fn sources(&self, step: &Step, files: &Files) -> Result<(Vec<String>, Vec<(String, String)>), BuildError> {
        let (mut paths, mut inline) = (Vec::new(), Vec::new());
        for source in &files.sources {
            match source {
                FileSource::Path(word) => paths.push(self.scope.word(step, word)?),
                FileSource::Heredoc(heredoc) => {
                    inline.push((heredoc.name.clone(), self.scope.heredoc(step, heredoc)?));
                }
            }
        }
        Ok((paths, inline))
    }

    /// Files that stand in the Containerfile, as a tree.
    fn inline(&self, files: Vec<(String, String)>) -> Result<Option<Part>, BuildError> {
        if files.is_empty() {
            return Ok(None);
        }
        let root = self.temporary()?;
        let mut patterns = Vec::new();
        for (name, content) in files {
            let path = root.join(&name);
            std::fs::write(&path, content).at("write", &path)?;
            patterns.push(name);
        }
        Ok(Some(Part { tree: Tree::Directory(root), origin: Origin::Made, patterns, unpack: false }))
    }

    fn plan(
        &self,
        step: &Step,
        files: &Files,
        mut parts: Vec<Part>,
        owner: Owner,
        parents: bool,
    ) -> Result<Plan, BuildError> {
        parts.retain(|part| !part.patterns.is_empty());
        let expand = |word: &Word| self.scope.word(step, word);
        let written = expand(&files.destination)?;
        let ends_as_directory = written.ends_with('/') || written == "." || written.ends_with("/.");
        let count: usize = parts.iter().map(|part| part.patterns.len()).sum();
        if count > 1 && !ends_as_directory {
            let message = "with several sources the destination must be a directory and end with `/`";
            return Err(step.error(&files.destination.span, message).into());
        }
        let owner = match &files.chown {
            None => owner,
            Some(word) => {
                let name = expand(word)?;
                let missing = || step.error(&word.span, format!("there is no user or group `{name}` in the image"));
                let (uid, gid) = self.owner_named(&name, &self.state.lower()).ok_or_else(missing)?;
                Owner::Set(uid, gid)
            }
        };
        let mode = match &files.chmod {
            None => None,
            Some(word) => {
                let text = expand(word)?;
                let wrong = || step.error(&word.span, format!("`{text}` is no mode; write `0755` or `u=rwX,go=rX`"));
                Some(ModeChange::parse(&text).ok_or_else(wrong)?)
            }
        };
        let mut exclude = Exclude::default();
        for pattern in &files.exclude {
            exclude.0.push(&step.source, pattern)?;
        }
        Ok(Plan {
            parts,
            destination: Destination {
                path: config::absolute(&self.state.config.config, &written),
                is_directory: ends_as_directory,
            },
            options: Options { owner, mode, parents, ..self.plain_options((0, 0)) },
            exclude,
            link: files.link,
        })
    }

    fn execute(&mut self, step: &Step, plan: Plan, keyword: &str) -> Result<Outcome, BuildError> {
        let mut inputs = vec![format!("{:?} {:?} {:?}", plan.destination, plan.options, plan.exclude)];
        let digests = plan.parts.iter().map(|part| self.part_digest(part, &plan.exclude, plan.options.owner));
        inputs.extend(digests.collect::<Result<Vec<_>, _>>()?);
        let fields: Vec<&str> = inputs.iter().map(String::as_str).collect();
        // With `--link` the files depend on nothing below them.
        let own = super::Key::root(&["link"]).then(keyword, &fields);
        let key = if plan.link {
            self.state.key.then("link", &[own.as_str()])
        } else {
            self.state.key.then(keyword, &fields)
        };
        let lower = if plan.link { Vec::new() } else { self.state.lower() };
        self.cached_above(key, &step.text, &lower, |builder, layer| builder.fill(layer, &plan))
    }

    /// What names the content of a part: the digest of the files, whatever their times.
    fn part_digest(&self, part: &Part, exclude: &Exclude, owner: Owner) -> Result<String, BuildError> {
        let described = format!("{:?} {}", part.patterns, part.unpack);
        let digest = match (&part.tree, &part.origin) {
            (Tree::Directory(root), Origin::Context | Origin::Named) => {
                let mut known = KnownFiles::load(&self.build.store, root);
                let digest = self.directory_digest(root, &part.origin, &part.patterns, exclude, &mut known)?;
                known.save()?;
                digest
            }
            (Tree::Directory(root), _) => {
                self.directory_digest(root, &part.origin, &part.patterns, exclude, &mut Reading)?
            }
            (Tree::Layers(_), origin) => {
                let fields = [&format!("{origin:?}"), &described, &format!("{exclude:?}"), &format!("{owner:?}")];
                let known = super::Key::root(&fields.map(String::as_str));
                match self.build.records.source(&known) {
                    Some(digest) => digest,
                    None => {
                        let digest = self.read_layers(part, exclude, owner)?;
                        self.build.records.remember_source(&known, &digest)?;
                        digest
                    }
                }
            }
        };
        Ok(format!("{described} {digest}"))
    }

    /// Reads the files of a part that lies in layers.
    fn read_layers(&self, part: &Part, exclude: &Exclude, owner: Owner) -> Result<String, BuildError> {
        let Build { map, request, .. } = self.build;
        let scratch = self.temporary()?;
        Trees::new(request.driver, map, &scratch)?.read(std::slice::from_ref(&part.tree), |trees| {
            let root = trees[0];
            let selected = all(root, &part.patterns, &|_| false).map_err(|error| error.to_string())?;
            let fate = |one: &Selected, path: &Path, _: bool| exclude.fate(one, path);
            of_selected(root, &selected, &fate, owner, &mut Reading).map_err(|error| error.to_string())
        })
    }

    /// The digest of files of a directory of the host.
    pub(super) fn directory_digest(
        &self,
        root: &Path,
        origin: &Origin,
        patterns: &[String],
        exclude: &Exclude,
        files: &mut dyn FileDigests,
    ) -> Result<String, BuildError> {
        let handle = crate::sys::fs::open_path(root)?;
        let root = Mounted(handle.as_fd());
        let selected = all(root, patterns, &|one| self.is_hidden(origin, one))?;
        let fate =
            |one: &Selected, path: &Path, _: bool| self.fate(origin, one, path).min_with(exclude.fate(one, path));
        Ok(of_selected(root, &selected, &fate, Owner::Set(0, 0), files)?)
    }

    /// What the ignore file says of `path` in `one`, where it holds. It knows files by what they are called; what nobody may
    /// see is not seen by other names either.
    fn fate(&self, origin: &Origin, one: &Selected, path: &Path) -> Fate {
        let context = self.build.context;
        match origin {
            Origin::Context if context.is_masked(&one.path.join(path)) => Fate::Dropped,
            Origin::Context => context.fate(&one.called.join(path)),
            _ => Fate::Kept,
        }
    }

    /// Whether a source that was named is left out; of a directory something may be kept.
    fn is_hidden(&self, origin: &Origin, one: &Selected) -> bool {
        match self.fate(origin, one, Path::new("")) {
            Fate::Kept => false,
            Fate::Dropped => true,
            Fate::Searched => !one.is_directory,
        }
    }

    /// Copies everything into the layer.
    fn fill(&self, layer: &StepLayer, plan: &Plan) -> Result<(), BuildError> {
        let trees: Vec<Tree> = plan.parts.iter().map(|part| part.tree.clone()).collect();
        let scratch = layer.scratch();
        layer.in_trees(&trees, |target, sources| {
            let text = |error: &dyn std::error::Error| error.to_string();
            for (part, source) in plan.parts.iter().zip(sources) {
                let hidden = |one: &Selected| self.is_hidden(&part.origin, one);
                let selected = all(*source, &part.patterns, &hidden).map_err(|error| text(&error))?;
                let fate = |one: &Selected, path: &Path, _: bool| {
                    self.fate(&part.origin, one, path).min_with(plan.exclude.fate(one, path))
                };
                let mut plain = Vec::new();
                for one in selected {
                    if part.unpack && !one.is_directory && fetch::is_archive(*source, &one.path) {
                        fetch::unpack(*source, &one.path, scratch, target, &plan.destination, &plan.options)?;
                    } else {
                        plain.push(one);
                    }
                }
                write::copy(*source, &plain, &fate, target, &plan.destination, &plan.options)
                    .map_err(|error| text(&error))?;
            }
            Ok(())
        })
    }

    /// The files of `from`: a stage, an image or a named context; those of the build context without.
    pub(super) fn tree(&self, from: Option<&str>) -> Result<(Tree, Origin), BuildError> {
        let Some(from) = from else {
            return Ok((Tree::Directory(self.build.context.root().to_owned()), Origin::Context));
        };
        let state = match self.build.graph.origin(from).map_err(|message| BuildError::NoOrigin { message })? {
            language::Origin::Scratch => State::empty(),
            language::Origin::Stage(stage) => self.need(stage)?,
            language::Origin::Image(name) => self.image(&name, &self.build.request.platform)?,
            language::Origin::Context(name) => match self.build.context.named(&name) {
                Some(directory) => return Ok((Tree::Directory(directory.to_owned()), Origin::Named)),
                None => self.image(&name, &self.build.request.platform)?,
            },
        };
        Ok((Tree::Layers(state.lower()), Origin::Layers(state.key.as_str().to_owned())))
    }

    /// The context without what the ignore file leaves out, as a tree to be mounted.
    pub(super) fn without_ignored(&self, tree: Tree) -> Result<Tree, BuildError> {
        let context = self.build.context;
        let Tree::Directory(root) = &tree else { return Ok(tree) };
        if root != context.root() || !context.ignores_anything() {
            return Ok(tree);
        }
        let place = self.temporary()?;
        let from = crate::sys::fs::open_path(root)?;
        let everything = Destination { path: "/".into(), is_directory: true };
        let fate = |path: &Path| context.fate(path);
        copy_whole(Mounted(from.as_fd()), Path::new("."), &place, &everything, true, &fate)?;
        Ok(Tree::Directory(place))
    }

    /// Copies as they are, new directories owned by `owner`.
    pub(super) fn plain_options(&self, owner: (u32, u32)) -> Options {
        let single_owner = self.build.map.mode == IdMode::Single;
        Options { owner: Owner::Set(owner.0, owner.1), mode: None, single_owner, parents: false }
    }

    /// The ids of `user` or `user:group` in the image. A number alone is user and group.
    pub(super) fn owner_named(&self, name: &str, lower: &[PathBuf]) -> Option<(u32, u32)> {
        if name.is_empty() {
            return Some((0, 0));
        }
        let view = View::new(lower, &RootLayers::default());
        let read = |path: &str| {
            let content = resolve(&view, Path::new(path)).and_then(|path| view.read(&path)).unwrap_or_default();
            String::from_utf8_lossy(&content).into_owned()
        };
        let (user, group) = name.split_once(':').unwrap_or((name, ""));
        let groups = read("/etc/group");
        let (uid, gid) = match user.parse() {
            Ok(number) => (number, number),
            Err(_) => Account::parse(&read("/etc/passwd"), &groups, user).map(|account| (account.uid, account.gid))?,
        };
        if group.is_empty() { Some((uid, gid)) } else { Some((uid, parse_group(&groups, group)?)) }
    }
}

/// What an input is locked to.
fn pin(pins: &BuildInputs, input: Input, name: &str) -> Option<String> {
    match input {
        Input::Image => pins.images.get(name).map(ToString::to_string),
        Input::File => pins.files.get(name).map(ToString::to_string),
        Input::Commit => pins.commits.get(name).cloned(),
    }
}

/// What all patterns select. A pattern with wildcards may select nothing, all together may not.
fn all(
    root: Mounted<'_>,
    patterns: &[String],
    hidden: &dyn Fn(&Selected) -> bool,
) -> Result<Vec<Selected>, SelectError> {
    let mut selected = Vec::new();
    for pattern in patterns {
        selected.extend(select(root, pattern, hidden)?);
    }
    Ok(selected)
}
