//! Postgres wire frames over bytes: headers, runs of frames, the messages pgmesh interprets, SQLSTATEs, key data.
