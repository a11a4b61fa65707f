//! What pgmesh is measured with and against.
