pub mod etc;
pub mod net;
