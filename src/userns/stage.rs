//! A piece of work done as the root of a mapped user namespace.
