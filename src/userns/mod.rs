//! Who is who: subuid ranges, id maps, and work done inside a mapped user namespace.
//!
//! [`idmap`] and [`subid`] are pure. [`mapper`] writes a map to a process, [`stage`] runs a piece of work as the root of
//! a mapped namespace (unpacking layers, removing files that belong to subuids), [`walk`] visits trees there. Building a box's own namespaces is
//! `sandbox::launch`'s business.

pub mod idmap;
pub mod mapper;
pub mod stage;
pub mod subid;
pub mod walk;
