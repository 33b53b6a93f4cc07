//! What a guest with a credential may cost.
