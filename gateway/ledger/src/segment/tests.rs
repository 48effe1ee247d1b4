//! Headers, footers, scans.
