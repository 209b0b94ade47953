//! Where session records are kept: memory and SQLite.
