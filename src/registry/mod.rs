//! The client of the distribution protocol.
//!
//! [`client`] asks; `transport` carries one exchange, `auth` answers when a registry wants to know who asks, with what
//! [`credentials`] keeps. [`blob`] and [`upload`] are the streams.

pub mod address;
mod answer;
mod auth;
pub mod blob;
pub mod certificates;
mod challenge;
pub mod client;
pub mod credentials;
mod download;
mod error;
mod helper;
mod retry;
pub mod settings;
mod transport;
pub mod upload;
mod url;

pub use blob::BlobReader;
pub use client::{Client, Fetched};
pub use download::{Condition, Downloaded};
pub use error::{CredentialError, Fault, RegistryError};
pub use retry::Retry;
pub use settings::Settings;
