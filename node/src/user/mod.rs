//! Users: which sessions, which conversations.
