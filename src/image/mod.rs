//! Root file systems as layers: [`layer`] unpacks them, [`store`] keeps them.

pub mod layer;
pub mod store;
