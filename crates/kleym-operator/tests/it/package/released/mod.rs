//! The program as it is released, and its image: `make package-test` builds both.

mod in_cluster;
mod measures;
mod pod;
