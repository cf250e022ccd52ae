//! The default backend: one directory with SQLite for rows and files for bulk bytes.
