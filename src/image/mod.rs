//! Images: what they are called ([`reference`]), what describes them ([`manifest`], [`config`]), and their layers: [`layer`]
//! unpacks them, [`store`] keeps them, [`remove`] takes them away.

pub mod config;
pub mod descriptor;
pub mod digest;
pub mod json;
pub mod layer;
pub mod manifest;
pub mod media_type;
pub mod platform;
pub mod reference;
pub mod remove;
pub mod store;
