//! The store on a Redis or Valkey server.

mod url;

pub use url::{StoreUrl, StoreUrlError};
