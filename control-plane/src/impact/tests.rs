//! What changes mean for clients, on states made of a few resources.
