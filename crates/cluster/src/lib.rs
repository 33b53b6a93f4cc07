//! Which box of several owns a room: pure decisions, and the Redis or Valkey store that the boxes share.
