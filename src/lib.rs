//! A rootless sandbox for developer environments.
//!
//! What was typed ([`cli`]) becomes what is meant ([`profile`]), becomes what to do ([`sandbox::spec`]), and only
//! then is it done ([`sandbox::launch`]). A module uses only rows above its own in this table; `tests/architecture.rs`
//! reads the table and checks every `use`.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`sys`] | one safe wrapper per system call; the only `unsafe` |
//! | [`text`] | text that others wrote, made fit for a terminal; suggestions |
//! | [`wire`] | numbers and strings as SSH and SFTP write them |
//! | [`sftp`] | the SFTP protocol: files over a stream |
//! | [`paths`] | XDG directories; the only reader of the environment below `cli` |
//! | [`progress`] | how long work reports itself |
//! | [`process`] | helper programs: their errors and their lifetime |
//! | [`userns`] | subuid ranges, id maps, work inside a mapped namespace |
//! | [`image`] | layers: unpacking, the store |
//! | [`registry`] | the client of the distribution protocol: manifests, blobs, logins |
//! | [`transfer`] | images in and out of the store: pull |
//! | [`base`] | the read-only root file system below a box |
//! | [`limits`] | what a box may use at most, and what it uses: cgroups, systemd, disks |
//! | [`profile`] | `devbox.toml`: finding, reading, merging, checking, trusting |
//! | [`sandbox`] | a plan and its execution: namespaces, mounts, sessions, network |
//! | [`boxes`] | a project's environment on this machine: state, start, join, stop, snapshots |
//! | [`ssh`] | an ssh server on standard input and output, into a box |
//! | [`build`] | images from Containerfiles |
//! | [`devcontainer`] | Features of a devcontainer file, and what images carry along |
//! | [`docker`] | containers: boxes that a docker-shaped command line makes and finds |
//! | [`editor`] | the box's tools on the host: shims, language servers, settings of editors |
//! | [`upkeep`] | what is no longer needed, how much space is taken, whether all is sound |
//! | [`doctor`] | what this machine lacks, and the command that mends it |
//! | [`error`] | every error as it is shown, with its hints |
//! | [`ui`] | the terminal: colour, progress, sanitising |
//! | [`help`] | pages about topics, for the terminal and for `man` |
//! | [`cli`] | the commands |

pub mod base;
pub mod boxes;
pub mod build;
pub mod cli;
pub mod devcontainer;
pub mod docker;
pub mod doctor;
pub mod editor;
pub mod error;
pub mod help;
pub mod image;
pub mod limits;
pub mod paths;
pub mod process;
pub mod profile;
pub mod progress;
pub mod registry;
pub mod sandbox;
pub mod sftp;
pub mod ssh;
pub mod sys;
pub mod text;
pub mod transfer;
pub mod ui;
pub mod upkeep;
pub mod userns;
pub mod wire;
