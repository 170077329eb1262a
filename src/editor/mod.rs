//! The box's tools on the host: any editor that starts a program can use the one in the box.
//!
//! [`shim`] makes small executables that run a tool in the box of the folder they are called in. A language server names
//! files; [`language_server`] stands between it and the editor and makes names of the box ([`uri`]) into names of the host.

pub mod hook;
pub mod language_server;
pub mod settings;
pub mod shim;
pub mod uri;
