//! Root file systems as layers: [`layer`] unpacks them, [`store`] keeps them, [`remove`] takes them away.

pub mod digest;
pub mod layer;
pub mod remove;
pub mod store;
